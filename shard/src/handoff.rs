//! The shard's side of a handoff, both as the one that gives and as the one that takes.
//!
//! Runs in the shard. [`Handoffs::step`] is a state machine without I/O: what happened goes in, what is
//! to be done comes out. `crate::transfer` does it to the world. The server's machine decides; this
//! one only keeps to its answers, asks again when they stay out, and forgets what nobody comes back to.

use crate::{clock::SimClock, transfer};
use bevy::prelude::*;
use sidereal_protocol::{
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

/// When an offer that nobody committed is forgotten, ticks: 5 s.
pub const OFFER_TICKS: u64 = 5 * TICK_HZ as u64;

/// How long an entity stays where it is after a change of shards, or an attempt, ticks: 1 s.
pub const SETTLE_TICKS: u64 = TICK_HZ as u64;

/// Offers that are kept at most; further ones are refused. Far more than can cross at once.
pub const MAX_OFFERS: usize = 4096;

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
    /// The server gives an offered entity.
    Committed {
        /// Whom.
        id: EntityId,
        /// The offer's epoch.
        epoch: u64,
        /// Inputs after the record's last one.
        inputs: Vec<Input>,
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
    /// The server calls a handoff off.
    Aborted {
        /// Whom.
        id: EntityId,
        /// The offer's epoch.
        epoch: u64,
    },
    /// An own entity is no longer in the world, or was given back.
    Gone {
        /// Whom.
        id: EntityId,
    },
    /// A tick is over.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send `Prepare` with the newest record.
    Prepare {
        /// Whom.
        id: EntityId,
        /// Where to.
        to: SectorId,
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
    asked_at: SimTick,
    held: Vec<GhostImpact>,
}

#[derive(Debug, Clone, PartialEq)]
struct Offer {
    record: Box<EntityRecord>,
    since: SimTick,
}

/// Every handoff that this shard takes part in.
#[derive(Resource, Debug, Clone, Default, PartialEq)]
pub struct Handoffs {
    outgoing: BTreeMap<EntityId, Outgoing>,
    offers: BTreeMap<EntityId, Offer>,
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

    /// How many offers wait for their commit.
    pub fn offers(&self) -> usize {
        self.offers.len()
    }

    /// Takes one event at the tick `now`.
    pub fn step(&mut self, now: SimTick, event: Event) -> Vec<Action> {
        match event {
            Event::Crossed { id, to } => self.cross(now, id, to),
            Event::Struck(impact) => self.strike(impact),
            Event::Offered { record, leased, owned } => self.offer(now, record, leased, owned),
            Event::Committed { id, epoch, inputs } => self.commit(id, epoch, inputs),
            Event::Released { id, epoch, owned } => self.release(id, epoch, owned),
            Event::Aborted { id, epoch } => self.abort(now, id, epoch),
            Event::Gone { id } => {
                self.outgoing.remove(&id);
                Vec::new()
            }
            Event::Tick => self.tick(now),
        }
    }

    fn cross(&mut self, now: SimTick, id: EntityId, to: SectorId) -> Vec<Action> {
        if self.outgoing.contains_key(&id) {
            return Vec::new();
        }
        self.outgoing.insert(id, Outgoing { to, asked_at: now, held: Vec::new() });
        vec![Action::Prepare { id, to }]
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

    fn offer(&mut self, now: SimTick, record: Box<EntityRecord>, leased: bool, owned: Option<u64>) -> Vec<Action> {
        let (id, epoch) = (record.id, record.epoch);
        let known = self.offers.get(&id).map(|offer| offer.record.epoch);
        let refusal = if owned.is_some() {
            Some(RefuseReason::AlreadyOwned)
        } else if !leased {
            Some(RefuseReason::NoLease)
        } else if record.validate().is_err()
            || known.is_some_and(|known| known > epoch)
            || (known.is_none() && self.offers.len() >= MAX_OFFERS)
        {
            Some(RefuseReason::BadRecord)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return vec![Action::Send(ToServer::Refuse { id, epoch, reason })];
        }
        self.offers.insert(id, Offer { record, since: now });
        vec![Action::Send(ToServer::Accept { id, epoch })]
    }

    fn commit(&mut self, id: EntityId, epoch: u64, inputs: Vec<Input>) -> Vec<Action> {
        // A commit for another offer than the one that is kept is stale.
        if self.offers.get(&id).is_none_or(|offer| offer.record.epoch != epoch) {
            return Vec::new();
        }
        match self.offers.remove(&id) {
            Some(offer) => vec![Action::Adopt { record: offer.record, inputs }],
            None => Vec::new(),
        }
    }

    fn release(&mut self, id: EntityId, epoch: u64, owned: Option<u64>) -> Vec<Action> {
        // What came back under the same or a newer epoch is not meant.
        if owned.is_none_or(|owned| owned >= epoch) {
            return Vec::new();
        }
        let held = self.outgoing.remove(&id).map(|outgoing| outgoing.held).unwrap_or_default();
        let mut actions = vec![Action::BecomeGhost { id }];
        actions.extend(held.into_iter().map(|impact| Action::Send(ToServer::Impact(impact))));
        actions
    }

    fn abort(&mut self, now: SimTick, id: EntityId, epoch: u64) -> Vec<Action> {
        if self.offers.get(&id).is_some_and(|offer| offer.record.epoch == epoch) {
            self.offers.remove(&id);
            return Vec::new();
        }
        let Some(outgoing) = self.outgoing.remove(&id) else { return Vec::new() };
        let mut actions = vec![Action::Resume { id, settled_at: now + SETTLE_TICKS }];
        actions.extend(outgoing.held.into_iter().map(Action::Strike));
        actions
    }

    fn tick(&mut self, now: SimTick) -> Vec<Action> {
        self.offers.retain(|_, offer| now.since(offer.since) <= OFFER_TICKS);
        let mut actions = Vec::new();
        for (&id, outgoing) in &mut self.outgoing {
            if now.since(outgoing.asked_at) >= ASK_AGAIN_TICKS {
                outgoing.asked_at = now;
                actions.push(Action::Prepare { id, to: outgoing.to });
            }
        }
        actions
    }
}

/// Lets the machine know that a tick has passed.
pub(crate) fn watch_the_time(world: &mut World) {
    let now = world.resource::<SimClock>().tick;
    transfer::perform(world, Event::Tick, now);
}

#[cfg(test)]
#[path = "handoff_tests.rs"]
mod tests;
