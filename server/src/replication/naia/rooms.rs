//! naia's rooms, one for each sector, and when entities leave them.

use bevy::prelude::Resource;
use naia_bevy_server::RoomKey;
use sidereal_protocol::{ids::EntityId, sector::SectorId, tick::SimTick};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// naia's rooms, one for each sector in which there is something to see, or somebody who looks.
#[derive(Debug, Default, Resource)]
pub struct Rooms {
    pub(in crate::replication) by_sector: HashMap<SectorId, RoomKey>,
    /// Rooms that entities are still in though they have moved on, since when.
    pub(in crate::replication) lingering: BTreeMap<EntityId, Vec<(SectorId, SimTick)>>,
    /// Rooms that were empty when they were looked at last.
    empty: BTreeSet<SectorId>,
}

impl Rooms {
    /// Whether a sector has one.
    pub fn has(&self, sector: SectorId) -> bool {
        self.by_sector.contains_key(&sector)
    }

    /// All rooms.
    pub fn iter(&self) -> impl Iterator<Item = (SectorId, RoomKey)> + '_ {
        self.by_sector.iter().map(|(sector, room)| (*sector, *room))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_sector.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_sector.is_empty()
    }

    /// Entities that are in another room than their own, too.
    pub fn lingering(&self) -> usize {
        self.lingering.len()
    }

    /// Of the rooms that are empty now those that were so at the last call.
    pub fn empty_again(&mut self, empty: BTreeSet<SectorId>) -> Vec<SectorId> {
        let again = empty.intersection(&self.empty).copied().collect();
        self.empty = empty;
        again
    }

    /// Forgets a room; it is naia's to destroy.
    pub fn remove(&mut self, sector: SectorId) -> Option<RoomKey> {
        self.empty.remove(&sector);
        self.by_sector.remove(&sector)
    }
}
