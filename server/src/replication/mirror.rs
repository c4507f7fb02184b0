//! The mirror: the last known state of every active entity, its authority, and its naia entity.
//!
//! Records are here, motion is in the [`MotionPlane`](crate::replication::motion_plane::MotionPlane), and what players
//! get of an entity besides motion is in its naia components. An entity is in the naia room of its logical sector as
//! long as it is in the mirror.

use crate::handoff::machine::{Authority, Verdict, judge};
use bevy::prelude::{Entity, Query, ResMut, Resource};
use sidereal_protocol::{
    DecodeError,
    components::{Identity, Vitals},
    limits::NET_ID_BLOCK,
    record::EntityRecord,
    world::{
        ids::{EntityId, NetId, NetIdBlock, ShardId},
        tick::SimTick,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
};

/// The holder of the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// This shard simulates it.
    Shard(ShardId),
    /// No shard simulates it: it waits for a lease or a commit.
    Server,
}

/// One active entity.
#[derive(Debug)]
pub struct Mirrored {
    /// Its naia entity...
    pub entity: Entity,
    /// ...and the tick at which it got this one.
    pub announced: SimTick,
    /// The last record, with the state at its sending; see
    /// [`Space::current_record`](super::space::Space::current_record).
    pub record: EntityRecord,
    /// The holder of the authority; only [`Space::move_authority`](super::space::Space::move_authority) writes it.
    pub holder: Holder,
    /// The highest epoch ever issued for it.
    pub issued_epoch: u64,
    /// It differs from what was passed to the database.
    pub dirty: bool,
}

impl Holder {
    /// The shard that simulates it.
    pub fn shard(self) -> Option<ShardId> {
        match self {
            Self::Shard(shard) => Some(shard),
            Self::Server => None,
        }
    }
}

impl Mirrored {
    /// Its authority, for the handoff's machine.
    pub fn authority(&self) -> Authority {
        Authority {
            holder: self.holder.shard(),
            epoch: self.record.epoch,
            version: self.record.version,
            issued: self.issued_epoch,
        }
    }
}

/// All active entities.
#[derive(Debug, Default, Resource)]
pub struct Mirror {
    pub(super) entries: BTreeMap<EntityId, Mirrored>,
    pub(super) by_net: HashMap<NetId, EntityId>,
    pub(super) stale_vitals: BTreeSet<EntityId>,
    pub(super) stale_hulls: BTreeSet<EntityId>,
    net_ids: NetIds,
}

/// The start of the next block of net ids, and the server's own block. Id 0 is never used.
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

    /// One entity, mutable.
    pub fn get_mut(&mut self, id: EntityId) -> Option<&mut Mirrored> {
        self.entries.get_mut(&id)
    }

    /// Whether a shard's claim to be an entity's authority is valid.
    pub fn is_authority(&self, shard: ShardId, id: EntityId, epoch: u64) -> bool {
        judge(self.get(id).map(Mirrored::authority), shard, epoch) == Verdict::Authority
    }

    /// Whether a shard's record is valid, and of the kind that its entity has always had.
    ///
    /// # Errors
    /// Any [`DecodeError`]; [`DecodeError::OutOfRange`] with `kind` for another kind.
    pub fn check_record(&self, record: &EntityRecord) -> Result<(), DecodeError> {
        match self.get(record.id) {
            Some(entry) if entry.record.kind != record.kind => Err(DecodeError::OutOfRange("kind")),
            _ => record.validate(),
        }
    }

    /// The entity with this net id.
    pub fn id_of(&self, net_id: NetId) -> Option<EntityId> {
        self.by_net.get(&net_id).copied()
    }

    /// All entities, by id.
    pub fn iter(&self) -> impl Iterator<Item = (EntityId, &Mirrored)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// The ids of all entities after `id`, in order; of all if there is none.
    pub fn ids_after(&self, id: Option<EntityId>) -> impl Iterator<Item = EntityId> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded)).map(|(id, _)| *id)
    }

    /// All entities, mutable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (EntityId, &mut Mirrored)> {
        self.entries.iter_mut().map(|(id, entry)| (*id, entry))
    }

    /// The number of entities.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Issues a net id for an entity that enters the mirror from the database, or is new. `None` if all 2^32 of this
    /// run are used.
    pub fn new_net_id(&mut self) -> Option<NetId> {
        if self.net_ids.own.remaining() == 0 {
            self.net_ids.own = self.new_net_id_block();
        }
        self.net_ids.own.take()
    }

    /// Issues a block of net ids for a shard; empty if all are used.
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

/// Writes changed vitals and hulls into the naia components, field by field.
pub fn sync_vitals(mut mirror: ResMut<Mirror>, mut vitals: Query<&mut Vitals>, mut identities: Query<&mut Identity>) {
    for id in std::mem::take(&mut mirror.stale_hulls) {
        let Some(entry) = mirror.entries.get(&id) else { continue };
        if let Ok(mut identity) = identities.get_mut(entry.entity) {
            *identity.hull_kind = entry.record.hull_number();
            *identity.radius = entry.record.radius() as f32;
        }
    }
    for id in std::mem::take(&mut mirror.stale_vitals) {
        let Some(entry) = mirror.entries.get(&id) else { continue };
        match vitals.get_mut(entry.entity) {
            Ok(mut vitals) => {
                let structure = entry.record.structure();
                *vitals.hull = structure.hull;
                *vitals.hull_max = structure.hull_max;
            }
            // It entered the mirror in this update: its components are added in the next one.
            Err(_) => {
                mirror.stale_vitals.insert(id);
            }
        }
    }
}
