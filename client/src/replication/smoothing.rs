//! Hides corrections: the drawing starts at the old position and moves to the right one.
//!
//! Pure. Used for the own ship after a reconciliation and for others after an extrapolation.

use bevy::math::DVec2;
use sidereal_protocol::rules::flight::{FlightState, wrap_angle};

/// Half-life of a small offset, seconds: too short to feel as a lag.
pub const OFFSET_HALF_LIFE_S: f64 = 0.08;

/// Half-life of a large one. An input that is applied a tick later than the one before puts a ship a tick of its own
/// flight ahead of its prediction; with this half-life that appears for a moment as an eighth more speed.
pub const LARGE_OFFSET_HALF_LIFE_S: f64 = 0.16;

/// The invisible speed at which an offset shrinks, units/s: a third of a pixel in a frame, at 60 frames a second and
/// the client's initial scale. An offset that needs more than this speed for its half-life shrinks faster.
pub const OFFSET_SPEED: f64 = 12.0;

/// The difference between the position of an entity and its drawing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct VisualOffset {
    position: DVec2,
    angle: f64,
}

impl VisualOffset {
    /// Keeps the drawing in place although the state changes from `before` to `after`.
    pub fn absorb(&mut self, before: &FlightState, after: &FlightState) {
        self.position += before.position - after.position;
        self.angle = wrap_angle(self.angle + before.angle - after.angle);
    }

    /// Lets the offset shrink for `seconds`.
    pub fn decay(&mut self, seconds: f64) {
        if *self == Self::default() {
            return;
        }
        let ln_2 = std::f64::consts::LN_2;
        let rate = (OFFSET_SPEED / self.length().max(f64::MIN_POSITIVE))
            .clamp(ln_2 / LARGE_OFFSET_HALF_LIFE_S, ln_2 / OFFSET_HALF_LIFE_S);
        self.position *= (-rate * seconds).exp();
        self.angle *= 0.5f64.powf(seconds / OFFSET_HALF_LIFE_S);
        // A thousandth of a unit is invisible; zero is quick to skip.
        if self.position.length_squared() < 1e-6 && self.angle.abs() < 1e-5 {
            *self = Self::default();
        }
    }

    /// `state` with the offset added.
    pub fn apply(&self, state: &FlightState) -> FlightState {
        FlightState { position: state.position + self.position, angle: wrap_angle(state.angle + self.angle), ..*state }
    }

    /// Drops the offset: the drawing jumps to the state.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Its length, units.
    pub fn length(&self) -> f64 {
        self.position.length()
    }
}

/// The state at the share `t` between `a` and `b`; angles turn the short way.
pub fn blend(a: &FlightState, b: &FlightState, t: f64) -> FlightState {
    FlightState {
        position: a.position.lerp(b.position, t),
        velocity: a.velocity.lerp(b.velocity, t),
        angle: wrap_angle(a.angle + wrap_angle(b.angle - a.angle) * t),
        angular_velocity: a.angular_velocity + (b.angular_velocity - a.angular_velocity) * t,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::world::tick::TICK_SECONDS;

    #[test]
    fn an_absorbed_correction_is_not_seen_at_once_and_gone_soon() {
        let before = FlightState { position: DVec2::new(0.3, 0.4), angle: 3.0, ..Default::default() };
        let after = FlightState { position: DVec2::ZERO, angle: -3.0, ..Default::default() };
        let mut offset = VisualOffset::default();
        offset.absorb(&before, &after);
        let drawn = offset.apply(&after);
        assert!((drawn.position - before.position).length() < 1e-12);
        assert!(wrap_angle(drawn.angle - before.angle).abs() < 1e-12);
        offset.decay(OFFSET_HALF_LIFE_S);
        assert!((offset.length() - 0.25).abs() < 1e-12);
        offset.decay(2.0);
        assert_eq!(offset, VisualOffset::default());
    }

    #[test]
    fn a_tick_of_flight_is_made_up_at_an_eighth_of_its_speed() {
        for speed in [150.0, 225.0, 380.0] {
            let before = FlightState::default();
            let after = FlightState { position: DVec2::new(speed * TICK_SECONDS, 0.0), ..Default::default() };
            let mut offset = VisualOffset::default();
            offset.absorb(&before, &after);
            let frame = 1.0 / 125.0;
            let mut last = offset.length();
            for _ in 0..125 {
                offset.decay(frame);
                let way = last - offset.length();
                assert!(way <= frame * (speed * 0.15).max(OFFSET_SPEED), "{way} at {speed}");
                last = offset.length();
            }
            assert!(last < 0.05, "{last} is left after a second");
        }
    }
}
