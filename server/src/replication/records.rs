//! Records from shards: of known entities, or of new ones.

use super::{mirror::Holder, space::Space};
use crate::{
    audit::aside::Aside,
    persistence::storage::Storage,
    territory::{lease_grants::LeaseGrants, shards::Shards},
    traffic::link::Link,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Res, ResMut},
};
use sidereal_process::log_limited;
use sidereal_protocol::{
    frames::control::ToShard,
    record::EntityRecord,
    world::{ids::ShardId, kind::Ore},
};

/// Records from shards: of entities in the mirror, and of new ones.
#[derive(SystemParam)]
pub struct Records<'w> {
    /// An entity that was set aside does not return by a record.
    aside: Res<'w, Aside>,
    /// Decides which shard may spawn an entity in a sector.
    leases: Res<'w, LeaseGrants>,
    /// Shards that need net ids...
    shards: ResMut<'w, Shards>,
    /// ...and how to send them.
    pub(super) link: ResMut<'w, Link>,
    /// The ore in a record.
    pub(super) storage: Res<'w, Storage>,
}

impl Records<'_> {
    /// A record of an entity from its authority, or of a new one from a shard.
    pub fn on_record(&mut self, space: &mut Space, shard: ShardId, mut record: EntityRecord) {
        if let Err(problem) = space.mirror.check_record(&record) {
            log_limited!(warn, %shard, id = %record.id, %problem, "record refused");
            space.tally.violations += 1;
            return;
        }
        let known = space.mirror.get(record.id).map(|entry| (entry.holder, entry.record.fence()));
        match known {
            Some((holder, fence)) => {
                if holder != Holder::Shard(shard) || record.epoch != fence.0 || record.version <= fence.1 {
                    space.tally.stale += 1;
                    return;
                }
                // The motion plane decides the sector.
                if let Some(entry) = space.mirror.get(record.id) {
                    record.sector = entry.record.sector;
                    // Own states may arrive before older records: what they have updated of the pilot is kept.
                    if let (Some(mut told), Some(known)) = (record.pilot(), entry.record.pilot())
                        && told.boarding == known.boarding
                    {
                        told.last_input = told.last_input.max(known.last_input);
                        told.inputs_applied = told.inputs_applied.max(known.inputs_applied);
                        record.set(told);
                    }
                }
                space.replace_record(record);
            }
            None => {
                let fresh = space.mirror.id_of(record.net_id).is_none() && self.aside.why(record.id).is_none();
                let leased = self.leases.table.holder(record.sector) == Some(shard);
                if fresh && leased && record.owner.is_none() {
                    self.create(space, shard, record);
                } else {
                    space.tally.stale += 1;
                }
            }
        }
    }

    /// Whether a shard may add this wreck to the world.
    pub fn is_good_wreck(&self, space: &Space, shard: ShardId, wreck: &EntityRecord) -> bool {
        wreck.kind.spec().ore == Ore::Cargo
            && wreck.validate().is_ok()
            && wreck.owner.is_none()
            && space.mirror.get(wreck.id).is_none()
            && space.mirror.id_of(wreck.net_id).is_none()
            && self.leases.table.holder(wreck.sector) == Some(shard)
    }

    /// A shard has spawned an entity. It gets another block of net ids when half of one is used.
    pub fn create(&mut self, space: &mut Space, shard: ShardId, record: EntityRecord) {
        space.tally.created += 1;
        #[cfg(feature = "journal")]
        space.journal.created(&record);
        space.enter_mirror(self.storage.with_ore(record), Holder::Shard(shard));
        if self.shards.created(shard) {
            let block = space.mirror.new_net_id_block();
            self.link.to_shard(shard, &ToShard::NetIds(block));
        }
    }
}
