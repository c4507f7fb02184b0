//! The geometry of a shot: the sectors that its path crosses and when, and when it meets a circle.
//!
//! Runs in the shard. Pure: no ECS, no state. Times are ticks of the world with fractions.

use sidereal_protocol::{
    DVec2,
    rules::shot::{BULLET_LIFE_TICKS, Shot},
    world::{
        sector::{SECTOR_SIZE, SectorId},
        tick::TICK_SECONDS,
    },
};

/// A step past an edge that is certain to be in the next sector, ticks. About 1e-5 units.
const PAST_THE_EDGE: f64 = 1e-6;

/// Sectors that one path can cross: no bullet flies further than two sectors, corners included.
const MAX_SECTORS: usize = 8;

/// A part of a path inside one sector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leg {
    /// The sector.
    pub sector: SectorId,
    /// From this time.
    pub from: f64,
    /// To this time.
    pub to: f64,
}

/// When the shot ends, ticks.
pub fn end_of_life(shot: &Shot) -> f64 {
    (shot.id.tick + BULLET_LIFE_TICKS).0 as f64
}

/// The legs of the path from `from` to `to`, in order.
pub fn legs(shot: &Shot, from: f64, to: f64) -> impl Iterator<Item = Leg> + use<> {
    let shot = *shot;
    let mut start = from;
    // A path that was judged up to an edge continues beyond it.
    let mut sector = SectorId::containing(shot.position_at(from + PAST_THE_EDGE));
    let mut done = from >= to;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let exit = leaves(&shot, sector, start).unwrap_or(f64::INFINITY);
        let leg = Leg { sector, from: start, to: exit.min(to) };
        done = exit >= to;
        start = exit;
        if !done {
            let next = SectorId::containing(shot.position_at(exit + PAST_THE_EDGE));
            // Along an edge, or too slow: the path ends here.
            done = next == sector;
            sector = next;
        }
        Some(leg)
    })
    .take(MAX_SECTORS)
}

/// When the path leaves `sector`, at `from` or later; `None` if it never does.
fn leaves(shot: &Shot, sector: SectorId, from: f64) -> Option<f64> {
    let local = shot.position_at(from) - sector.origin();
    let speed = shot.velocity * TICK_SECONDS;
    let axis = |position: f64, speed: f64| {
        if speed > 0.0 {
            (SECTOR_SIZE - position) / speed
        } else if speed < 0.0 {
            -position / speed
        } else {
            f64::INFINITY
        }
    };
    let after = axis(local.x, speed.x).min(axis(local.y, speed.y)).max(0.0);
    after.is_finite().then_some(from + after)
}

/// When, from `from` to `to`, the shot first meets a circle that is at `center` at the time `at` and
/// moves with `velocity` (units/s).
pub fn meets(shot: &Shot, (from, to): (f64, f64), center: DVec2, velocity: DVec2, at: f64, radius: f64) -> Option<f64> {
    let relative = |time: f64| shot.position_at(time) - (center + velocity * ((time - at) * TICK_SECONDS));
    let start = relative(from);
    let along = relative(to) - start;
    if start.length_squared() <= radius * radius {
        return Some(from);
    }
    // |start + s·along|² = radius², the smaller s in [0, 1].
    let a = along.length_squared();
    let b = start.dot(along);
    let c = start.length_squared() - radius * radius;
    let discriminant = b * b - a * c;
    if a == 0.0 || b >= 0.0 || discriminant < 0.0 {
        return None;
    }
    let share = (-b - discriminant.sqrt()) / a;
    (0.0..=1.0).contains(&share).then_some(from + (to - from) * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::{
        rules::shot::ShotId,
        world::{ids::NetId, tick::SimTick},
    };

    fn shot(origin: (f64, f64), velocity: (f64, f64)) -> Shot {
        Shot {
            id: ShotId { shooter: NetId(1), tick: SimTick(100) },
            sector: SectorId::containing(DVec2::from(origin)),
            origin: DVec2::from(origin),
            velocity: DVec2::from(velocity),
        }
    }

    #[test]
    fn the_legs_of_a_path_join_without_gap_or_overlap() {
        for angle in 0..360 {
            let velocity = DVec2::from_angle(f64::from(angle).to_radians()) * 480.0;
            let shot = shot((990.0, 10.0), velocity.into());
            let legs: Vec<Leg> = legs(&shot, 100.0, 145.0).collect();
            assert_eq!(legs[0].from, 100.0);
            assert_eq!(legs[legs.len() - 1].to, 145.0, "{angle}: {legs:?}");
            for pair in legs.windows(2) {
                assert_eq!(pair[0].to, pair[1].from);
                assert_ne!(pair[0].sector, pair[1].sector);
            }
            for leg in &legs {
                let middle = shot.position_at((leg.from + leg.to) / 2.0);
                assert!(leg.sector.overshoot(middle) < 1e-3, "{angle}: {leg:?} {middle}");
            }
        }
    }

    #[test]
    fn a_shot_meets_what_stands_in_its_way_when_it_gets_there() {
        let shot = shot((0.0, 0.0), (300.0, 0.0));
        // 10 units a tick; the circle's edge is at 40.
        let time = meets(&shot, (100.0, 110.0), DVec2::new(50.0, 0.0), DVec2::ZERO, 110.0, 10.0);
        assert!((time.expect("it stands in the way") - 104.0).abs() < 1e-9);
        let beside = DVec2::new(50.0, 10.5);
        assert_eq!(meets(&shot, (100.0, 110.0), beside, DVec2::ZERO, 110.0, 10.0), None);
        let behind = DVec2::new(-50.0, 0.0);
        assert_eq!(meets(&shot, (100.0, 110.0), behind, DVec2::ZERO, 110.0, 10.0), None);
    }

    #[test]
    fn a_fast_small_body_that_crosses_the_path_within_a_tick_is_met() {
        let shot = shot((0.0, 0.0), (300.0, 0.0));
        // After the tick it is 15 units above the path, before it as far below.
        let velocity = DVec2::new(0.0, 900.0);
        let time = meets(&shot, (100.0, 101.0), DVec2::new(5.0, 15.0), velocity, 101.0, 3.0);
        assert!(time.is_some());
    }
}
