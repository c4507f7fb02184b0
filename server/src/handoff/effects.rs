//! Carries out what the handoff's state machine says.

use super::{
    figures::Times,
    machine::{Action, Event, Target},
};
use crate::{
    core::Core,
    replication::{
        mirror::{Holder, Mirrored},
        space::Succession,
    },
};
use sidereal_process::log_limited;
use sidereal_protocol::{
    control::{GhostImpact, ToShard},
    ids::{EntityId, ShardId},
    input::Input,
    record::EntityRecord,
    sector::SectorId,
    tick::{SimTick, TICK_HZ},
};
use std::time::Instant;
use tracing::debug;

/// Orphans look for a new holder this often, ticks.
const REHOME_INTERVAL_TICKS: u64 = TICK_HZ as u64 / 3;

impl Core<'_, '_> {
    /// Tells the state machine what happened and does what it says.
    pub fn transfer(&mut self, event: Event) {
        let begins = match &event {
            Event::Prepare { record, .. } | Event::Admit { record, .. } => Some(record.id),
            _ => None,
        };
        let prepared = Instant::now();
        let now = self.space.clock.tick;
        let actions = self.transfers.machine.step(now, event);
        if let Some(id) = begins
            && self.transfers.machine.is_under_way(id)
        {
            let times = Times { prepared, committed: None, waited_us: 0 };
            self.transfers.times.entry(id).or_insert(times);
        }
        for action in actions {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Keep { mut record } => {
                // Its logical sector stays its owner's until the authority moves.
                if let Some(entry) = self.space.mirror.get(record.id) {
                    record.sector = entry.record.sector;
                }
                self.space.replace_record(*record);
            }
            Action::Issue { id, epoch } => {
                if let Some(entry) = self.space.mirror.get_mut(id) {
                    entry.issued_epoch = entry.issued_epoch.max(epoch);
                }
            }
            Action::Offer { to, record } => {
                let record = Box::new(self.space.storage.with_ore(self.space.with_last_pilot(*record)));
                self.link.to_shard(to, &ToShard::Offer { record });
            }
            Action::Commit { to, record } => self.commit(to, *record),
            Action::CommitAgain { to, record } => {
                let record = self.space.with_last_pilot(*record);
                let inputs = self.inputs_for(&record);
                let record = Box::new(self.space.storage.with_ore(record));
                self.link.to_shard(to, &ToShard::Commit { record, inputs });
            }
            Action::Release { to, id, epoch } => {
                self.link.to_shard(to, &ToShard::Release { id, epoch });
            }
            Action::Abort { to, id, attempt } => {
                self.transfers.times.remove(&id);
                self.link.to_shard(to, &ToShard::Abort { id, attempt });
            }
            Action::Homeless { record } => {
                self.transfers.times.remove(&record.id);
                debug!(id = %record.id, "an admission found no home; it is tried again");
                self.ship_homeless(*record);
            }
            Action::Return { id } => {
                self.transfers.times.remove(&id);
                self.space.move_authority(id, Holder::Server, Succession::NextEpoch);
            }
            Action::Complete { id, epoch, between_shards } => {
                let times = self.transfers.times.remove(&id);
                debug!(%id, epoch, between_shards, "adopted");
                if between_shards {
                    self.space.tally.handoffs += 1;
                    if let Some(cutover) = times.and_then(|times| times.cutover()) {
                        self.space.tally.record_cutover(cutover);
                    }
                }
            }
        }
    }

    /// A shard asks to hand an entity on.
    pub fn on_prepare(&mut self, shard: ShardId, attempt: u32, record: EntityRecord, to: SectorId) {
        if let Err(problem) = record.validate() {
            log_limited!(warn, %shard, id = %record.id, %problem, "a prepared record was refused");
            self.space.tally.violations += 1;
            return;
        }
        let target = self.target_in(to).filter(|target| target.shard != shard);
        // Nobody simulates that sector yet. For a player somebody shall from now on; a drone or a rock that
        // strays is not worth a block, whose own would stray further.
        if target.is_none() && record.owner.is_some() {
            self.leases.table.want(to.block());
        }
        let known = self.space.mirror.get(record.id).map(Mirrored::authority);
        let record = Box::new(EntityRecord { sector: to, ..record });
        self.transfer(Event::Prepare { from: shard, attempt, record, known, target });
    }

    /// Inputs of the pilot of `record` after the last one in it.
    fn inputs_for(&self, record: &EntityRecord) -> Vec<Input> {
        record
            .pilot
            .zip(record.owner)
            .map(|(pilot, owner)| self.players.inputs_since(owner, pilot.last_input))
            .unwrap_or_default()
    }

    /// Passes an impact on to whoever simulates its target; keeps it while nobody does.
    pub fn pass_on(&mut self, impact: GhostImpact) {
        match self.space.mirror.get(impact.target).map(|entry| entry.holder) {
            Some(Holder::Shard(authority)) => self.link.to_shard(authority, &ToShard::Impact(impact)),
            Some(Holder::Server) => {
                if !self.transfers.keep(impact) {
                    self.space.tally.impacts_lost += 1;
                }
            }
            // Destroyed meanwhile: the blow finds nobody.
            None => self.space.tally.impacts_lost += 1,
        }
    }

    /// Hands what has hit `id` meanwhile to its new authority.
    pub fn pass_on_kept(&mut self, id: EntityId) {
        for impact in self.transfers.take_kept(id) {
            self.pass_on(impact);
        }
    }

    /// The authority moves to `to`, now.
    fn commit(&mut self, to: ShardId, record: EntityRecord) {
        let id = record.id;
        if let Some(times) = self.transfers.times.get_mut(&id) {
            times.committed = Some(Instant::now());
        }
        let record = self.space.with_last_pilot(record);
        let committed = Box::new(self.space.storage.with_ore(record.clone()));
        let inputs = self.inputs_for(&record);
        match self.space.mirror.get(id) {
            Some(_) => {
                if record.owner.is_some() {
                    // What a player owns changes hands in the database too, at once: no older epoch comes back.
                    self.space.storage.put_now(&record);
                }
                self.space.move_authority(id, Holder::Shard(to), Succession::Committed(Box::new(record)));
            }
            None => {
                let owner = record.owner;
                let net_id = record.net_id;
                self.space.tally.admitted += 1;
                #[cfg(feature = "journal")]
                self.journal.admitted(&record);
                self.space.enter_mirror(record, Holder::Shard(to));
                if let Some(owner) = owner {
                    self.ship_admitted(owner, id, net_id);
                }
            }
        }
        self.link.to_shard(to, &ToShard::Commit { record: committed, inputs });
        self.pass_on_kept(id);
    }

    /// Offers an entity that only the server holds to the shard that has the lease on its sector.
    /// Returns the record when nobody has.
    pub fn admit(&mut self, mut record: EntityRecord) -> Option<EntityRecord> {
        let Some(target) = self.target_in(record.sector) else {
            self.leases.table.want_for_arrival(record.sector.block());
            return Some(record);
        };
        let issued =
            self.space.mirror.get(record.id).map_or(record.epoch, |entry| entry.issued_epoch.max(record.epoch));
        record.epoch = issued + 1;
        record.version = 0;
        self.transfer(Event::Admit { record: Box::new(record), target });
        None
    }

    /// Who simulates a sector, and whether it was heard of just now.
    pub fn target_in(&self, sector: SectorId) -> Option<Target> {
        let shard = self.leases.table.holder(sector)?;
        Some(Target { shard, live: self.shards.is_live(shard, self.space.clock.tick) })
    }
}

/// Timeouts of handoffs, and a new home for what no shard holds.
pub fn tend_transfers(mut core: Core) {
    core.transfer(Event::Tick);
    let SimTick(now) = core.space.clock.tick;
    if !now.is_multiple_of(REHOME_INTERVAL_TICKS) {
        return;
    }
    let orphans: Vec<EntityId> = core
        .space
        .mirror
        .iter()
        .filter(|(id, entry)| entry.holder == Holder::Server && !core.transfers.machine.is_offered(*id))
        .filter(|(id, _)| !core.deals.concern(*id))
        .map(|(id, _)| id)
        .collect();
    for id in orphans {
        if let Some(mut record) = core.space.current_record(id) {
            // Nobody has moved it since: it goes on from where it is, not from where it might have come to.
            record.tick = core.space.clock.tick;
            core.admit(record);
        }
    }
}
