//! The shard's side of a handoff, as the source and as the target.
//!
//! Runs in the shard. [`Handoffs::step`] is a state machine without I/O: events in, actions out.
//! `crate::handoff::effects` applies the actions. The server's machine decides; this one follows its answers, repeats
//! requests without an answer, and detects stale messages by their epochs. As the target it keeps nothing between offer
//! and commit: a commit holds the complete entity.

use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    frames::control::{GhostImpact, RefuseReason, ToServer},
    packets::input::Input,
    record::EntityRecord,
    world::{
        ids::EntityId,
        sector::SectorId,
        tick::{SimTick, TICK_HZ},
    },
};
use std::collections::BTreeMap;

/// When an unanswered `Prepare` is repeated, ticks: 2 s.
pub const ASK_AGAIN_TICKS: u64 = 2 * TICK_HZ as u64;

/// How long the last epoch of a released entity is remembered, ticks: 10 s, so that a late or doubled commit does not
/// bring it back. No message takes longer: a connection that is silent for that time is closed.
pub const FENCE_TICKS: u64 = 10 * TICK_HZ as u64;

/// Least time between two handoffs of an entity, or between two attempts, ticks: 1 s.
pub const SETTLE_TICKS: u64 = TICK_HZ as u64;

/// How long after it happened an impact on an entity that is not, or not yet, this shard's own is returned to the
/// server, which finds the authority, ticks: 5 s. Later it is dropped.
pub const BOUNCE_TICKS: u64 = 5 * TICK_HZ as u64;

/// Limit of held impacts per entity; more are dropped: they have destroyed it already.
pub const MAX_HELD_IMPACTS: usize = 256;

/// An event of a handoff.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An own entity has crossed into a sector that is not leased to this shard.
    Crossed {
        /// The entity.
        id: EntityId,
        /// The sector that it has entered.
        to: SectorId,
    },
    /// An own entity was hit.
    Struck(GhostImpact),
    /// The server offers an entity.
    Offered {
        /// Its record.
        record: Box<EntityRecord>,
        /// Whether the record's sector is this shard's.
        leased: bool,
        /// The epoch under which it is this shard's own.
        owned: Option<u64>,
    },
    /// The server commits an entity to this shard.
    Committed {
        /// The complete entity, under the new epoch.
        record: Box<EntityRecord>,
        /// Inputs after the record's last one.
        inputs: Vec<Input>,
        /// Whether the record's sector is this shard's.
        leased: bool,
        /// The epoch under which it is this shard's own.
        owned: Option<u64>,
    },
    /// The server releases an own entity from this shard.
    Released {
        /// The entity.
        id: EntityId,
        /// The new owner's epoch.
        epoch: u64,
        /// The epoch under which it is this shard's own.
        owned: Option<u64>,
    },
    /// The server aborts an attempt.
    Aborted {
        /// The entity.
        id: EntityId,
        /// The number of the attempt.
        attempt: u32,
    },
    /// An own entity was destroyed or withdrawn.
    Gone {
        /// The entity.
        id: EntityId,
        /// The epoch under which it was this shard's own.
        epoch: u64,
    },
    /// A tick is over.
    Tick,
}

/// What the caller must do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send `Prepare` with the newest record, with a version of its own.
    Prepare {
        /// The entity.
        id: EntityId,
        /// The target sector.
        to: SectorId,
        /// The number of the attempt.
        attempt: u32,
    },
    /// Send this message.
    Send(ToServer),
    /// Apply this impact to an own entity.
    Strike(GhostImpact),
    /// Continue as the owner.
    Resume {
        /// The entity.
        id: EntityId,
        /// No handoff before this tick.
        settled_at: SimTick,
    },
    /// Turn the own body into a ghost.
    BecomeGhost {
        /// The entity.
        id: EntityId,
    },
    /// Make it an own body, advanced to now.
    Adopt {
        /// The offered record.
        record: Box<EntityRecord>,
        /// Inputs to apply while it is advanced.
        inputs: Vec<Input>,
    },
}

#[derive(Debug, Clone, PartialEq)]
struct Outgoing {
    to: SectorId,
    attempt: u32,
    asked_at: SimTick,
    held: Vec<GhostImpact>,
}

/// Faults that tests plant, to see that they are detected.
#[cfg(feature = "planted-faults")]
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Planted {
    /// A commit is accepted whatever its epoch.
    pub skip_epoch_check: bool,
}

/// Every handoff in which this shard takes part.
#[derive(Resource, Debug, Clone, Default, PartialEq)]
pub struct Handoffs {
    outgoing: BTreeMap<EntityId, Outgoing>,
    /// For released entities: the last own epoch, and until when it is kept.
    fences: BTreeMap<EntityId, (u64, SimTick)>,
    attempts: u32,
    /// The planted faults.
    #[cfg(feature = "planted-faults")]
    pub planted: Planted,
}

impl Handoffs {
    /// Whether `id` waits for its release: it does not fire, and damage to it is held.
    pub fn is_leaving(&self, id: EntityId) -> bool {
        self.outgoing.contains_key(&id)
    }

    /// The number of entities that wait for their release.
    pub fn leaving(&self) -> usize {
        self.outgoing.len()
    }

    /// Applies one event at the tick `now`.
    pub fn step(&mut self, now: SimTick, event: Event) -> Vec<Action> {
        match event {
            Event::Crossed { id, to } => self.cross(now, id, to),
            Event::Struck(impact) => self.strike(impact),
            Event::Offered { record, leased, owned } => vec![Action::Send(self.answer(&record, leased, owned))],
            Event::Committed { record, inputs, leased, owned } => self.commit(now, record, inputs, leased, owned),
            Event::Released { id, epoch, owned } => self.release(now, id, epoch, owned),
            Event::Aborted { id, attempt } => self.abort(now, id, attempt),
            Event::Gone { id, epoch } => {
                self.outgoing.remove(&id);
                self.fences.insert(id, (epoch, now));
                Vec::new()
            }
            Event::Tick => self.tick(now),
        }
    }

    fn cross(&mut self, now: SimTick, id: EntityId, to: SectorId) -> Vec<Action> {
        if self.outgoing.contains_key(&id) {
            return Vec::new();
        }
        self.attempts = self.attempts.wrapping_add(1);
        let attempt = self.attempts;
        self.outgoing.insert(id, Outgoing { to, attempt, asked_at: now, held: Vec::new() });
        vec![Action::Prepare { id, to, attempt }]
    }

    fn strike(&mut self, impact: GhostImpact) -> Vec<Action> {
        match self.outgoing.get_mut(&impact.target) {
            Some(outgoing) => {
                if outgoing.held.len() < MAX_HELD_IMPACTS {
                    outgoing.held.push(impact);
                }
                Vec::new()
            }
            None => vec![Action::Strike(impact)],
        }
    }

    /// The answer to an offer: whether the shard would take the entity.
    fn answer(&self, record: &EntityRecord, leased: bool, owned: Option<u64>) -> ToServer {
        let (id, epoch) = (record.id, record.epoch);
        let reason = if owned.is_some_and(|owned| owned >= epoch) {
            RefuseReason::AlreadyOwned
        } else if !leased {
            RefuseReason::NoLease
        } else if record.validate().is_err() {
            RefuseReason::BadRecord
        } else {
            return ToServer::Accept { id, epoch };
        };
        ToServer::Refuse { id, epoch, reason }
    }

    fn commit(
        &mut self,
        now: SimTick,
        record: Box<EntityRecord>,
        inputs: Vec<Input>,
        leased: bool,
        owned: Option<u64>,
    ) -> Vec<Action> {
        let (id, epoch) = (record.id, record.epoch);
        if owned == Some(epoch) {
            // It is a duplicate: the answer was lost, or is on its way.
            return vec![Action::Send(ToServer::Adopted { id, epoch, tick: now, waited_us: 0 })];
        }
        // The epoch under which it is or was this shard's own is newer: the commit is stale.
        let newest = self.fences.get(&id).map(|(epoch, _)| *epoch).max(owned);
        if newest.is_some_and(|newest| newest >= epoch) && !self.skips_epoch_check() {
            return Vec::new();
        }
        if let refusal @ ToServer::Refuse { .. } = self.answer(&record, leased, None) {
            return vec![Action::Send(refusal)];
        }
        // The release of an earlier time here was lost.
        let held = self.outgoing.remove(&id).map(|outgoing| outgoing.held).unwrap_or_default();
        let mut actions = vec![Action::Adopt { record, inputs }];
        actions.extend(held.into_iter().map(Action::Strike));
        actions
    }

    fn release(&mut self, now: SimTick, id: EntityId, epoch: u64, owned: Option<u64>) -> Vec<Action> {
        // Not meant for an entity that came back under the same or a newer epoch.
        let Some(owned) = owned.filter(|owned| *owned < epoch) else { return Vec::new() };
        self.fences.insert(id, (owned, now));
        let held = self.outgoing.remove(&id).map(|outgoing| outgoing.held).unwrap_or_default();
        let mut actions = vec![Action::BecomeGhost { id }];
        actions.extend(held.into_iter().map(|impact| Action::Send(ToServer::Impact(impact))));
        actions
    }

    fn abort(&mut self, now: SimTick, id: EntityId, attempt: u32) -> Vec<Action> {
        // The answer to an older attempt does not concern this one.
        if self.outgoing.get(&id).is_none_or(|outgoing| outgoing.attempt != attempt) {
            return Vec::new();
        }
        let held = self.outgoing.remove(&id).map(|outgoing| outgoing.held).unwrap_or_default();
        let mut actions = vec![Action::Resume { id, settled_at: now + SETTLE_TICKS }];
        actions.extend(held.into_iter().map(|impact| Action::Strike(without_push(impact))));
        actions
    }

    fn tick(&mut self, now: SimTick) -> Vec<Action> {
        self.fences.retain(|_, (_, since)| now.since(*since) <= FENCE_TICKS);
        let mut actions = Vec::new();
        for (&id, outgoing) in &mut self.outgoing {
            if now.since(outgoing.asked_at) >= ASK_AGAIN_TICKS {
                self.attempts = self.attempts.wrapping_add(1);
                outgoing.asked_at = now;
                outgoing.attempt = self.attempts;
                actions.push(Action::Prepare { id, to: outgoing.to, attempt: self.attempts });
            }
        }
        actions
    }

    #[cfg(feature = "planted-faults")]
    fn skips_epoch_check(&self) -> bool {
        self.planted.skip_epoch_check
    }

    #[cfg(not(feature = "planted-faults"))]
    fn skips_epoch_check(&self) -> bool {
        false
    }
}

/// The rest of a held impact on an entity that stays: a collision has pushed the body when it happened; only its damage
/// was held.
fn without_push(impact: GhostImpact) -> GhostImpact {
    let impulse = if impact.cause.spec().is_witnessed() { DVec2::ZERO } else { impact.impulse };
    GhostImpact { impulse, ..impact }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
