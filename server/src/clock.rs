//! The world's tick. The server owns it: it is naia's tick, unwrapped, and continues where the last run stopped.

use bevy::prelude::Resource;
use sidereal_protocol::world::tick::{SimTick, TickSync};

/// The present tick.
#[derive(Debug, Resource)]
pub struct Clock {
    sync: TickSync,
    /// The world's tick.
    pub tick: SimTick,
    /// naia's tick at the same moment.
    pub naia_tick: u16,
    /// The tick at which this run started.
    pub started: SimTick,
}

impl Clock {
    /// A clock at `tick` while naia's is at `naia_tick`.
    pub fn new(tick: SimTick, naia_tick: u16) -> Self {
        Self { sync: TickSync::new(naia_tick, tick), tick, naia_tick, started: tick }
    }

    /// naia has reached `naia_tick`.
    pub fn advance(&mut self, naia_tick: u16) {
        self.tick = self.sync.sim_tick(naia_tick);
        self.naia_tick = naia_tick;
    }
}
