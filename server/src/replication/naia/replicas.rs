//! naia's side of every active entity: its entity, its room, the rooms that it has left a while ago.

use super::{announced::Announced, renewal::Renewals, rooms::Rooms};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Commands, Entity, ResMut},
};
use naia_bevy_server::{RoomKey, Server};
use sidereal_protocol::{
    components::{Identity, Lode, Vitals},
    ids::EntityId,
    record::EntityRecord,
    sector::SectorId,
};

/// The components that naia replicates of an entity.
pub type Announcement = (Identity, Vitals, Lode);

/// What naia commands of an entity that leaves the mirror: that each component goes, and then the entity.
pub const LEAVING_COMMANDS: u64 = 4;

/// What naia shows to peers: its entities and rooms.
#[derive(SystemParam)]
pub struct Replicas<'w, 's> {
    /// naia's entities.
    pub announced: ResMut<'w, Announced>,
    /// naia's rooms.
    pub rooms: ResMut<'w, Rooms>,
    /// What peers were told of.
    pub renewals: ResMut<'w, Renewals>,
    /// naia.
    pub naia: Server<'w>,
    /// Bevy's commands.
    pub commands: Commands<'w, 's>,
}

impl Replicas<'_, '_> {
    /// The room of a sector, made when it is first needed.
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

    /// How many entities are in the room of a sector.
    pub fn room_size(&self, sector: SectorId) -> usize {
        self.rooms.by_sector.get(&sector).map_or(0, |room| self.naia.room(room).entities_count())
    }

    /// Makes naia's entity for a record. It is in no room yet.
    pub fn announce(&mut self, record: &EntityRecord) -> Entity {
        let mut spawned = self.announced.spawn(&mut self.commands, &mut self.naia);
        spawned.insert((Identity::of(record), Vitals::of(record)));
        if let Some(lode) = Lode::of(record) {
            spawned.insert(lode);
        }
        spawned.id()
    }

    /// Takes naia's entity away; peers see it go.
    pub fn withdraw(&mut self, entity: Entity) {
        self.announced.despawn::<Announcement>(entity, &mut self.commands, &mut self.naia);
    }

    /// Puts naia's entity into the room of a sector.
    pub fn enter_room(&mut self, entity: Entity, sector: SectorId) {
        let room = self.room(sector);
        self.naia.room_mut(&room).add_entity(&entity);
        self.renewals.came_or_went(sector);
    }

    /// The sectors in whose rooms an entity is.
    pub fn rooms_of(&self, id: EntityId, sector: SectorId) -> Vec<SectorId> {
        let lingering = self.rooms.lingering.get(&id).into_iter().flatten().map(|(sector, _)| *sector);
        std::iter::once(sector).chain(lingering).collect()
    }
}
