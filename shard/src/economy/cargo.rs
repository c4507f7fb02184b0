//! Ore in ships, rocks and crates, by the server's ledger.
//!
//! Runs in the shard. Only the ledger changes an amount; this is the last one that it sent.

use crate::bodies::{
    body::Body,
    parts::{AppRecordParts, RecordPart},
};
use bevy::prelude::*;
use sidereal_protocol::{
    record::{EntityRecord, OreLoad, Section},
    world::kind::Ore,
};

/// Adds cargo.
pub(crate) struct CargoPlugin;

impl Plugin for CargoPlugin {
    fn build(&self, app: &mut App) {
        app.add_record_part::<Cargo>();
    }
}

/// The ore in an own body.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cargo {
    /// Units.
    pub ore: u32,
}

impl RecordPart for Cargo {
    const SECTION: Option<u16> = Some(OreLoad::ID);

    fn of(record: &EntityRecord) -> Option<Self> {
        (record.kind.spec().ore != Ore::None).then_some(Self { ore: record.ore() })
    }

    fn write(&self, record: &mut EntityRecord) {
        record.set(OreLoad(self.ore));
    }
}

/// Free space in the hold of an own ship, units of ore.
pub(crate) fn room(body: &Body, cargo: Option<&Cargo>) -> u32 {
    let held = cargo.map_or(0, |cargo| cargo.ore);
    body.hull_kind.map_or(0, |hull| hull.hold().saturating_sub(held))
}
