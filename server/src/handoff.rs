//! The server's side of a handoff, and of an admission, without I/O.
//!
//! An entity changes its authority in five steps: *prepare* (its owner asks), *offer*, *accept*,
//! *commit*, *release*. The authority moves at one instant: when the target's accept arrives. Until
//! then every failure leaves the source as the owner, after it the target is. A player's ship that
//! comes into the world goes through the same steps with the server itself as the source.

use sidereal_protocol::{
    ids::{EntityId, ShardId},
    record::EntityRecord,
    tick::{SimTick, TICK_HZ},
};
use std::collections::BTreeMap;

/// How long a target may take to accept, ticks: a second, far above any link that the world is
/// playable on; the source goes on meanwhile, so that a timeout costs nothing but a retry.
pub const ACCEPT_TIMEOUT_TICKS: u64 = TICK_HZ as u64;

/// How long a committed transfer is remembered for its *adopted*, ticks. Only a figure hangs on it.
const ADOPT_TIMEOUT_TICKS: u64 = 10 * TICK_HZ as u64;

/// Where an entity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The shard that simulates it until the commit.
    Shard(ShardId),
    /// The server: nobody simulates it meanwhile.
    Server,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The authority prepares (or the server admits) an entity. The record carries the new epoch and
    /// the new sector.
    Begin {
        /// Who has it.
        source: Source,
        /// Who shall have it.
        target: ShardId,
        /// All of it.
        record: Box<EntityRecord>,
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
    /// A shard refuses an offer.
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
        /// The record as it was offered.
        record: Box<EntityRecord>,
    },
    /// Tell the old owner that it owns no longer.
    Release {
        /// The old owner.
        to: ShardId,
        /// Whom.
        id: EntityId,
        /// The new epoch.
        epoch: u64,
    },
    /// Tell a shard that the transfer does not take place.
    Abort {
        /// The shard.
        to: ShardId,
        /// Whom.
        id: EntityId,
        /// The offer's epoch.
        epoch: u64,
    },
    /// A record that only the server holds found no home: admit it elsewhere, or again.
    Homeless {
        /// The record.
        record: Box<EntityRecord>,
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

/// All transfers under way. At most one for each entity in the mirror.
#[derive(Debug, Default)]
pub struct Handoffs {
    transfers: BTreeMap<EntityId, Transfer>,
    /// Transfers that ended with the source as the owner.
    pub aborted: u64,
    /// Messages about transfers that are not, or no longer, under way.
    pub stale: u64,
}

impl Handoffs {
    /// Whether `id` waits for a target: its authority has not moved yet.
    pub fn is_offered(&self, id: EntityId) -> bool {
        self.transfers.get(&id).is_some_and(|transfer| transfer.phase == Phase::Offered)
    }

    /// Transfers under way.
    pub fn len(&self) -> usize {
        self.transfers.len()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.transfers.is_empty()
    }

    /// Takes what happened at `now`, appends what is to be done, in order.
    pub fn step(&mut self, now: SimTick, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Begin { source, target, record } => {
                self.begin(now, source, target, record, actions);
            }
            Event::Accept { from, id, epoch } => self.accept(now, from, id, epoch, actions),
            Event::Refuse { from, id, epoch } => {
                if self.matches(id, from, epoch, Phase::Offered) {
                    self.abort(id, false, actions);
                } else {
                    self.stale += 1;
                }
            }
            Event::Adopted { from, id, epoch } => {
                if self.matches(id, from, epoch, Phase::Committed) {
                    self.complete(id, actions);
                } else {
                    self.stale += 1;
                }
            }
            Event::Gone { id } => {
                if let Some(transfer) = self.transfers.remove(&id)
                    && transfer.phase == Phase::Offered
                {
                    self.aborted += 1;
                    actions.push(Action::Abort { to: transfer.target, id, epoch: transfer.record.epoch });
                }
            }
            Event::ShardLost(shard) => self.shard_lost(shard, actions),
            Event::Tick => self.time_out(now, actions),
        }
    }

    fn begin(
        &mut self,
        now: SimTick,
        source: Source,
        target: ShardId,
        record: Box<EntityRecord>,
        actions: &mut Vec<Action>,
    ) {
        let id = record.id;
        match self.transfers.get(&id).map(|transfer| transfer.phase) {
            // The source asks again, or the entity is being moved already.
            Some(Phase::Offered) => {
                self.stale += 1;
                return;
            }
            // The target of the last transfer hands it on: it has adopted it.
            Some(Phase::Committed) => self.complete(id, actions),
            None => {}
        }
        actions.push(Action::Offer { to: target, record: record.clone() });
        self.transfers.insert(id, Transfer { source, target, record, phase: Phase::Offered, since: now });
    }

    fn accept(&mut self, now: SimTick, from: ShardId, id: EntityId, epoch: u64, actions: &mut Vec<Action>) {
        if !self.matches(id, from, epoch, Phase::Offered) {
            self.stale += 1;
            // A shard that holds an accepted offer that nobody knows of must forget it, unless it is
            // the commit's own duplicate.
            if !self.matches(id, from, epoch, Phase::Committed) {
                actions.push(Action::Abort { to: from, id, epoch });
            }
            return;
        }
        if let Some(transfer) = self.transfers.get_mut(&id) {
            transfer.phase = Phase::Committed;
            transfer.since = now;
            actions.push(Action::Commit { to: from, record: transfer.record.clone() });
            if let Source::Shard(source) = transfer.source {
                actions.push(Action::Release { to: source, id, epoch });
            }
        }
    }

    fn complete(&mut self, id: EntityId, actions: &mut Vec<Action>) {
        if let Some(transfer) = self.transfers.remove(&id) {
            actions.push(Action::Complete {
                id,
                epoch: transfer.record.epoch,
                between_shards: matches!(transfer.source, Source::Shard(_)),
            });
        }
    }

    /// Ends an offered transfer with the source as the owner.
    fn abort(&mut self, id: EntityId, tell_target: bool, actions: &mut Vec<Action>) {
        let Some(transfer) = self.transfers.remove(&id) else { return };
        self.aborted += 1;
        let epoch = transfer.record.epoch;
        if tell_target {
            actions.push(Action::Abort { to: transfer.target, id, epoch });
        }
        match transfer.source {
            Source::Shard(source) => actions.push(Action::Abort { to: source, id, epoch }),
            Source::Server => actions.push(Action::Homeless { record: transfer.record }),
        }
    }

    fn shard_lost(&mut self, shard: ShardId, actions: &mut Vec<Action>) {
        let concerned: Vec<EntityId> = self
            .transfers
            .iter()
            .filter(|(_, transfer)| transfer.target == shard || transfer.source == Source::Shard(shard))
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
                Phase::Offered if transfer.target == shard => self.abort(id, false, actions),
                // The prepared record is the newest there is: the server stands in for the source.
                Phase::Offered => transfer.source = Source::Server,
            }
        }
    }

    fn time_out(&mut self, now: SimTick, actions: &mut Vec<Action>) {
        let late: Vec<(EntityId, Phase)> = self
            .transfers
            .iter()
            .filter(|(_, transfer)| {
                let limit = match transfer.phase {
                    Phase::Offered => ACCEPT_TIMEOUT_TICKS,
                    Phase::Committed => ADOPT_TIMEOUT_TICKS,
                };
                now.since(transfer.since) > limit
            })
            .map(|(id, transfer)| (*id, transfer.phase))
            .collect();
        for (id, phase) in late {
            match phase {
                Phase::Offered => self.abort(id, true, actions),
                Phase::Committed => {
                    self.transfers.remove(&id);
                }
            }
        }
    }

    fn matches(&self, id: EntityId, target: ShardId, epoch: u64, phase: Phase) -> bool {
        self.transfers.get(&id).is_some_and(|transfer| {
            transfer.target == target && transfer.record.epoch == epoch && transfer.phase == phase
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worldgen;
    use sidereal_protocol::sector::SectorId;

    const SOURCE: ShardId = ShardId(1);
    const TARGET: ShardId = ShardId(2);

    fn record() -> Box<EntityRecord> {
        let mut record = worldgen::sector_records(7, SectorId::new(5, 5), SimTick(1))
            .pop()
            .expect("a generated sector is not empty");
        record.epoch = 4;
        Box::new(record)
    }

    fn begun(source: Source) -> (Handoffs, EntityId) {
        let mut handoffs = Handoffs::default();
        let record = record();
        let id = record.id;
        let mut actions = Vec::new();
        handoffs.step(SimTick(10), Event::Begin { source, target: TARGET, record: record.clone() }, &mut actions);
        assert_eq!(actions, vec![Action::Offer { to: TARGET, record }]);
        (handoffs, id)
    }

    fn step(handoffs: &mut Handoffs, at: u64, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        handoffs.step(SimTick(at), event, &mut actions);
        actions
    }

    /// Each message of the plain course may come twice, or be preceded by a loss of either shard:
    /// authority moves at most once, and somebody is always left with the entity.
    #[test]
    fn exactly_one_owner_after_every_course() {
        let events = |id| {
            [
                Event::Accept { from: TARGET, id, epoch: 4 },
                Event::Refuse { from: TARGET, id, epoch: 4 },
                Event::Adopted { from: TARGET, id, epoch: 4 },
                Event::Accept { from: TARGET, id, epoch: 3 },
                Event::ShardLost(SOURCE),
                Event::ShardLost(TARGET),
                Event::Tick,
            ]
        };
        for source in [Source::Shard(SOURCE), Source::Server] {
            for first in 0..7 {
                for second in 0..7 {
                    for third in 0..7 {
                        for late in [11, 10 + ACCEPT_TIMEOUT_TICKS + 1] {
                            let (mut handoffs, id) = begun(source);
                            let mut commits = 0;
                            let mut returned = 0;
                            let mut released = 0;
                            let mut at = 10;
                            for index in [first, second, third, 6] {
                                at += late;
                                for action in step(&mut handoffs, at, events(id)[index].clone()) {
                                    match action {
                                        Action::Commit { .. } => commits += 1,
                                        Action::Release { .. } => released += 1,
                                        Action::Abort { to: SOURCE, .. } | Action::Homeless { .. } => returned += 1,
                                        _ => {}
                                    }
                                }
                            }
                            let pending = usize::from(handoffs.is_offered(id));
                            assert_eq!(commits + returned + pending, 1, "{source:?} {first} {second} {third} {late}");
                            assert!(released <= commits);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_destroyed_entity_is_not_committed() {
        let (mut handoffs, id) = begun(Source::Shard(SOURCE));
        let actions = step(&mut handoffs, 11, Event::Gone { id });
        assert_eq!(actions, vec![Action::Abort { to: TARGET, id, epoch: 4 }]);
        let actions = step(&mut handoffs, 12, Event::Accept { from: TARGET, id, epoch: 4 });
        assert_eq!(actions, vec![Action::Abort { to: TARGET, id, epoch: 4 }]);
    }

    #[test]
    fn a_source_that_dies_after_prepare_loses_nothing() {
        let (mut handoffs, id) = begun(Source::Shard(SOURCE));
        assert_eq!(step(&mut handoffs, 11, Event::ShardLost(SOURCE)), vec![]);
        let actions = step(&mut handoffs, 12, Event::Accept { from: TARGET, id, epoch: 4 });
        assert!(matches!(actions[..], [Action::Commit { to: TARGET, .. }]), "{actions:?}");
    }
}
