//! A log of the entities that enter and leave the mirror, and why: for the tests of the whole mesh.
//!
//! Runs in the server, only with the feature `journal`. Entries are written where the cause is, not where the mirror
//! changes, so that a change without a cause is detected.

use bevy::prelude::Resource;
use sidereal_protocol::{
    record::EntityRecord,
    world::ids::{AccountId, EntityId},
};

/// Maximum number of queued events. A reader that reads every tick stays below a hundredth of it, except when a large
/// block is loaded.
pub const MAX_EVENTS: usize = 65_536;

/// What happened, and why.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It entered the mirror from the database with its block, or was generated with it.
    Loaded {
        /// The entity.
        id: EntityId,
        /// Hull points.
        hull: u16,
        /// Whether the database had it.
        stored: bool,
    },
    /// A shard spawned it, and it entered the mirror.
    Created {
        /// The entity.
        id: EntityId,
        /// Hull points.
        hull: u16,
    },
    /// An account received a new ship.
    ShipMade {
        /// The account.
        account: AccountId,
        /// The ship.
        id: EntityId,
    },
    /// A player boarded a ship that is not in the mirror: it waits for a shard.
    Boarded {
        /// The account.
        account: AccountId,
        /// The ship.
        id: EntityId,
        /// Hull points.
        hull: u16,
        /// The new boarding number of its helm.
        boarding: u32,
    },
    /// Another session took control of a ship in the mirror.
    TakenOver {
        /// The ship.
        id: EntityId,
        /// The new boarding number of its helm.
        boarding: u32,
    },
    /// A waiting ship entered the mirror.
    Admitted {
        /// The entity.
        id: EntityId,
        /// Hull points.
        hull: u16,
    },
    /// It was destroyed, and left the mirror.
    Destroyed {
        /// The entity.
        id: EntityId,
        /// Its epoch.
        epoch: u64,
    },
    /// It left the mirror because shards fail when they simulate it, or may.
    SetAside {
        /// The entity.
        id: EntityId,
        /// Hull points.
        hull: u16,
    },
    /// It left the mirror for the database.
    Stored {
        /// The entity.
        id: EntityId,
        /// Hull points.
        hull: u16,
    },
}

/// The events since the last read.
#[derive(Debug, Default, Resource)]
pub struct Journal {
    events: Vec<Event>,
    overfull: bool,
}

impl Journal {
    /// Takes all events, oldest first; `None` if some were dropped because they were not read in time.
    pub fn take(&mut self) -> Option<Vec<Event>> {
        let events = std::mem::take(&mut self.events);
        (!std::mem::take(&mut self.overfull)).then_some(events)
    }

    /// Adds an event. Past [`MAX_EVENTS`] it is dropped, and the next read returns `None`.
    pub fn push(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push(event);
        } else {
            self.overfull = true;
        }
    }

    pub(crate) fn loaded(&mut self, record: &EntityRecord, stored: bool) {
        self.push(Event::Loaded { id: record.id, hull: record.hull(), stored });
    }

    pub(crate) fn created(&mut self, record: &EntityRecord) {
        self.push(Event::Created { id: record.id, hull: record.hull() });
    }

    pub(crate) fn ship_made(&mut self, account: AccountId, id: EntityId) {
        self.push(Event::ShipMade { account, id });
    }

    pub(crate) fn boarded(&mut self, account: AccountId, record: &EntityRecord) {
        let boarding = record.pilot().map_or(0, |pilot| pilot.boarding);
        self.push(Event::Boarded { account, id: record.id, hull: record.hull(), boarding });
    }

    pub(crate) fn taken_over(&mut self, id: EntityId, boarding: u32) {
        self.push(Event::TakenOver { id, boarding });
    }

    pub(crate) fn admitted(&mut self, record: &EntityRecord) {
        self.push(Event::Admitted { id: record.id, hull: record.hull() });
    }

    pub(crate) fn destroyed(&mut self, id: EntityId, epoch: u64) {
        self.push(Event::Destroyed { id, epoch });
    }

    pub(crate) fn set_aside(&mut self, record: &EntityRecord) {
        self.push(Event::SetAside { id: record.id, hull: record.hull() });
    }

    pub(crate) fn stored(&mut self, record: &EntityRecord) {
        self.push(Event::Stored { id: record.id, hull: record.hull() });
    }
}
