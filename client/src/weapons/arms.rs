//! When the own ship's beam and launcher are ready, by the client's own count.
//!
//! Pure except that it is a resource. Runs in the player client and in bots. The shard decides; this predicts its
//! decision at once, and is corrected by the shard's packets. The cannon's interval is in [`crate::weapons::shots`],
//! with its bullets.

use bevy::prelude::Resource;
use sidereal_protocol::{
    economy::{Fitted, launcher_interval_ticks},
    flight::Controls,
    shot::BEAM_INTERVAL_TICKS,
    tick::SimTick,
};

/// The times at which both weapons are ready, in ticks of the world.
#[derive(Resource, Debug, Default, Clone, Copy)]
pub struct Arms {
    beam_ready: SimTick,
    launcher_ready: SimTick,
    fitted: Fitted,
}

/// The weapons that the controls of a tick fire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Triggered {
    /// A beam.
    pub beam: bool,
    /// A missile.
    pub missile: bool,
}

/// The reload progress of each weapon, 0 to 1; 1 is ready.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Readiness {
    /// The beam.
    pub beam: f64,
    /// The missile launcher.
    pub launcher: f64,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { beam: 1.0, launcher: 1.0 }
    }
}

impl Arms {
    /// Applies the controls of the tick that the shard will apply at `tick` of the world.
    pub fn trigger(&mut self, controls: Controls, tick: SimTick) -> Triggered {
        let launcher_interval = launcher_interval_ticks(self.fitted);
        let set_off = |button: u8, ready: &mut SimTick, interval_ticks: u64| {
            let goes = controls.holds(button) && tick >= *ready;
            if goes {
                *ready = tick + interval_ticks;
            }
            goes
        };
        Triggered {
            beam: set_off(Controls::BEAM, &mut self.beam_ready, BEAM_INTERVAL_TICKS),
            missile: set_off(Controls::LAUNCH, &mut self.launcher_ready, launcher_interval),
        }
    }

    /// The shard has confirmed a beam of the own ship at `tick`: the next one follows after its interval.
    pub fn hear_beam(&mut self, tick: SimTick) {
        self.beam_ready = self.beam_ready.max(tick + BEAM_INTERVAL_TICKS);
    }

    /// The weapons that are fitted to the ship.
    pub fn set_fitted(&mut self, fitted: Fitted) {
        self.fitted = fitted;
    }

    /// The own ship is another one: everything is ready. The server sends its fitted weapons.
    pub fn board(&mut self) {
        *self = Self { fitted: self.fitted, ..Self::default() };
    }

    /// The reload progress at `tick` of the world.
    pub fn readiness(&self, tick: f64) -> Readiness {
        let share = |ready: SimTick, interval_ticks: u64| {
            (1.0 - (ready.0 as f64 - tick) / interval_ticks as f64).clamp(0.0, 1.0)
        };
        Readiness {
            beam: share(self.beam_ready, BEAM_INTERVAL_TICKS),
            launcher: share(self.launcher_ready, launcher_interval_ticks(self.fitted)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::{economy::Weapon, shot::MISSILE_INTERVAL_TICKS};

    fn hold(buttons: u8) -> Controls {
        Controls { buttons, ..Default::default() }
    }

    #[test]
    fn a_held_button_sets_off_one_in_each_interval() {
        let mut arms = Arms::default();
        let (mut beams, mut missiles) = (Vec::new(), Vec::new());
        for tick in 1000..1000 + 2 * MISSILE_INTERVAL_TICKS {
            let set_off = arms.trigger(hold(Controls::BEAM | Controls::LAUNCH), SimTick(tick));
            beams.extend(set_off.beam.then_some(tick));
            missiles.extend(set_off.missile.then_some(tick));
        }
        assert_eq!(missiles, [1000, 1000 + MISSILE_INTERVAL_TICKS]);
        assert_eq!(beams.len() as u64, 2 * MISSILE_INTERVAL_TICKS / BEAM_INTERVAL_TICKS);
        assert!(beams.windows(2).all(|pair| pair[1] - pair[0] == BEAM_INTERVAL_TICKS));
    }

    #[test]
    fn a_fast_launcher_is_ready_in_half_the_time() {
        let mut arms = Arms::default();
        arms.set_fitted(Fitted::default().with(Weapon::FastLauncher));
        assert!(arms.trigger(hold(Controls::LAUNCH), SimTick(1000)).missile);
        let half = MISSILE_INTERVAL_TICKS / 2;
        assert!(!arms.trigger(hold(Controls::LAUNCH), SimTick(1000 + half - 1)).missile);
        assert!(arms.trigger(hold(Controls::LAUNCH), SimTick(1000 + half)).missile);
    }

    #[test]
    fn what_the_shard_tells_of_moves_the_time() {
        let mut arms = Arms::default();
        assert!(arms.trigger(hold(Controls::BEAM), SimTick(100)).beam);
        arms.hear_beam(SimTick(103));
        assert!(!arms.trigger(hold(Controls::BEAM), SimTick(102 + BEAM_INTERVAL_TICKS)).beam);
        assert!(arms.trigger(hold(Controls::BEAM), SimTick(103 + BEAM_INTERVAL_TICKS)).beam);
    }

    #[test]
    fn readiness_goes_from_nothing_to_whole_over_an_interval() {
        let mut arms = Arms::default();
        assert_eq!(arms.readiness(100.0), Readiness::default());
        arms.trigger(hold(Controls::BEAM), SimTick(100));
        assert_eq!(arms.readiness(100.0), Readiness { beam: 0.0, launcher: 1.0 });
        assert_eq!(arms.readiness(115.0).beam, 0.5);
        assert_eq!(arms.readiness(500.0), Readiness::default());
        arms.board();
        assert_eq!(arms.readiness(100.0), Readiness::default());
    }
}
