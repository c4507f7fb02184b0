//! A diary of which entities come into the mirror and leave it, and why: for the tests of the whole mesh.
//!
//! Runs in the server, only with the feature `journal`. It is written where something happens, not where the
//! mirror changes, so that a change of the mirror without a reason shows.

use bevy::prelude::Resource;
use sidereal_protocol::{
    ids::{AccountId, EntityId},
    record::EntityRecord,
};

/// Events that wait at most. A reader who comes every tick never sees a hundredth of it, but when a large block is
/// loaded.
pub const MAX_EVENTS: usize = 65_536;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It came into the mirror from the database with its block, or was generated with it.
    Loaded {
        /// Whom it concerns.
        id: EntityId,
        /// Hull points.
        hull: u16,
        /// Whether the database had it.
        stored: bool,
    },
    /// A shard made it, and it came into the mirror.
    Created {
        /// Whom it concerns.
        id: EntityId,
        /// Hull points.
        hull: u16,
    },
    /// An account was given a new ship.
    ShipMade {
        /// Whose.
        account: AccountId,
        /// The ship.
        id: EntityId,
    },
    /// A player went aboard a ship that is not in the mirror: it waits for a shard.
    Boarded {
        /// Who.
        account: AccountId,
        /// The ship.
        id: EntityId,
        /// Hull points.
        hull: u16,
        /// Whose hands are at its helm.
        boarding: u32,
    },
    /// Another session took the helm of a ship in the mirror.
    TakenOver {
        /// The ship.
        id: EntityId,
        /// Whose hands are at its helm from now on.
        boarding: u32,
    },
    /// A ship that waited came into the mirror.
    Admitted {
        /// Whom it concerns.
        id: EntityId,
        /// Hull points.
        hull: u16,
    },
    /// It was destroyed, and left the mirror.
    Destroyed {
        /// Whom it concerns.
        id: EntityId,
        /// Its epoch.
        epoch: u64,
    },
    /// It left the mirror since shards fail at it, or may have.
    SetAside {
        /// Whom it concerns.
        id: EntityId,
        /// Hull points.
        hull: u16,
    },
    /// It left the mirror for the database.
    Stored {
        /// Whom it concerns.
        id: EntityId,
        /// Hull points.
        hull: u16,
    },
}

/// What happened since it was last read.
#[derive(Debug, Default, Resource)]
pub struct Journal {
    events: Vec<Event>,
    overfull: bool,
}

impl Journal {
    /// Takes out everything, oldest first; `None` when something is missing because nobody has read it in time.
    pub fn take(&mut self) -> Option<Vec<Event>> {
        let events = std::mem::take(&mut self.events);
        (!std::mem::take(&mut self.overfull)).then_some(events)
    }

    /// Adds an event. Past [`MAX_EVENTS`] it is dropped, which the reader is told.
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
