//! Where every entity is, and who has the authority over it: the mirror, the motion plane and naia's rooms as one.
//!
//! # The invariant
//!
//! Every active entity has exactly one authority: one shard, or the server while nobody simulates it. What says so stands in
//! several places, since each is read by another: the holder, the epoch and the sector in the [`Mirror`], the sender whose
//! motion counts in the [`MotionPlane`], naia's room in [`Rooms`]. They change together, at one moment, in
//! [`Space::move_authority`] and nowhere else:
//!
//! - The epoch never falls, and rises with every change after which an older holder may still speak.
//! - Motion counts from the holder alone, from this moment on.
//! - The sector of the record, of the motion and the room are one; the room before is left a while later.
//!
//! An entity gets its first authority in [`Space::enter_mirror`] and loses the last in [`Space::leave_mirror`].

use super::{
    announced::Announced,
    mirror::{Holder, Mirror, Mirrored},
    motion_plane::{MotionPlane, SectorChange},
    renewal::Renewals,
    rooms::Rooms,
};
use crate::{audit::tally::Tally, clock::Clock, persistence::storage::Storage};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Commands, Entity, Res, ResMut},
};
use naia_bevy_server::{RoomKey, Server};
use sidereal_protocol::{
    components::{Identity, Lode, Vitals},
    ids::EntityId,
    record::EntityRecord,
    sector::SectorId,
    tick::TICK_HZ,
};

/// How long an entity stays in a room after it has moved on to another, ticks: 3 s, longer than a dance on an edge
/// takes to come back: who sees one side of the edge alone does not see it come and go.
const LINGER_TICKS: u64 = 3 * TICK_HZ as u64;

/// The components that naia replicates of an entity.
pub type Announcement = (Identity, Vitals, Lode);

/// What naia commands of an entity that leaves the mirror: that each component goes, and then the entity.
pub const LEAVING_COMMANDS: u64 = 4;

/// How an authority is succeeded.
#[derive(Debug)]
pub enum Succession {
    /// The epoch stays: the holder is no more, and nobody else has it.
    Orphaned,
    /// The next epoch of all that were given out, with the newest state that is known.
    NextEpoch,
    /// As it was prepared: under the epoch that was offered, in the sector that it has crossed into.
    Committed(Box<EntityRecord>),
}

/// Every active entity, where it is, and what peers see of it.
#[derive(SystemParam)]
pub struct Space<'w, 's> {
    /// What tick it is.
    pub clock: Res<'w, Clock>,
    /// naia's entities.
    pub announced: ResMut<'w, Announced>,
    /// Every active entity.
    pub mirror: ResMut<'w, Mirror>,
    /// Their motion.
    pub motion: ResMut<'w, MotionPlane>,
    /// naia's rooms.
    pub rooms: ResMut<'w, Rooms>,
    /// What peers were told of.
    pub renewals: ResMut<'w, Renewals>,
    /// The way to the database.
    pub storage: ResMut<'w, Storage>,
    /// Counters.
    pub tally: ResMut<'w, Tally>,
    /// naia.
    pub naia: Server<'w>,
    /// Bevy's commands.
    pub commands: Commands<'w, 's>,
}

impl Space<'_, '_> {
    /// Moves the authority over an entity of the mirror to `to`, now: holder, epoch, sector, room and motion together.
    /// Gives the record under which the new one has it; `None` when it is not in the mirror (any more).
    pub fn move_authority(&mut self, id: EntityId, to: Holder, succession: Succession) -> Option<EntityRecord> {
        let now = self.clock.tick;
        let newest = self.current_record(id)?;
        let entry = self.mirror.get_mut(id)?;
        let net_id = entry.record.net_id;
        let from = self.motion.sector_of(net_id).unwrap_or(newest.sector);
        entry.holder = to;
        let record = match succession {
            Succession::Orphaned => {
                entry.dirty = true;
                self.motion.set_authority(net_id, to.shard());
                return Some(entry.record.clone());
            }
            Succession::NextEpoch => {
                entry.issued_epoch += 1;
                self.motion.set_authority(net_id, to.shard());
                EntityRecord { epoch: entry.issued_epoch, version: 0, ..newest }
            }
            Succession::Committed(record) => {
                entry.issued_epoch = entry.issued_epoch.max(record.epoch);
                // Its drawn motion goes on from the last that the old one sent.
                let (state, tick) = self
                    .motion
                    .state_of(net_id)
                    .filter(|(_, _, tick)| *tick >= record.tick)
                    .map_or((record.state, record.tick), |(_, state, tick)| (state, tick));
                self.motion.place(net_id, record.sector, to.shard(), state, tick, now);
                *record
            }
        };
        let sector = record.sector;
        self.replace_record(record.clone());
        if from != sector {
            self.change_rooms(&[SectorChange { net_id, from, to: sector }]);
        }
        Some(record)
    }

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

    /// Takes an entity into the mirror. Its record must carry a net id that nobody else has.
    pub fn enter_mirror(&mut self, record: EntityRecord, holder: Holder) {
        let record = self.storage.with_ore(record);
        let entity = self.announce(&record);
        let room = self.room(record.sector);
        self.naia.room_mut(&room).add_entity(&entity);
        self.renewals.came_or_went(record.sector);
        let now = self.clock.tick;
        self.motion.place(record.net_id, record.sector, holder.shard(), record.state, record.tick, now);
        self.tally.entered += 1;
        self.mirror.by_net.insert(record.net_id, record.id);
        let issued_epoch = record.epoch;
        let id = record.id;
        let entry = Mirrored { entity, announced: now, record, holder, issued_epoch, dirty: true };
        self.mirror.entries.insert(id, entry);
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

    /// The sectors in whose rooms an entity is.
    pub fn rooms_of(&self, id: EntityId, sector: SectorId) -> Vec<SectorId> {
        let lingering = self.rooms.lingering.get(&id).into_iter().flatten().map(|(sector, _)| *sector);
        std::iter::once(sector).chain(lingering).collect()
    }

    /// Takes an entity out of the mirror; players see it go. Returns what it was.
    pub fn leave_mirror(&mut self, id: EntityId) -> Option<Mirrored> {
        let gone = self.mirror.entries.remove(&id)?;
        self.tally.left += 1;
        self.mirror.by_net.remove(&gone.record.net_id);
        self.mirror.stale_vitals.remove(&id);
        self.mirror.stale_hulls.remove(&id);
        for sector in self.rooms_of(id, gone.record.sector) {
            self.renewals.count(sector, LEAVING_COMMANDS);
        }
        self.rooms.lingering.remove(&id);
        self.motion.remove(gone.record.net_id);
        self.announced.despawn::<Announcement>(gone.entity, &mut self.commands, &mut self.naia);
        Some(gone)
    }

    /// The record as it is now: with the motion that came after it, rebased on the sector that the
    /// entity is in.
    pub fn current_record(&self, id: EntityId) -> Option<EntityRecord> {
        let entry = self.mirror.get(id)?;
        let mut record = entry.record.clone();
        if let Some((sector, state, tick)) = self.motion.state_of(record.net_id)
            && tick >= record.tick
        {
            record.sector = sector;
            record.state = state;
            record.tick = tick;
        }
        Some(record)
    }

    /// Players see the hull that a ship has got.
    pub fn rename_hull(&mut self, record: &EntityRecord) {
        let Some(entry) = self.mirror.get(record.id) else { return };
        if (entry.record.hull_kind, entry.record.radius) != (record.hull_kind, record.radius) {
            self.mirror.stale_hulls.insert(record.id);
        }
    }

    /// The record with the pilot who came aboard last: a shard that says nothing of him has not heard of him yet.
    pub fn with_last_pilot(&self, mut record: EntityRecord) -> EntityRecord {
        let known = self.mirror.get(record.id).and_then(|entry| entry.record.pilot);
        if let (Some(known), Some(told)) = (known, record.pilot)
            && known.boarding > told.boarding
        {
            record.pilot = Some(known);
        }
        record
    }

    /// Takes a record from the authority: newer than what is known, the caller has checked.
    pub fn replace_record(&mut self, record: EntityRecord) {
        let record = self.with_last_pilot(record);
        let id = record.id;
        if let Some(entry) = self.mirror.entries.get_mut(&id) {
            let changed = (entry.record.hull, entry.record.hull_max) != (record.hull, record.hull_max);
            entry.record = record;
            entry.dirty = true;
            if changed {
                self.mirror.stale_vitals.insert(id);
            }
        }
    }

    /// Moves entities between rooms as they change sectors: into the new room now, out of the old one after a while.
    pub fn change_rooms(&mut self, changes: &[SectorChange]) {
        let now = self.clock.tick;
        for change in changes {
            let Some(id) = self.mirror.id_of(change.net_id) else { continue };
            let Some(entity) = self.mirror.get(id).map(|entry| entry.entity) else { continue };
            let new = self.room(change.to);
            let lingering = self.rooms.lingering.entry(id).or_default();
            let stayed = lingering.iter().any(|(sector, _)| *sector == change.to);
            lingering.retain(|(sector, _)| *sector != change.to && *sector != change.from);
            lingering.push((change.from, now));
            if !stayed {
                self.renewals.came_or_went(change.to);
                self.naia.room_mut(&new).add_entity(&entity);
            }
            if let Some(entry) = self.mirror.get_mut(id) {
                entry.record.sector = change.to;
                entry.dirty = true;
            }
            self.tally.crossings += 1;
        }
    }
}

/// Takes entities out of the rooms that they have left a while ago.
pub fn leave_rooms(mut space: Space) {
    let now = space.clock.tick;
    let mut over: Vec<(EntityId, SectorId)> = Vec::new();
    space.rooms.lingering.retain(|id, rooms| {
        rooms.retain(|(sector, since)| {
            let stays = now.since(*since) < LINGER_TICKS;
            if !stays {
                over.push((*id, *sector));
            }
            stays
        });
        !rooms.is_empty()
    });
    for (id, sector) in over {
        let Some(entity) = space.mirror.get(id).map(|entry| entry.entity) else { continue };
        let Some(room) = space.rooms.by_sector.get(&sector).copied() else { continue };
        if space.naia.room(&room).has_entity(&entity) {
            space.renewals.came_or_went(sector);
            space.naia.room_mut(&room).remove_entity(&entity);
        }
    }
}
