//! Carries out what the handoff's state machine says.

use crate::{
    core::Core,
    handoff::{Action, Authority, Event, Handoffs, Target},
    mirror::{Holder, Mirrored},
    motion_plane::SectorChange,
};
use bevy::prelude::Resource;
use sidereal_protocol::{
    control::{GhostImpact, ToShard},
    ids::{EntityId, ShardId},
    input::Input,
    record::EntityRecord,
    sector::SectorId,
    tick::{SimTick, TICK_HZ},
};
use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};
use tracing::debug;

/// Orphans look for a new holder this often, ticks.
const REHOME_INTERVAL_TICKS: u64 = TICK_HZ as u64 / 3;

/// Impacts kept for one entity that nobody simulates at the moment; more are dropped, it is dead then
/// anyway.
const MAX_KEPT_IMPACTS: usize = 256;

/// Handoffs under way.
#[derive(Debug, Default, Resource)]
pub struct Transfers {
    /// What decides.
    pub machine: Handoffs,
    /// The times of each, for the figures only.
    times: HashMap<EntityId, Times>,
    /// What has hit entities while the server held them, for their next authority.
    kept_impacts: BTreeMap<EntityId, Vec<GhostImpact>>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    prepared: Instant,
    committed: Option<Instant>,
    waited_us: u32,
}

impl Transfers {
    /// Transfers whose times are taken.
    pub fn times(&self) -> usize {
        self.times.len()
    }

    /// Forgets the times of transfers that have ended without a word: with their entity, or with their shard.
    pub fn forget_times(&mut self) {
        let machine = &self.machine;
        self.times.retain(|id, _| machine.is_under_way(*id));
    }

    /// The target has said how long it waited for its tick.
    pub fn answered(&mut self, id: EntityId, waited_us: u32) {
        if let Some(times) = self.times.get_mut(&id) {
            times.waited_us = waited_us;
        }
    }
}

impl Times {
    /// Where the time went, when the target's answer is here.
    fn cutover(&self) -> Option<Cutover> {
        let committed = self.committed?;
        let answered_ms = committed.elapsed().as_secs_f64() * 1e3;
        let tick_ms = (f64::from(self.waited_us) / 1e3).min(answered_ms);
        let commit_ms = (committed - self.prepared).as_secs_f64() * 1e3;
        Some(Cutover { commit_ms, ways_ms: answered_ms - tick_ms, tick_ms })
    }
}

/// Where the time of one handoff went, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cutover {
    /// From the prepare at the server until the commit left it: zero when the target need not be asked.
    pub commit_ms: f64,
    /// From the commit until the target's answer, without what the target waited: both ways.
    pub ways_ms: f64,
    /// From the commit's arrival at the target until the end of the tick in which it first simulated.
    pub tick_ms: f64,
}

impl Cutover {
    /// All of it.
    pub fn total_ms(&self) -> f64 {
        self.commit_ms + self.ways_ms + self.tick_ms
    }
}

/// What the machine needs to know of an entity of the mirror.
pub fn authority_of(entry: &Mirrored) -> Authority {
    Authority {
        holder: match entry.holder {
            Holder::Shard(shard) => Some(shard),
            Holder::Server => None,
        },
        epoch: entry.record.epoch,
        version: entry.record.version,
        issued: entry.issued_epoch,
    }
}

impl Core<'_, '_> {
    /// Tells the state machine what happened and does what it says.
    pub fn transfer(&mut self, event: Event) {
        let begins = match &event {
            Event::Prepare { record, .. } | Event::Admit { record, .. } => Some(record.id),
            _ => None,
        };
        let prepared = Instant::now();
        let mut actions = Vec::new();
        let now = self.clock.tick;
        self.transfers.machine.step(now, event, &mut actions);
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
                if let Some(entry) = self.mirror.get(record.id) {
                    record.sector = entry.record.sector;
                }
                self.replace_record(*record);
            }
            Action::Issue { id, epoch } => {
                if let Some(entry) = self.mirror.get_mut(id) {
                    entry.issued_epoch = entry.issued_epoch.max(epoch);
                }
            }
            Action::Offer { to, record } => {
                let record = Box::new(self.with_ore(self.with_last_pilot(*record)));
                self.to_shard(to, &ToShard::Offer { record });
            }
            Action::Commit { to, record } => self.commit(to, *record),
            Action::CommitAgain { to, record } => {
                let record = self.with_last_pilot(*record);
                let inputs = self.inputs_for(&record);
                let record = Box::new(self.with_ore(record));
                self.to_shard(to, &ToShard::Commit { record, inputs });
            }
            Action::Release { to, id, epoch } => {
                self.to_shard(to, &ToShard::Release { id, epoch });
            }
            Action::Abort { to, id, attempt } => {
                self.transfers.times.remove(&id);
                self.to_shard(to, &ToShard::Abort { id, attempt });
            }
            Action::Homeless { record } => {
                self.transfers.times.remove(&record.id);
                debug!(id = %record.id, "an admission found no home; it is tried again");
                self.ship_homeless(*record);
            }
            Action::Return { id } => {
                self.transfers.times.remove(&id);
                self.hold(id);
            }
            Action::Complete { id, epoch, between_shards } => {
                let times = self.transfers.times.remove(&id);
                debug!(%id, epoch, between_shards, "adopted");
                if between_shards {
                    self.tally.handoffs += 1;
                    if let Some(cutover) = times.and_then(|times| times.cutover()) {
                        self.tally.record_cutover(cutover);
                    }
                }
            }
        }
    }

    /// Inputs of the pilot of `record` after the last one in it.
    fn inputs_for(&self, record: &EntityRecord) -> Vec<Input> {
        record
            .pilot
            .zip(record.owner)
            .map(|(pilot, owner)| self.players.inputs_since(owner, pilot.last_input))
            .unwrap_or_default()
    }

    /// Its authority does not have it: the server takes it back, under a new epoch, until somebody has the
    /// lease on its sector.
    pub fn hold(&mut self, id: EntityId) {
        let Some(mut record) = self.current_record(id) else { return };
        let Some(entry) = self.mirror.get_mut(id) else { return };
        entry.issued_epoch += 1;
        entry.holder = Holder::Server;
        (record.epoch, record.version) = (entry.issued_epoch, 0);
        let net_id = record.net_id;
        self.replace_record(record);
        self.motion.set_authority(net_id, None);
    }

    /// Passes an impact on to whoever simulates its target; keeps it while nobody does.
    pub fn pass_on(&mut self, impact: GhostImpact) {
        match self.mirror.get(impact.target).map(|entry| entry.holder) {
            Some(Holder::Shard(authority)) => self.to_shard(authority, &ToShard::Impact(impact)),
            Some(Holder::Server) => {
                let kept = self.transfers.kept_impacts.entry(impact.target).or_default();
                if kept.len() < MAX_KEPT_IMPACTS {
                    kept.push(impact);
                } else {
                    self.tally.impacts_lost += 1;
                }
            }
            // Destroyed meanwhile: the blow finds nobody.
            None => self.tally.impacts_lost += 1,
        }
    }

    /// Hands what has hit `id` meanwhile to its new authority.
    pub fn pass_on_kept(&mut self, id: EntityId) {
        for impact in self.transfers.kept_impacts.remove(&id).unwrap_or_default() {
            self.pass_on(impact);
        }
    }

    /// What hit it does not matter any longer.
    pub fn forget_kept(&mut self, id: EntityId) {
        let lost = self.transfers.kept_impacts.remove(&id).map_or(0, |kept| kept.len());
        self.tally.impacts_lost += lost as u64;
    }

    /// The authority moves to `to`, now.
    fn commit(&mut self, to: ShardId, record: EntityRecord) {
        let id = record.id;
        if let Some(times) = self.transfers.times.get_mut(&id) {
            times.committed = Some(Instant::now());
        }
        let record = self.with_last_pilot(record);
        let committed = Box::new(self.with_ore(record.clone()));
        let inputs = self.inputs_for(&record);
        let known = self.mirror.get(id).map(|entry| (entry.record.net_id, entry.record.sector));
        match known {
            Some((net_id, _)) => {
                if record.owner.is_some() {
                    // What a player owns changes hands in the database too, at once: no older epoch comes back.
                    self.storage.put_now(&record);
                }
                let from = self.motion.sector_of(net_id).unwrap_or(record.sector);
                self.enter_sector(record, Holder::Shard(to), from);
            }
            None => {
                let owner = record.owner;
                let net_id = record.net_id;
                self.tally.admitted += 1;
                #[cfg(feature = "journal")]
                self.journal.admitted(&record);
                self.enter_mirror(record, Holder::Shard(to));
                if let Some(owner) = owner {
                    self.ship_admitted(owner, id, net_id);
                }
            }
        }
        self.to_shard(to, &ToShard::Commit { record: committed, inputs });
        self.pass_on_kept(id);
    }

    /// Gives an entity of the mirror a new holder and sector. Its drawn motion goes on from the last
    /// that the old one sent.
    fn enter_sector(&mut self, record: EntityRecord, holder: Holder, from: SectorId) {
        let (id, net_id, to) = (record.id, record.net_id, record.sector);
        let (_, state, tick) = self.motion.state_of(net_id).filter(|(_, _, tick)| *tick >= record.tick).unwrap_or((
            to,
            record.state,
            record.tick,
        ));
        self.replace_record(record);
        if let Some(entry) = self.mirror.get_mut(id) {
            entry.holder = holder;
        }
        let authority = match holder {
            Holder::Shard(shard) => Some(shard),
            Holder::Server => None,
        };
        let now = self.clock.tick;
        self.motion.place(net_id, to, authority, state, tick, now);
        if from != to {
            self.change_rooms(&[SectorChange { net_id, from, to }]);
        }
    }

    /// Offers an entity that only the server holds to the shard that has the lease on its sector.
    /// Returns the record when nobody has.
    pub fn admit(&mut self, mut record: EntityRecord) -> Option<EntityRecord> {
        let Some(target) = self.target_in(record.sector) else {
            self.leases.table.want_for_arrival(record.sector.block());
            return Some(record);
        };
        let issued = self.mirror.get(record.id).map_or(record.epoch, |entry| entry.issued_epoch.max(record.epoch));
        record.epoch = issued + 1;
        record.version = 0;
        self.transfer(Event::Admit { record: Box::new(record), target });
        None
    }

    /// Who simulates a sector, and whether it was heard of just now.
    pub fn target_in(&self, sector: SectorId) -> Option<Target> {
        let shard = self.leases.table.holder(sector)?;
        Some(Target { shard, live: self.shards.is_live(shard, self.clock.tick) })
    }
}

/// Timeouts of handoffs, and a new home for what no shard holds.
pub fn tend_transfers(mut core: Core<'_, '_>) {
    core.transfer(Event::Tick);
    let SimTick(now) = core.clock.tick;
    if !now.is_multiple_of(REHOME_INTERVAL_TICKS) {
        return;
    }
    let orphans: Vec<EntityId> = core
        .mirror
        .iter()
        .filter(|(id, entry)| entry.holder == Holder::Server && !core.transfers.machine.is_offered(*id))
        .filter(|(id, _)| !core.deals.concern(*id))
        .map(|(id, _)| id)
        .collect();
    for id in orphans {
        if let Some(mut record) = core.current_record(id) {
            // Nobody has moved it since: it goes on from where it is, not from where it might have come to.
            record.tick = core.clock.tick;
            core.admit(record);
        }
    }
}
