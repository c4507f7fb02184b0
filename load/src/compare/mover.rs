//! The moving entities: their paths, and their form as a component of naia's.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use sidereal_protocol::{
    DVec2,
    packets::precision::{ANGLE, ANGULAR_VELOCITY, POSITION, VELOCITY},
    rules::flight::{FlightState, wrap_angle},
    world::{
        sector::SectorId,
        tick::{TICK_HZ, TICK_SECONDS},
    },
};

/// The sector of all entities and clients.
pub const SECTOR: SectorId = SectorId::new(0, 0);

pub use replicated::Mover;

/// A module for it alone, because the lint cannot be allowed in a smaller scope.
#[allow(missing_docs, reason = "`derive(Replicate)` makes a public `new_complete` without documentation")]
mod replicated {
    use bevy::prelude::Component;
    use naia_bevy_shared::{Property, Replicate, UnsignedInteger};

    /// A motion as a component of naia's: each value as wide as on the motion plane, 83 bits in all.
    #[derive(Component, Replicate)]
    pub struct Mover {
        /// Position in its sector.
        pub x: Property<UnsignedInteger<17>>,
        /// The same.
        pub y: Property<UnsignedInteger<17>>,
        /// Heading.
        pub angle: Property<UnsignedInteger<11>>,
        /// Velocity.
        pub velocity_x: Property<UnsignedInteger<14>>,
        /// The same.
        pub velocity_y: Property<UnsignedInteger<14>>,
        /// Turning rate.
        pub turning: Property<UnsignedInteger<10>>,
    }
}

impl Mover {
    /// The component of a state.
    pub fn of(state: &FlightState) -> Self {
        let words = words(state);
        Self::new_complete(
            naia_bevy_shared::UnsignedInteger::new(words[0]),
            naia_bevy_shared::UnsignedInteger::new(words[1]),
            naia_bevy_shared::UnsignedInteger::new(words[2]),
            naia_bevy_shared::UnsignedInteger::new(words[3]),
            naia_bevy_shared::UnsignedInteger::new(words[4]),
            naia_bevy_shared::UnsignedInteger::new(words[5]),
        )
    }

    /// Changes it to another state.
    pub fn set(&mut self, state: &FlightState) {
        let words = words(state);
        *self.x = naia_bevy_shared::UnsignedInteger::new(words[0]);
        *self.y = naia_bevy_shared::UnsignedInteger::new(words[1]);
        *self.angle = naia_bevy_shared::UnsignedInteger::new(words[2]);
        *self.velocity_x = naia_bevy_shared::UnsignedInteger::new(words[3]);
        *self.velocity_y = naia_bevy_shared::UnsignedInteger::new(words[4]);
        *self.turning = naia_bevy_shared::UnsignedInteger::new(words[5]);
    }
}

fn words(state: &FlightState) -> [u64; 6] {
    let local = state.position - SECTOR.origin();
    [
        POSITION.pack(local.x),
        POSITION.pack(local.y),
        ANGLE.pack(wrap_angle(state.angle)),
        VELOCITY.pack(state.velocity.x),
        VELOCITY.pack(state.velocity.y),
        ANGULAR_VELOCITY.pack(state.angular_velocity),
    ]
}

/// A circle: its motion is not a line, so that no receiver could extrapolate it exactly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    center: DVec2,
    radius: f64,
    /// Radians per second.
    speed: f64,
    phase: f64,
}

impl Path {
    /// The path of the entity `number`. The same for the same number, wholly inside [`SECTOR`].
    pub fn of(number: u32) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(u64::from(number).wrapping_mul(0x9e37_79b9) ^ 0x51de);
        let radius = random.random_range(40.0..150.0);
        let place = |random: &mut Pcg64Mcg| random.random_range(radius + 20.0..980.0 - radius);
        let center = SECTOR.origin() + DVec2::new(place(&mut random), place(&mut random));
        let speed = random.random_range(0.3..1.0);
        Self { center, radius, speed, phase: random.random_range(0.0..std::f64::consts::TAU) }
    }

    /// The state at a tick. It never stands still.
    pub fn at(&self, tick: u64) -> FlightState {
        let turned = self.phase + self.speed * TICK_SECONDS * tick as f64;
        let out = DVec2::from_angle(turned);
        FlightState {
            position: self.center + out * self.radius,
            velocity: out.perp() * self.radius * self.speed,
            angle: wrap_angle(turned + std::f64::consts::FRAC_PI_2),
            angular_velocity: self.speed,
        }
    }
}

/// Whether entities change at this tick, for `rate_hz` of 30 ticks.
pub fn changes_at(tick: u64, rate_hz: u32) -> bool {
    let (rate, hz) = (u64::from(rate_hz), u64::from(TICK_HZ));
    (tick % hz) * rate / hz != ((tick % hz) + 1) * rate / hz
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_their_sector_and_always_move() {
        for number in 0..200 {
            let path = Path::of(number);
            for tick in (0..3_000).step_by(17) {
                let state = path.at(tick);
                assert_eq!(SECTOR.overshoot(state.position), 0.0, "{number}");
                assert!(state.velocity.length() > 5.0 && state.is_finite());
                assert_ne!(words(&state), words(&path.at(tick + 1)));
            }
        }
    }

    #[test]
    fn a_rate_is_that_many_ticks_of_every_thirty() {
        for rate in 1..=30 {
            for start in [0, 30, 90] {
                let changes = (start..start + 30).filter(|tick| changes_at(*tick, rate)).count();
                assert_eq!(changes, rate as usize);
            }
        }
    }
}
