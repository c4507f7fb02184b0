//! The mirror: the last known state of every active entity, who simulates it, and its naia entity.
//!
//! Records are here, motion is in the [`MotionPlane`](crate::motion_plane::MotionPlane), what players
//! get of an entity besides motion is in its naia components. An entity is in the naia room of its
//! logical sector from when it enters the mirror to when it leaves.

use crate::{core::Core, motion_plane::SectorChange};
use bevy::prelude::{Entity, Query, ResMut, Resource};
use naia_bevy_server::RoomKey;
use sidereal_protocol::{
    components::{Identity, Lode, Vitals},
    ids::{EntityId, NetId, NetIdBlock, ShardId},
    limits::NET_ID_BLOCK,
    record::EntityRecord,
    sector::SectorId,
    tick::{SimTick, TICK_HZ},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The components that naia replicates of an entity.
pub type Announcement = (Identity, Vitals, Lode);

/// What naia commands of an entity that leaves the mirror: that each component goes, and then the entity.
pub const LEAVING_COMMANDS: u64 = 4;

/// Who has the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// This shard simulates it.
    Shard(ShardId),
    /// Nobody simulates it: it waits here for a lease or a commit.
    Server,
}

/// One active entity.
#[derive(Debug)]
pub struct Mirrored {
    /// Its naia entity...
    pub entity: Entity,
    /// ...and since when it has this one.
    pub announced: SimTick,
    /// The last record, with the state of when it was sent; see [`Core::current_record`].
    pub record: EntityRecord,
    /// Who has the authority.
    pub holder: Holder,
    /// The highest epoch ever given out for it.
    pub issued_epoch: u64,
    /// It differs from what was given to the database.
    pub dirty: bool,
}

/// All active entities.
#[derive(Debug, Default, Resource)]
pub struct Mirror {
    entries: BTreeMap<EntityId, Mirrored>,
    by_net: HashMap<NetId, EntityId>,
    stale_vitals: BTreeSet<EntityId>,
    stale_hulls: BTreeSet<EntityId>,
    net_ids: NetIds,
}

/// Where the next block of net ids begins, and the server's own block. Id 0 is nobody's.
#[derive(Debug)]
struct NetIds {
    next_block: u32,
    own: NetIdBlock,
}

impl Default for NetIds {
    fn default() -> Self {
        Self { next_block: NET_ID_BLOCK, own: NetIdBlock { next: 1, end: NET_ID_BLOCK } }
    }
}

impl Mirror {
    /// One entity.
    pub fn get(&self, id: EntityId) -> Option<&Mirrored> {
        self.entries.get(&id)
    }

    /// One entity, to change it.
    pub fn get_mut(&mut self, id: EntityId) -> Option<&mut Mirrored> {
        self.entries.get_mut(&id)
    }

    /// The entity with this net id.
    pub fn id_of(&self, net_id: NetId) -> Option<EntityId> {
        self.by_net.get(&net_id).copied()
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = (EntityId, &Mirrored)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// All of them, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (EntityId, &mut Mirrored)> {
        self.entries.iter_mut().map(|(id, entry)| (*id, entry))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A net id for something that enters the mirror from the database, or for the first time.
    /// `None` when all 2^32 were given out in one run.
    pub fn new_net_id(&mut self) -> Option<NetId> {
        if self.net_ids.own.remaining() == 0 {
            self.net_ids.own = self.new_net_id_block();
        }
        self.net_ids.own.take()
    }

    /// A block of net ids for a shard; empty when all were given out.
    pub fn new_net_id_block(&mut self) -> NetIdBlock {
        let next = self.net_ids.next_block;
        match next.checked_add(NET_ID_BLOCK) {
            Some(end) => {
                self.net_ids.next_block = end;
                NetIdBlock { next, end }
            }
            None => NetIdBlock::EMPTY,
        }
    }
}

/// naia's rooms, one for each sector in which there is something to see, or somebody who looks.
#[derive(Debug, Default, Resource)]
pub struct Rooms {
    by_sector: HashMap<SectorId, RoomKey>,
    /// Rooms that entities are still in though they have moved on, since when.
    lingering: BTreeMap<EntityId, Vec<(SectorId, SimTick)>>,
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

/// How long an entity stays in a room after it has moved on to another, ticks: 3 s, longer than a dance on an edge
/// takes to come back: who sees one side of the edge alone does not see it come and go.
const LINGER_TICKS: u64 = 3 * TICK_HZ as u64;

impl Core<'_, '_> {
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
        let record = self.with_ore(record);
        let entity = self.announce(&record);
        let room = self.room(record.sector);
        self.naia.room_mut(&room).add_entity(&entity);
        self.renewals.came_or_went(record.sector);
        let authority = match holder {
            Holder::Shard(shard) => Some(shard),
            Holder::Server => None,
        };
        let now = self.clock.tick;
        self.motion.place(record.net_id, record.sector, authority, record.state, record.tick, now);
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
pub fn leave_rooms(mut core: Core<'_, '_>) {
    let now = core.clock.tick;
    let mut over: Vec<(EntityId, SectorId)> = Vec::new();
    core.rooms.lingering.retain(|id, rooms| {
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
        let Some(entity) = core.mirror.get(id).map(|entry| entry.entity) else { continue };
        let Some(room) = core.rooms.by_sector.get(&sector).copied() else { continue };
        if core.naia.room(&room).has_entity(&entity) {
            core.renewals.came_or_went(sector);
            core.naia.room_mut(&room).remove_entity(&entity);
        }
    }
}

/// Writes changed vitals and hulls into the naia components, field by field.
pub fn sync_vitals(
    mut mirror: ResMut<'_, Mirror>,
    mut vitals: Query<'_, '_, &mut Vitals>,
    mut identities: Query<'_, '_, &mut Identity>,
) {
    for id in std::mem::take(&mut mirror.stale_hulls) {
        let Some(entry) = mirror.entries.get(&id) else { continue };
        if let Ok(mut identity) = identities.get_mut(entry.entity) {
            *identity.hull_kind = entry.record.hull_kind.map_or(255, |hull| hull as u8);
            *identity.radius = entry.record.radius as f32;
        }
    }
    for id in std::mem::take(&mut mirror.stale_vitals) {
        let Some(entry) = mirror.entries.get(&id) else { continue };
        match vitals.get_mut(entry.entity) {
            Ok(mut vitals) => {
                *vitals.hull = entry.record.hull;
                *vitals.hull_max = entry.record.hull_max;
            }
            // Entered the mirror in this very update: its components come with the next one.
            Err(_) => {
                mirror.stale_vitals.insert(id);
            }
        }
    }
}
