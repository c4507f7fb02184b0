//! naia's side of the active entities: naia entities, rooms, and rooms that entities have recently left.

use super::{announced::Announced, renewal::Renewals, rooms::Rooms};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Commands, Entity, ResMut},
};
use naia_bevy_server::{RoomKey, Server};
use sidereal_protocol::{
    components::{Identity, OreDeposit, Vitals},
    record::EntityRecord,
    world::{ids::EntityId, sector::SectorId},
};

/// The components of an entity that naia replicates.
pub type Announcement = (Identity, Vitals, OreDeposit);

/// naia's commands for an entity that leaves the mirror: the removal of each component, and then of the entity.
pub const LEAVING_COMMANDS: u64 = 4;

/// What naia replicates to peers: its entities and rooms.
#[derive(SystemParam)]
pub struct Replicas<'w, 's> {
    /// naia's entities.
    pub announced: ResMut<'w, Announced>,
    /// naia's rooms.
    pub rooms: ResMut<'w, Rooms>,
    /// The commands sent to peers.
    pub renewals: ResMut<'w, Renewals>,
    /// naia.
    pub naia: Server<'w>,
    /// Bevy's commands.
    pub commands: Commands<'w, 's>,
}

impl Replicas<'_, '_> {
    /// The room of a sector; made at its first use.
    pub fn room(&mut self, sector: SectorId) -> RoomKey {
        match self.rooms.by_sector.get(&sector) {
            Some(room) => *room,
            None => {
                let room = self.naia.create_room().key();
                self.rooms.by_sector.insert(sector, room);
                room
            }
        }
    }

    /// The number of entities in the room of a sector.
    pub fn room_size(&self, sector: SectorId) -> usize {
        self.rooms.by_sector.get(&sector).map_or(0, |room| self.naia.room(room).entities_count())
    }

    /// Makes the naia entity of a record. It is in no room yet.
    pub fn announce(&mut self, record: &EntityRecord) -> Entity {
        let mut spawned = self.announced.spawn(&mut self.commands, &mut self.naia);
        spawned.insert((Identity::of(record), Vitals::of(record)));
        if let Some(lode) = OreDeposit::of(record) {
            spawned.insert(lode);
        }
        spawned.id()
    }

    /// Removes a naia entity; it leaves all peers' scopes.
    pub fn withdraw(&mut self, entity: Entity) {
        self.announced.despawn::<Announcement>(entity, &mut self.commands, &mut self.naia);
    }

    /// Adds a naia entity to the room of a sector.
    pub fn enter_room(&mut self, entity: Entity, sector: SectorId) {
        let room = self.room(sector);
        self.naia.room_mut(&room).add_entity(&entity);
        self.renewals.note_room_change(sector);
    }

    /// The sectors whose rooms contain an entity.
    pub fn rooms_of(&self, id: EntityId, sector: SectorId) -> Vec<SectorId> {
        let lingering = self.rooms.lingering.get(&id).into_iter().flatten().map(|(sector, _)| *sector);
        std::iter::once(sector).chain(lingering).collect()
    }
}
