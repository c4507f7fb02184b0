//! When the own ship's tools that reload slowly (beam, launcher) are ready, by the client's own count.
//!
//! Pure except that it is a resource. Runs in the player client and in bots. The shard decides; this predicts its
//! decision at once, and is corrected by the shard's packets. The gun's interval is in [`crate::weapons::shots`],
//! with its bullets.

use bevy::prelude::Resource;
use sidereal_protocol::{
    rules::{
        economy::Fitted,
        flight::{Controls, HullKind},
        tool::Tool,
    },
    world::tick::SimTick,
};

/// The times at which the tools are ready, in ticks of the world.
#[derive(Resource, Debug, Default, Clone, Copy)]
pub struct Arms {
    ready: [SimTick; Tool::COUNT],
    hull: Option<HullKind>,
    fitted: Fitted,
}

/// The tools that the controls of a tick use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Triggered([bool; Tool::COUNT]);

impl Triggered {
    /// Whether `tool` is one of them.
    pub fn has(&self, tool: Tool) -> bool {
        self.0[tool as usize]
    }
}

/// The reload progress of each tool, 0 to 1; 1 is ready.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Readiness([f64; Tool::COUNT]);

impl Default for Readiness {
    fn default() -> Self {
        Self([1.0; Tool::COUNT])
    }
}

impl Readiness {
    /// The progress of `tool`.
    pub fn of(&self, tool: Tool) -> f64 {
        self.0[tool as usize]
    }

    /// These, with `share` for `tool`.
    #[must_use]
    pub fn with(mut self, tool: Tool, share: f64) -> Self {
        self.0[tool as usize] = share;
        self
    }
}

/// The tools that are counted here.
pub fn reloading() -> impl Iterator<Item = Tool> {
    Tool::all().filter(|tool| tool.spec().shows_reload)
}

impl Arms {
    /// Applies the controls of the tick that the shard will apply at `tick` of the world.
    pub fn trigger(&mut self, controls: Controls, tick: SimTick) -> Triggered {
        let mut triggered = Triggered::default();
        for tool in reloading() {
            let goes = tool.is_held(controls) && tick >= self.ready[tool as usize];
            if goes {
                self.ready[tool as usize] = self.ready_after(tool, tick);
            }
            triggered.0[tool as usize] = goes;
        }
        triggered
    }

    /// The shard has confirmed that the own ship used `tool` at `tick`: the next time follows after its interval.
    pub fn confirm(&mut self, tool: Tool, tick: SimTick) {
        let ready = self.ready_after(tool, tick);
        self.ready[tool as usize] = self.ready[tool as usize].max(ready);
    }

    /// The hull of the ship.
    pub fn set_hull(&mut self, hull: HullKind) {
        self.hull = Some(hull);
    }

    /// The weapons that are fitted to the ship.
    pub fn set_fitted(&mut self, fitted: Fitted) {
        self.fitted = fitted;
    }

    /// The own ship is another one: everything is ready. The server sends its fitted weapons.
    pub fn board(&mut self) {
        self.ready = Default::default();
    }

    /// The reload progress at `tick` of the world.
    pub fn readiness(&self, tick: f64) -> Readiness {
        reloading().fold(Readiness::default(), |readiness, tool| {
            let interval_ticks = tool.interval_ticks(self.hull, self.fitted) as f64;
            let missing = (self.ready[tool as usize].0 as f64 - tick) / interval_ticks;
            readiness.with(tool, (1.0 - missing).clamp(0.0, 1.0))
        })
    }

    fn ready_after(&self, tool: Tool, tick: SimTick) -> SimTick {
        tick + tool.interval_ticks(self.hull, self.fitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::rules::{
        economy::Weapon,
        shot::{BEAM_INTERVAL_TICKS, MISSILE_INTERVAL_TICKS},
    };

    fn hold(buttons: u8) -> Controls {
        Controls { buttons, ..Default::default() }
    }

    #[test]
    fn a_held_button_sets_off_one_in_each_interval() {
        let mut arms = Arms::default();
        let (mut beams, mut missiles) = (Vec::new(), Vec::new());
        for tick in 1000..1000 + 2 * MISSILE_INTERVAL_TICKS {
            let set_off = arms.trigger(hold(Controls::BEAM | Controls::LAUNCH), SimTick(tick));
            beams.extend(set_off.has(Tool::Beam).then_some(tick));
            missiles.extend(set_off.has(Tool::Launcher).then_some(tick));
        }
        assert_eq!(missiles, [1000, 1000 + MISSILE_INTERVAL_TICKS]);
        assert_eq!(beams.len() as u64, 2 * MISSILE_INTERVAL_TICKS / BEAM_INTERVAL_TICKS);
        assert!(beams.windows(2).all(|pair| pair[1] - pair[0] == BEAM_INTERVAL_TICKS));
    }

    #[test]
    fn a_fast_launcher_is_ready_in_half_the_time() {
        let mut arms = Arms::default();
        arms.set_fitted(Fitted::default().with(Weapon::FastLauncher));
        assert!(arms.trigger(hold(Controls::LAUNCH), SimTick(1000)).has(Tool::Launcher));
        let half = MISSILE_INTERVAL_TICKS / 2;
        assert!(!arms.trigger(hold(Controls::LAUNCH), SimTick(1000 + half - 1)).has(Tool::Launcher));
        assert!(arms.trigger(hold(Controls::LAUNCH), SimTick(1000 + half)).has(Tool::Launcher));
    }

    #[test]
    fn what_the_shard_tells_of_moves_the_time() {
        let mut arms = Arms::default();
        assert!(arms.trigger(hold(Controls::BEAM), SimTick(100)).has(Tool::Beam));
        arms.confirm(Tool::Beam, SimTick(103));
        assert!(!arms.trigger(hold(Controls::BEAM), SimTick(102 + BEAM_INTERVAL_TICKS)).has(Tool::Beam));
        assert!(arms.trigger(hold(Controls::BEAM), SimTick(103 + BEAM_INTERVAL_TICKS)).has(Tool::Beam));
    }

    #[test]
    fn readiness_goes_from_nothing_to_whole_over_an_interval() {
        let mut arms = Arms::default();
        assert_eq!(arms.readiness(100.0), Readiness::default());
        arms.trigger(hold(Controls::BEAM), SimTick(100));
        assert_eq!(arms.readiness(100.0), Readiness::default().with(Tool::Beam, 0.0));
        assert_eq!(arms.readiness(115.0).of(Tool::Beam), 0.5);
        assert_eq!(arms.readiness(500.0), Readiness::default());
        arms.board();
        assert_eq!(arms.readiness(100.0), Readiness::default());
    }
}
