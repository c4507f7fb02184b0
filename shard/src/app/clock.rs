//! Which tick it is.
//!
//! Runs in the shard.

use bevy::prelude::*;
use sidereal_protocol::tick::SimTick;

/// The world's tick on this shard.
#[derive(Resource, Debug, Default)]
pub struct SimClock {
    /// The tick that is being simulated; between ticks, the last one that was.
    pub tick: SimTick,
    /// Whether a tick was simulated, so that a gap to the next one can be told.
    pub running: bool,
}
