//! Deals by keyboard: the list at a station, a trade that is being composed, and the answer to an offer.
//!
//! Owns the cursor and the draft; requests go into the [`DealBook`]. The panels are in `panels`.

use crate::{
    economy::deals::DealBook,
    view::{Dock, OwnShip, PurseShown, WorldView},
    window::{
        input::devices::Devices,
        settings::{Settings, bindings::Action},
    },
};
use bevy::prelude::*;
use sidereal_protocol::{
    rules::{
        economy::{Bargain, Goods, MAX_AMOUNT, ORE_PRICE, REPAIR_PRICE, TRADING_RANGE, Weapon, WeaponSpec},
        flight::{HullKind, wrap_angle},
    },
    world::ids::NetId,
};
use std::sync::Arc;

/// The small portion of ore for selling, storing and taking.
const PORTION: u32 = 10;

/// Hulls that a station sells, in the order of the list.
const HULLS: [HullKind; 3] = [HullKind::Scout, HullKind::Hauler, HullKind::Gunship];

/// A line of the list at a station.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// Its text.
    pub(crate) label: String,
    /// Its price or profit.
    pub(crate) price: String,
    /// The deal to request.
    pub(crate) bargain: Bargain,
    /// Why it is impossible now.
    pub(crate) blocked: Option<String>,
}

/// The number of lines in the list, which is constant.
pub(crate) const ROWS: usize = 13;

/// The lines of the list at a station.
pub(crate) fn rows(own: &OwnShip, purse: &PurseShown) -> Vec<Row> {
    let mut rows = Vec::with_capacity(ROWS);
    let mut row = |label: String, price: String, bargain: Bargain, blocked: Option<String>| {
        rows.push(Row { label, price, bargain, blocked });
    };
    let none = |amount: u32, why: &str| (amount == 0).then(|| why.to_owned());
    for ore in [purse.ore, PORTION.min(purse.ore)] {
        let label = if ore == purse.ore { format!("sell all ore ({ore})") } else { format!("sell {ore} ore") };
        let pays = format!("+{}", u64::from(ore) * ORE_PRICE);
        row(label, pays, Bargain::Sell { ore }, none(ore, "the hold is empty"));
    }
    let ore = purse.ore;
    row(format!("store all ore ({ore})"), String::new(), Bargain::Store { ore }, none(ore, "the hold is empty"));
    for most in [u32::MAX, PORTION] {
        let ore = purse.stored.min(purse.room()).min(most);
        let label = if most == PORTION { format!("take {ore} ore") } else { format!("take ore ({ore})") };
        let blocked = none(purse.stored, "the store is empty").or_else(|| none(purse.room(), "the hold is full"));
        row(label, String::new(), Bargain::Take { ore }, blocked);
    }
    let broken = own.hull_max.saturating_sub(own.hull);
    let price = u64::from(broken) * REPAIR_PRICE;
    let blocked = none(broken.into(), "the hull is undamaged").or_else(|| unpaid(price, purse));
    row(format!("repair {broken} hull points"), price.to_string(), Bargain::Repair, blocked);
    for hull in HULLS {
        let price = hull.price().unwrap_or(0);
        let spec = hull.spec();
        let label = format!("{}: hull {}, hold {}, speed {:.0}", hull.name(), spec.hull, hull.hold(), spec.max_speed);
        let blocked = if hull == own.hull_kind {
            Some("yours".to_owned())
        } else if purse.ore > hull.hold() {
            Some("the cargo does not fit".to_owned())
        } else {
            unpaid(price, purse)
        };
        row(label, price.to_string(), Bargain::BuyHull(hull), blocked);
    }
    for weapon in Weapon::ALL {
        let WeaponSpec { name, price, advantage, .. } = *weapon.spec();
        let label = format!("{name}: {advantage}");
        let blocked = if purse.fitted.has(weapon) { Some("fitted".to_owned()) } else { unpaid(price, purse) };
        row(label, price.to_string(), Bargain::BuyWeapon(weapon), blocked);
    }
    row("undock".to_owned(), String::new(), Bargain::Undock, None);
    rows
}

fn unpaid(price: u64, purse: &PurseShown) -> Option<String> {
    let missing = price.saturating_sub(purse.credits);
    (missing > 0).then(|| format!("{missing} credits short"))
}

/// A trade that is being composed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draft {
    /// The other ship.
    pub(crate) to: NetId,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The goods that are given...
    pub(crate) give: Goods,
    /// ...and the goods that are wanted for them.
    pub(crate) want: Goods,
    /// The number at the cursor: an index of [`Draft::FIELDS`].
    pub(crate) field: usize,
}

impl Draft {
    /// The names of its numbers.
    pub(crate) const FIELDS: [&'static str; 4] =
        ["you give: ore", "you give: credits", "you want: ore", "you want: credits"];

    /// The number of a field.
    pub(crate) fn number(&self, field: usize) -> u64 {
        match field {
            0 => u64::from(self.give.ore),
            1 => self.give.credits,
            2 => u64::from(self.want.ore),
            _ => self.want.credits,
        }
    }

    /// Changes the number at the cursor: never below zero, and never more to give than the player has.
    fn change(&mut self, by: i64, purse: &PurseShown) {
        let most = match self.field {
            0 => u64::from(purse.ore),
            1 => purse.credits,
            2 => u64::from(u32::MAX),
            _ => MAX_AMOUNT,
        };
        let number = self.number(self.field).saturating_add_signed(by).min(most);
        match self.field {
            0 => self.give.ore = number as u32,
            1 => self.give.credits = number,
            2 => self.want.ore = number as u32,
            _ => self.want.credits = number,
        }
    }

    fn bargain(&self) -> Bargain {
        Bargain::Offer { to: self.to, give: self.give, want: self.want }
    }
}

/// The ship to trade with: the one nearest to the heading, of those in range.
pub(crate) fn partner(view: &WorldView) -> Option<(NetId, Arc<str>)> {
    let own = view.own.as_ref()?;
    view.others
        .values()
        .filter(|other| other.is_player())
        .filter_map(|other| {
            let way = other.state.position - own.state.position;
            let bearing = wrap_angle(way.to_angle() - own.state.angle).abs();
            (way.length() <= TRADING_RANGE).then_some((bearing, other))
        })
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| (other.net_id, other.name.clone()))
}

/// The state of the deal panels.
#[derive(Resource, Debug, Default)]
pub(crate) struct StationMenu {
    /// The line of the list at a station.
    pub(crate) cursor: usize,
    /// The trade that is being composed.
    pub(crate) draft: Option<Draft>,
}

impl StationMenu {
    /// Whether an open panel uses the arrow keys.
    pub(crate) fn takes_arrows(&self, view: &WorldView) -> bool {
        self.draft.is_some() || matches!(view.dock, Dock::Docked { .. })
    }

    /// Requests the deal of `row` in the list at a station.
    pub(crate) fn press_row(&mut self, row: usize, view: &WorldView, book: &mut DealBook) {
        if self.draft.is_none() {
            self.cursor = row.min(ROWS - 1);
            handle(Press::Enter, view, self, book);
        }
    }
}

/// The action of a key here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Press {
    Up,
    Down,
    Less(i64),
    More(i64),
    Enter,
    Dock,
    Trade,
    Leave,
    Accept,
    Decline,
}

/// Turns keys into requests.
pub(crate) fn read_station_keys(
    devices: Devices,
    settings: Res<Settings>,
    view: Res<WorldView>,
    mut station_menu: ResMut<StationMenu>,
    mut book: ResMut<DealBook>,
) {
    let keys = &devices.keys;
    let docked = matches!(view.dock, Dock::Docked { .. });
    let step = if keys.any_pressed([KeyCode::ShiftLeft, KeyCode::ShiftRight]) { 10 } else { 1 };
    // A docked ship does not fly, so its keys are free for the list.
    let [up, down]: [&[KeyCode]; 2] = match docked {
        true => [&[KeyCode::ArrowUp, KeyCode::KeyW], &[KeyCode::ArrowDown, KeyCode::KeyS]],
        false => [&[KeyCode::ArrowUp], &[KeyCode::ArrowDown]],
    };
    let presses: [(&[KeyCode], Press); 6] = [
        (up, Press::Up),
        (down, Press::Down),
        (&[KeyCode::ArrowLeft], Press::Less(step)),
        (&[KeyCode::ArrowRight], Press::More(step)),
        (&[KeyCode::Enter, KeyCode::NumpadEnter], Press::Enter),
        (&[KeyCode::Escape], Press::Leave),
    ];
    for (codes, press) in presses {
        if keys.any_just_pressed(codes.iter().copied()) {
            handle(press, &view, &mut station_menu, &mut book);
        }
    }
    let hands = devices.hands(&settings.keys, &[]);
    let presses = [
        (Action::Dock, Press::Dock),
        (Action::Trade, Press::Trade),
        (Action::Accept, Press::Accept),
        (Action::Decline, Press::Decline),
    ];
    for (action, press) in presses {
        if hands.begins(action) {
            handle(press, &view, &mut station_menu, &mut book);
        }
    }
    if view.own.is_none() {
        station_menu.draft = None;
    }
}

fn handle(press: Press, view: &WorldView, station_menu: &mut StationMenu, book: &mut DealBook) {
    // The panels show that a book is full: nothing more is requested until a deal has ended.
    let ask_for_ship = |book: &mut DealBook, bargain: Bargain| {
        if !book.is_busy() {
            let _ = book.ask(bargain);
        }
    };
    let purse = view.purse.unwrap_or_default();
    let docked = matches!(view.dock, Dock::Docked { .. });
    match press {
        Press::Dock => match view.dock {
            Dock::InReach { too_fast: false, .. } => ask_for_ship(book, Bargain::Dock),
            Dock::Docked { .. } => ask_for_ship(book, Bargain::Undock),
            Dock::InReach { .. } | Dock::Away => {}
        },
        Press::Trade if station_menu.draft.is_some() => station_menu.draft = None,
        Press::Trade => {
            station_menu.draft = partner(view).map(|(to, name)| Draft {
                to,
                name,
                give: Goods::default(),
                want: Goods::default(),
                field: 0,
            });
        }
        Press::Leave => station_menu.draft = None,
        Press::Accept | Press::Decline => {
            if let Some(offer) = view.trades.iter().find(|offer| !book.is_open(offer.key)) {
                let _ = book.answer_offer(offer.key, press == Press::Accept);
            }
        }
        Press::Up | Press::Down => {
            let (place, count) = match &mut station_menu.draft {
                Some(draft) => (&mut draft.field, Draft::FIELDS.len()),
                None => (&mut station_menu.cursor, ROWS),
            };
            *place = (*place + if press == Press::Up { count - 1 } else { 1 }) % count;
        }
        Press::Less(step) | Press::More(step) => {
            let by = if matches!(press, Press::Less(_)) { -step } else { step };
            if let Some(draft) = &mut station_menu.draft {
                draft.change(by, &purse);
            }
        }
        Press::Enter => match (&station_menu.draft, &view.own) {
            (Some(draft), _) => {
                let bargain = draft.bargain();
                if bargain.validate().is_ok() && book.ask(bargain).is_ok() {
                    station_menu.draft = None;
                }
            }
            (None, Some(own)) if docked => {
                if let Some(row) = rows(own, &purse).get(station_menu.cursor)
                    && row.blocked.is_none()
                {
                    ask_for_ship(book, row.bargain);
                }
            }
            _ => {}
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Other, TradeOffer};
    use bevy::math::DVec2;
    use sidereal_protocol::{
        packets::motion::EngineGlow,
        record::EntityKind,
        rules::{
            economy::{DealKey, Fitted},
            flight::FlightState,
        },
        world::ids::EntityId,
    };

    fn own() -> OwnShip {
        OwnShip {
            net_id: NetId(1),
            id: EntityId::default(),
            state: FlightState::default(),
            confirmed: FlightState::default(),
            glow: EngineGlow::default(),
            hull_kind: HullKind::Scout,
            hull: 70,
            hull_max: 100,
            radius: 9.0,
            name: "you".into(),
            stalled: false,
        }
    }

    fn docked(purse: PurseShown) -> WorldView {
        let dock = Dock::Docked { station: NetId(9), name: "Meridian".into() };
        WorldView { own: Some(own()), purse: Some(purse), dock, ..default() }
    }

    fn press(view: &WorldView, station_menu: &mut StationMenu, book: &mut DealBook, presses: &[Press]) {
        presses.iter().for_each(|one| handle(*one, view, station_menu, book));
    }

    fn bargains(book: &DealBook) -> Vec<Bargain> {
        book.open().iter().map(|deal| deal.bargain).collect()
    }

    #[test]
    fn the_list_tells_what_can_be_done_and_why_the_rest_cannot() {
        let fitted = Fitted::default().with(Weapon::HeavyBeam);
        let purse = PurseShown { credits: 610, ore: 48, hold: 60, fitted, stored: 30, ..default() };
        let rows = rows(&own(), &purse);
        assert_eq!(rows.len(), ROWS);
        let find = |bargain: Bargain| rows.iter().find(|row| row.bargain == bargain).unwrap();
        assert_eq!(find(Bargain::Sell { ore: 48 }).price, "+144");
        assert_eq!(find(Bargain::Take { ore: 12 }).blocked, None);
        assert_eq!((find(Bargain::Repair).price.as_str(), &find(Bargain::Repair).blocked), ("30", &None));
        assert_eq!(find(Bargain::BuyHull(HullKind::Scout)).blocked.as_deref(), Some("yours"));
        assert_eq!(find(Bargain::BuyHull(HullKind::Hauler)).blocked, None);
        assert_eq!(find(Bargain::BuyHull(HullKind::Gunship)).blocked.as_deref(), Some("the cargo does not fit"));
        assert_eq!(find(Bargain::BuyWeapon(Weapon::HeavyBeam)).blocked.as_deref(), Some("fitted"));
        for row in super::rows(&OwnShip { hull: 100, ..own() }, &PurseShown::default()) {
            assert!(row.blocked.is_some() || row.bargain == Bargain::Undock, "{row:?}");
        }
    }

    #[test]
    fn everything_at_a_station_is_done_with_arrows_and_enter_one_thing_at_a_time() {
        let view = docked(PurseShown { ore: 48, hold: 60, ..default() });
        let (mut station_menu, mut book) = (StationMenu::default(), DealBook::default());
        press(&view, &mut station_menu, &mut book, &[Press::Enter, Press::Down, Press::Enter]);
        assert_eq!(bargains(&book), [Bargain::Sell { ore: 48 }], "the second one waits for the first");
        book = DealBook::default();
        press(&view, &mut station_menu, &mut book, &[Press::Up, Press::Up, Press::Enter]);
        assert_eq!(bargains(&book), [Bargain::Undock]);
        book = DealBook::default();
        press(&view, &mut station_menu, &mut book, &[Press::Up, Press::Enter]);
        assert_eq!(bargains(&book), [], "an unavailable deal is not requested");
    }

    #[test]
    fn one_docks_when_a_station_is_in_reach_and_one_is_slow_enough() {
        let (mut station_menu, mut book) = (StationMenu::default(), DealBook::default());
        let mut view = WorldView { own: Some(own()), ..default() };
        press(&view, &mut station_menu, &mut book, &[Press::Dock]);
        for (too_fast, asked) in [(true, 0), (false, 1)] {
            view.dock = Dock::InReach { station: NetId(9), name: "".into(), too_fast };
            press(&view, &mut station_menu, &mut book, &[Press::Dock]);
            assert_eq!(book.open().len(), asked);
        }
        press(&view, &mut station_menu, &mut book, &[Press::Dock]);
        assert_eq!(bargains(&book), [Bargain::Dock], "once");
    }

    #[test]
    fn a_trade_goes_to_the_ship_ahead_and_gives_no_more_than_there_is() {
        let ship = |net_id: u32, at: DVec2| Other {
            net_id: NetId(net_id),
            id: EntityId::default(),
            kind: EntityKind::Ship,
            hull_kind: Some(HullKind::Scout),
            name: "Ada".into(),
            owner: None,
            state: FlightState { position: at, ..default() },
            glow: EngineGlow::default(),
            hull: 1,
            hull_max: 1,
            radius: 9.0,
            ore: None,
            silent_s: 0.0,
        };
        let purse = PurseShown { ore: 12, hold: 60, credits: 5, ..default() };
        let mut view = WorldView { own: Some(own()), purse: Some(purse), ..default() };
        let (mut station_menu, mut book) = (StationMenu::default(), DealBook::default());
        press(&view, &mut station_menu, &mut book, &[Press::Trade]);
        assert_eq!(station_menu.draft, None, "nobody is there");
        view.others.insert(NetId(2), ship(2, DVec2::new(-50.0, 0.0)));
        view.others.insert(NetId(3), ship(3, DVec2::new(400.0, 60.0)));
        view.others.insert(NetId(4), ship(4, DVec2::new(700.0, 0.0)));
        press(&view, &mut station_menu, &mut book, &[Press::Trade, Press::Enter]);
        assert!(station_menu.draft.is_some() && book.open().is_empty(), "an empty offer is not sent");
        press(&view, &mut station_menu, &mut book, &[Press::More(10), Press::More(10), Press::Less(1)]);
        press(&view, &mut station_menu, &mut book, &[Press::Up, Press::More(10), Press::Enter]);
        let (give, want) = (Goods { ore: 11, credits: 0 }, Goods { ore: 0, credits: 10 });
        assert_eq!(bargains(&book), [Bargain::Offer { to: NetId(3), give, want }]);
        assert_eq!(station_menu.draft, None);
    }

    #[test]
    fn offers_are_answered_in_the_order_in_which_they_came() {
        let offer = || TradeOffer {
            key: DealKey::random(),
            partner: "Ada".to_owned(),
            get: Goods { ore: 1, credits: 0 },
            give: Goods::default(),
            age_s: 0.0,
        };
        let view = WorldView { own: Some(own()), trades: vec![offer(), offer()], ..default() };
        let (mut station_menu, mut book) = (StationMenu::default(), DealBook::default());
        press(&view, &mut station_menu, &mut book, &[Press::Accept, Press::Decline, Press::Accept]);
        let asked: Vec<_> = book.open().iter().map(|deal| (deal.key, deal.bargain)).collect();
        assert_eq!(asked, [(view.trades[0].key, Bargain::Accept), (view.trades[1].key, Bargain::Decline)]);
    }
}
