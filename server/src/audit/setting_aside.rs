//! Removes entities that make shards fail from the world, and puts released ones back.

use super::{
    aside::{Aside, ShipFate, Why},
    suspicion::{Crash, Verdict},
};
use crate::{
    economy::deals::Deals,
    handoff::transfers::HandoffState,
    persistence::storage::{Storage, is_stored},
    players::{session::Players, ships::Ships},
    replication::{mirror::Holder, space::Space},
    territory::shard_lives::ShardCrash,
    traffic::link::Link,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{ParamSet, Res, ResMut},
};
use sidereal_protocol::{frames::control::ToShard, world::ids::EntityId};
use tracing::{error, info, warn};

/// Sets entities aside and puts them back. The methods return the consequences for players' ships.
#[derive(SystemParam)]
pub struct Asides<'w> {
    /// The entities set aside, and the suspects.
    aside: ResMut<'w, Aside>,
    /// An entity's deals end before it is set aside.
    deals: Res<'w, Deals>,
    /// Its handoffs are cancelled.
    transfers: ResMut<'w, HandoffState>,
    /// Sends to the shards.
    link: ResMut<'w, Link>,
    /// Stores its newest state.
    storage: Res<'w, Storage>,
    /// Ships that players are bringing in will be simulated.
    players: Res<'w, Players>,
}

impl Asides<'_> {
    /// A shard has gone after it reported that its simulation failed, and at which entity if it could.
    #[must_use]
    pub fn shard_crashed(&mut self, space: &mut Space, crash: ShardCrash) -> Vec<ShipFate> {
        let ShardCrash { shard, at, held } = crash;
        space.tally.shards_crashed += 1;
        let crash = Crash { at, held: held.into_iter().collect() };
        let entity = at.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        warn!(%shard, entity, held = crash.held.len(), "the simulation of a shard has failed");
        let rank = |id| u8::from(space.mirror.get(id).is_some_and(|entry| entry.record.owner.is_some()));
        let verdict = self.aside.suspicion.crashed(space.clock.tick, crash, rank);
        self.carry_out(space, verdict)
    }

    fn carry_out(&mut self, space: &mut Space, verdict: Verdict) -> Vec<ShipFate> {
        let mut fates = Vec::new();
        for id in verdict.freed {
            fates.extend(self.put_back(space, id));
        }
        let suspects = verdict.held_back.into_iter().map(|id| (id, Why::Suspect));
        let guilty = verdict.guilty.into_iter().map(|id| (id, Why::Guilty));
        for (id, why) in suspects.chain(guilty) {
            if self.deals.concern(id) {
                self.aside.to_come.insert(id, why);
            } else {
                fates.extend(self.set_aside(space, id, why));
            }
        }
        fates
    }

    fn set_aside(&mut self, space: &mut Space, id: EntityId, why: Why) -> Option<ShipFate> {
        // Destroyed or stored meanwhile.
        let mut record = space.current_record(id)?;
        let (holder, issued) = space.mirror.get(id).map(|entry| (entry.holder, entry.issued_epoch))?;
        (record.epoch, record.version, record.tick) = (issued + 1, 0, space.clock.tick);
        if let Holder::Shard(shard) = holder {
            self.link.to_shard(shard, &ToShard::Release { id, epoch: record.epoch });
        }
        self.transfers.entity_gone(id, space.clock.tick);
        space.leave_mirror(id);
        space.tally.impacts_lost += self.transfers.forget_kept(id);
        if is_stored(&record) {
            self.storage.put(&record);
        }
        #[cfg(feature = "journal")]
        space.journal.set_aside(&record);
        let (kind, sector, name) = (record.kind, record.sector, &record.name);
        match why {
            Why::Guilty => error!(%id, ?kind, %sector, name, "set aside: shards fail when they simulate it"),
            Why::Suspect => warn!(%id, ?kind, %sector, name, "held back: it may be what makes shards fail"),
        }
        let fate = record.owner.map(|_| ShipFate::SetAside(Box::new(record.clone()), why));
        self.aside.kept.insert(id, (why, record));
        fate
    }

    /// The entity is innocent, or must be tried again.
    fn put_back(&mut self, space: &mut Space, id: EntityId) -> Option<ShipFate> {
        self.aside.to_come.remove(&id);
        let (_, mut record) = self.aside.kept.remove(&id)?;
        info!(%id, kind = ?record.kind, sector = %record.sector, "released");
        if record.owner.is_some() {
            return Some(ShipFate::PutBack(Box::new(record)));
        }
        let Some(net_id) = space.mirror.new_net_id() else {
            warn!("all net ids of this run are used up: restart the server");
            return None;
        };
        (record.net_id, record.tick) = (net_id, space.clock.tick);
        space.tally.created += 1;
        #[cfg(feature = "journal")]
        space.journal.loaded(&record, true);
        space.enter_mirror(self.storage.with_ore(record), Holder::Server);
        None
    }

    /// Sets entities aside whose deals have ended.
    #[must_use]
    fn set_aside_due(&mut self, space: &mut Space) -> Vec<ShipFate> {
        let due: Vec<(EntityId, Why)> = self
            .aside
            .to_come
            .iter()
            .filter(|(id, _)| !self.deals.concern(**id))
            .map(|(id, why)| (*id, *why))
            .collect();
        let mut fates = Vec::new();
        for (id, why) in due {
            self.aside.to_come.remove(&id);
            fates.extend(self.set_aside(space, id, why));
        }
        fates
    }

    /// Continues the search.
    #[must_use]
    fn try_suspects(&mut self, space: &mut Space) -> Vec<ShipFate> {
        let (mirror, players) = (&space.mirror, &self.players);
        let simulated = |id| match mirror.get(id) {
            Some(entry) => Some(matches!(entry.holder, Holder::Shard(_))),
            None => players.brings_in(id).then_some(false),
        };
        let verdict = self.aside.suspicion.tick(simulated);
        self.carry_out(space, verdict)
    }
}

/// Continues the search each tick.
pub fn update_aside(mut space: Space, mut both: ParamSet<(Asides, Ships)>) {
    let fates = both.p0().set_aside_due(&mut space);
    both.p1().on_fates(&mut space, fates);
    let fates = both.p0().try_suspects(&mut space);
    both.p1().on_fates(&mut space, fates);
}
