//! The panels of the player's deals: the list at a station, a trade that is being composed, an open offer, and the
//! prompt line.

use crate::{
    economy::{dealing::OFFER_SECONDS, deals::DealBook},
    view::{Dock, WorldView},
    window::{
        render::colors::{
            palette,
            tint::{Palette, Tint},
        },
        settings::{
            Settings,
            bindings::{Action, Bindings},
        },
        ui::{
            layout::{LEAST_ROOM, UiLayout},
            station::menu::{Draft, ROWS, StationMenu, rows},
            widgets::{Anchor, panel},
        },
    },
};
use bevy::prelude::*;
use sidereal_protocol::rules::economy::{Goods, Weapon};

/// Widths of the list's columns, pixels.
const LABEL_PIXELS: f32 = 304.0;
const PRICE_PIXELS: f32 = 56.0;
const REASON_PIXELS: f32 = 178.0;
/// Height of its lines, pixels.
const ROW_PIXELS: f32 = 22.0;
/// Text behind a panel must not be readable.
const OPACITY: f32 = 0.95;

/// A panel that is shown or hidden as a whole.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Panel {
    /// The list at a station.
    Station,
    /// The trade that is being composed.
    Draft,
    /// The open offer.
    Offer,
}

/// A text of a panel.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// The station's name.
    StationTitle,
    /// The player's balances.
    StationPurse,
    /// Whether a deal is pending, and the keys.
    StationFoot,
    /// A line of the list, and its columns.
    RowLabel(usize),
    RowPrice(usize),
    RowReason(usize),
    /// The partner of the trade.
    DraftTitle,
    /// A number of it.
    DraftField(usize),
    /// The keys.
    DraftFoot,
    /// The name of the player that offers.
    OfferTitle,
    /// The terms.
    OfferTerms,
    /// The keys, and the remaining time.
    OfferFoot,
    /// The prompt line.
    Prompt,
}

/// The background of a line of the list.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowBack(usize);

fn words(words: Words, size: f32) -> impl Bundle {
    let linebreak = match words {
        Words::StationPurse | Words::OfferTerms | Words::Prompt => LineBreak::WordBoundary,
        _ => LineBreak::NoWrap,
    };
    let layout = TextLayout { justify: Justify::Left, linebreak };
    (words, Text::default(), TextFont::from_font_size(size), TextColor(palette::TEXT.color()), layout)
}

/// A column of the list at a station: its width in a room with space, and in the smallest one. The additional width of
/// a compact room goes to one column after the other.
#[derive(Component, Debug, Clone, Copy)]
pub(crate) struct Column {
    usual: f32,
    smallest: f32,
    /// The additional width that the columns before it take first.
    after: f32,
}

impl Column {
    fn width(&self, layout: &UiLayout) -> f32 {
        if !layout.is_compact() {
            return self.usual;
        }
        let spare = layout.room.x - LEAST_ROOM - self.after;
        (self.smallest + spare.max(0.0)).min(self.usual)
    }
}

/// The frame of a panel.
#[derive(Component)]
pub(crate) struct Surround;

fn column(usual: f32, smallest: f32, after: f32, text: Words) -> impl Bundle {
    (
        Column { usual, smallest, after },
        Node { width: px(usual), overflow: Overflow::clip(), ..default() },
        children![words(text, 13.0)],
    )
}

fn row(index: usize) -> impl Bundle {
    (
        RowBack(index),
        Node {
            height: px(ROW_PIXELS),
            padding: UiRect::axes(px(8), px(0)),
            column_gap: px(10),
            align_items: AlignItems::Center,
            ..default()
        },
        BackgroundColor(Color::NONE),
        Interaction::default(),
        children![
            column(LABEL_PIXELS, 196.0, 0.0, Words::RowLabel(index)),
            column(PRICE_PIXELS, 36.0, 108.0, Words::RowPrice(index)),
            column(REASON_PIXELS, 44.0, 128.0, Words::RowReason(index)),
        ],
    )
}

fn stack(gap: f32) -> Node {
    Node { flex_direction: FlexDirection::Column, padding: UiRect::axes(px(16), px(14)), row_gap: px(gap), ..default() }
}

/// Spawns all nodes.
pub(crate) fn spawn_panels(mut commands: Commands) {
    let whole = |justify: JustifyContent, align: AlignItems| Node {
        position_type: PositionType::Absolute,
        width: percent(100),
        height: percent(100),
        padding: UiRect::all(px(56)),
        justify_content: justify,
        align_items: align,
        ..default()
    };
    commands.spawn((
        Surround,
        whole(JustifyContent::Center, AlignItems::Center),
        children![(
            Panel::Station,
            panel(stack(4.0), OPACITY),
            Visibility::Hidden,
            children![
                words(Words::StationTitle, 24.0),
                (Node { margin: UiRect::bottom(px(8)), ..default() }, children![words(Words::StationPurse, 15.0)],),
                (
                    Node { flex_direction: FlexDirection::Column, ..default() },
                    Children::spawn(SpawnIter((0..ROWS).map(row))),
                ),
                (Node { margin: UiRect::top(px(8)), ..default() }, children![words(Words::StationFoot, 13.0)]),
            ],
        )],
    ));
    commands.spawn((
        Surround,
        whole(JustifyContent::Center, AlignItems::End),
        GlobalZIndex(1),
        children![(
            Panel::Draft,
            panel(stack(6.0), OPACITY),
            Visibility::Hidden,
            children![
                words(Words::DraftTitle, 18.0),
                words(Words::DraftField(0), 15.0),
                words(Words::DraftField(1), 15.0),
                words(Words::DraftField(2), 15.0),
                words(Words::DraftField(3), 15.0),
                words(Words::DraftFoot, 13.0),
            ],
        )],
    ));
    commands.spawn((
        Surround,
        whole(JustifyContent::End, AlignItems::Start),
        GlobalZIndex(1),
        children![(
            Panel::Offer,
            panel(stack(6.0), OPACITY),
            Visibility::Hidden,
            children![words(Words::OfferTitle, 18.0), words(Words::OfferTerms, 15.0), words(Words::OfferFoot, 13.0)],
        )],
    ));
    commands.spawn((
        Anchor::Prompt,
        Node {
            position_type: PositionType::Absolute,
            width: percent(100),
            bottom: px(38),
            justify_content: JustifyContent::Center,
            ..default()
        },
        children![words(Words::Prompt, 16.0)],
    ));
}

/// Fits the panels into the room.
pub(crate) fn fit_panels(
    layout: Res<UiLayout>,
    mut columns: Query<(&Column, &mut Node), Without<Surround>>,
    mut surrounds: Query<&mut Node, (With<Surround>, Without<RowBack>, Without<Panel>)>,
    mut rows: Query<&mut Node, (With<RowBack>, Without<Column>, Without<Panel>)>,
    mut panels: Query<&mut Node, (With<Panel>, Without<Column>)>,
    mut texts: Query<(&Words, &mut TextFont)>,
) {
    if !layout.is_changed() {
        return;
    }
    let compact = layout.is_compact();
    let either = |usual: f32, small: f32| px(if compact { small } else { usual });
    for (column, mut node) in &mut columns {
        node.width = px(column.width(&layout));
    }
    for mut node in &mut surrounds {
        node.padding = UiRect::all(either(56.0, 2.0));
    }
    for mut node in &mut rows {
        node.height = either(ROW_PIXELS, 17.0);
        node.column_gap = either(10.0, 4.0);
        node.padding = UiRect::axes(either(8.0, 4.0), px(0));
    }
    for mut node in &mut panels {
        node.padding = UiRect::axes(either(16.0, 6.0), either(14.0, 6.0));
        node.row_gap = either(5.0, 2.0);
        node.max_width = px(layout.room.x - 4.0);
    }
    for (which, mut font) in &mut texts {
        let (usual, small) = match which {
            Words::StationTitle => (24.0, 16.0),
            Words::DraftTitle | Words::OfferTitle => (18.0, 15.0),
            Words::StationPurse | Words::DraftField(_) | Words::OfferTerms => (15.0, 12.0),
            Words::Prompt => (16.0, 13.0),
            _ => (13.0, 12.0),
        };
        font.font_size = if compact { small } else { usual };
    }
}

/// Requests the deal of a line that is pressed with the mouse or a finger.
pub(crate) fn press_rows(
    rows: Query<(&RowBack, &Interaction), Changed<Interaction>>,
    view: Res<WorldView>,
    mut station_menu: ResMut<StationMenu>,
    mut book: ResMut<DealBook>,
) {
    if let Some((RowBack(row), _)) = rows.iter().find(|(_, what)| **what == Interaction::Pressed) {
        station_menu.press_row(*row, &view, &mut book);
    }
}

/// Goods as text.
pub(crate) fn told(goods: Goods) -> String {
    match (goods.ore, goods.credits) {
        (0, 0) => "nothing".to_owned(),
        (ore, 0) => format!("{ore} ore"),
        (0, credits) => format!("{credits} credits"),
        (ore, credits) => format!("{ore} ore and {credits} credits"),
    }
}

/// The text of the prompt line.
pub(crate) fn prompt(view: &WorldView, book: &DealBook, keys: &Bindings) -> (String, Tint) {
    let calm = palette::TEXT.at(0.9);
    if view.own.is_none() {
        return (String::new(), calm);
    }
    if book.open().iter().any(|deal| deal.undecided) {
        return ("a deal is not decided yet: the request is repeated".to_owned(), palette::HULL_WORN);
    }
    match &view.dock {
        Dock::Docked { .. } => (String::new(), calm),
        Dock::InReach { .. } if book.is_docking() => ("docking...".to_owned(), palette::STATION),
        Dock::InReach { name, too_fast: true, .. } => {
            (format!("too fast to dock at {name}: brake with {}", keys.first(Action::Brake)), palette::HULL_WORN)
        }
        Dock::InReach { name, .. } => (format!("{}  dock at {name}", keys.first(Action::Dock)), palette::STATION),
        Dock::Away => match (view.mining, view.purse) {
            (Some(_), Some(purse)) if purse.room() == 0 => {
                ("the hold is full: sell the ore at a station".to_owned(), palette::HULL_WORN)
            }
            (Some(target), _) if !target.works => (format!("hold {} to mine", keys.first(Action::Mine)), palette::ORE),
            _ => (String::new(), calm),
        },
    }
}

/// Shows and hides the panels.
pub(crate) fn show_station(
    view: Res<WorldView>,
    station_menu: Res<StationMenu>,
    mut panels: Query<(&Panel, &mut Visibility)>,
) {
    for (panel, mut visibility) in &mut panels {
        let shows = match panel {
            Panel::Station => matches!(view.dock, Dock::Docked { .. }) && view.own.is_some(),
            Panel::Draft => station_menu.draft.is_some(),
            Panel::Offer => !view.trades.is_empty() && view.own.is_some(),
        };
        visibility.set_if_neq(if shows { Visibility::Inherited } else { Visibility::Hidden });
    }
}

/// Updates all texts that have changed.
pub(crate) fn write_words(
    view: Res<WorldView>,
    station_menu: Res<StationMenu>,
    book: Res<DealBook>,
    palette: Res<Palette>,
    settings: Res<Settings>,
    mut texts: Query<(&Words, &mut Text, &mut TextColor)>,
    mut backs: Query<(&RowBack, &mut BackgroundColor)>,
) {
    let keys = &settings.keys;
    let purse = view.purse.unwrap_or_default();
    let rows = view.own.as_ref().map_or_else(Vec::new, |own| rows(own, &purse));
    let at_cursor = |index: usize| station_menu.draft.is_none() && station_menu.cursor == index;
    for (RowBack(index), mut back) in &mut backs {
        let tint = if at_cursor(*index) { palette::LINE.at(0.28) } else { palette::LINE.at(0.0) };
        back.set_if_neq(BackgroundColor(palette.color(tint)));
    }
    for (which, mut text, mut color) in &mut texts {
        let (words, tint) = match *which {
            Words::StationTitle => match &view.dock {
                Dock::Docked { name, .. } => (format!("Docked at {name}"), palette::STATION),
                _ => continue,
            },
            Words::StationPurse => {
                let fitted: Vec<_> = Weapon::ALL
                    .into_iter()
                    .filter(|weapon| purse.fitted.has(*weapon))
                    .map(|weapon| weapon.spec().name)
                    .collect();
                let fitted = if fitted.is_empty() { String::new() } else { format!("   {}", fitted.join(", ")) };
                let have = format!(
                    "{} credits   hold {}/{}   in store {}{fitted}",
                    purse.credits, purse.ore, purse.hold, purse.stored
                );
                (have, palette::TEXT)
            }
            Words::StationFoot if book.is_busy() => {
                ("one moment: it is being settled...".to_owned(), palette::HULL_WORN)
            }
            Words::StationFoot => {
                let undock = keys.first(Action::Dock);
                (format!("Up Down  choose    Enter  do it    {undock}  undock"), palette::FAINT)
            }
            Words::RowLabel(index) | Words::RowPrice(index) | Words::RowReason(index) => {
                let Some(row) = rows.get(index) else { continue };
                let free = row.blocked.is_none();
                match *which {
                    Words::RowLabel(_) if free => (row.label.clone(), palette::TEXT),
                    Words::RowLabel(_) => (row.label.clone(), palette::FAINT.at(0.75)),
                    Words::RowPrice(_) if free => (row.price.clone(), palette::ORE),
                    Words::RowPrice(_) => (row.price.clone(), palette::FAINT.at(0.75)),
                    _ => (row.blocked.clone().unwrap_or_default(), palette::FAINT.at(0.75)),
                }
            }
            Words::DraftTitle | Words::DraftField(_) | Words::DraftFoot => match &station_menu.draft {
                Some(draft) => draft_words(*which, draft, keys),
                None => continue,
            },
            Words::OfferTitle | Words::OfferTerms | Words::OfferFoot => {
                let Some(offer) = view.trades.first() else { continue };
                match *which {
                    Words::OfferTitle => (format!("{} offers a trade", offer.partner), palette::PLAYER),
                    Words::OfferTerms => {
                        (format!("you get {}, you give {}", told(offer.get), told(offer.give)), palette::TEXT)
                    }
                    _ if book.is_open(offer.key) => ("answered: it is being settled...".to_owned(), palette::HULL_WORN),
                    _ => {
                        let left = (OFFER_SECONDS - offer.age_s).max(0.0).ceil();
                        let (yes, no) = (keys.first(Action::Accept), keys.first(Action::Decline));
                        (format!("{yes}  accept    {no}  decline    {left} s left"), palette::FAINT)
                    }
                }
            }
            Words::Prompt => prompt(&view, &book, keys),
        };
        if text.0 != words {
            text.0 = words;
        }
        color.set_if_neq(TextColor(palette.color(tint)));
    }
}

fn draft_words(which: Words, draft: &Draft, keys: &Bindings) -> (String, Tint) {
    match which {
        Words::DraftTitle => (format!("A trade with {}", draft.name), palette::PLAYER),
        Words::DraftField(field) => {
            let (mark, tint) = if draft.field == field { (">", palette::TEXT) } else { (" ", palette::FAINT) };
            (format!("{mark} {:<18}{:>8}", Draft::FIELDS[field.min(3)], draft.number(field)), tint)
        }
        _ => (
            format!(
                "Up Down  choose    Left Right  change\nShift  by 10    Enter  offer    {}  close",
                keys.first(Action::Trade)
            ),
            palette::FAINT,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{MiningTarget, OwnShip, PurseShown};
    use sidereal_protocol::{
        frames::messages::DealOutcome,
        packets::motion::EngineGlow,
        rules::{
            economy::Bargain,
            flight::{FlightState, HullKind},
        },
        world::ids::{EntityId, NetId},
    };

    #[test]
    fn the_prompt_tells_what_can_be_done_here() {
        let own = OwnShip {
            net_id: NetId(1),
            id: EntityId::default(),
            state: FlightState::default(),
            confirmed: FlightState::default(),
            glow: EngineGlow::default(),
            hull_kind: HullKind::Scout,
            hull: 1,
            hull_max: 1,
            radius: 9.0,
            name: "".into(),
            stalled: false,
        };
        let mut book = DealBook::default();
        let mut view = WorldView { own: Some(own), ..default() };
        let says = |view: &WorldView, book: &DealBook| prompt(view, book, &Bindings::default()).0;
        assert_eq!(says(&view, &book), "");
        view.mining = Some(MiningTarget { rock: NetId(3), works: false });
        assert_eq!(says(&view, &book), "hold C to mine");
        view.purse = Some(PurseShown { ore: 60, hold: 60, ..default() });
        assert!(says(&view, &book).starts_with("the hold is full"));
        view.dock = Dock::InReach { station: NetId(9), name: "Meridian".into(), too_fast: true };
        assert!(says(&view, &book).starts_with("too fast to dock at Meridian"));
        view.dock = Dock::InReach { station: NetId(9), name: "Meridian".into(), too_fast: false };
        assert_eq!(says(&view, &book), "V  dock at Meridian");
        let key = book.ask(Bargain::Dock).unwrap();
        assert_eq!(says(&view, &book), "docking...");
        book.receive(key, DealOutcome::Undecided, "", 0.0);
        assert!(says(&view, &book).starts_with("a deal is not decided"));
    }

    #[test]
    fn goods_are_told_in_words() {
        assert_eq!(told(Goods::default()), "nothing");
        assert_eq!(told(Goods { ore: 3, credits: 0 }), "3 ore");
        assert_eq!(told(Goods { ore: 3, credits: 7 }), "3 ore and 7 credits");
    }
}
