//! Takes entities that shards fail at out of the world, and puts back those that are free.

use super::{
    aside::Why,
    suspicion::{Crash, Verdict},
};
use crate::{core::Core, handoff::machine::Event, persistence::storage::is_stored, replication::mirror::Holder};
use sidereal_protocol::{
    control::ToShard,
    ids::{EntityId, ShardId},
};
use tracing::{error, info, warn};

impl Core<'_, '_> {
    /// A shard has gone, and has said in its last words that its simulation had failed: at this entity, if it knew.
    pub fn shard_crashed(&mut self, shard: ShardId, at: Option<EntityId>, held: impl IntoIterator<Item = EntityId>) {
        self.space.tally.shards_crashed += 1;
        let crash = Crash { at, held: held.into_iter().collect() };
        let entity = at.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        warn!(%shard, entity, held = crash.held.len(), "the simulation of a shard has failed");
        let rank = |id| u8::from(self.space.mirror.get(id).is_some_and(|entry| entry.record.owner.is_some()));
        let verdict = self.aside.suspicion.crashed(self.space.clock.tick, crash, rank);
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
        let Some(mut record) = self.space.current_record(id) else { return };
        let Some((holder, issued)) = self.space.mirror.get(id).map(|entry| (entry.holder, entry.issued_epoch)) else {
            return;
        };
        (record.epoch, record.version, record.tick) = (issued + 1, 0, self.space.clock.tick);
        if let Holder::Shard(shard) = holder {
            self.link.to_shard(shard, &ToShard::Release { id, epoch: record.epoch });
        }
        self.transfer(Event::Gone { id });
        self.space.leave_mirror(id);
        self.space.tally.impacts_lost += self.transfers.forget_kept(id);
        if is_stored(&record) {
            self.space.storage.put(&record);
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
        let Some(net_id) = self.space.mirror.new_net_id() else {
            warn!("all net ids of this run are used up: restart the server");
            return;
        };
        (record.net_id, record.tick) = (net_id, self.space.clock.tick);
        self.space.tally.created += 1;
        #[cfg(feature = "journal")]
        self.journal.loaded(&record, true);
        self.space.enter_mirror(record, Holder::Server);
    }
}

/// Goes on with what is being found out.
pub fn tend_aside(mut core: Core) {
    let due: Vec<(EntityId, Why)> =
        core.aside.to_come.iter().filter(|(id, _)| !core.deals.concern(**id)).map(|(id, why)| (*id, *why)).collect();
    for (id, why) in due {
        core.aside.to_come.remove(&id);
        core.set_aside(id, why);
    }
    let (mirror, players) = (&core.space.mirror, &core.players);
    let simulated = |id| match mirror.get(id) {
        Some(entry) => Some(matches!(entry.holder, Holder::Shard(_))),
        None => players.brings_in(id).then_some(false),
    };
    let verdict = core.aside.suspicion.tick(simulated);
    core.carry_out(verdict);
}
