//! The shard's side of a handoff, both as the one that gives and as the one that takes.
//!
//! Runs in the shard. [`Handoffs::step`] is a state machine without I/O: what happened goes in, what is
//! to be done comes out. `crate::handoff::effects` does it to the world. The server's machine decides; this one
//! keeps to its answers, asks again when they stay out, and knows by epochs what is old. As the target
//! it keeps nothing between offer and commit: a commit carries all of the entity.

use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    control::{GhostImpact, RefuseReason, ToServer},
    ids::EntityId,
    input::Input,
    record::EntityRecord,
    sector::SectorId,
    tick::{SimTick, TICK_HZ},
};
use std::collections::BTreeMap;

/// When a `Prepare` without an answer is sent again, ticks: 2 s.
pub const ASK_AGAIN_TICKS: u64 = 2 * TICK_HZ as u64;

/// How long the epoch under which something was this shard's last is remembered, ticks: 10 s, so that a
/// commit that comes late or twice does not bring it back. No message is under way for longer: a
/// connection that is silent for as long is ended.
pub const FENCE_TICKS: u64 = 10 * TICK_HZ as u64;

/// How long an entity stays where it is after a change of shards, or an attempt, ticks: 1 s.
pub const SETTLE_TICKS: u64 = TICK_HZ as u64;

/// For how long after it happened an impact on what is not, or not yet, this shard's own is sent back to
/// the server, which finds its authority, ticks: 5 s. Later it concerns nobody.
pub const BOUNCE_TICKS: u64 = 5 * TICK_HZ as u64;

/// Impacts that are held back for one entity at most; more are dropped, it is dead then anyway.
pub const MAX_HELD_IMPACTS: usize = 256;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An own entity has crossed into a sector that is not this shard's.
    Crossed {
        /// Whom.
        id: EntityId,
        /// Where to.
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
    /// The server gives an entity.
    Committed {
        /// All of it, under the new epoch.
        record: Box<EntityRecord>,
        /// Inputs after the record's last one.
        inputs: Vec<Input>,
        /// Whether the record's sector is this shard's.
        leased: bool,
        /// The epoch under which it is this shard's own.
        owned: Option<u64>,
    },
    /// The server takes an own entity.
    Released {
        /// Whom.
        id: EntityId,
        /// The new owner's epoch.
        epoch: u64,
        /// The epoch under which it is this shard's own.
        owned: Option<u64>,
    },
    /// The server calls an attempt off.
    Aborted {
        /// Whom.
        id: EntityId,
        /// Which attempt.
        attempt: u32,
    },
    /// An own entity is no longer in the world, or was given back.
    Gone {
        /// Whom.
        id: EntityId,
        /// The epoch under which it was this shard's own.
        epoch: u64,
    },
    /// A tick is over.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send `Prepare` with the newest record, under a version of its own.
    Prepare {
        /// Whom.
        id: EntityId,
        /// Where to.
        to: SectorId,
        /// The number of the attempt.
        attempt: u32,
    },
    /// Send this.
    Send(ToServer),
    /// Apply this to an own entity.
    Strike(GhostImpact),
    /// Go on as the owner.
    Resume {
        /// Whom.
        id: EntityId,
        /// No handoff before.
        settled_at: SimTick,
    },
    /// Turn the own body into a ghost.
    BecomeGhost {
        /// Whom.
        id: EntityId,
    },
    /// Make it an own body, advanced to now.
    Adopt {
        /// The offered record.
        record: Box<EntityRecord>,
        /// Inputs to apply on the way.
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

/// Faults that tests plant, to see that they are found.
#[cfg(feature = "planted-faults")]
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Planted {
    /// A commit is taken whatever its epoch.
    pub skip_epoch_check: bool,
}

/// Every handoff that this shard takes part in.
#[derive(Resource, Debug, Clone, Default, PartialEq)]
pub struct Handoffs {
    outgoing: BTreeMap<EntityId, Outgoing>,
    /// Under which epoch, and until when, what is no longer this shard's was its own.
    fences: BTreeMap<EntityId, (u64, SimTick)>,
    attempts: u32,
    /// What a test wants to go wrong.
    #[cfg(feature = "planted-faults")]
    pub planted: Planted,
}

impl Handoffs {
    /// Whether `id` waits to be released: it holds fire, and damage to it is held back.
    pub fn is_leaving(&self, id: EntityId) -> bool {
        self.outgoing.contains_key(&id)
    }

    /// How many entities wait to be released.
    pub fn leaving(&self) -> usize {
        self.outgoing.len()
    }

    /// Takes one event at the tick `now`.
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

    /// Whether the shard would take an entity.
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
            // It came twice: the answer was lost, or is on its way.
            return vec![Action::Send(ToServer::Adopted { id, epoch, tick: now, waited_us: 0 })];
        }
        // What it was this shard's under, or is, is newer: this commit was overtaken.
        let newest = self.fences.get(&id).map(|(epoch, _)| *epoch).max(owned);
        if newest.is_some_and(|newest| newest >= epoch) && !self.skips_epoch_check() {
            return Vec::new();
        }
        if let refusal @ ToServer::Refuse { .. } = self.answer(&record, leased, None) {
            return vec![Action::Send(refusal)];
        }
        // The release of an older time here was lost.
        let held = self.outgoing.remove(&id).map(|outgoing| outgoing.held).unwrap_or_default();
        let mut actions = vec![Action::Adopt { record, inputs }];
        actions.extend(held.into_iter().map(Action::Strike));
        actions
    }

    fn release(&mut self, now: SimTick, id: EntityId, epoch: u64, owned: Option<u64>) -> Vec<Action> {
        // What came back under the same or a newer epoch is not meant.
        let Some(owned) = owned.filter(|owned| *owned < epoch) else { return Vec::new() };
        self.fences.insert(id, (owned, now));
        let held = self.outgoing.remove(&id).map(|outgoing| outgoing.held).unwrap_or_default();
        let mut actions = vec![Action::BecomeGhost { id }];
        actions.extend(held.into_iter().map(|impact| Action::Send(ToServer::Impact(impact))));
        actions
    }

    fn abort(&mut self, now: SimTick, id: EntityId, attempt: u32) -> Vec<Action> {
        // The answer to an older attempt says nothing of this one.
        if self.outgoing.get(&id).is_none_or(|outgoing| outgoing.attempt != attempt) {
            return Vec::new();
        }
        let held = self.outgoing.remove(&id).map(|outgoing| outgoing.held).unwrap_or_default();
        let mut actions = vec![Action::Resume { id, settled_at: now + SETTLE_TICKS }];
        actions.extend(held.into_iter().map(|impact| Action::Strike(already_felt(impact))));
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

/// What is left of a held impact where its target stays: the body has felt the push of a collision when
/// it happened; only the damage was held.
fn already_felt(impact: GhostImpact) -> GhostImpact {
    let impulse = if impact.cause.spec().is_witnessed() { DVec2::ZERO } else { impact.impulse };
    GhostImpact { impulse, ..impact }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
