//! A trader in a small world of its own: rocks, a station, and a market that grants every request.

use super::*;
use crate::brain::{Brain, Mission};
use proptest::prelude::*;
use sidereal_protocol::{
    packets::motion::EngineGlow,
    rules::{
        economy::{MINING_BITE, MINING_INTERVAL_TICKS, STATION_RADIUS},
        flight::{FlightState, step},
    },
    world::ids::EntityId,
};
use std::sync::Arc;
use uuid::Uuid;

const STATION: NetId = NetId(9);
const PARTNER: NetId = NetId(8);

fn other(net_id: NetId, kind: EntityKind, at: DVec2, radius: f64, ore: Option<u32>) -> Other {
    Other {
        net_id,
        id: EntityId::from_halves(2, u64::from(net_id.0)),
        kind,
        hull_kind: (kind == EntityKind::Ship).then_some(HullKind::Scout),
        name: Arc::from(""),
        owner: None,
        state: FlightState { position: at, ..Default::default() },
        glow: EngineGlow::default(),
        hull: 100,
        hull_max: 100,
        radius,
        ore,
        silent_s: 0.0,
    }
}

/// The world, its rules, and what happened.
struct World {
    view: WorldView,
    brain: Brain,
    tick: u64,
    asked: Vec<(u64, Ask)>,
    /// The pending deal, and when it is answered.
    open: Option<(Bargain, u64)>,
    mined: u32,
    sold: u32,
}

impl World {
    fn new(seed: u64, at: DVec2) -> Self {
        let mut view = WorldView::default();
        let state = FlightState { position: at, ..Default::default() };
        view.own = Some(OwnShip {
            net_id: NetId(1),
            id: EntityId::from_halves(1, 1),
            state,
            confirmed: state,
            glow: EngineGlow::default(),
            hull_kind: HullKind::Scout,
            hull: 80,
            hull_max: 100,
            radius: 9.0,
            name: Arc::from("bot"),
            stalled: false,
        });
        view.purse = Some(PurseShown { hold: HullKind::Scout.hold(), ..Default::default() });
        let rocks = [(600.0, 100.0, 30.0), (500.0, 420.0, 24.0), (720.0, 300.0, 40.0)];
        for (index, (x, y, radius)) in rocks.into_iter().enumerate() {
            let id = NetId(20 + index as u32);
            view.others.insert(id, other(id, EntityKind::Asteroid, DVec2::new(x, y), radius, Some(300)));
        }
        let station = other(STATION, EntityKind::Station, DVec2::new(280.0, 280.0), STATION_RADIUS, None);
        view.others.insert(STATION, station);
        Self { view, brain: Brain::new(seed, 1), tick: 0, asked: Vec::new(), open: None, mined: 0, sold: 0 }
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 30 {
            self.step();
        }
    }

    fn step(&mut self) {
        self.tick += 1;
        self.view.time_s = self.tick as f64 / 30.0;
        let decision = self.brain.decide(&self.view, Mission::Trade);
        if let Some(ask) = decision.ask {
            self.asked.push((self.tick, ask));
            if let Ask::Bargain(bargain) = ask {
                bargain.validate().unwrap();
                assert!(self.open.is_none(), "one deal at a time: {bargain:?}");
                self.open = Some((bargain, self.tick + 6));
            }
        }
        if let Some((bargain, due)) = self.open
            && self.tick >= due
        {
            self.settle(bargain);
            self.open = None;
        }
        self.view.deals_open = usize::from(self.open.is_some());
        self.fly(decision.controls);
    }

    fn fly(&mut self, controls: Controls) {
        let own = self.view.own.as_mut().unwrap();
        let purse = self.view.purse.as_mut().unwrap();
        if purse.docked.is_some() {
            return;
        }
        own.state = step(&own.state, controls, &own.hull_kind.spec());
        let station = &self.view.others[&STATION];
        let edge = own.state.position.distance(station.state.position) - station.radius;
        let too_fast = own.state.velocity.length() > sidereal_protocol::rules::economy::DOCKING_SPEED;
        self.view.dock = match edge <= DOCKING_RANGE {
            true => Dock::InReach { station: STATION, name: Arc::from(""), too_fast },
            false => Dock::Away,
        };
        if controls.holds(Controls::MINE) && self.tick.is_multiple_of(MINING_INTERVAL_TICKS) {
            let rock = mining::target(&own.state, self.view.others.values()).map(|rock| rock.net_id);
            if let Some(ore) = rock.and_then(|rock| self.view.others.get_mut(&rock)).and_then(|rock| rock.ore.as_mut())
            {
                let bite = MINING_BITE.min(*ore).min(purse.room());
                *ore -= bite;
                purse.ore += bite;
                self.mined += bite;
            }
        }
    }

    fn settle(&mut self, bargain: Bargain) {
        let own = self.view.own.as_mut().unwrap();
        let purse = self.view.purse.as_mut().unwrap();
        match bargain {
            Bargain::Dock => {
                assert!(matches!(self.view.dock, Dock::InReach { too_fast: false, .. }), "{:?}", self.view.dock);
                purse.docked = Some(STATION);
                own.state.velocity = DVec2::ZERO;
                self.view.dock = Dock::Docked { station: STATION, name: Arc::from("") };
            }
            Bargain::Undock => {
                purse.docked = None;
                self.view.dock = Dock::Away;
            }
            Bargain::Sell { ore } if ore <= purse.ore => {
                purse.ore -= ore;
                purse.credits += u64::from(ore) * ORE_PRICE;
                self.sold += ore;
            }
            Bargain::Store { ore } => {
                purse.ore -= ore;
                purse.stored += ore;
            }
            Bargain::Take { ore } => {
                purse.stored -= ore;
                purse.ore += ore;
                assert!(purse.ore <= purse.hold);
            }
            Bargain::Repair => {
                purse.credits -= u64::from(own.hull_max - own.hull) * REPAIR_PRICE;
                own.hull = own.hull_max;
            }
            Bargain::BuyWeapon(weapon) => {
                purse.credits -= weapon.spec().price;
                purse.fitted = purse.fitted.with(weapon);
            }
            Bargain::BuyHull(hull) => {
                purse.credits -= hull.price().unwrap();
                (own.hull_kind, own.radius, purse.hold) = (hull, hull.spec().radius, hull.hold());
                (own.hull, own.hull_max) = (hull.spec().hull, hull.spec().hull);
                purse.fitted = Default::default();
            }
            // Refused: there is not enough ore, or the offer is not accepted.
            Bargain::Sell { .. } | Bargain::Offer { .. } | Bargain::Accept | Bargain::Decline => {}
        }
    }

    fn bargains(&self) -> Vec<Bargain> {
        let bargain = |(_, ask): &(u64, Ask)| match ask {
            Ask::Bargain(bargain) => Some(*bargain),
            Ask::Answer(..) => None,
        };
        self.asked.iter().filter_map(bargain).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// From any start: it mines, docks, sells, leaves, and returns.
    #[test]
    fn ore_is_mined_and_brought_to_the_station_again_and_again(
        seed in any::<u64>(), x in -200.0f64..900.0, y in -200.0f64..900.0
    ) {
        let mut world = World::new(seed, DVec2::new(x, y));
        world.run(240);
        let bargains = world.bargains();
        let count = |wanted: Bargain| bargains.iter().filter(|bargain| **bargain == wanted).count();
        prop_assert!(world.mined >= 60 && world.sold > 0, "{} mined, {} sold: {bargains:?}", world.mined, world.sold);
        prop_assert!(count(Bargain::Dock) >= 2 && count(Bargain::Undock) >= 2, "{bargains:?}");
        let rate = world.asked.len();
        prop_assert!(rate < 240, "{rate} deals in 240 s");
    }
}

#[test]
fn same_seed_same_deeds() {
    let deeds = |seed| {
        let mut world = World::new(seed, DVec2::new(300.0, 100.0));
        world.run(120);
        (world.asked, world.view.own.unwrap().state)
    };
    assert_eq!(deeds(5), deeds(5));
    assert_ne!(deeds(5), deeds(6));
}

#[test]
fn with_credits_hulls_weapons_and_repairs_are_bought_and_ore_is_stored_and_taken() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..12 {
        let mut world = World::new(seed, DVec2::new(300.0, 100.0));
        world.view.purse.as_mut().unwrap().credits = 5_000;
        world.run(240);
        for bargain in world.bargains() {
            let debug = format!("{bargain:?}");
            seen.insert(debug.split(|letter: char| !letter.is_alphanumeric()).next().unwrap().to_owned());
        }
    }
    for wanted in ["BuyHull", "BuyWeapon", "Dock", "Repair", "Sell", "Store", "Take", "Undock"] {
        assert!(seen.contains(wanted), "{wanted} is missing in {seen:?}");
    }
}

#[test]
fn an_offer_is_made_to_who_is_near_and_is_within_what_there_is() {
    let mut offers = 0;
    for seed in 0..8 {
        let mut world = World::new(seed, DVec2::new(300.0, 100.0));
        world.view.purse.as_mut().unwrap().credits = 100;
        let partner = other(PARTNER, EntityKind::Ship, DVec2::new(400.0, 200.0), 9.0, None);
        world.view.others.insert(PARTNER, partner);
        for _ in 0..120 * 30 {
            let (purse, before) = (world.view.purse.unwrap(), world.asked.len());
            world.step();
            if let Some((_, Ask::Bargain(Bargain::Offer { to, give, want }))) = world.asked.get(before) {
                assert_eq!(*to, PARTNER);
                assert!(give.ore <= purse.ore && give.credits <= purse.credits, "{give:?} of {purse:?}");
                assert!(want.ore <= purse.room(), "{want:?} into {purse:?}");
                offers += 1;
            }
        }
    }
    assert!((8..200).contains(&offers), "{offers}");
}

#[test]
fn an_offer_is_answered_once_and_never_taken_up_when_it_cannot_be_paid() {
    let (mut taken, mut declined) = (0, 0);
    for seed in 0..40 {
        let mut world = World::new(seed, DVec2::new(300.0, 100.0));
        world.view.purse.as_mut().unwrap().credits = 20;
        for (index, credits) in [(0u128, 10), (1, 1_000)] {
            world.view.trades.push(TradeOffer {
                key: DealKey(Uuid::from_u128(index)),
                partner: "Ada".to_owned(),
                get: Goods { ore: 4, credits: 0 },
                give: Goods { ore: 0, credits },
                age_s: 0.0,
            });
        }
        world.run(5);
        let answers: Vec<_> = world
            .asked
            .iter()
            .filter_map(
                |(_, ask)| if let Ask::Answer(key, accept) = ask { Some((key.0.as_u128(), *accept)) } else { None },
            )
            .collect();
        assert_eq!(answers.len(), 2, "{answers:?}");
        assert!(answers.contains(&(1, false)), "{answers:?}");
        taken += usize::from(answers.contains(&(0, true)));
        declined += usize::from(answers.contains(&(0, false)));
    }
    assert!(taken > 20 && declined > 1, "{taken} {declined}");
}

#[test]
fn a_crate_is_fetched_before_rocks_are_mined() {
    let mut world = World::new(3, DVec2::new(300.0, 100.0));
    let at = DVec2::new(300.0, -200.0);
    world.view.others.insert(NetId(50), other(NetId(50), EntityKind::Crate, at, 4.0, Some(12)));
    let mut nearest = f64::INFINITY;
    for _ in 0..15 * 30 {
        world.step();
        nearest = nearest.min(world.view.own.as_ref().unwrap().state.position.distance(at));
    }
    assert!(nearest < sidereal_protocol::rules::economy::SCOOP_RANGE, "{nearest}");
}
