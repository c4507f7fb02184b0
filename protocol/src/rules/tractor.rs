//! The tractor beam: what a ship pulls, and how hard.
//!
//! A ship with the beam on pulls the nearest loose body in reach: a crate, or a rock. Every process computes the same
//! body by this rule from the bodies that it knows, so only the ship's light is sent (see
//! [`EngineGlow::tractor`](crate::packets::motion::EngineGlow::tractor)), and no state follows the ship or the body across a
//! border. The beam ends when its button is released, when the body is out of reach, or when something blocks the line.

use crate::{
    rules::flight::FlightState,
    world::{kind::EntityKind, tick::TICK_SECONDS},
};
use bevy::math::DVec2;

/// How far the beam reaches, units from the ship's edge to the body's. A shard receives its neighbours' bodies from
/// further away than that.
pub const TRACTOR_RANGE: f64 = 220.0;

/// The gap in which the beam holds a body, units from edge to edge. A crate is collected from there.
pub const TRACTOR_GAP: f64 = 14.0;

/// The force of the beam, units/s² on the mass of a scout.
pub const TRACTOR_FORCE: f64 = 130.0;

/// The highest speed at which a body comes nearer, units/s.
const PULL_SPEED: f64 = 80.0;

/// The speed at which a body comes nearer, per unit of remaining distance, 1/s.
const EASE: f64 = 0.6;

/// The share of the missing velocity that one tick adds. A ship's shard has a neighbour's body as it was up to ten
/// ticks ago, and its pull takes as long again: a larger share would add the same correction too often, and the body
/// would oscillate.
const SHARE: f64 = 0.05;

/// The share of the beam's force with which it brakes a body that comes nearer.
const BRAKING: f64 = 0.6;

/// A body near a tractor beam.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearby<T> {
    /// Its centre, world units.
    pub position: DVec2,
    /// Its radius, units.
    pub radius: f64,
    /// Its kind, which decides whether it can be pulled, and whether it blocks the beam.
    pub kind: EntityKind,
    /// The caller's id of it.
    pub id: T,
}

/// The body that a ship at `position` with `radius` (units) pulls: the loose one with the smallest gap within
/// [`TRACTOR_RANGE`] to which the line is free. Of two at the same gap the first is taken.
pub fn target<T: Copy>(position: DVec2, radius: f64, bodies: impl IntoIterator<Item = Nearby<T>>) -> Option<T> {
    let gap = |body: &Nearby<T>| body.position.distance(position) - body.radius - radius;
    let near: Vec<(f64, Nearby<T>)> = bodies
        .into_iter()
        .filter(|body| body.kind.spec().is_loose() || body.kind.spec().is_obstacle())
        .map(|body| (gap(&body), body))
        .filter(|(gap, _)| *gap <= TRACTOR_RANGE)
        .collect();
    let mut loose: Vec<usize> = (0..near.len()).filter(|index| near[*index].1.kind.spec().is_loose()).collect();
    loose.sort_by(|one, other| near[*one].0.total_cmp(&near[*other].0));
    let is_free = |index: &usize| {
        let end = near[*index].1.position;
        let mut others =
            near.iter().enumerate().filter(|(other, (_, body))| other != index && body.kind.spec().is_obstacle());
        others.all(|(_, (_, body))| distance_to_line(body.position, position, end) >= body.radius)
    };
    loose.into_iter().find(is_free).map(|index| near[index].1.id)
}

/// The change of velocity that the beam gives a body in one tick, units/s. `mass` in scouts, above zero.
///
/// The body is pulled towards [`TRACTOR_GAP`] and then carried along. A heavy body follows slowly, because the beam's
/// force is the same for all. The ship itself gets no push, so its prediction does not depend on the body.
pub fn pull(ship: &FlightState, ship_radius: f64, body: &FlightState, body_radius: f64, mass: f64) -> DVec2 {
    let force = TRACTOR_FORCE / mass;
    let way = ship.position - body.position;
    let left = way.length() - ship_radius - body_radius - TRACTOR_GAP;
    let most = PULL_SPEED.min((BRAKING * force * left.max(0.0)).sqrt());
    let nearer = if left < 0.0 { (left * EASE).max(-PULL_SPEED) } else { (left * EASE).min(most) };
    let wanted = ship.velocity + way.normalize_or_zero() * nearer;
    ((wanted - body.velocity) * SHARE).clamp_length_max(force * TICK_SECONDS)
}

/// The distance of a point from the line from `from` to `to`, units.
fn distance_to_line(point: DVec2, from: DVec2, to: DVec2) -> f64 {
    let along = to - from;
    let share = ((point - from).dot(along) / along.length_squared().max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
    point.distance(from + along * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::tick::TICK_HZ;

    fn body(id: u32, x: f64, y: f64, radius: f64) -> Nearby<u32> {
        let kind = if radius > 5.0 { EntityKind::Asteroid } else { EntityKind::Crate };
        Nearby { position: DVec2::new(x, y), radius, kind, id }
    }

    #[test]
    fn the_nearest_loose_body_with_a_free_line_is_pulled() {
        let at = |bodies: &[Nearby<u32>]| target(DVec2::ZERO, 9.0, bodies.iter().copied());
        let (near, far) = (body(1, 100.0, 0.0, 4.0), body(2, 0.0, 150.0, 20.0));
        assert_eq!(at(&[far, near]), Some(1));
        // A large body is nearer than its centre.
        assert_eq!(at(&[body(3, 0.0, 100.0, 30.0), near]), Some(3));
        let station = Nearby { kind: EntityKind::Station, ..body(4, 50.0, 3.0, 20.0) };
        assert_eq!(at(&[near, station, far]), Some(2), "a station blocks the line to the crate");
        assert_eq!(at(&[near, station]), None);
        let edge = TRACTOR_RANGE + 9.0 + 4.0;
        assert_eq!(at(&[body(5, edge - 0.1, 0.0, 4.0)]), Some(5));
        assert_eq!(at(&[body(5, edge + 0.1, 0.0, 4.0)]), None, "out of reach");
        assert_eq!(at(&[]), None);
    }

    /// Seconds until a body of `mass` at a distance of 200 is held, how near it came, and its speed at the end. It is seen
    /// `lag` ticks late, and each pull takes as long again.
    fn pulled(mass: f64, radius: f64, mut ship: FlightState, lag: usize) -> (f64, f64, f64) {
        let mut held = FlightState { position: DVec2::new(200.0, 0.0), ..FlightState::default() };
        let (mut seen, mut pulls) = (vec![held; lag + 1], vec![DVec2::ZERO; lag]);
        let (mut held_s, mut nearest) = (None, f64::MAX);
        for tick in 1..=60 * TICK_HZ {
            pulls.insert(0, pull(&ship, 9.0, &seen[lag], radius, mass));
            held.velocity += pulls.pop().expect("one was put in");
            (ship, held) = (ship.coast(TICK_SECONDS), held.coast(TICK_SECONDS));
            seen.insert(0, held);
            seen.pop();
            let gap = held.position.distance(ship.position) - 9.0 - radius;
            nearest = nearest.min(gap);
            if held_s.is_none() && (held.velocity - ship.velocity).length() < 2.0 && gap < 2.0 * TRACTOR_GAP {
                held_s = Some(f64::from(tick) * TICK_SECONDS);
            }
        }
        (held_s.expect("it is held within a minute"), nearest, (held.velocity - ship.velocity).length())
    }

    #[test]
    fn a_body_is_held_at_the_gap_and_a_heavy_one_later_however_late_it_is_seen() {
        for lag in [0, 2, 5, 8] {
            let (crate_s, crate_gap, crate_speed) = pulled(0.2, 4.0, FlightState::default(), lag);
            let (rock_s, rock_gap, rock_speed) = pulled(11.0, 30.0, FlightState::default(), lag);
            assert!(crate_s < 8.0 && rock_s > 1.3 * crate_s, "lag {lag}: {crate_s} s, {rock_s} s");
            assert!(crate_gap.min(rock_gap) > 5.0, "lag {lag}: {crate_gap}, {rock_gap}");
            assert!(crate_speed.max(rock_speed) < 0.5, "lag {lag}: {crate_speed}, {rock_speed}");
        }
    }

    #[test]
    fn a_body_is_carried_along() {
        let ship = FlightState { velocity: DVec2::new(0.0, 60.0), ..FlightState::default() };
        let (_, nearest, speed) = pulled(0.2, 4.0, ship, 2);
        assert!(nearest > 0.0 && speed < 0.5, "{nearest}, {speed}");
    }

    #[test]
    fn a_body_in_the_same_place_is_not_thrown() {
        let at = FlightState::default();
        assert_eq!(pull(&at, 9.0, &at, 4.0, 0.2), DVec2::ZERO);
    }
}
