//! The server's side of a handoff, and of an admission, without I/O.
//!
//! Runs in the server. An entity changes its authority in five steps: *prepare* (its owner asks),
//! *offer*, *accept*, *commit*, *release*. A target that was heard of just now is not asked: what it would
//! answer is known, and the authority moves with the prepare ([`Target::live`]). From one that was silent
//! an accept is awaited, and until it comes every failure leaves the source as the owner. The authority
//! moves at one instant, and from then on the target is the owner whatever fails. A player's ship that
//! comes into the world goes through the same steps with the server itself as the source.
//!
//! Every message may be lost, doubled, late or overtaken: an offer and a prepare that are not answered
//! are asked again by the source, a commit is sent again until it is answered, and a shard that claims
//! what is not its own ([`judge`]) is told so as often as it claims it.

use sidereal_protocol::{
    ids::{EntityId, ShardId},
    record::EntityRecord,
    tick::{SimTick, TICK_HZ},
};
use std::collections::BTreeMap;

/// How long a target may take to accept, ticks: a second, far above any link that the world is
/// playable on; the source goes on meanwhile, so that a timeout costs nothing but a retry.
pub const ACCEPT_TIMEOUT_TICKS: u64 = TICK_HZ as u64;

/// When a commit that was not answered is sent again, ticks: a second, see above.
pub const COMMIT_AGAIN_TICKS: u64 = TICK_HZ as u64;

/// Where an entity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The shard that simulates it until the commit, and which of its attempts this is.
    Shard {
        /// The shard.
        shard: ShardId,
        /// Its number for the attempt: an abort names it.
        attempt: u32,
    },
    /// The server: nobody simulates it meanwhile.
    Server,
}

/// Where an entity shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The holder of the lease.
    pub shard: ShardId,
    /// Whether it was heard of just now, so that its accept need not be awaited.
    pub live: bool,
}

/// What the mirror knows of who has an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority {
    /// The shard that simulates it; `None` while the server holds it.
    pub holder: Option<ShardId>,
    /// Changes of authority so far.
    pub epoch: u64,
    /// Changes of the record in this epoch.
    pub version: u64,
    /// The highest epoch that was ever given out for it.
    pub issued: u64,
}

/// What a shard is told that speaks of an entity as its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Authority,
    /// It is not: this release makes it see that.
    Release {
        /// Above the epoch under which it claims the entity.
        epoch: u64,
    },
}

/// Whether `from` is the authority of an entity under `epoch`.
pub fn judge(known: Option<Authority>, from: ShardId, epoch: u64) -> Verdict {
    match known {
        Some(known) if known.holder == Some(from) && known.epoch == epoch => Verdict::Authority,
        // It holds it, but under an older epoch: a commit is on its way and will replace that.
        Some(known) => Verdict::Release { epoch: known.epoch.max(epoch.saturating_add(1)) },
        None => Verdict::Release { epoch: epoch.saturating_add(1) },
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A shard asks that an entity be taken from it.
    Prepare {
        /// The shard.
        from: ShardId,
        /// Its number for the attempt.
        attempt: u32,
        /// All of the entity, under the epoch in which `from` has it and a version of its own, and in the
        /// sector that it enters.
        record: Box<EntityRecord>,
        /// What the mirror knows.
        known: Option<Authority>,
        /// Who has the lease on the sector that it enters; `None` when nobody but `from` has.
        target: Option<Target>,
    },
    /// The server gives an entity that only it holds to a shard.
    Admit {
        /// The record, with the new epoch.
        record: Box<EntityRecord>,
        /// Whom to.
        target: Target,
    },
    /// A shard accepts an offer.
    Accept {
        /// Which.
        from: ShardId,
        /// Whom.
        id: EntityId,
        /// The offer's epoch.
        epoch: u64,
    },
    /// A shard refuses an offer, or a commit.
    Refuse {
        /// Which.
        from: ShardId,
        /// Whom.
        id: EntityId,
        /// The offer's epoch.
        epoch: u64,
    },
    /// The target has simulated its first tick of the entity.
    Adopted {
        /// Which.
        from: ShardId,
        /// Whom.
        id: EntityId,
        /// The epoch.
        epoch: u64,
    },
    /// The authority has destroyed or withdrawn the entity.
    Gone {
        /// Whom.
        id: EntityId,
    },
    /// A shard is no longer there.
    ShardLost(ShardId),
    /// Time goes on.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The record is the newest of its authority: keep it.
    Keep {
        /// As the authority has it.
        record: Box<EntityRecord>,
    },
    /// An epoch was given out for an entity of the mirror.
    Issue {
        /// Whom for.
        id: EntityId,
        /// Which.
        epoch: u64,
    },
    /// Offer the record to `to`.
    Offer {
        /// The target.
        to: ShardId,
        /// The record.
        record: Box<EntityRecord>,
    },
    /// The authority moves to `to`, now: commit there, route inputs there.
    Commit {
        /// The new authority.
        to: ShardId,
        /// The record as it was prepared, under the new epoch and in the new sector.
        record: Box<EntityRecord>,
    },
    /// The authority has moved to `to`, but it does not say that it knows: tell it again.
    CommitAgain {
        /// The new authority.
        to: ShardId,
        /// The record as it was committed.
        record: Box<EntityRecord>,
    },
    /// Tell a shard that it owns no longer.
    Release {
        /// The old owner.
        to: ShardId,
        /// Whom.
        id: EntityId,
        /// The new epoch.
        epoch: u64,
    },
    /// Tell the source that its attempt has failed.
    Abort {
        /// The shard.
        to: ShardId,
        /// Whom.
        id: EntityId,
        /// The number of the attempt.
        attempt: u32,
    },
    /// A record that only the server holds found no home: admit it elsewhere, or again.
    Homeless {
        /// The record.
        record: Box<EntityRecord>,
    },
    /// The new authority will not have it: the server holds it from now on, under an epoch of its own, for
    /// another copy of the commit may still be obeyed.
    Return {
        /// Whom.
        id: EntityId,
    },
    /// A transfer is complete.
    Complete {
        /// Whom.
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

/// Faults that tests plant, to see that they are found.
#[cfg(feature = "planted-faults")]
#[derive(Debug, Default, Clone, Copy)]
pub struct Planted {
    /// Whoever says that an entity is its own is believed.
    pub skip_epoch_check: bool,
    /// The source is released with the offer.
    pub release_before_commit: bool,
}

/// All transfers under way. At most one for each entity.
#[derive(Debug, Default)]
pub struct Handoffs {
    transfers: BTreeMap<EntityId, Transfer>,
    /// Transfers that ended with the source as the owner.
    pub aborted: u64,
    /// Messages about transfers that are not, or no longer, under way.
    pub stale: u64,
    /// Commits that were sent again.
    pub commits_again: u64,
    /// What a test wants to go wrong.
    #[cfg(feature = "planted-faults")]
    pub planted: Planted,
}

impl Handoffs {
    /// Whether `id` waits for a target: its authority has not moved yet.
    pub fn is_offered(&self, id: EntityId) -> bool {
        self.transfers.get(&id).is_some_and(|transfer| transfer.phase == Phase::Offered)
    }

    /// Whether `id` is on its way to a shard: offered, or committed and not adopted yet.
    pub fn is_under_way(&self, id: EntityId) -> bool {
        self.transfers.contains_key(&id)
    }

    /// Transfers under way.
    pub fn len(&self) -> usize {
        self.transfers.len()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.transfers.is_empty()
    }

    /// Takes one event at the tick `now`; what is to be done, in order.
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
        // An older attempt that comes late, or twice: what has happened to the entity since is not in it.
        if known.is_some_and(|known| record.version <= known.version) {
            self.stale += 1;
            return;
        }
        match self.transfers.get(&id).map(|transfer| transfer.phase) {
            // The source asks again: the offer is under way, and what it began with still holds.
            Some(Phase::Offered) => {
                self.stale += 1;
                return;
            }
            // The target of the last transfer hands it on: it has adopted it.
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

    /// The authority of an offered entity moves to its target.
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

    /// Ends an offered transfer with the source as the owner.
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
                // Authority has moved: a lost source changes nothing; a lost target's entities are
                // found a new home with its leases.
                Phase::Committed if transfer.target == shard => {
                    self.transfers.remove(&id);
                }
                Phase::Committed => transfer.source = Source::Server,
                Phase::Offered if transfer.target == shard => self.abort(id, actions),
                // The prepared record is the newest there is: the server stands in for the source.
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
