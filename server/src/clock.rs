//! The world's tick on the server, which owns it: naia's tick, unwrapped, from where the last run stopped.

use bevy::prelude::Resource;
use sidereal_protocol::tick::{SimTick, TickSync};

/// What tick it is.
#[derive(Debug, Resource)]
pub struct Clock {
    sync: TickSync,
    /// The world's tick.
    pub tick: SimTick,
    /// naia's tick, the same moment.
    pub naia_tick: u16,
    /// The tick of this run's start.
    pub started: SimTick,
}

impl Clock {
    /// A clock that stands at `tick` when naia's is at `naia_tick`.
    pub fn new(tick: SimTick, naia_tick: u16) -> Self {
        Self { sync: TickSync::new(naia_tick, tick), tick, naia_tick, started: tick }
    }

    /// naia has reached `naia_tick`.
    pub fn advance(&mut self, naia_tick: u16) {
        self.tick = self.sync.sim_tick(naia_tick);
        self.naia_tick = naia_tick;
    }
}
