//! The tractor beam: what a ship pulls, and how hard.
//!
//! A ship with the beam on pulls the nearest loose body in reach: a crate, or a rock. Everybody computes which one by the
//! same rule from the bodies that it sees, so that only the ship's light is sent (see
//! [`EngineGlow::tractor`](crate::motion::EngineGlow::tractor)), and nothing has to follow the ship or the body over a
//! border. The beam lets go when its button does, when the body is out of reach, or when something stands in between.

use crate::{flight::FlightState, tick::TICK_SECONDS};
use bevy::math::DVec2;

/// How far the beam reaches, units from the ship's edge to the body's. A shard sees more than that of its neighbours'
/// ground.
pub const TRACTOR_RANGE: f64 = 220.0;

/// The gap in which the beam holds a body, units from edge to edge. A crate is collected from there.
pub const TRACTOR_GAP: f64 = 14.0;

/// The force of the beam, units/s² on the mass of a scout.
pub const TRACTOR_FORCE: f64 = 130.0;

/// How fast a body comes nearer at most, units/s.
const PULL_SPEED: f64 = 80.0;

/// How fast a body comes nearer per unit of way that is left, 1/s.
const EASE: f64 = 1.2;

/// A body near a tractor beam.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearby<T> {
    /// Its centre, world units.
    pub position: DVec2,
    /// Its radius, units.
    pub radius: f64,
    /// Whether it can be pulled: [`KindSpec::is_loose`](crate::kind::KindSpec::is_loose).
    pub is_loose: bool,
    /// Whether it blocks the beam: [`KindSpec::is_obstacle`](crate::kind::KindSpec::is_obstacle).
    pub blocks: bool,
    /// The caller's name for it.
    pub id: T,
}

/// The body that a ship at `position` with `radius` (units) pulls: the loose one with the smallest gap within
/// [`TRACTOR_RANGE`] to which the line is free. Of two at the same gap the first is taken.
pub fn target<T: Copy>(position: DVec2, radius: f64, bodies: &[Nearby<T>]) -> Option<T> {
    let gap = |body: &Nearby<T>| body.position.distance(position) - body.radius - radius;
    let mut in_reach: Vec<(f64, usize)> = bodies
        .iter()
        .enumerate()
        .filter(|(_, body)| body.is_loose)
        .map(|(index, body)| (gap(body), index))
        .filter(|(gap, _)| *gap <= TRACTOR_RANGE)
        .collect();
    in_reach.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let is_free = |index: &usize| {
        let end = bodies[*index].position;
        let mut others = bodies.iter().enumerate().filter(|(other, body)| other != index && body.blocks);
        others.all(|(_, body)| distance_to_line(body.position, position, end) >= body.radius)
    };
    in_reach.iter().map(|(_, index)| index).find(|index| is_free(index)).map(|index| bodies[*index].id)
}

/// The change of velocity that the beam gives a body in one tick, units/s. `mass` in scouts, above zero.
///
/// The body is drawn towards [`TRACTOR_GAP`] and then carried along. What is heavy follows slowly: the beam's force is
/// the same for all. The ship itself feels nothing, so that its own prediction needs to know nothing of the body.
pub fn pull(ship: &FlightState, ship_radius: f64, body: &FlightState, body_radius: f64, mass: f64) -> DVec2 {
    let way = ship.position - body.position;
    let left = way.length() - ship_radius - body_radius - TRACTOR_GAP;
    let wanted = ship.velocity + way.normalize_or_zero() * (left * EASE).clamp(-PULL_SPEED, PULL_SPEED);
    (wanted - body.velocity).clamp_length_max(TRACTOR_FORCE / mass * TICK_SECONDS)
}

/// How near the line from `from` to `to` comes to a point, units.
fn distance_to_line(point: DVec2, from: DVec2, to: DVec2) -> f64 {
    let along = to - from;
    let share = ((point - from).dot(along) / along.length_squared().max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
    point.distance(from + along * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::TICK_HZ;

    fn body(id: u32, x: f64, y: f64, radius: f64) -> Nearby<u32> {
        Nearby { position: DVec2::new(x, y), radius, is_loose: true, blocks: radius > 5.0, id }
    }

    #[test]
    fn the_nearest_loose_body_with_a_free_line_is_pulled() {
        let at = |bodies: &[Nearby<u32>]| target(DVec2::ZERO, 9.0, bodies);
        let (near, far) = (body(1, 100.0, 0.0, 4.0), body(2, 0.0, 150.0, 20.0));
        assert_eq!(at(&[far, near]), Some(1));
        // A large one is nearer than its centre.
        assert_eq!(at(&[body(3, 0.0, 100.0, 30.0), near]), Some(3));
        let station = Nearby { is_loose: false, ..body(4, 50.0, 3.0, 20.0) };
        assert_eq!(at(&[near, station, far]), Some(2), "a station stands before the crate");
        assert_eq!(at(&[near, station]), None);
        let edge = TRACTOR_RANGE + 9.0 + 4.0;
        assert_eq!(at(&[body(5, edge - 0.1, 0.0, 4.0)]), Some(5));
        assert_eq!(at(&[body(5, edge + 0.1, 0.0, 4.0)]), None, "out of reach");
        assert_eq!(at(&[]), None);
    }

    /// Seconds until a body of `mass` at a distance of 200 is held, and where it is then.
    fn pulled(mass: f64, radius: f64, ship: FlightState) -> (f64, f64) {
        let mut ship = ship;
        let mut held = FlightState { position: DVec2::new(200.0, 0.0), ..FlightState::default() };
        for tick in 1..=60 * TICK_HZ {
            held.velocity += pull(&ship, 9.0, &held, radius, mass);
            (ship, held) = (ship.coast(TICK_SECONDS), held.coast(TICK_SECONDS));
            let gap = held.position.distance(ship.position) - 9.0 - radius;
            if (gap - TRACTOR_GAP).abs() < 1.0 && (held.velocity - ship.velocity).length() < 2.0 {
                return (f64::from(tick) * TICK_SECONDS, gap);
            }
        }
        panic!("a mass of {mass} is never held");
    }

    #[test]
    fn a_body_is_held_at_the_gap_and_a_heavy_one_later() {
        let rest = FlightState::default();
        let (crate_s, _) = pulled(0.2, 4.0, rest);
        let (rock_s, gap) = pulled(8.0, 25.0, rest);
        assert!(crate_s < 6.0 && rock_s > 1.5 * crate_s, "{crate_s} s, {rock_s} s");
        assert!((gap - TRACTOR_GAP).abs() < 1.0, "{gap}");
    }

    #[test]
    fn a_body_is_carried_along() {
        let (seconds, _) = pulled(0.2, 4.0, FlightState { velocity: DVec2::new(0.0, 60.0), ..FlightState::default() });
        assert!(seconds < 10.0, "{seconds}");
    }

    #[test]
    fn a_body_in_the_same_place_is_not_thrown() {
        let at = FlightState::default();
        assert!(pull(&at, 9.0, &at, 4.0, 0.2).length() <= TRACTOR_FORCE / 0.2 * TICK_SECONDS);
    }
}
