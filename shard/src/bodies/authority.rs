//! [`Authority`]: what marks a body as this shard's own.
//!
//! Runs in the shard.

use bevy::prelude::*;
use sidereal_protocol::{
    flight::FlightState,
    record::{EntityRecord, SettledAt},
    sector::SectorId,
    tick::SimTick,
};
use std::time::Instant;

/// A body that this shard is the authority of. It is added after everything else of a body, and removed first.
#[derive(Component, Debug)]
pub struct Authority {
    /// Changes of authority so far.
    pub epoch: u64,
    /// Changes of the record in this epoch that were sent.
    pub version: u64,
    /// Logical sector: always one that this shard holds.
    pub sector: SectorId,
    /// No handoff before this tick.
    pub settled_at: SimTick,
    /// It came by a handoff at this moment, and its first tick here is still to be reported. For a figure only.
    pub adopted: Option<Instant>,
    /// Its record was ahead of this shard's clock: the state at that tick, until then.
    pub ahead: Option<(SimTick, FlightState)>,
}

impl Authority {
    /// That of a record, from its epoch on.
    pub fn of(record: &EntityRecord) -> Self {
        Self {
            epoch: record.epoch,
            version: record.version,
            sector: record.sector,
            settled_at: record.get::<SettledAt>().unwrap_or_default().0,
            adopted: None,
            ahead: None,
        }
    }
}
