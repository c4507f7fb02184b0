//! How a body's motion is read between and beyond the ticks at which it was told.
//!
//! Clients draw others by it, and shards judge a beam by it: who aims at what is drawn must hit what is
//! judged, so both compute it alike.

use crate::{flight::FlightState, tick::TICK_SECONDS};
use bevy::math::DVec2;

/// How long a body is carried on along its last velocity beyond what was told of it, either way, seconds.
pub const EXTRAPOLATION_S: f64 = 0.25;

/// States further apart than this, ticks, are joined by a straight line instead of a curve.
pub const CURVE_TICKS: u64 = 8;

/// When something at rest moves again after a longer silence than this, ticks, it is taken to have
/// rested until so long before: what rests is told once a second only.
pub const REST_TICKS: u64 = 3;

/// Where a body is at the share `t` (0 to 1) of the way between two states that are `ticks` apart: on the
/// cubic curve through both positions with both velocities, or on a straight line when they are far apart.
pub fn position_between(a: &FlightState, b: &FlightState, ticks: u64, t: f64) -> DVec2 {
    // Relative to `a`, so that nothing is lost far from the origin.
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
