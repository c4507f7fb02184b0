//! A trading pilot: mines, flies to a station, deals there, and trades with players nearby.
//!
//! Pure: the same seed and the same views give the same actions. It uses only what a player can see.

use crate::flying::{around_rocks, bearing_error, fly, turn_for};
use bevy::math::DVec2;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use sidereal_client::{
    economy::mining,
    view::{Dock, Other, OwnShip, PurseShown, TradeOffer, WorldView},
    weapons::tractor,
};
use sidereal_protocol::{
    rules::{
        economy::{
            Bargain, DOCKING_RANGE, DealKey, Goods, MINING_RANGE, ORE_PRICE, REPAIR_PRICE, TRADING_RANGE, Weapon,
        },
        flight::{Controls, HullKind},
        tool::Tool,
    },
    world::{
        ids::NetId,
        kind::{EntityKind, Ore},
    },
};
use std::{collections::VecDeque, ops::Range};

/// The longest time that a pilot mines before it delivers, seconds.
const MINE_S: Range<f64> = 8.0..25.0;

/// Time between two deals at a station, seconds: the new balances must arrive in between.
const PAUSE_S: Range<f64> = 0.5..1.5;

/// Time between two offers, seconds; and the time before an offer is answered.
const OFFER_S: Range<f64> = 8.0..25.0;
const THINK_S: Range<f64> = 0.5..3.0;

/// Time between two attempts to dock, seconds.
const DOCK_AGAIN_S: f64 = 2.0;

/// A rock that was not reached within this time, seconds, is given up: the way is blocked.
const LEG_S: f64 = 25.0;

/// How near a crate must be for a pilot to fetch it, units.
const CRATE_UNITS: f64 = 500.0;

/// The most stations, and offers, that a pilot remembers; the oldest is dropped.
const MAX_MEMORIES: usize = 16;

/// The distance to a rock or a station at which a ship stops, units from edge to edge.
const STANDOFF_UNITS: f64 = 35.0;

/// The highest speed on the way to a destination, units/s.
const CRUISE: f64 = 200.0;

/// A pilot's request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ask {
    /// A deal, under a new key.
    Bargain(Bargain),
    /// The answer to the offer of this key: accept or decline.
    Answer(DealKey, bool),
}

/// A pilot's present task.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Errand {
    /// Gather ore, until this moment at the latest.
    Mine { until_s: f64 },
    /// Bring the ore to a station.
    Deliver,
    /// Deal at a station; `step` things are done.
    Visit { step: u32 },
}

/// A trader's decision in one tick.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Deed {
    /// The ship's controls; `None`: there is nothing to do here, fly on and search.
    pub controls: Option<Controls>,
    /// A deal to request.
    pub ask: Option<Ask>,
}

/// The state of one pilot's trading.
#[derive(Debug)]
pub struct Trader {
    random: Pcg64Mcg,
    errand: Option<Errand>,
    rock: Option<(NetId, f64)>,
    given_up: VecDeque<NetId>,
    stations: VecDeque<(NetId, DVec2)>,
    next_deal_s: f64,
    next_offer_s: Option<f64>,
    /// Received offers, and when they are answered.
    offers: VecDeque<(DealKey, f64)>,
}

impl Trader {
    /// The trading of pilot `index` of a fleet with this seed.
    pub fn new(seed: u64, index: u32) -> Self {
        Self {
            random: Pcg64Mcg::seed_from_u64(seed ^ (u64::from(index) << 32 | 0x0DD5_EA50)),
            errand: None,
            rock: None,
            given_up: VecDeque::new(),
            stations: VecDeque::new(),
            next_deal_s: 0.0,
            next_offer_s: None,
            offers: VecDeque::new(),
        }
    }

    /// The ship is gone with its cargo.
    pub fn start_over(&mut self) {
        self.errand = None;
        self.rock = None;
    }

    /// Decides by the view.
    pub fn decide(&mut self, own: &OwnShip, view: &WorldView) -> Deed {
        let now = view.time_s;
        self.remember_stations(view);
        let Some(purse) = view.purse else { return Deed::default() };
        if let Some(ask) = self.answer(view, &purse, now).or_else(|| self.offer(own, view, &purse, now)) {
            return Deed { controls: Some(Controls::default()), ask: Some(ask) };
        }
        if matches!(view.dock, Dock::Docked { .. }) {
            let step = if let Some(Errand::Visit { step }) = self.errand { step } else { 0 };
            return self.visit(own, view, &purse, step, now);
        }
        if let Some(Errand::Visit { .. }) = self.errand {
            self.errand = None;
        }
        let until_s = now + self.random.random_range(MINE_S);
        let errand = *self.errand.get_or_insert(Errand::Mine { until_s });
        let is_over = matches!(errand, Errand::Mine { until_s } if now >= until_s && purse.ore > 0);
        if purse.room() == 0 || is_over {
            self.errand = Some(Errand::Deliver);
        }
        match self.errand {
            Some(Errand::Deliver) => self.deliver(own, view, now),
            _ => Deed { controls: self.mine(own, view, now), ask: None },
        }
    }

    fn remember_stations(&mut self, view: &WorldView) {
        for station in view.others.values().filter(|other| other.kind == EntityKind::Station) {
            let at = station.state.position;
            if self.stations.iter().all(|(_, known)| known.distance(at) > 1.0) {
                remember(&mut self.stations, (station.net_id, at));
            }
        }
    }

    fn mine(&mut self, own: &OwnShip, view: &WorldView, now: f64) -> Option<Controls> {
        let at = own.state.position;
        let crates = view.others.values().filter(|other| other.kind.spec().ore == Ore::Cargo && has_ore(other));
        if let Some((distance, found)) = nearest(at, crates)
            && distance < CRATE_UNITS
        {
            let way = (found.state.position - at).normalize_or_zero();
            let speed = (distance * 0.7).clamp(25.0, CRUISE);
            let mut controls = fly(own, around_rocks(own, view, way, None) * speed + found.state.velocity);
            if tractor::own_target(view, own).is_some_and(|pulled| pulled.net_id == found.net_id) {
                controls.buttons |= Tool::TractorBeam.spec().button;
            }
            return Some(controls);
        }
        let rock = self.choose_rock(own, view, now)?;
        let way = rock.state.position - at;
        let edge = way.length() - rock.radius - own.radius;
        let mut controls = if edge < MINING_RANGE * 0.7 && own.state.velocity.length() < 40.0 {
            // Near enough: turn to it, and stay.
            Controls { turn: turn_for(bearing_error(own, way)), buttons: Controls::BRAKE, thrust: 0 }
        } else {
            approach(own, view, way, edge, rock.net_id)
        };
        if mining::target(&own.state, view.others.values()).is_some() {
            controls.buttons |= Tool::MiningLaser.spec().button;
        }
        Some(controls)
    }

    /// The present rock while there is ore in it, else the nearest one with ore.
    fn choose_rock<'a>(&mut self, own: &OwnShip, view: &'a WorldView, now: f64) -> Option<&'a Other> {
        if let Some((net_id, since_s)) = self.rock
            && let Some(rock) = view.others.get(&net_id).filter(|rock| has_ore(rock))
        {
            if now - since_s < LEG_S {
                return Some(rock);
            }
            remember(&mut self.given_up, net_id);
        }
        let rocks = view.others.values().filter(|other| {
            other.kind.spec().ore == Ore::Deposit && has_ore(other) && !self.given_up.contains(&other.net_id)
        });
        let Some((_, rock)) = nearest(own.state.position, rocks) else {
            self.given_up.clear();
            return None;
        };
        self.rock = Some((rock.net_id, now));
        Some(rock)
    }

    fn deliver(&mut self, own: &OwnShip, view: &WorldView, now: f64) -> Deed {
        let still = Controls { buttons: Controls::BRAKE, ..Default::default() };
        if let Dock::InReach { too_fast, .. } = view.dock {
            let asks = !too_fast && view.deals_open == 0 && now >= self.next_deal_s;
            if asks {
                self.next_deal_s = now + DOCK_AGAIN_S;
            }
            return Deed { controls: Some(still), ask: asks.then_some(Ask::Bargain(Bargain::Dock)) };
        }
        let at = own.state.position;
        let station = self.stations.iter().min_by(|a, b| a.1.distance(at).total_cmp(&b.1.distance(at)));
        let controls = station.map(|(net_id, station)| {
            let way = *station - at;
            // It slows down so that it can dock on arrival.
            let speed = ((way.length() - DOCKING_RANGE) * 0.6).clamp(40.0, CRUISE);
            fly(own, around_rocks(own, view, way.normalize_or_zero(), Some(*net_id)) * speed)
        });
        Deed { controls, ask: None }
    }

    /// The deals at a station, one after the other.
    fn visit(&mut self, own: &OwnShip, view: &WorldView, purse: &PurseShown, step: u32, now: f64) -> Deed {
        let still = Deed { controls: Some(Controls::default()), ask: None };
        self.errand = Some(Errand::Visit { step });
        if view.deals_open > 0 || now < self.next_deal_s {
            return still;
        }
        self.next_deal_s = now + self.random.random_range(PAUSE_S);
        self.errand = Some(Errand::Visit { step: step + 1 });
        let bargain = match step {
            // Only looks at the balances, which have arrived meanwhile.
            0 => None,
            1 => self.take(purse),
            2 => self.store(purse),
            3 => self.sell(purse),
            4 => self.repair(own, purse),
            5 => self.buy_weapon(purse),
            6 => self.buy_hull(own, purse),
            _ => {
                self.next_deal_s = now + DOCK_AGAIN_S;
                self.rock = None;
                Some(Bargain::Undock)
            }
        };
        Deed { ask: bargain.map(Ask::Bargain), ..still }
    }

    fn take(&mut self, purse: &PurseShown) -> Option<Bargain> {
        let most = purse.stored.min(purse.room());
        (most > 0 && self.random.random_bool(0.4)).then(|| Bargain::Take { ore: self.random.random_range(1..=most) })
    }

    fn store(&mut self, purse: &PurseShown) -> Option<Bargain> {
        (purse.ore > 0 && self.random.random_bool(0.3))
            .then(|| Bargain::Store { ore: self.random.random_range(1..=purse.ore) })
    }

    fn sell(&mut self, purse: &PurseShown) -> Option<Bargain> {
        if purse.ore == 0 {
            return None;
        }
        // Sometimes more than there is, which must be refused.
        let ore = match self.random.random_range(0..10) {
            0 => purse.ore + 1,
            1..=3 => self.random.random_range(1..=purse.ore),
            _ => purse.ore,
        };
        Some(Bargain::Sell { ore })
    }

    fn repair(&mut self, own: &OwnShip, purse: &PurseShown) -> Option<Bargain> {
        let price = u64::from(own.hull_max.saturating_sub(own.hull)) * REPAIR_PRICE;
        (price > 0 && price <= purse.credits && self.random.random_bool(0.8)).then_some(Bargain::Repair)
    }

    fn buy_weapon(&mut self, purse: &PurseShown) -> Option<Bargain> {
        let weapon = Weapon::ALL[self.random.random_range(0..Weapon::ALL.len())];
        (self.random.random_bool(0.4) && !purse.fitted.has(weapon) && weapon.spec().price <= purse.credits)
            .then_some(Bargain::BuyWeapon(weapon))
    }

    fn buy_hull(&mut self, own: &OwnShip, purse: &PurseShown) -> Option<Bargain> {
        const SOLD: [HullKind; 3] = [HullKind::Scout, HullKind::Hauler, HullKind::Gunship];
        let hull = SOLD[self.random.random_range(0..SOLD.len())];
        let price = hull.price()?;
        let fits = hull != own.hull_kind && purse.ore <= hull.hold() && price <= purse.credits;
        (self.random.random_bool(0.25) && fits).then_some(Bargain::BuyHull(hull))
    }

    /// Offers are answered after some time, mostly accepted if possible.
    fn answer(&mut self, view: &WorldView, purse: &PurseShown, now: f64) -> Option<Ask> {
        for offer in &view.trades {
            if !self.offers.iter().any(|(key, _)| *key == offer.key) {
                let at_s = now + self.random.random_range(THINK_S);
                remember(&mut self.offers, (offer.key, at_s));
            }
        }
        let due = |offer: &&TradeOffer| self.offers.iter().any(|(key, at_s)| *key == offer.key && now >= *at_s);
        let offer = view.trades.iter().find(due)?;
        for (key, at_s) in &mut self.offers {
            if *key == offer.key {
                *at_s = f64::INFINITY;
            }
        }
        let can = offer.give.ore <= purse.ore
            && offer.give.credits <= purse.credits
            && offer.get.ore <= purse.room() + offer.give.ore;
        Some(Ask::Answer(offer.key, can && self.random.random_bool(0.8)))
    }

    fn offer(&mut self, own: &OwnShip, view: &WorldView, purse: &PurseShown, now: f64) -> Option<Ask> {
        let next_s = match self.next_offer_s {
            Some(next_s) => next_s,
            None => *self.next_offer_s.insert(now + self.random.random_range(OFFER_S)),
        };
        if now < next_s || view.deals_open > 0 {
            return None;
        }
        self.next_offer_s = Some(now + self.random.random_range(OFFER_S));
        let ships = view.others.values().filter(|other| other.is_player());
        let (distance, other) = nearest(own.state.position, ships)?;
        if distance > TRADING_RANGE * 0.9 {
            return None;
        }
        let price = self.random.random_range(1..=ORE_PRICE + 1);
        let (give, want) = if purse.ore > 0 && self.random.random_bool(0.5) {
            let ore = self.random.random_range(1..=purse.ore.min(10));
            (Goods { ore, credits: 0 }, Goods { ore: 0, credits: u64::from(ore) * price })
        } else {
            let most = purse.room().min(10).min(u32::try_from(purse.credits / price).unwrap_or(u32::MAX));
            if most == 0 {
                return None;
            }
            let ore = self.random.random_range(1..=most);
            (Goods { ore: 0, credits: u64::from(ore) * price }, Goods { ore, credits: 0 })
        };
        Some(Ask::Bargain(Bargain::Offer { to: other.net_id, give, want }))
    }
}

fn has_ore(other: &Other) -> bool {
    other.ore.is_none_or(|ore| ore > 0)
}

fn remember<T>(memories: &mut VecDeque<T>, memory: T) {
    if memories.len() >= MAX_MEMORIES {
        memories.pop_front();
    }
    memories.push_back(memory);
}

fn nearest<'a>(at: DVec2, others: impl Iterator<Item = &'a Other>) -> Option<(f64, &'a Other)> {
    others.map(|other| (other.state.position.distance(at), other)).min_by(|a, b| a.0.total_cmp(&b.0))
}

/// Approaches a body at `way`, whose edge is `edge` units away: fast, and slow at the end.
fn approach(own: &OwnShip, view: &WorldView, way: DVec2, edge: f64, what: NetId) -> Controls {
    let direction = around_rocks(own, view, way.normalize_or_zero(), Some(what));
    fly(own, direction * ((edge - STANDOFF_UNITS) * 0.5).clamp(-30.0, CRUISE))
}

#[cfg(test)]
#[path = "trader_tests.rs"]
mod tests;
