//! Aiming: pure computations for the crosshair.

use bevy::math::DVec2;
use sidereal_protocol::{
    rules::{
        flight::{FlightState, wrap_angle},
        shot::{BULLET_LIFE_TICKS, BULLET_SPEED},
    },
    world::tick::TICK_SECONDS,
};

/// How long a bullet flies, seconds.
pub(crate) const BULLET_SECONDS: f64 = BULLET_LIFE_TICKS as f64 * TICK_SECONDS;
/// Half the angle in which a target counts as ahead, radians.
const AHEAD: f64 = 0.7;
/// A target at the edge of that angle counts as farther by this factor.
const RIM_FACTOR: f64 = 2.5;
/// A new target replaces the present one only if it is nearer than this share of the present one's distance, so that
/// the crosshair does not alternate between two similar ones.
const STEADY: f64 = 0.75;
/// Beyond this many times a bullet's range there are no targets.
const REACH_FACTOR: f64 = 1.25;

/// Where a bullet that is fired now in the right direction meets an entity at `position` that moves with `velocity`,
/// both relative to the firing ship, and the seconds until then. The bullet starts `muzzle` units from the ship's
/// middle and flies at [`BULLET_SPEED`] relative to the ship. `None` if they do not meet during the bullet's life.
///
/// The time `t` solves `|position + velocity t| = muzzle + speed t`, the smallest that is not negative.
pub(crate) fn intercept(position: DVec2, velocity: DVec2, muzzle: f64) -> Option<(DVec2, f64)> {
    if !(position.is_finite() && velocity.is_finite()) {
        return None;
    }
    // a t² + 2 b t + c = 0
    let a = velocity.length_squared() - BULLET_SPEED * BULLET_SPEED;
    let b = position.dot(velocity) - muzzle * BULLET_SPEED;
    let c = position.length_squared() - muzzle * muzzle;
    let seconds = if c <= 0.0 {
        0.0
    } else if a.abs() < 1e-6 {
        // As fast as the bullet: they meet once, if they approach each other.
        if b >= 0.0 {
            return None;
        }
        -c / (2.0 * b)
    } else {
        let discriminant = b * b - a * c;
        if discriminant < 0.0 {
            return None;
        }
        let root = discriminant.sqrt();
        let times = [(-b - root) / a, (-b + root) / a];
        times.into_iter().filter(|time| *time >= 0.0).min_by(f64::total_cmp)?
    };
    (seconds <= BULLET_SECONDS).then(|| (position + velocity * seconds, seconds))
}

/// The distance of `position`, relative to a ship with `heading` (radians), for the choice of a target: larger towards
/// the side. `None` if it is not ahead, or out of range.
fn nearness(position: DVec2, heading: f64) -> Option<f64> {
    let distance = position.length();
    let reach = BULLET_SPEED * BULLET_SECONDS * REACH_FACTOR;
    if !(1.0..=reach).contains(&distance) {
        return None;
    }
    let aside = wrap_angle(position.to_angle() - heading).abs();
    (aside <= AHEAD).then(|| distance * (1.0 + (RIM_FACTOR - 1.0) * aside / AHEAD))
}

/// The target out of `candidates` (id, and position relative to the ship): the nearest ahead, or `present` as long as
/// none is much nearer.
pub(crate) fn choose<T: Copy + PartialEq>(
    heading: f64,
    candidates: impl Iterator<Item = (T, DVec2)>,
    present: Option<T>,
) -> Option<T> {
    let weighed = candidates.filter_map(|(who, position)| {
        let steady = if Some(who) == present { STEADY } else { 1.0 };
        Some((who, nearness(position, heading)? * steady))
    });
    weighed.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(who, _)| who)
}

/// Whether a bullet along the ship's heading hits a circle of `radius` around `aim`, a point relative to the ship.
pub(crate) fn is_aligned(ship: &FlightState, aim: DVec2, radius: f64) -> bool {
    let heading = ship.heading();
    heading.dot(aim) > 0.0 && heading.perp_dot(aim).abs() <= radius
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_rests_is_aimed_at_where_it_is() {
        let (at, seconds) = intercept(DVec2::new(250.0, 0.0), DVec2::ZERO, 10.0).expect("in reach");
        assert_eq!(at, DVec2::new(250.0, 0.0));
        assert!((seconds - 0.5).abs() < 1e-9, "{seconds}");
    }

    #[test]
    fn what_is_too_far_or_too_fast_is_not_met() {
        assert_eq!(intercept(DVec2::new(800.0, 0.0), DVec2::ZERO, 10.0), None, "spent before it is there");
        assert!(intercept(DVec2::new(800.0, 0.0), DVec2::new(-300.0, 0.0), 10.0).is_some(), "it comes nearer");
        assert_eq!(intercept(DVec2::new(100.0, 0.0), DVec2::new(500.0, 0.0), 10.0), None, "it outruns the bullet");
        assert_eq!(intercept(DVec2::new(100.0, 0.0), DVec2::new(BULLET_SPEED, 0.0), 0.0), None);
        assert_eq!(intercept(DVec2::new(f64::NAN, 0.0), DVec2::ZERO, 0.0), None);
    }

    #[test]
    fn what_comes_at_the_bullets_speed_is_met_halfway() {
        let (at, _) = intercept(DVec2::new(400.0, 0.0), DVec2::new(-BULLET_SPEED, 0.0), 0.0).expect("head on");
        assert!((at - DVec2::new(200.0, 0.0)).length() < 1e-6, "{at}");
    }

    proptest! {
        #[test]
        fn a_bullet_at_the_mark_is_where_the_target_is(
            x in -700.0..700.0f64, y in -700.0..700.0f64,
            vx in -700.0..700.0f64, vy in -700.0..700.0f64,
        ) {
            let (position, velocity, muzzle) = (DVec2::new(x, y), DVec2::new(vx, vy), 12.0);
            if let Some((at, seconds)) = intercept(position, velocity, muzzle)
                && position.length() > muzzle
            {
                let bullet = at.normalize() * (muzzle + BULLET_SPEED * seconds);
                prop_assert!((0.0..=BULLET_SECONDS).contains(&seconds));
                prop_assert!((bullet - (position + velocity * seconds)).length() < 1e-6, "{bullet}");
            }
        }
    }

    #[test]
    fn the_target_is_the_nearest_ahead_and_does_not_jump() {
        let near = (1, DVec2::new(200.0, 0.0));
        let nearer = (2, DVec2::new(150.0, 10.0));
        let behind = (3, DVec2::new(-50.0, 0.0));
        let all = [near, nearer, behind];
        assert_eq!(choose(0.0, all.into_iter(), None), Some(2));
        assert_eq!(choose(0.0, all.into_iter(), Some(1)), Some(1), "the other one is hardly nearer");
        assert_eq!(choose(std::f64::consts::PI, all.into_iter(), Some(1)), Some(3), "it looks the other way");
        assert_eq!(choose(0.0, [(4, DVec2::new(2_000.0, 0.0))].into_iter(), Some(4)), None, "out of reach");
    }

    #[test]
    fn it_is_aligned_when_the_bullet_hits() {
        let ship = FlightState { angle: 0.0, ..Default::default() };
        assert!(is_aligned(&ship, DVec2::new(300.0, 8.0), 9.0));
        assert!(!is_aligned(&ship, DVec2::new(300.0, 10.0), 9.0));
        assert!(!is_aligned(&ship, DVec2::new(-300.0, 0.0), 9.0));
    }
}
