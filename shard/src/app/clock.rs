//! The current tick of the simulation.
//!
//! Runs in the shard.

use bevy::prelude::*;
use sidereal_protocol::world::tick::SimTick;

/// The world's tick on this shard.
#[derive(Resource, Debug, Default)]
pub struct SimClock {
    /// The tick that is being simulated; between ticks, the last simulated one.
    pub tick: SimTick,
    /// Whether any tick was simulated yet: only then can a gap to the next one be detected.
    pub running: bool,
}
