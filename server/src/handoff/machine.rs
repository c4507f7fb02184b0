//! The server's side of handoffs and admissions, without I/O.
//!
//! Runs in the server. The authority over an entity changes in five steps: *prepare* (its authority requests it),
//! *offer*, *accept*, *commit*, *release*. If the target has just sent something, its answer is known, and the
//! authority moves with the prepare ([`Target::live`]). If it was silent, its accept is awaited, and until then every
//! failure leaves the authority with the source. The authority moves at one instant; from then on it is the target's,
//! whatever fails. A player's ship that enters the world takes the same steps, with the server as the source.
//!
//! Every message may be lost, duplicated, late or reordered: the source repeats an unanswered prepare, which repeats
//! the offer; a commit is sent again until it is answered; and a shard that claims an entity without authority
//! ([`judge`]) gets a release each time.

use sidereal_protocol::{
    record::EntityRecord,
    world::{
        ids::{EntityId, ShardId},
        tick::{SimTick, TICK_HZ},
    },
};
use std::collections::BTreeMap;

/// Time limit of a target's accept, ticks: a second, far above the round trip of any playable link. The source
/// continues meanwhile, so a timeout costs only a retry.
pub const ACCEPT_TIMEOUT_TICKS: u64 = TICK_HZ as u64;

/// When an unanswered commit is sent again, ticks: a second, for the same reason.
pub const COMMIT_AGAIN_TICKS: u64 = TICK_HZ as u64;

/// The source of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The shard that simulates it until the commit, and its attempt.
    Shard {
        /// The shard.
        shard: ShardId,
        /// Its number for the attempt, which an abort contains.
        attempt: u32,
    },
    /// The server: no shard simulates the entity meanwhile.
    Server,
}

/// The target of a handoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The holder of the lease.
    pub shard: ShardId,
    /// Whether it has just sent something, so that its accept need not be awaited.
    pub live: bool,
}

/// The mirror's state of an entity's authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority {
    /// The shard that simulates it; `None` while the server holds it.
    pub holder: Option<ShardId>,
    /// Changes of authority so far.
    pub epoch: u64,
    /// Changes of the record in this epoch.
    pub version: u64,
    /// The highest epoch that was ever issued for it.
    pub issued: u64,
}

/// The answer to a shard that claims an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The shard is the authority.
    Authority,
    /// It is not: send it this release.
    Release {
        /// Above the epoch of the claim.
        epoch: u64,
    },
}

/// Whether `from` is the authority of an entity under `epoch`.
pub fn judge(known: Option<Authority>, from: ShardId, epoch: u64) -> Verdict {
    match known {
        Some(known) if known.holder == Some(from) && known.epoch == epoch => Verdict::Authority,
        // It is the holder, but under an older epoch: a commit on its way will replace that.
        Some(known) => Verdict::Release { epoch: known.epoch.max(epoch.saturating_add(1)) },
        None => Verdict::Release { epoch: epoch.saturating_add(1) },
    }
}

/// An input of the state machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A shard requests a handoff.
    Prepare {
        /// The shard.
        from: ShardId,
        /// Its number for the attempt.
        attempt: u32,
        /// The complete entity, under the epoch of `from` with a version of its own, in the sector that it enters.
        record: Box<EntityRecord>,
        /// The mirror's state.
        known: Option<Authority>,
        /// The holder of the lease on the sector that it enters; `None` if there is none but `from`.
        target: Option<Target>,
    },
    /// The server passes an entity that only it holds to a shard.
    Admit {
        /// The record, with the new epoch.
        record: Box<EntityRecord>,
        /// The shard.
        target: Target,
    },
    /// A shard accepts an offer.
    Accept {
        /// The shard.
        from: ShardId,
        /// The entity.
        id: EntityId,
        /// The offer's epoch.
        epoch: u64,
    },
    /// A shard rejects an offer or a commit.
    Refuse {
        /// The shard.
        from: ShardId,
        /// The entity.
        id: EntityId,
        /// The offer's epoch.
        epoch: u64,
    },
    /// The target has simulated its first tick of the entity.
    Adopted {
        /// The shard.
        from: ShardId,
        /// The entity.
        id: EntityId,
        /// The epoch.
        epoch: u64,
    },
    /// The authority has destroyed or withdrawn the entity.
    Gone {
        /// The entity.
        id: EntityId,
    },
    /// A shard has gone.
    ShardLost(ShardId),
    /// A tick has passed.
    Tick,
}

/// An output of the state machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Update the mirror with the record, the newest of its authority.
    Keep {
        /// The authority's record.
        record: Box<EntityRecord>,
    },
    /// Note an epoch that was issued for an entity of the mirror.
    Issue {
        /// The entity.
        id: EntityId,
        /// The epoch.
        epoch: u64,
    },
    /// Offer the record to `to`.
    Offer {
        /// The target.
        to: ShardId,
        /// The record.
        record: Box<EntityRecord>,
    },
    /// Move the authority to `to` now: send the commit there, and route inputs there.
    Commit {
        /// The new authority.
        to: ShardId,
        /// The record as it was prepared, under the new epoch and in the new sector.
        record: Box<EntityRecord>,
    },
    /// The authority has moved to `to`, which has not confirmed it: send the commit again.
    CommitAgain {
        /// The new authority.
        to: ShardId,
        /// The record as it was committed.
        record: Box<EntityRecord>,
    },
    /// Send a shard the end of its authority.
    Release {
        /// The old authority.
        to: ShardId,
        /// The entity.
        id: EntityId,
        /// The new epoch.
        epoch: u64,
    },
    /// Send the source the failure of its attempt.
    Abort {
        /// The shard.
        to: ShardId,
        /// The entity.
        id: EntityId,
        /// The number of the attempt.
        attempt: u32,
    },
    /// No shard has accepted a record that only the server holds: admit it elsewhere, or again.
    Homeless {
        /// The record.
        record: Box<EntityRecord>,
    },
    /// The new authority has rejected the entity: the server holds it from now on, under a new epoch, because another
    /// copy of the commit may still be applied.
    Return {
        /// The entity.
        id: EntityId,
    },
    /// A transfer is complete.
    Complete {
        /// The entity.
        id: EntityId,
        /// Its epoch.
        epoch: u64,
        /// Whether a shard was the source.
        between_shards: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Offered,
    Committed,
}

#[derive(Debug, Clone, PartialEq)]
struct Transfer {
    source: Source,
    target: ShardId,
    record: Box<EntityRecord>,
    phase: Phase,
    since: SimTick,
}

/// Faults planted by tests, to check that they are detected.
#[cfg(feature = "planted-faults")]
#[derive(Debug, Default, Clone, Copy)]
pub struct Planted {
    /// Accept every claim of authority.
    pub skip_epoch_check: bool,
    /// Release the source with the offer.
    pub release_before_commit: bool,
}

/// The handoffs and admissions in progress, at most one per entity.
#[derive(Debug, Default)]
pub struct Handoffs {
    transfers: BTreeMap<EntityId, Transfer>,
    /// Transfers that left the authority with the source.
    pub aborted: u64,
    /// Messages about transfers that are not in progress.
    pub stale: u64,
    /// Commits that were sent again.
    pub commits_again: u64,
    /// The faults that a test has planted.
    #[cfg(feature = "planted-faults")]
    pub planted: Planted,
}

impl Handoffs {
    /// Whether `id` waits for a target: its authority has not moved yet.
    pub fn is_offered(&self, id: EntityId) -> bool {
        self.transfers.get(&id).is_some_and(|transfer| transfer.phase == Phase::Offered)
    }

    /// Whether `id` is in a transfer: offered, or committed and not adopted yet.
    pub fn is_under_way(&self, id: EntityId) -> bool {
        self.transfers.contains_key(&id)
    }

    /// The number of transfers in progress.
    pub fn len(&self) -> usize {
        self.transfers.len()
    }

    /// Whether none is in progress.
    pub fn is_empty(&self) -> bool {
        self.transfers.is_empty()
    }

    /// Handles one event at the tick `now`; returns what to do, in order.
    pub fn step(&mut self, now: SimTick, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.take(now, event, &mut actions);
        actions
    }

    fn take(&mut self, now: SimTick, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Prepare { from, attempt, record, known, target } => {
                self.prepare(now, (from, attempt), record, known, target, actions);
            }
            Event::Admit { record, target } => self.admit(now, record, target, actions),
            Event::Accept { from, id, epoch } => {
                if self.matches(id, from, epoch, Phase::Offered) {
                    self.commit(now, id, actions);
                } else {
                    self.stale += 1;
                }
            }
            Event::Refuse { from, id, epoch } => self.refuse(id, from, epoch, actions),
            Event::Adopted { from, id, epoch } => {
                if self.matches(id, from, epoch, Phase::Committed) {
                    self.complete(id, actions);
                } else {
                    self.stale += 1;
                }
            }
            Event::Gone { id } => {
                if self.transfers.remove(&id).is_some_and(|transfer| transfer.phase == Phase::Offered) {
                    self.aborted += 1;
                }
            }
            Event::ShardLost(shard) => self.shard_lost(shard, actions),
            Event::Tick => self.tick(now, actions),
        }
    }

    fn prepare(
        &mut self,
        now: SimTick,
        (from, attempt): (ShardId, u32),
        record: Box<EntityRecord>,
        known: Option<Authority>,
        target: Option<Target>,
        actions: &mut Vec<Action>,
    ) {
        let id = record.id;
        if let Verdict::Release { epoch } = self.judge(known, from, record.epoch) {
            self.stale += 1;
            actions.push(Action::Release { to: from, id, epoch });
            return;
        }
        // A late or repeated older attempt: it lacks what has happened to the entity since.
        if known.is_some_and(|known| record.version <= known.version) {
            self.stale += 1;
            return;
        }
        match self.transfers.get(&id).map(|transfer| transfer.phase) {
            // The source repeats its request: the offer is out, and its basis is unchanged.
            Some(Phase::Offered) => {
                self.stale += 1;
                return;
            }
            // The target of the last transfer requests the next one: it has adopted the entity.
            Some(Phase::Committed) => self.complete(id, actions),
            None => {}
        }
        let Some(target) = target else {
            actions.push(Action::Keep { record });
            actions.push(Action::Abort { to: from, id, attempt });
            return;
        };
        let epoch = known.map_or(record.epoch, |known| known.issued) + 1;
        let moved = Box::new(EntityRecord { epoch, version: 0, ..(*record).clone() });
        actions.push(Action::Keep { record });
        actions.push(Action::Issue { id, epoch });
        self.begin(now, Source::Shard { shard: from, attempt }, target, moved, actions);
    }

    fn admit(&mut self, now: SimTick, record: Box<EntityRecord>, target: Target, actions: &mut Vec<Action>) {
        if self.is_offered(record.id) {
            self.stale += 1;
            return;
        }
        actions.push(Action::Issue { id: record.id, epoch: record.epoch });
        self.begin(now, Source::Server, target, record, actions);
    }

    fn begin(
        &mut self,
        now: SimTick,
        source: Source,
        target: Target,
        record: Box<EntityRecord>,
        actions: &mut Vec<Action>,
    ) {
        let id = record.id;
        if !target.live {
            actions.push(Action::Offer { to: target.shard, record: record.clone() });
            #[cfg(feature = "planted-faults")]
            if let Source::Shard { shard, .. } = source
                && self.planted.release_before_commit
            {
                actions.push(Action::Release { to: shard, id, epoch: record.epoch });
            }
        }
        let transfer = Transfer { source, target: target.shard, record, phase: Phase::Offered, since: now };
        self.transfers.insert(id, transfer);
        if target.live {
            self.commit(now, id, actions);
        }
    }

    /// Moves the authority of an offered entity to its target.
    fn commit(&mut self, now: SimTick, id: EntityId, actions: &mut Vec<Action>) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.phase = Phase::Committed;
        transfer.since = now;
        actions.push(Action::Commit { to: transfer.target, record: transfer.record.clone() });
        if let Source::Shard { shard, .. } = transfer.source {
            actions.push(Action::Release { to: shard, id, epoch: transfer.record.epoch });
        }
    }

    fn refuse(&mut self, id: EntityId, from: ShardId, epoch: u64, actions: &mut Vec<Action>) {
        if self.matches(id, from, epoch, Phase::Offered) {
            self.abort(id, actions);
        } else if self.matches(id, from, epoch, Phase::Committed) {
            self.transfers.remove(&id);
            actions.push(Action::Return { id });
        } else {
            self.stale += 1;
        }
    }

    fn complete(&mut self, id: EntityId, actions: &mut Vec<Action>) {
        if let Some(transfer) = self.transfers.remove(&id) {
            actions.push(Action::Complete {
                id,
                epoch: transfer.record.epoch,
                between_shards: matches!(transfer.source, Source::Shard { .. }),
            });
        }
    }

    /// Ends an offered transfer; the authority stays with the source.
    fn abort(&mut self, id: EntityId, actions: &mut Vec<Action>) {
        let Some(transfer) = self.transfers.remove(&id) else { return };
        self.aborted += 1;
        match transfer.source {
            Source::Shard { shard, attempt } => actions.push(Action::Abort { to: shard, id, attempt }),
            Source::Server => actions.push(Action::Homeless { record: transfer.record }),
        }
    }

    fn shard_lost(&mut self, shard: ShardId, actions: &mut Vec<Action>) {
        let is_source = |transfer: &Transfer| matches!(transfer.source, Source::Shard { shard: of, .. } if of == shard);
        let concerned: Vec<EntityId> = self
            .transfers
            .iter()
            .filter(|(_, transfer)| transfer.target == shard || is_source(transfer))
            .map(|(id, _)| *id)
            .collect();
        for id in concerned {
            let Some(transfer) = self.transfers.get_mut(&id) else { continue };
            match transfer.phase {
                // The authority has moved: losing the source changes nothing; the entities of a lost target get a new
                // holder with its leases.
                Phase::Committed if transfer.target == shard => {
                    self.transfers.remove(&id);
                }
                Phase::Committed => transfer.source = Source::Server,
                Phase::Offered if transfer.target == shard => self.abort(id, actions),
                // The prepared record is the newest: the server replaces the source.
                Phase::Offered => transfer.source = Source::Server,
            }
        }
    }

    fn tick(&mut self, now: SimTick, actions: &mut Vec<Action>) {
        let mut late = Vec::new();
        for (&id, transfer) in &mut self.transfers {
            let waited = now.since(transfer.since);
            match transfer.phase {
                Phase::Offered if waited > ACCEPT_TIMEOUT_TICKS => late.push(id),
                Phase::Committed if waited > COMMIT_AGAIN_TICKS => {
                    transfer.since = now;
                    self.commits_again += 1;
                    actions.push(Action::CommitAgain { to: transfer.target, record: transfer.record.clone() });
                }
                _ => {}
            }
        }
        for id in late {
            self.abort(id, actions);
        }
    }

    fn judge(&self, known: Option<Authority>, from: ShardId, epoch: u64) -> Verdict {
        #[cfg(feature = "planted-faults")]
        if self.planted.skip_epoch_check && known.is_some() {
            return Verdict::Authority;
        }
        judge(known, from, epoch)
    }

    fn matches(&self, id: EntityId, target: ShardId, epoch: u64, phase: Phase) -> bool {
        self.transfers.get(&id).is_some_and(|transfer| {
            transfer.target == target && transfer.record.epoch == epoch && transfer.phase == phase
        })
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
