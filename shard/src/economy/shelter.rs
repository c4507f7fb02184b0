//! Ships that nothing reaches: docked ones, and those of which a deal is not settled.
//!
//! Runs in the shard. When a ship is docked, and when a deal is settled, `crate::economy::docking` decides.

use crate::bodies::parts::RecordPart;
use bevy::{ecs::query::QueryData, prelude::*};
use sidereal_protocol::{
    economy::DealKey,
    ids::EntityId,
    record::{DockedAt, EntityRecord, Section},
    tick::SimTick,
};

/// The station that an own ship is docked at.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Docked(pub EntityId);

impl RecordPart for Docked {
    const SECTION: Option<u16> = Some(DockedAt::ID);

    fn of(record: &EntityRecord) -> Option<Self> {
        record.docked().map(Self)
    }

    fn write(&self, record: &mut EntityRecord) {
        record.set(DockedAt(self.0));
    }
}

/// A deal that was let pass and is not settled.
#[derive(Component, Debug, Clone)]
pub struct PendingDeal {
    /// Its name.
    pub key: DealKey,
    /// The ship as it will be if the deal is done.
    pub after: Box<EntityRecord>,
    /// The server wants the ship back: at this tick at the latest.
    pub withdraw_by: Option<SimTick>,
}

impl RecordPart for PendingDeal {
    fn of(_: &EntityRecord) -> Option<Self> {
        None
    }
}

/// What of a body says whether nothing reaches it: it is docked, or a deal of it is not settled. Its helm is not heeded
/// then, and it stays where its authority is.
#[derive(QueryData)]
pub struct Shelter {
    docked: Has<Docked>,
    deals: Has<PendingDeal>,
}

impl ShelterItem<'_, '_> {
    /// Whether nothing reaches it.
    pub fn is_sheltered(&self) -> bool {
        self.docked || self.deals
    }
}
