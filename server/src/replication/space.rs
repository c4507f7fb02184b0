//! The position and authority of every entity: the mirror, the motion plane and naia's rooms as one.
//!
//! # The invariant
//!
//! Every active entity has exactly one authority: one shard, or the server while no shard simulates it. This is stored
//! in several places, because each has another reader: the holder, the epoch and the sector in the [`Mirror`], the
//! accepted sender of motion in the [`MotionPlane`], naia's room in [`Rooms`](super::naia::rooms::Rooms). They
//! change together, at one moment, only in [`Space::move_authority`]:
//!
//! - The epoch never falls, and rises with every change after which an older holder may still send.
//! - From that moment on, motion is accepted only from the holder.
//! - The sectors of the record, the motion and the room are the same; the previous room is left a while later.
//!
//! An entity gets its first authority in [`Space::enter_mirror`] and loses the last in [`Space::leave_mirror`].

use super::{
    mirror::{Holder, Mirror, Mirrored},
    motion_plane::{MotionPlane, SectorChange},
    naia::replicas::{LEAVING_COMMANDS, Replicas},
};
use crate::{audit::tally::Tally, clock::Clock};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Res, ResMut},
};
use sidereal_protocol::{
    record::EntityRecord,
    world::{ids::EntityId, sector::SectorId, tick::TICK_HZ},
};

/// How long an entity stays in a room after it has moved to another, ticks: 3 s, longer than a ship that weaves over
/// an edge takes to return, so that it does not leave and re-enter the view of peers that see only one side of the
/// edge.
const LINGER_TICKS: u64 = 3 * TICK_HZ as u64;

/// The new epoch and record when an authority changes.
#[derive(Debug)]
pub enum Succession {
    /// The epoch stays: the holder is gone, and there is no other.
    Orphaned,
    /// The next unused epoch, with the newest known state.
    NextEpoch,
    /// As prepared: under the offered epoch, in the sector that it entered.
    Committed(Box<EntityRecord>),
}

/// Every active entity, its position, and what peers see of it.
#[derive(SystemParam)]
pub struct Space<'w, 's> {
    /// The present tick.
    pub clock: Res<'w, Clock>,
    /// Every active entity.
    pub mirror: ResMut<'w, Mirror>,
    /// Their motion.
    pub motion: ResMut<'w, MotionPlane>,
    /// Their naia entities.
    pub replicas: Replicas<'w, 's>,
    /// Counters.
    pub tally: ResMut<'w, Tally>,
    /// Entities that enter and leave, and why, for tests.
    #[cfg(feature = "journal")]
    pub journal: ResMut<'w, crate::audit::journal::Journal>,
}

impl Space<'_, '_> {
    /// Moves the authority over an entity of the mirror to `to`, now: holder, epoch, sector, room and motion together.
    /// Returns the record for the new authority; `None` if the entity is not in the mirror.
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
                // Its motion continues from the last state that the old authority sent.
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

    /// Adds an entity to the mirror. Its record must contain an unused net id, and the ledger's amount of ore.
    pub fn enter_mirror(&mut self, record: EntityRecord, holder: Holder) {
        let entity = self.replicas.announce(&record);
        self.replicas.enter_room(entity, record.sector);
        let now = self.clock.tick;
        self.motion.place(record.net_id, record.sector, holder.shard(), record.state, record.tick, now);
        self.tally.entered += 1;
        self.mirror.by_net.insert(record.net_id, record.id);
        let issued_epoch = record.epoch;
        let id = record.id;
        let entry = Mirrored { entity, announced: now, record, holder, issued_epoch, dirty: true };
        self.mirror.entries.insert(id, entry);
    }

    /// Removes an entity from the mirror; it leaves the players' views. Returns its entry.
    pub fn leave_mirror(&mut self, id: EntityId) -> Option<Mirrored> {
        let gone = self.mirror.entries.remove(&id)?;
        self.tally.left += 1;
        self.mirror.by_net.remove(&gone.record.net_id);
        self.mirror.stale_vitals.remove(&id);
        self.mirror.stale_hulls.remove(&id);
        for sector in self.replicas.rooms_of(id, gone.record.sector) {
            self.replicas.renewals.count(sector, LEAVING_COMMANDS);
        }
        self.replicas.rooms.lingering.remove(&id);
        self.motion.remove(gone.record.net_id);
        self.replicas.withdraw(gone.entity);
        Some(gone)
    }

    /// The present record: with the motion received after it, relative to the entity's present sector.
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

    /// Updates the hull that players see of a ship.
    pub fn mark_hull_changed(&mut self, record: &EntityRecord) {
        let Some(entry) = self.mirror.get(record.id) else { return };
        if (entry.record.hull_kind(), entry.record.radius()) != (record.hull_kind(), record.radius()) {
            self.mirror.stale_hulls.insert(record.id);
        }
    }

    /// The record with the pilot that boarded last: a record without him is from a shard that has not received him
    /// yet.
    pub fn with_last_pilot(&self, mut record: EntityRecord) -> EntityRecord {
        let known = self.mirror.get(record.id).and_then(|entry| entry.record.pilot());
        if let (Some(known), Some(told)) = (known, record.pilot())
            && known.boarding > told.boarding
        {
            record.set(known);
        }
        record
    }

    /// Replaces an entity's record by one from its authority. The caller has checked that it is newer.
    pub fn replace_record(&mut self, record: EntityRecord) {
        let record = self.with_last_pilot(record);
        let id = record.id;
        if let Some(entry) = self.mirror.entries.get_mut(&id) {
            let changed = entry.record.structure() != record.structure();
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
            let new = self.replicas.room(change.to);
            let lingering = self.replicas.rooms.lingering.entry(id).or_default();
            let stayed = lingering.iter().any(|(sector, _)| *sector == change.to);
            lingering.retain(|(sector, _)| *sector != change.to && *sector != change.from);
            lingering.push((change.from, now));
            if !stayed {
                self.replicas.renewals.note_room_change(change.to);
                self.replicas.naia.room_mut(&new).add_entity(&entity);
            }
            if let Some(entry) = self.mirror.get_mut(id) {
                entry.record.sector = change.to;
                entry.dirty = true;
            }
            self.tally.crossings += 1;
        }
    }
}

/// Removes entities from the rooms that they left a while ago.
pub fn leave_rooms(mut space: Space) {
    let now = space.clock.tick;
    let mut over: Vec<(EntityId, SectorId)> = Vec::new();
    space.replicas.rooms.lingering.retain(|id, rooms| {
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
        let Some(room) = space.replicas.rooms.by_sector.get(&sector).copied() else { continue };
        if space.replicas.naia.room(&room).has_entity(&entity) {
            space.replicas.renewals.note_room_change(sector);
            space.replicas.naia.room_mut(&room).remove_entity(&entity);
        }
    }
}
