//! What shards say of their entities: a newer record, a new entity, an end.

use crate::{
    core::Core,
    economy::goods::{bury, is_good_wreck},
    handoff::machine::Event,
    replication::mirror::Holder,
};
use sidereal_process::log_limited;
use sidereal_protocol::{
    control::ToShard,
    ids::{EntityId, ShardId},
    messages::{Destroyed, ToPlayer},
    record::EntityRecord,
    tick::SimTick,
};

impl Core<'_, '_> {
    /// An authority tells of one of its entities, or a shard of one that is new.
    pub fn on_record(&mut self, shard: ShardId, mut record: EntityRecord) {
        if let Err(problem) = record.validate() {
            log_limited!(warn, %shard, id = %record.id, %problem, "record refused");
            self.space.tally.violations += 1;
            return;
        }
        let known = self.space.mirror.get(record.id).map(|entry| (entry.holder, entry.record.fence()));
        match known {
            Some((holder, fence)) => {
                if holder != Holder::Shard(shard) || record.epoch != fence.0 || record.version <= fence.1 {
                    self.space.tally.stale += 1;
                    return;
                }
                // The sector is the motion plane's to say.
                if let Some(entry) = self.space.mirror.get(record.id) {
                    record.sector = entry.record.sector;
                    // Own states overtake records: what they have told of the pilot is not taken back.
                    if let (Some(told), Some(known)) = (&mut record.pilot, entry.record.pilot)
                        && told.boarding == known.boarding
                    {
                        told.last_input = told.last_input.max(known.last_input);
                        told.inputs_applied = told.inputs_applied.max(known.inputs_applied);
                    }
                }
                self.space.replace_record(record);
            }
            None => {
                let fresh = self.space.mirror.id_of(record.net_id).is_none() && self.aside.why(record.id).is_none();
                let leased = self.leases.table.holder(record.sector) == Some(shard);
                if fresh && leased && record.owner.is_none() {
                    self.space.tally.created += 1;
                    #[cfg(feature = "journal")]
                    self.journal.created(&record);
                    self.space.enter_mirror(record, Holder::Shard(shard));
                    self.refill_net_ids(shard);
                } else {
                    self.space.tally.stale += 1;
                }
            }
        }
    }

    /// Another block of net ids for a shard each time that half of one is used.
    fn refill_net_ids(&mut self, shard: ShardId) {
        if self.shards.created(shard) {
            let block = self.space.mirror.new_net_id_block();
            self.link.to_shard(shard, &ToShard::NetIds(block));
        }
    }

    /// An authority has destroyed an entity.
    pub fn on_destroyed(
        &mut self,
        shard: ShardId,
        id: EntityId,
        fence: (u64, u64),
        tick: SimTick,
        by: Option<EntityId>,
        wreck: Option<Box<EntityRecord>>,
    ) {
        self.transfer(Event::Gone { id });
        let sector = self.space.mirror.get(id).map(|entry| entry.record.sector);
        let by = by.and_then(|by| self.space.mirror.get(by)).map(|entry| &entry.record);
        let by = by.map(|by| (by.name.clone(), by.kind as u8, by.owner));
        let (by_name, by_kind, by_owner) = by.unwrap_or((String::new(), u8::MAX, None));
        let Some(gone) = self.space.leave_mirror(id) else { return };
        self.space.tally.impacts_lost += self.transfers.forget_kept(id);
        self.space.tally.destroyed += 1;
        #[cfg(feature = "journal")]
        self.journal.destroyed(id, fence.0);
        self.space.storage.tombstone(&gone.record, fence, tick);
        let wreck = wreck.filter(|wreck| {
            let good = is_good_wreck(&self.space.mirror, &self.leases, shard, wreck);
            if !good {
                log_limited!(warn, %shard, %id, wreck = %wreck.id, "a wreck was refused");
                self.space.tally.violations += 1;
            }
            good
        });
        if let Some(wreck) = &wreck {
            self.space.tally.created += 1;
            #[cfg(feature = "journal")]
            self.journal.created(wreck);
            self.space.enter_mirror((**wreck).clone(), Holder::Shard(shard));
            self.refill_net_ids(shard);
        }
        bury(&self.space.storage, &gone.record, fence, tick, wreck.as_deref());
        self.goods.leaving.entity_left(id);
        let owner = gone.record.owner;
        if gone.record.name.is_empty() {
            return;
        }
        for address in self.interest.players_seeing(sector.unwrap_or(gone.record.sector)) {
            let account = self.players.account_at(&address);
            let yours = owner.is_some() && account == owner;
            let news = ToPlayer::Destroyed(Destroyed {
                victim: gone.record.net_id.0,
                victim_name: gone.record.name.clone(),
                victim_kind: gone.record.kind as u8,
                victim_hull: gone.record.hull_kind.map_or(u8::MAX, |hull| hull as u8),
                by_name: by_name.clone(),
                by_kind,
                by_you: by_owner.is_some() && account == by_owner,
                yours,
            });
            self.link.notify(&address, news);
        }
        if let Some(owner) = owner {
            self.ship_destroyed(owner, id);
        }
    }
}
