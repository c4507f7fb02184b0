//! What was set aside: entities that make shards fail, and suspects of that while it is found out.
//!
//! Who it was is decided by [`crate::suspicion`]; here it is done. What is set aside leaves the mirror, so that no shard
//! gets it, not as a ghost either; its newest state is in the database. When the server ends, everything is released: the
//! next one reads it with its sector or its player, as ever.

use crate::{
    core::Core,
    handoff::Event,
    mirror::Holder,
    persist::is_stored,
    suspicion::{Crash, Suspicion, Verdict},
};
use bevy::prelude::Resource;
use sidereal_protocol::{
    control::ToShard,
    ids::{EntityId, ShardId},
    record::EntityRecord,
};
use std::collections::BTreeMap;
use tracing::{error, info, warn};

/// Why an entity was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Shards fail when they simulate it.
    Guilty,
    /// It is one of several that may be why: for a while.
    Suspect,
}

/// What was set aside. All of it was in the mirror before, and each costs shards their lives: it needs no bound of its
/// own.
#[derive(Debug, Default, Resource)]
pub struct Aside {
    kept: BTreeMap<EntityId, (Why, EntityRecord)>,
    /// To be set aside when their deals have ended: until then nobody simulates them either.
    to_come: BTreeMap<EntityId, Why>,
    suspicion: Suspicion,
}

impl Aside {
    /// Why an entity was set aside; `None` when it was not.
    pub fn why(&self, id: EntityId) -> Option<Why> {
        self.kept.get(&id).map(|(why, _)| *why)
    }

    /// How many were.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether nobody was.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

impl Core<'_, '_> {
    /// A shard has gone, and has said in its last words that its simulation had failed: at this entity, if it knew.
    pub fn shard_crashed(&mut self, shard: ShardId, at: Option<EntityId>, held: impl IntoIterator<Item = EntityId>) {
        self.tally.shards_crashed += 1;
        let crash = Crash { at, held: held.into_iter().collect() };
        let entity = at.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        warn!(%shard, entity, held = crash.held.len(), "the simulation of a shard has failed");
        let rank = |id| u8::from(self.mirror.get(id).is_some_and(|entry| entry.record.owner.is_some()));
        let verdict = self.aside.suspicion.crashed(self.clock.tick, crash, rank);
        self.carry_out(verdict);
    }

    fn carry_out(&mut self, verdict: Verdict) {
        for id in verdict.freed {
            self.put_back(id);
        }
        let suspects = verdict.held_back.into_iter().map(|id| (id, Why::Suspect));
        let guilty = verdict.guilty.into_iter().map(|id| (id, Why::Guilty));
        for (id, why) in suspects.chain(guilty) {
            if self.deals.concern(id) {
                self.aside.to_come.insert(id, why);
            } else {
                self.set_aside(id, why);
            }
        }
    }

    fn set_aside(&mut self, id: EntityId, why: Why) {
        // Destroyed or stored meanwhile.
        let Some(mut record) = self.current_record(id) else { return };
        let Some((holder, issued)) = self.mirror.get(id).map(|entry| (entry.holder, entry.issued_epoch)) else {
            return;
        };
        (record.epoch, record.version, record.tick) = (issued + 1, 0, self.clock.tick);
        if let Holder::Shard(shard) = holder {
            self.to_shard(shard, &ToShard::Release { id, epoch: record.epoch });
        }
        self.transfer(Event::Gone { id });
        self.leave_mirror(id);
        self.forget_kept(id);
        if is_stored(&record) {
            self.storage.put(&record);
        }
        #[cfg(feature = "journal")]
        self.journal.set_aside(&record);
        let (kind, sector, name) = (record.kind, record.sector, &record.name);
        match why {
            Why::Guilty => error!(%id, ?kind, %sector, name, "set aside: shards fail when they simulate it"),
            Why::Suspect => warn!(%id, ?kind, %sector, name, "held back: it may be what shards fail at"),
        }
        self.ship_set_aside(&record, why);
        self.aside.kept.insert(id, (why, record));
    }

    /// What was held back is innocent, or has to be looked at again.
    fn put_back(&mut self, id: EntityId) {
        self.aside.to_come.remove(&id);
        let Some((_, mut record)) = self.aside.kept.remove(&id) else { return };
        info!(%id, kind = ?record.kind, sector = %record.sector, "released");
        if record.owner.is_some() {
            self.ship_put_back(record);
            return;
        }
        let Some(net_id) = self.mirror.new_net_id() else {
            warn!("all net ids of this run are used up: restart the server");
            return;
        };
        (record.net_id, record.tick) = (net_id, self.clock.tick);
        self.tally.created += 1;
        #[cfg(feature = "journal")]
        self.journal.loaded(&record, true);
        self.enter_mirror(record, Holder::Server);
    }
}

/// Goes on with what is being found out.
pub fn tend_aside(mut core: Core<'_, '_>) {
    let due: Vec<(EntityId, Why)> =
        core.aside.to_come.iter().filter(|(id, _)| !core.deals.concern(**id)).map(|(id, why)| (*id, *why)).collect();
    for (id, why) in due {
        core.aside.to_come.remove(&id);
        core.set_aside(id, why);
    }
    let (mirror, players) = (&core.mirror, &core.players);
    let simulated = |id| match mirror.get(id) {
        Some(entry) => Some(matches!(entry.holder, Holder::Shard(_))),
        None => players.brings_in(id).then_some(false),
    };
    let verdict = core.aside.suspicion.tick(simulated);
    core.carry_out(verdict);
}
