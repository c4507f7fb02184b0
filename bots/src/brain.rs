//! A bot's pilot: decides the controls from the view.
//!
//! Pure: the same seed and the same views give the same flight. It uses only what a player can see.

use crate::{
    flying::{around_rocks, bearing_error, fly, turn_for},
    trader::{Ask, Trader},
};
use bevy::math::DVec2;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use sidereal_client::view::{Other, OwnShip, WorldView};
use sidereal_protocol::{
    rules::{
        flight::Controls,
        shot::BULLET_SPEED,
        tool::{Act, Tool},
    },
    world::sector::{BLOCK_SECTORS, SECTOR_SIZE},
};
use std::ops::Range;

/// Side of a block, units: shards may meet at its multiples.
const BLOCK_UNITS: f64 = BLOCK_SECTORS as f64 * SECTOR_SIZE;

/// A waypoint is reached within this distance, units.
const ARRIVED_UNITS: f64 = 80.0;

/// How near a target must be to be attacked, units.
const ATTACK_UNITS: f64 = 380.0;

/// How long an attack lasts before the pilot flies on, seconds; and how long it then flies without attacking.
const ATTACK_S: f64 = 6.0;
const ROAM_S: f64 = 9.0;

/// How a pilot uses a weapon that reloads slowly.
struct Habit {
    tool: Tool,
    /// Time between two requests, seconds: longer than the weapon's reload time, and different each time.
    every_s: Range<f64>,
    /// How well the ship must point at its target, radians.
    aim: f64,
}

/// The weapons beside the gun. A missile steers itself.
const HABITS: [Habit; 2] = [
    Habit { tool: Tool::Launcher, every_s: 4.0..12.0, aim: 0.5 },
    Habit { tool: Tool::Beam, every_s: 1.2..5.0, aim: 0.08 },
];

/// A waypoint that was not reached within this time, seconds, is given up: the way is blocked.
const LEG_S: f64 = 20.0;

/// How long a pilot waits before it requests a new ship, seconds.
const RESPAWN_S: f64 = 1.5;

/// The mission of the fleet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mission {
    /// Fly across the borders around the nearest corner of blocks, and fight what is near.
    Roam,
    /// Circle around this point, within 200 units, in view of each other, without firing.
    Gather(DVec2),
    /// Mine, deal at stations, and trade with each other.
    Trade,
}

/// A pilot's decision in one tick.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Decision {
    /// The ship's controls.
    pub controls: Controls,
    /// Request a new ship.
    pub respawn: bool,
    /// A deal to request.
    pub ask: Option<Ask>,
}

/// One pilot.
#[derive(Debug)]
pub struct Brain {
    random: Pcg64Mcg,
    /// The radius of the pilot's circle when gathered, units.
    circle_units: f64,
    /// The corner of blocks that the pilot flies around.
    pivot: Option<DVec2>,
    waypoint: Option<DVec2>,
    leg_until_s: f64,
    quadrant: usize,
    attack_until_s: f64,
    roam_until_s: f64,
    /// When each of [`HABITS`] is due again, seconds.
    weapon_next_s: [f64; HABITS.len()],
    destroyed_at_s: Option<f64>,
    trader: Trader,
}

impl Brain {
    /// Pilot `index` of a fleet with this seed.
    pub fn new(seed: u64, index: u32) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed ^ (u64::from(index) << 32 | 0x9E37_79B9));
        let circle_units = random.random_range(70.0..190.0);
        let quadrant = random.random_range(0..4);
        Self {
            random,
            circle_units,
            pivot: None,
            waypoint: None,
            leg_until_s: 0.0,
            quadrant,
            attack_until_s: 0.0,
            roam_until_s: 0.0,
            weapon_next_s: [0.0; HABITS.len()],
            destroyed_at_s: None,
            trader: Trader::new(seed, index),
        }
    }

    /// Decides by the view.
    pub fn decide(&mut self, view: &WorldView, mission: Mission) -> Decision {
        let now = view.time_s;
        let Some(own) = &view.own else {
            let since = *self.destroyed_at_s.get_or_insert(now);
            self.trader.start_over();
            return Decision { respawn: now - since >= RESPAWN_S, ..Default::default() };
        };
        self.destroyed_at_s = None;
        let (controls, ask) = match mission {
            Mission::Gather(center) => (self.circle(own, center), None),
            Mission::Roam => (self.roam(own, view, now), None),
            Mission::Trade => {
                let deed = self.trader.decide(own, view);
                (deed.controls.unwrap_or_else(|| self.travel(own, view, now)), deed.ask)
            }
        };
        Decision { controls, respawn: false, ask }
    }

    fn roam(&mut self, own: &OwnShip, view: &WorldView, now: f64) -> Controls {
        if let Some(target) = self.target(own, view, now) {
            let mut controls = attack(own, target);
            controls.buttons |= self.special_weapons(own, view, target, now);
            return controls;
        }
        self.travel(own, view, now)
    }

    /// Flies on without attacking.
    fn travel(&mut self, own: &OwnShip, view: &WorldView, now: f64) -> Controls {
        let waypoint = self.waypoint(own, now);
        let way = waypoint - own.state.position;
        let mut controls = fly(own, around_rocks(own, view, way.normalize_or_zero(), None) * 230.0);
        // With the booster on long straights: fast crossings are useful.
        if way.length() > 500.0 && controls.thrust == 127 {
            controls.buttons |= Controls::BOOST;
        }
        controls
    }

    /// Sometimes a missile or a beam, when it is ready and the target is in front of the ship: the buttons. Each is
    /// held until the weapon is seen to fire, because a press between two samples is lost.
    fn special_weapons(&mut self, own: &OwnShip, view: &WorldView, target: &Other, now: f64) -> u8 {
        let way = target.state.position - own.state.position;
        let error = bearing_error(own, way).abs();
        let mut buttons = 0;
        for (Habit { tool, every_s, aim }, next_s) in HABITS.into_iter().zip(&mut self.weapon_next_s) {
            let in_reach = match tool.spec().act {
                Act::Ray { range } => way.length() < range + target.radius,
                _ => true,
            };
            if now < *next_s {
                continue;
            }
            if view.arms.of(tool) < 1.0 {
                *next_s = now + self.random.random_range(every_s);
            } else if error < aim && in_reach {
                buttons |= tool.spec().button;
            }
        }
        buttons
    }

    /// Selects the target: the nearest ship or drone within reach, for some seconds at a time.
    fn target<'a>(&mut self, own: &OwnShip, view: &'a WorldView, now: f64) -> Option<&'a Other> {
        if now < self.roam_until_s {
            return None;
        }
        let nearest = view
            .others
            .values()
            .filter(|other| other.kind.spec().is_target)
            .map(|other| (other.state.position.distance(own.state.position), other))
            .filter(|(distance, _)| *distance < ATTACK_UNITS)
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let (_, target) = nearest?;
        if self.attack_until_s <= self.roam_until_s {
            self.attack_until_s = now + ATTACK_S;
        }
        if now >= self.attack_until_s {
            self.roam_until_s = now + ROAM_S;
            return None;
        }
        Some(target)
    }

    /// The next waypoint: each is in the next quadrant around the pivot, so that each leg crosses a border of blocks.
    fn waypoint(&mut self, own: &OwnShip, now: f64) -> DVec2 {
        let position = own.state.position;
        let pivot = *self.pivot.get_or_insert_with(|| (position / BLOCK_UNITS).round() * BLOCK_UNITS);
        if let Some(waypoint) = self.waypoint
            && waypoint.distance(position) > ARRIVED_UNITS
            && now < self.leg_until_s
        {
            return waypoint;
        }
        self.quadrant = (self.quadrant + self.random.random_range(1..4)) % 4;
        let signs = [(1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0)][self.quadrant];
        // Mostly near the corner, where shards meet; sometimes some sectors further out.
        let reach = if self.random.random_bool(0.3) { 700.0..1600.0 } else { 120.0..700.0 };
        let mut side = || self.random.random_range(reach.clone());
        let waypoint = pivot + DVec2::new(signs.0 * side(), signs.1 * side());
        self.waypoint = Some(waypoint);
        self.leg_until_s = now + LEG_S;
        waypoint
    }

    fn circle(&mut self, own: &OwnShip, center: DVec2) -> Controls {
        let out = own.state.position - center;
        let distance = out.length();
        if distance > 260.0 {
            // On the way: fast, but slow enough at the end to stop.
            let speed = (distance * 0.8).clamp(60.0, 220.0);
            return fly(own, -out.normalize_or_zero() * speed);
        }
        let outward = if distance > 1.0 { out / distance } else { DVec2::X };
        let inward_speed = (distance - self.circle_units).clamp(-40.0, 40.0);
        fly(own, outward.perp() * 60.0 - outward * inward_speed)
    }
}

/// Pursues the target and shoots with lead.
fn attack(own: &OwnShip, target: &Other) -> Controls {
    let way = target.state.position - own.state.position;
    let distance = way.length();
    let seconds = distance / BULLET_SPEED;
    let aim = way + (target.state.velocity - own.state.velocity) * seconds;
    let error = bearing_error(own, aim);
    let closing = distance > 120.0 && error.abs() < 0.7;
    let mut controls = Controls { thrust: if closing { 90 } else { 0 }, turn: turn_for(error), buttons: 0 };
    if error.abs() < 0.1 && distance < 360.0 {
        controls.buttons |= Tool::Gun.spec().button;
    }
    controls
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sidereal_client::weapons::arms::Arms;
    use sidereal_protocol::{
        packets::motion::EngineGlow,
        rules::{
            flight::{FlightState, HullKind, step},
            shot::{BEAM_INTERVAL_TICKS, MISSILE_INTERVAL_TICKS},
        },
        world::{
            ids::{EntityId, NetId},
            kind::EntityKind,
            sector::SectorId,
            tick::SimTick,
        },
    };
    use std::collections::BTreeSet;
    use std::sync::Arc;

    fn view_of(state: FlightState, time_s: f64) -> WorldView {
        let mut view = WorldView { time_s, ..Default::default() };
        view.own = Some(OwnShip {
            net_id: NetId(1),
            id: EntityId::from_halves(1, 1),
            state,
            confirmed: state,
            glow: EngineGlow::default(),
            hull_kind: HullKind::Scout,
            hull: 100,
            hull_max: 100,
            radius: 9.0,
            name: Arc::from("bot"),
            stalled: false,
        });
        view
    }

    fn other(kind: EntityKind, position: DVec2) -> Other {
        Other {
            net_id: NetId(2),
            id: EntityId::from_halves(2, 2),
            kind,
            hull_kind: None,
            name: Arc::from(""),
            owner: None,
            state: FlightState { position, ..Default::default() },
            glow: EngineGlow::default(),
            hull: 1,
            hull_max: 1,
            radius: 8.0,
            ore: None,
            silent_s: 0.0,
        }
    }

    /// Flies `seconds` alone; returns every state.
    fn flight(brain: &mut Brain, mission: Mission, from: DVec2, seconds: usize) -> Vec<FlightState> {
        let mut state = FlightState { position: from, ..Default::default() };
        (0..seconds * 30)
            .map(|tick| {
                let decision = brain.decide(&view_of(state, tick as f64 / 30.0), mission);
                state = step(&state, decision.controls, &HullKind::Scout.spec());
                state
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// From any start, a roaming pilot is in several blocks within a minute.
        #[test]
        fn roaming_crosses_the_borders_of_blocks(
            seed in any::<u64>(), x in -3000.0f64..3000.0, y in -3000.0f64..3000.0
        ) {
            let states = flight(&mut Brain::new(seed, 1), Mission::Roam, DVec2::new(x, y), 60);
            let blocks: Vec<_> =
                states.iter().map(|state| SectorId::containing(state.position).block()).collect();
            let crossings = blocks.windows(2).filter(|pair| pair[0] != pair[1]).count();
            let different: BTreeSet<_> = blocks.iter().collect();
            prop_assert!(crossings >= 3 && different.len() >= 2, "{} {}", crossings, different.len());
        }

        /// From any start, a gathered pilot reaches the spot, and keeps moving there.
        #[test]
        fn gathering_pilots_stay_within_200_units(
            seed in any::<u64>(), x in -900.0f64..900.0, y in -900.0f64..900.0
        ) {
            let center = DVec2::new(500.0, 500.0);
            let from = center + DVec2::new(x, y);
            let states = flight(&mut Brain::new(seed, 3), Mission::Gather(center), from, 60);
            for state in &states[40 * 30..] {
                prop_assert!(state.position.distance(center) < 215.0, "{:?}", state.position);
            }
            let way: f64 = states[40 * 30..]
                .windows(2)
                .map(|pair| pair[0].position.distance(pair[1].position))
                .sum();
            prop_assert!(way > 300.0, "{way}");
        }
    }

    #[test]
    fn same_seed_same_flight() {
        let from = DVec2::new(10.0, 20.0);
        let one = flight(&mut Brain::new(5, 2), Mission::Roam, from, 20);
        assert_eq!(one, flight(&mut Brain::new(5, 2), Mission::Roam, from, 20));
        assert_ne!(one, flight(&mut Brain::new(5, 3), Mission::Roam, from, 20));
    }

    #[test]
    fn a_drone_ahead_is_shot_at_a_rock_is_not() {
        for (kind, shoots) in [(EntityKind::Drone, true), (EntityKind::Asteroid, false)] {
            let mut view = view_of(FlightState::default(), 100.0);
            view.others.insert(NetId(2), other(kind, DVec2::new(200.0, 0.0)));
            let decision = Brain::new(1, 1).decide(&view, Mission::Roam);
            assert_eq!(decision.controls.holds(Controls::FIRE), shoots, "{kind:?}");
        }
    }

    /// Ten seconds with a drone in front; returns when each weapon was requested. The ship applies one of `samples`
    /// ticks.
    fn fight(seed: u64, samples: u64) -> [Vec<u64>; 3] {
        let (mut brain, mut arms) = (Brain::new(seed, 1), Arms::default());
        let mut wanted = [Controls::FIRE, Controls::LAUNCH, Controls::BEAM].map(|button| (button, Vec::new()));
        for tick in 0..300u64 {
            let mut view = view_of(FlightState::default(), 100.0 + tick as f64 / 30.0);
            view.others.insert(NetId(2), other(EntityKind::Drone, DVec2::new(200.0, 0.0)));
            view.arms = arms.readiness(tick as f64);
            let controls = brain.decide(&view, Mission::Roam).controls;
            if tick % samples == 0 {
                arms.trigger(controls, SimTick(tick));
            }
            for (button, ticks) in &mut wanted {
                ticks.extend(controls.holds(*button).then_some(tick));
            }
        }
        wanted.map(|(_, ticks)| ticks)
    }

    #[test]
    fn missiles_and_beams_are_used_now_and_then_and_never_before_they_are_ready() {
        let [shots, missiles, beams] = fight(3, 1);
        assert!(shots.len() > 100, "{}", shots.len());
        assert!((1..=3).contains(&missiles.len()) && (2..=5).contains(&beams.len()), "{missiles:?} {beams:?}");
        assert!(missiles.windows(2).all(|pair| pair[1] - pair[0] >= MISSILE_INTERVAL_TICKS));
        assert!(beams.windows(2).all(|pair| pair[1] - pair[0] >= BEAM_INTERVAL_TICKS));
        assert_eq!(fight(3, 1), [shots, missiles, beams], "same seed, same fight");
        // With ticks that are not applied, a button is held until the next one that is.
        let [_, _, beams] = fight(3, 4);
        assert!(beams.iter().filter(|tick| *tick % 4 == 0).count() >= 2, "{beams:?}");
        assert!(beams.iter().filter(|tick| *tick % 4 != 0).count() >= 1, "{beams:?}");
        let went_off: Vec<_> = beams.iter().filter(|tick| *tick % 4 == 0).collect();
        assert!(went_off.windows(2).all(|pair| pair[1] - pair[0] >= BEAM_INTERVAL_TICKS), "{beams:?}");
    }

    #[test]
    fn a_missile_is_no_target() {
        let mut view = view_of(FlightState::default(), 100.0);
        view.others.insert(NetId(2), other(EntityKind::Missile, DVec2::new(200.0, 0.0)));
        assert_eq!(Brain::new(1, 1).decide(&view, Mission::Roam).controls.buttons & !Controls::BOOST, 0);
    }

    #[test]
    fn a_rock_on_the_way_is_flown_around() {
        let here = view_of(FlightState::default(), 0.0);
        let own = here.own.as_ref().unwrap();
        assert_eq!(around_rocks(own, &here, DVec2::X, None), DVec2::X);
        let mut view = here.clone();
        view.others.insert(NetId(2), other(EntityKind::Asteroid, DVec2::new(120.0, 10.0)));
        let around = around_rocks(own, &view, DVec2::X, None);
        assert!(around.y < -0.3, "{around}");
        view.others.insert(NetId(2), other(EntityKind::Asteroid, DVec2::new(120.0, 200.0)));
        assert_eq!(around_rocks(own, &view, DVec2::X, None), DVec2::X);
    }

    #[test]
    fn a_destroyed_pilot_asks_for_a_new_ship_after_a_moment() {
        let mut brain = Brain::new(1, 1);
        let mut view = WorldView { time_s: 10.0, ..Default::default() };
        assert!(!brain.decide(&view, Mission::Roam).respawn);
        view.time_s += RESPAWN_S;
        assert!(brain.decide(&view, Mission::Roam).respawn);
    }
}
