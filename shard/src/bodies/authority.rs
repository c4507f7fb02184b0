//! [`Authority`]: the mark of this shard's own bodies.
//!
//! Runs in the shard.

use bevy::prelude::*;
use sidereal_protocol::{
    record::{EntityRecord, SettledAt},
    rules::flight::FlightState,
    world::{sector::SectorId, tick::SimTick},
};

/// Present on a body that this shard is the authority of. It is added after all other components, and removed first.
#[derive(Component, Debug)]
pub struct Authority {
    /// Number of changes of authority so far.
    pub epoch: u64,
    /// Number of record changes that were sent in this epoch.
    pub version: u64,
    /// Logical sector, always one that is leased to this shard.
    pub sector: SectorId,
    /// No handoff starts before this tick.
    pub settled_at: SimTick,
    /// Its record was ahead of this shard's clock: the state of that tick, kept until the clock reaches it.
    pub ahead: Option<(SimTick, FlightState)>,
}

impl Authority {
    /// The authority over the entity of a record, from its epoch on.
    pub fn of(record: &EntityRecord) -> Self {
        Self {
            epoch: record.epoch,
            version: record.version,
            sector: record.sector,
            settled_at: record.get::<SettledAt>().unwrap_or_default().0,
            ahead: None,
        }
    }
}
