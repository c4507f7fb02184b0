//! naia's rooms, one for each sector, and when entities leave them.

use bevy::prelude::Resource;
use naia_bevy_server::RoomKey;
use sidereal_protocol::world::{ids::EntityId, sector::SectorId, tick::SimTick};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// naia's rooms, one for each sector that contains an entity or is in a peer's view.
#[derive(Debug, Default, Resource)]
pub struct Rooms {
    pub(in crate::replication) by_sector: HashMap<SectorId, RoomKey>,
    /// Rooms that contain entities which have moved on, and since when.
    pub(in crate::replication) lingering: BTreeMap<EntityId, Vec<(SectorId, SimTick)>>,
    /// Rooms that were empty at the last check.
    empty: BTreeSet<SectorId>,
}

impl Rooms {
    /// Whether a sector has a room.
    pub fn has(&self, sector: SectorId) -> bool {
        self.by_sector.contains_key(&sector)
    }

    /// All rooms.
    pub fn iter(&self) -> impl Iterator<Item = (SectorId, RoomKey)> + '_ {
        self.by_sector.iter().map(|(sector, room)| (*sector, *room))
    }

    /// The number of rooms.
    pub fn len(&self) -> usize {
        self.by_sector.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_sector.is_empty()
    }

    /// The number of entities that are also in another room than their own.
    pub fn lingering(&self) -> usize {
        self.lingering.len()
    }

    /// Of the rooms that are empty now, those that were empty at the last call.
    pub fn empty_again(&mut self, empty: BTreeSet<SectorId>) -> Vec<SectorId> {
        let again = empty.intersection(&self.empty).copied().collect();
        self.empty = empty;
        again
    }

    /// Removes a room; the caller must destroy it in naia.
    pub fn remove(&mut self, sector: SectorId) -> Option<RoomKey> {
        self.empty.remove(&sector);
        self.by_sector.remove(&sector)
    }
}
