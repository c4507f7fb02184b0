//! A world in which entities change shards all the time, and a pilot that fights at its borders.
//!
//! The four blocks around the centre meet at the origin; with four shards each has one of them. Rocks oscillate over
//! the borders, some of them around the corner where all four meet. The harness reverses them when they are far enough
//! beyond a border, as if they had collided. Everything else happens by the simulation itself.

use crate::{checker::scene::Scene, cluster::Cluster};
use bevy::prelude::Mut;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use sidereal_client::{flight::controls::PilotIntent, session::SessionState};
use sidereal_protocol::{
    DVec2,
    record::{DroneMind, EntityKind, EntityRecord, Structure},
    rules::flight::{Controls, FlightState, HullKind, wrap_angle},
    world::{ids::EntityId, tick::SimTick},
};
use sidereal_shard::{
    bodies::{Authority, Body, Flight},
    handoff::Handoffs,
};

/// Distance between two rocks on a border, units: collisions are rare.
const SPACING: f64 = 36.0;

/// How far from the centre the first rock is: ships start there.
const CLEAR: f64 = 120.0;

/// Radius of a rock, and its hull points.
const ROCK_RADIUS: f64 = 5.0;
const ROCK_HULL: u16 = 120;

/// Speed of a rock, units/s. From one turning point to the other it takes a little more than the second that an entity
/// stays in its shard after a handoff.
const SPEED: std::ops::Range<f64> = 140.0..170.0;

/// How far beyond a border a rock turns, units.
const TURN: std::ops::Range<f64> = 60.0..100.0;

/// The oscillation of a rock. It follows from its id, so that a later rock oscillates as well.
#[derive(Debug, Clone, Copy)]
struct Swing {
    /// Speed along x and y if it oscillates along that axis.
    speed: [Option<f64>; 2],
    turn: f64,
}

impl Swing {
    fn of(id: EntityId, position: DVec2) -> Self {
        let (high, low) = id.0.as_u64_pair();
        let mut random = Pcg64Mcg::seed_from_u64(high ^ low);
        let turn = random.random_range(TURN);
        let (x, y) = (random.random_range(SPEED), random.random_range(SPEED));
        // Near the corner along both: it passes all four.
        let near = position.abs().max_element() < 2.0 * TURN.end;
        let along_x = position.x.abs() < position.y.abs();
        Self { speed: [(near || along_x).then_some(x), (near || !along_x).then_some(y)], turn }
    }

    /// The velocity that it must have.
    fn wanted(&self, state: &FlightState) -> DVec2 {
        let mut wanted = DVec2::ZERO;
        for (axis, speed) in self.speed.into_iter().enumerate() {
            let Some(speed) = speed else { continue };
            let (at, now) = (state.position[axis], state.velocity[axis]);
            let sign = if at > self.turn {
                -1.0
            } else if at < -self.turn || now >= 0.0 {
                1.0
            } else {
                -1.0
            };
            wanted[axis] = sign * speed;
        }
        wanted
    }
}

/// `count` rocks on the borders of the four blocks around the centre, some of them around their corner, and a few
/// drones that live on a border. The same for the same seed.
pub fn records(count: usize, seed: u64) -> Vec<EntityRecord> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut id = || EntityId::from_halves(random.random(), random.random());
    let mut records = Vec::new();
    for number in 0..count {
        // Four arms, from the corner outwards; two rows on each for many rocks.
        let (arm, place) = (number % 4, number / 4);
        let row = place as f64 * SPACING;
        let along = CLEAR + row % 3_600.0;
        let aside = 20.0 * (row / 3_600.0).floor();
        let position = match arm {
            0 => DVec2::new(aside, along),
            1 => DVec2::new(along, aside),
            2 => DVec2::new(-aside, -along),
            _ => DVec2::new(-along, -aside),
        };
        let mut rock = EntityRecord::at_rest(id(), EntityKind::Asteroid, position, SimTick(0));
        rock.set(Structure::whole(ROCK_RADIUS, ROCK_HULL));
        rock.state.velocity = Swing::of(rock.id, position).wanted(&rock.state);
        records.push(rock);
    }
    for number in 0..4 {
        let spec = HullKind::Drone.spec();
        let home = DVec2::from_angle(f64::from(number) * std::f64::consts::FRAC_PI_2) * 600.0 + DVec2::splat(10.0);
        let mut drone = EntityRecord::at_rest(id(), EntityKind::Drone, home, SimTick(0));
        drone.name = format!("Sentinel {number}");
        drone.set(Structure::whole(spec.radius, spec.hull));
        drone.set(DroneMind { home, patrol_phase: 0.0, target: None });
        records.push(drone);
    }
    records
}

/// Reverses every rock that is far enough beyond its border. One that is leaving is reversed by its next owner.
pub fn swing(cluster: &mut Cluster) {
    for app in cluster.shards.iter_mut().flatten() {
        let world = app.world_mut();
        world.resource_scope(|world, handoffs: Mut<'_, Handoffs>| {
            let mut rocks = world.query::<(&Body, &Authority, &mut Flight)>();
            for (body, authority, mut flight) in rocks.iter_mut(world) {
                if body.kind != EntityKind::Asteroid || authority.ahead.is_some() || handoffs.is_leaving(body.id) {
                    continue;
                }
                let wanted = Swing::of(body.id, flight.0.position).wanted(&flight.0);
                if flight.0.velocity != wanted {
                    flight.0.velocity = wanted;
                }
            }
        });
    }
}

/// The controls of a pilot that flies back and forth over a border and shoots at every flying entity; `phase` is its
/// progress. It uses the truth, not the client's view: the order in which naia announces the entities in view to a
/// client differs from run to run.
pub fn fight(scene: &Scene, ship: Option<EntityId>, session: &SessionState, phase: u64) -> PilotIntent {
    let own = ship.and_then(|ship| scene.holders(ship).last());
    let Some(own) = own else {
        return PilotIntent { controls: Controls::default(), respawn: *session == SessionState::Destroyed };
    };
    let here = own.state.position;
    let enemy = scene
        .held
        .iter()
        .filter(|held| held.kind != EntityKind::Asteroid && held.id != own.id)
        .map(|held| held.state.position)
        .filter(|there| there.distance(here) < 500.0)
        .min_by(|one, other| one.distance(here).total_cmp(&other.distance(here)));
    let side = if phase.is_multiple_of(2) { 1.0 } else { -1.0 };
    let station = DVec2::new(side * 220.0, 150.0);
    // Sometimes to the other side of the border, or nothing would cross it.
    let goal = enemy.filter(|_| !phase.is_multiple_of(3)).unwrap_or(station);
    let missing = (goal - here).normalize_or_zero() * 180.0 - own.state.velocity;
    let aims = enemy.filter(|there| wrap_angle((*there - here).to_angle() - own.state.angle).abs() < 0.15);
    let error = wrap_angle(missing.to_angle() - own.state.angle - 0.2 * own.state.angular_velocity);
    let thrust = if error.abs() < 0.6 { missing.length().min(127.0) as i8 } else { 0 };
    // Without an enemy it uses the tractor beam: rocks swing on the border, and crates float there.
    let buttons = aims.map_or(Controls::TRACTOR, |_| Controls::FIRE);
    PilotIntent {
        controls: Controls { thrust, turn: (error * 200.0).clamp(-127.0, 127.0) as i8, buttons },
        respawn: false,
    }
}
