//! The pure flight model: how one tick of input moves a ship.
//!
//! Shards move ships with it, clients predict their own ship with it and replay it when they
//! reconcile. It has no randomness, no clock and no collisions (those are avian's, on the shard).
//! Integration is semi-implicit Euler, as avian's: velocity first, then position with the new one.

use crate::world::tick::TICK_SECONDS;
use bevy::math::DVec2;
use serde::{Deserialize, Serialize};

/// Position and motion of a body. World units and seconds, in f64, so that a ship 10^9 units out flies as it does at
/// the origin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
pub struct FlightState {
    /// World position, units.
    pub position: DVec2,
    /// Velocity, units per second.
    pub velocity: DVec2,
    /// Heading, radians, counter-clockwise from the positive x axis, in (-π, π].
    pub angle: f64,
    /// Turning, radians per second.
    pub angular_velocity: f64,
}

impl FlightState {
    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        self.position.is_finite()
            && self.velocity.is_finite()
            && self.angle.is_finite()
            && self.angular_velocity.is_finite()
    }

    /// The unit vector of the heading.
    pub fn heading(&self) -> DVec2 {
        DVec2::from_angle(self.angle)
    }

    /// The state after `seconds` of unpowered motion in a straight line.
    pub fn coast(&self, seconds: f64) -> Self {
        Self {
            position: self.position + self.velocity * seconds,
            angle: wrap_angle(self.angle + self.angular_velocity * seconds),
            ..*self
        }
    }
}

/// An angle normalised into (-π, π]. An angle in that range is returned bit by bit.
pub fn wrap_angle(angle: f64) -> f64 {
    use std::f64::consts::{PI, TAU};
    if angle > -PI && angle <= PI {
        return angle;
    }
    let wrapped = angle.rem_euclid(TAU);
    if wrapped > PI { wrapped - TAU } else { wrapped }
}

/// A player's controls for one tick. They never contain a time step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Controls {
    /// Main engine, -127 (full reverse) to 127 (full ahead); -128 counts as -127.
    pub thrust: i8,
    /// Turning, -127 (clockwise) to 127 (counter-clockwise).
    pub turn: i8,
    /// Bits: [`Controls::FIRE`], [`Controls::BOOST`], [`Controls::BRAKE`], [`Controls::LAUNCH`],
    /// [`Controls::BEAM`], [`Controls::MINE`], [`Controls::TRACTOR`]. Others are ignored.
    pub buttons: u8,
}

impl Controls {
    /// The trigger is held.
    pub const FIRE: u8 = 1;
    /// The booster is held.
    pub const BOOST: u8 = 2;
    /// The brake is held.
    pub const BRAKE: u8 = 4;
    /// A missile launch is requested.
    pub const LAUNCH: u8 = 8;
    /// The beam is requested.
    pub const BEAM: u8 = 16;
    /// The mining laser is on.
    pub const MINE: u8 = 32;
    /// The tractor beam is on.
    pub const TRACTOR: u8 = 64;

    /// Whether `button` is held.
    pub fn holds(&self, button: u8) -> bool {
        self.buttons & button != 0
    }
}

/// The hulls that fly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, PartialOrd, Ord)]
#[repr(u8)]
pub enum HullKind {
    /// A player's first ship: quick, light.
    Scout = 0,
    /// A patrol drone: slower, no booster.
    Drone = 1,
    /// A homing missile: fast, turns badly, never fires.
    Missile = 2,
    /// A freighter: slow, a large hold, a thick hull.
    Hauler = 3,
    /// A warship: a strong engine, a strong hull, next to no hold.
    Gunship = 4,
}

/// The properties of a hull. Units, seconds, radians, hull points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HullSpec {
    /// Radius of the hull's circle, units.
    pub radius: f64,
    /// Main engine, units/s².
    pub acceleration: f64,
    /// Top speed without booster, units/s.
    pub max_speed: f64,
    /// Top speed with booster, units/s.
    pub boost_speed: f64,
    /// Full turn, rad/s.
    pub turn_rate: f64,
    /// Share of the difference to the wanted turning rate that is made up in a tick, 0 to 1.
    pub turn_response: f64,
    /// Share of the speed that drag removes in a second when the engine is idle, 0 to 1.
    pub idle_drag: f64,
    /// Hull points when undamaged.
    pub hull: u16,
    /// Ticks between two shots.
    pub fire_interval_ticks: u64,
}

impl HullKind {
    /// The hull for a number from outside.
    pub fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Scout),
            1 => Some(Self::Drone),
            2 => Some(Self::Missile),
            3 => Some(Self::Hauler),
            4 => Some(Self::Gunship),
            _ => None,
        }
    }

    /// The properties of this hull.
    pub fn spec(self) -> HullSpec {
        match self {
            Self::Scout => HullSpec {
                radius: 9.0,
                acceleration: 160.0,
                max_speed: 220.0,
                boost_speed: 380.0,
                turn_rate: 3.4,
                turn_response: 0.45,
                idle_drag: 0.35,
                hull: 100,
                fire_interval_ticks: 6,
            },
            Self::Drone => HullSpec {
                radius: 8.0,
                acceleration: 110.0,
                max_speed: 150.0,
                boost_speed: 150.0,
                turn_rate: 2.4,
                turn_response: 0.35,
                idle_drag: 0.5,
                hull: 40,
                fire_interval_ticks: 15,
            },
            Self::Missile => HullSpec {
                radius: 3.0,
                acceleration: 420.0,
                max_speed: 400.0,
                boost_speed: 400.0,
                turn_rate: 2.6,
                turn_response: 0.5,
                idle_drag: 0.0,
                hull: 10,
                fire_interval_ticks: u64::MAX,
            },
            Self::Hauler => HullSpec {
                radius: 15.0,
                acceleration: 90.0,
                max_speed: 160.0,
                boost_speed: 260.0,
                turn_rate: 2.0,
                turn_response: 0.3,
                idle_drag: 0.3,
                hull: 220,
                fire_interval_ticks: 9,
            },
            Self::Gunship => HullSpec {
                radius: 11.0,
                acceleration: 190.0,
                max_speed: 230.0,
                boost_speed: 380.0,
                turn_rate: 3.2,
                turn_response: 0.45,
                idle_drag: 0.35,
                hull: 170,
                fire_interval_ticks: 5,
            },
        }
    }
}

/// The highest speed of any body, units/s: the range of motion packets. Collisions are clamped to it.
pub const MAX_SPEED: f64 = 900.0;

/// One tick of flight: `state` under `controls`. From any finite state it leads to a finite one within
/// [`MAX_SPEED`] and (-π, π].
pub fn step(state: &FlightState, controls: Controls, spec: &HullSpec) -> FlightState {
    let velocity = steer(state, controls, spec);
    let angular_velocity = turn(state, controls, spec);
    FlightState {
        position: state.position + velocity * TICK_SECONDS,
        velocity,
        angle: wrap_angle(wrap_angle(state.angle) + angular_velocity * TICK_SECONDS),
        angular_velocity,
    }
}

/// The turning rate after one tick of `controls`, rad/s.
pub fn turn(state: &FlightState, controls: Controls, spec: &HullSpec) -> f64 {
    let wanted = axis(controls.turn) * spec.turn_rate;
    state.angular_velocity + (wanted - state.angular_velocity) * spec.turn_response
}

/// The velocity after one tick of `controls`, units/s.
///
/// The engine pushes along the heading. Above the top speed of engine or booster, drag slows the ship gradually, so
/// that an external impulse is not undone at once.
pub fn steer(state: &FlightState, controls: Controls, spec: &HullSpec) -> DVec2 {
    let thrust = axis(controls.thrust);
    let boost = controls.holds(Controls::BOOST) && thrust > 0.0;
    let limit = if boost { spec.boost_speed } else { spec.max_speed };
    let power = if boost { spec.acceleration * 1.8 } else { spec.acceleration };
    let forward = if thrust < 0.0 { thrust * 0.5 } else { thrust };
    // A record or a packet may hold any finite number, and the square of a large one is not finite.
    let current = state.velocity.clamp_length_max(MAX_SPEED);
    let before = current.length();
    let mut velocity = current + state.heading() * (forward * power * TICK_SECONDS);
    let drag = if controls.holds(Controls::BRAKE) {
        2.0
    } else if thrust == 0.0 {
        spec.idle_drag
    } else {
        // Always a little, so that a turn under thrust bends the path instead of only adding to it.
        0.25
    };
    velocity *= 1.0 - drag * TICK_SECONDS;
    let speed = velocity.length();
    if speed > limit {
        // Back to the limit at 3 % of the speed a tick, never faster than before.
        let held = (before.max(limit) * 0.97).max(limit).min(speed);
        velocity *= held / speed;
    }
    velocity.clamp_length_max(MAX_SPEED)
}

fn axis(value: i8) -> f64 {
    f64::from(value.max(-127)) / 127.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_thrust_reaches_the_hulls_speed_and_holds_it() {
        let spec = HullKind::Scout.spec();
        let mut state = FlightState::default();
        let ahead = Controls { thrust: 127, ..Default::default() };
        for _ in 0..600 {
            state = step(&state, ahead, &spec);
        }
        assert!((state.velocity.length() - spec.max_speed).abs() < 1.0, "{state:?}");
        let boost = Controls { buttons: Controls::BOOST, ..ahead };
        for _ in 0..600 {
            state = step(&state, boost, &spec);
        }
        assert!((state.velocity.length() - spec.boost_speed).abs() < 2.0, "{state:?}");
    }

    #[test]
    fn the_same_flight_far_out_and_at_the_origin() {
        let spec = HullKind::Scout.spec();
        let far = DVec2::new(1.0e9, -2.0e9);
        let mut here = FlightState::default();
        let mut there = FlightState { position: far, ..Default::default() };
        for tick in 0..300u32 {
            let controls = Controls { thrust: 100, turn: (tick % 120) as i8, buttons: 0 };
            here = step(&here, controls, &spec);
            there = step(&there, controls, &spec);
        }
        assert!((here.position - (there.position - far)).length() < 1e-3);
    }

    #[test]
    fn angles_wrap_to_half_a_turn() {
        use std::f64::consts::PI;
        assert!((wrap_angle(3.0 * PI) - PI).abs() < 1e-12);
        assert!((wrap_angle(-3.5 * PI) - 0.5 * PI).abs() < 1e-12);
    }
}
