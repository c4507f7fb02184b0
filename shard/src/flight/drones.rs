//! Drones: they patrol around their home, chase ships nearby, and turn back when these are too far from it.
//!
//! Runs in the shard. A drone only sets controls, like a pilot. It waits while no ship is near enough to see it: then it
//! costs no more than a rock.

use crate::{
    app::{clock::SimClock, suspect},
    authority::replication::Replication,
    bodies::{
        authority::Authority,
        body::{Body, Flight, Helm},
        parts::{AppRecordParts, RecordPart},
        registry::Registry,
    },
    schedule::{HelmSystems, SimStep},
};
use avian2d::prelude::RigidBody;
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    record::{DroneMind, EntityRecord, Section},
    rules::{
        flight::{Controls, FlightState, HullSpec, wrap_angle},
        shot::BULLET_SPEED,
        tool::Tool,
    },
    world::{
        ids::EntityId,
        kind::EntityKind,
        sector::{CROSSING_MARGIN, SECTOR_SIZE},
        tick::TICK_SECONDS,
    },
};

/// Adds drones.
pub(crate) struct DronesPlugin;

impl Plugin for DronesPlugin {
    fn build(&self, app: &mut App) {
        app.add_record_part::<Drone>().add_systems(SimStep, fly_drones.in_set(HelmSystems::Drones));
    }
}

/// How far a drone detects a ship, units.
pub const SIGHT: f64 = 350.0;
/// Distance from its home at which it gives up, units: most of a sector.
pub const LEASH: f64 = 700.0;
/// Distance from its home within which it looks for a new target, units: so that it does not turn back and forth at
/// [`LEASH`].
pub const CALM: f64 = 400.0;
/// Range within which it shoots, units.
pub const RANGE: f64 = 300.0;
/// Largest aiming error with which it shoots, radians.
pub const AIM: f64 = 0.1;
/// Radius of its patrol, units.
pub const PATROL_RADIUS: f64 = 140.0;
/// Angular speed of its patrol, rad/s.
const PATROL_RATE: f64 = 0.35;
/// Distance to its target below which it does not thrust, units.
const CLOSE: f64 = 90.0;
/// Ticks between two searches for a target; each drone has a tick of its own.
const LOOK_EVERY_TICKS: u64 = 8;

/// Distance along an axis beyond which no ship sees a drone, units: a player sees the sectors next to the own one, up to
/// the margins of both.
const SEEN: f64 = 2.0 * SECTOR_SIZE + 4.0 * CROSSING_MARGIN;
/// Speed below which a waiting drone stops at once, units/s, and turning rate, rad/s.
const STOPS: f64 = 0.5;

/// What a drone detects of a ship.
#[derive(Debug, Clone, Copy)]
struct Sighted {
    id: EntityId,
    state: FlightState,
}

/// The state of an own drone.
#[derive(Component, Debug, Clone, Copy, PartialEq)]
pub(crate) struct Drone {
    /// The part that goes with it from shard to shard.
    pub mind: DroneMind,
    /// No ship was near enough to see it when it last looked.
    alone: bool,
}

impl Drone {
    /// Whether it stays where it is: it is alone, and slow enough to stop.
    pub fn waits(&self, state: &FlightState) -> bool {
        self.alone && state.velocity.length() < STOPS && state.angular_velocity.abs() < STOPS
    }
}

impl RecordPart for Drone {
    const SECTION: Option<u16> = Some(DroneMind::ID);

    fn of(record: &EntityRecord) -> Option<Self> {
        record.get().map(|mind| Self { mind, alone: false })
    }

    fn write(&self, record: &mut EntityRecord) {
        record.set(self.mind);
    }
}

/// Sets the controls of every own drone.
pub(crate) fn fly_drones(
    clock: Res<SimClock>,
    registry: Res<Registry>,
    seen: Query<(&Body, &Flight, Has<RigidBody>)>,
    mut drones: Query<(&Body, &Flight, &Authority, &mut Drone, &mut Replication, &mut Helm)>,
) {
    let mut ships: Vec<Sighted> = Vec::new();
    let mut watchers: Vec<DVec2> = Vec::new();
    // In the order of net ids: of two ships at the same distance every run takes the same one.
    for entity in registry.of(|kind| kind == EntityKind::Ship) {
        let Ok((body, flight, rigid)) = seen.get(entity) else { continue };
        watchers.push(flight.0.position);
        // Docked ships have no part in collisions, and are no targets.
        if rigid {
            ships.push(Sighted { id: body.id, state: flight.0 });
        }
    }
    for (body, flight, authority, mut drone, mut replication, mut helm) in &mut drones {
        let _at = suspect::at(body.id);
        let Some(spec) = body.spec() else { continue };
        if authority.ahead.is_some() {
            continue;
        }
        let looks = (clock.tick.0 + u64::from(body.net_id.0)).is_multiple_of(LOOK_EVERY_TICKS);
        if looks {
            let alone = !watchers.iter().any(|ship| sees(*ship, flight.0.position));
            if alone != drone.alone {
                drone.alone = alone;
            }
        }
        if drone.alone && drone.mind.target.is_none() {
            helm.set_if_neq(Helm(Controls { thrust: 0, turn: 0, buttons: Controls::BRAKE }));
            continue;
        }
        let mind = &mut drone.mind;
        let target = mind.target;
        helm.0 = decide(mind, &flight.0, &spec, &ships, looks);
        if mind.target != target {
            replication.changed = true;
        }
    }
}

/// Whether the pilot of a ship at `ship` may see a drone at `drone`.
fn sees(ship: DVec2, drone: DVec2) -> bool {
    (ship - drone).abs().max_element() <= SEEN
}

fn decide(mind: &mut DroneMind, state: &FlightState, spec: &HullSpec, ships: &[Sighted], looks: bool) -> Controls {
    let from_home = state.position.distance(mind.home);
    if from_home > LEASH {
        mind.target = None;
    }
    let mut target = mind.target.and_then(|id| ships.iter().find(|ship| ship.id == id));
    if target.is_none_or(|ship| ship.state.position.distance(state.position) > 2.0 * SIGHT) {
        mind.target = None;
        target = None;
    }
    if target.is_none() && looks && from_home < CALM {
        target = nearest(state, ships);
        mind.target = target.map(|ship| ship.id);
    }
    match target {
        Some(ship) => chase(state, spec, &ship.state),
        None => patrol(mind, state, spec),
    }
}

fn nearest<'a>(state: &FlightState, ships: &'a [Sighted]) -> Option<&'a Sighted> {
    ships
        .iter()
        .map(|ship| (ship.state.position.distance(state.position), ship))
        .filter(|(distance, _)| *distance <= SIGHT)
        .min_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, ship)| ship)
}

fn chase(state: &FlightState, spec: &HullSpec, target: &FlightState) -> Controls {
    let distance = target.position.distance(state.position);
    let lead = (target.velocity - state.velocity) * (distance / BULLET_SPEED);
    let (turn, error) = turn_to(state, spec, target.position + lead);
    let mut buttons = 0;
    if error.abs() < AIM && distance < RANGE {
        buttons |= Tool::Gun.spec().button;
    }
    let thrust = if distance > CLOSE && error.abs() < 1.2 { 127 } else { 0 };
    if distance < CLOSE {
        buttons |= Controls::BRAKE;
    }
    Controls { thrust, turn, buttons }
}

fn patrol(mind: &mut DroneMind, state: &FlightState, spec: &HullSpec) -> Controls {
    mind.patrol_phase = wrap_angle(mind.patrol_phase + PATROL_RATE * TICK_SECONDS);
    let point = mind.home + DVec2::from_angle(mind.patrol_phase) * PATROL_RADIUS;
    let (turn, error) = turn_to(state, spec, point);
    let far = point.distance(state.position) > PATROL_RADIUS;
    let off_course = error.abs() > 0.8;
    let thrust = match (off_course, far) {
        (true, _) => 0,
        (false, true) => 127,
        (false, false) => 60,
    };
    Controls { thrust, turn, buttons: if off_course { Controls::BRAKE } else { 0 } }
}

/// The turn that brings the heading towards `point`, and the error of the heading, radians.
pub(crate) fn turn_to(state: &FlightState, spec: &HullSpec, point: DVec2) -> (i8, f64) {
    let towards = point - state.position;
    if towards.length_squared() < 1e-6 {
        return (0, 0.0);
    }
    let error = wrap_angle(towards.to_angle() - state.angle);
    // A body that turns goes on turning for a moment.
    let wanted = (error * 4.0 - state.angular_velocity * 0.4) / spec.turn_rate;
    ((wanted.clamp(-1.0, 1.0) * 127.0) as i8, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::rules::flight::{self, HullKind};

    fn ship(x: f64, y: f64) -> Sighted {
        Sighted {
            id: EntityId::from_halves(1, 1),
            state: FlightState { position: DVec2::new(x, y), ..Default::default() },
        }
    }

    fn mind() -> DroneMind {
        DroneMind { home: DVec2::ZERO, patrol_phase: 0.0, target: None }
    }

    fn fly(mind: &mut DroneMind, state: &mut FlightState, ships: &[Sighted]) -> Controls {
        let spec = HullKind::Drone.spec();
        let controls = decide(mind, state, &spec, ships, true);
        *state = flight::step(state, controls, &spec);
        controls
    }

    #[test]
    fn an_undisturbed_drone_stays_round_its_home() {
        let (mut mind, mut state) = (mind(), FlightState::default());
        for _ in 0..3000 {
            fly(&mut mind, &mut state, &[]);
            assert!(state.position.length() < 2.5 * PATROL_RADIUS, "{state:?}");
        }
    }

    #[test]
    fn a_drone_turns_on_a_ship_in_sight_and_fires_when_it_bears() {
        let (mut mind, mut state) = (mind(), FlightState::default());
        let ships = [ship(-200.0, 100.0)];
        let fired = (0..150).any(|_| fly(&mut mind, &mut state, &ships).holds(Controls::FIRE));
        assert!(fired);
        assert_eq!(mind.target, Some(ships[0].id));
    }

    #[test]
    fn a_drone_leaves_a_ship_out_of_sight_alone() {
        let (mut mind, mut state) = (mind(), FlightState::default());
        for _ in 0..30 {
            assert!(!fly(&mut mind, &mut state, &[ship(900.0, 0.0)]).holds(Controls::FIRE));
        }
        assert_eq!(mind.target, None);
    }

    #[test]
    fn a_drone_breaks_off_at_its_leash_and_comes_home() {
        let (mut mind, mut state) = (mind(), FlightState::default());
        let mut furthest: f64 = 0.0;
        for tick in 0..1800 {
            // A ship that lures it away at its own speed.
            let ships = [ship(100.0 + 4.0 * f64::from(tick), 0.0)];
            fly(&mut mind, &mut state, &ships);
            furthest = furthest.max(state.position.length());
        }
        assert!(furthest > CALM, "it never chased: {furthest}");
        assert!(furthest < LEASH + 100.0, "{furthest}");
        assert!(state.position.length() < CALM, "{state:?}");
    }
}
