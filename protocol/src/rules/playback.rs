//! Interpolation and extrapolation of a body's motion between and beyond the received ticks.
//!
//! Clients draw other entities by it, and shards judge a beam by it. A player who aims at what is drawn must hit what
//! is judged, so both compute it in the same way.

use crate::{rules::flight::FlightState, world::tick::TICK_SECONDS};
use bevy::math::DVec2;

/// How long a body is extrapolated along its last velocity beyond its received states, in both directions, seconds.
pub const EXTRAPOLATION_S: f64 = 0.25;

/// States further apart than this, ticks, are joined by a straight line instead of a curve.
pub const CURVE_TICKS: u64 = 8;

/// When a body at rest moves again after more than this without a state, ticks, it counts as at rest until this long
/// before: bodies at rest are sent only once a second.
pub const REST_TICKS: u64 = 3;

/// The position at the share `t` (0 to 1) between two states that are `ticks` apart: on the cubic curve through both
/// positions with both velocities, or on a straight line when they are far apart.
pub fn position_between(a: &FlightState, b: &FlightState, ticks: u64, t: f64) -> DVec2 {
    // Relative to `a`, so that no precision is lost far from the origin.
    let way = b.position - a.position;
    if ticks > CURVE_TICKS {
        return a.position + way * t;
    }
    let seconds = ticks as f64 * TICK_SECONDS;
    let (t2, t3) = (t * t, t * t * t);
    a.position
        + way * (3.0 * t2 - 2.0 * t3)
        + a.velocity * (seconds * (t3 - 2.0 * t2 + t))
        + b.velocity * (seconds * (t3 - t2))
}
