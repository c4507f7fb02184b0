//! Locked ships: docked ones, and those with an unsettled deal. Nothing damages them, and their inputs have no effect.
//! Only docked ones have no collider.
//!
//! Runs in the shard. `crate::economy::docking` docks ships and settles deals.

use crate::bodies::parts::RecordPart;
use bevy::{ecs::query::QueryData, prelude::*};
use sidereal_protocol::{
    record::{DockedAt, EntityRecord, Section},
    rules::economy::DealKey,
    world::{ids::EntityId, tick::SimTick},
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

/// A deal that was allowed and is not settled.
#[derive(Component, Debug, Clone)]
pub struct PendingDeal {
    /// Its key.
    pub key: DealKey,
    /// The ship as it is after the deal.
    pub after: Box<EntityRecord>,
    /// The server withdraws the ship: at this tick at the latest.
    pub withdraw_by: Option<SimTick>,
}

impl RecordPart for PendingDeal {
    fn of(_: &EntityRecord) -> Option<Self> {
        None
    }
}

/// Whether a body is locked: docked, or in an unsettled deal. Its inputs then have no effect, and it is not handed
/// over.
#[derive(QueryData)]
pub struct LockState {
    docked: Has<Docked>,
    deals: Has<PendingDeal>,
}

impl LockStateItem<'_, '_> {
    /// Whether the body is locked.
    pub fn is_locked(&self) -> bool {
        self.docked || self.deals
    }
}
