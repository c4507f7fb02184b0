//! Each impact applies once: [`AppliedImpacts`] remembers which ones were applied to own entities.
//!
//! Runs in the shard, where impacts on own entities are applied ([`crate::physics::damage`]) and where contacts are
//! computed (`crate::physics::contacts`).
//!
//! A bullet, a beam or a missile hits one body once, so target and cause identify the impact. The control stream is
//! reliable and ordered, and one shard judges a hit; the same impact arrives twice only if two shards judged it, one of
//! which was about to hand over the shooter, the missile or a part of a path. The applied impacts do not travel with an
//! entity: those that arrive before its release are applied here or are held and follow it; those that arrive after the
//! commit go to its new owner. So one impact could reach both only if two copies of it were already on their way, on
//! both sides of the commit.
//!
//! A contact is computed by the shards of both bodies, and either can miss it: a touch with a ghost here may be a near
//! miss there. Each shard applies its contacts to its own bodies, and sends the ghost's side to the ghost's authority
//! ([`ImpactCause::Contact`]). That authority drops it if it has computed the contact itself; else it applies it, and
//! ignores the pair in its own physics for a while, because its own view of the contact comes later than the other's.
//!
//! A handoff of one of the two during a contact needs two things more. An impact for the old owner may reach the new
//! one, which has not computed the contact. But the sender of a contact has applied its own side, so the receiver knows
//! that from the message, and it is the receiver that takes the other body over, if no third shard does. And contacts
//! after the record was made ([`GhostImpact::source`] is `None` then) are not in it: the new owner, whose own body has
//! its side, applies the other side to the body that it takes over ([`AppliedImpacts::missed`]), before the two meet again in its
//! own physics.

use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    frames::control::{GhostImpact, ImpactCause},
    world::{
        ids::EntityId,
        tick::{SimTick, TICK_HZ},
    },
};
use std::collections::{BTreeMap, VecDeque};

/// How long two shards may take to agree on one contact, ticks: 0.4 s. A side receives the other's result up to one way
/// later and answers over another way, each up to 5 ticks (shard, server, shard), and each rounds up to its own tick.
pub const CONTACT_WINDOW_TICKS: u64 = 12;

/// How long an impact is remembered, ticks: 10 s, longer than a silent connection stays open.
pub const FELT_TICKS: u64 = 10 * TICK_HZ as u64;

/// Limit of remembered impacts: 300 ships under the fire of 20 each. Beyond it the oldest are forgotten.
pub const MAX_FELT: usize = 300_000;

/// Limit of remembered pairs in contact, far more than touch in a shard within the window. Beyond it a contact is not
/// remembered, and may apply both ways.
pub const MAX_CONTACTS: usize = 16_384;

type Name = (EntityId, ImpactCause);

/// Which shard computed a contact of an own body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Witness {
    /// Its own shard.
    Here,
    /// The other body's authority, which sent it.
    There,
}

#[derive(Debug, Clone, Copy)]
struct Contact {
    witness: Witness,
    /// When it last applied, by this shard's clock.
    at: SimTick,
    /// When it first applied, by the clock of the shard that computed it.
    since: SimTick,
    /// Change of velocity times mass; zero if it follows only from the other side's message.
    impulse: DVec2,
}

/// A contact of an entity that is not in its record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MissedContact {
    /// The other body.
    pub other: EntityId,
    /// The tick of the contact.
    pub tick: SimTick,
    /// Change of velocity times mass.
    pub impulse: DVec2,
}

/// The impacts that were applied to own entities.
#[derive(Resource, Debug, Default)]
pub struct AppliedImpacts {
    known: BTreeMap<Name, SimTick>,
    order: VecDeque<(SimTick, Name)>,
    /// By own body and other body.
    contacts: BTreeMap<(EntityId, EntityId), Contact>,
    /// When a ghost's authority was last sent its contact with an own body.
    told: BTreeMap<(EntityId, EntityId), SimTick>,
}

impl AppliedImpacts {
    /// Whether `impact`, which is about to apply to its target, is new. From now on it is known.
    pub fn is_new(&mut self, impact: &GhostImpact, now: SimTick) -> bool {
        match impact.cause {
            ImpactCause::Contact { other } => {
                if impact.source.is_some() {
                    self.feel(other, impact.target, DVec2::ZERO, now);
                }
                self.is_new_contact((impact.target, other), impact, now)
            }
            cause => self.is_new_hit((impact.target, cause), now),
        }
    }

    fn is_new_hit(&mut self, name: Name, now: SimTick) -> bool {
        while let Some(&(since, oldest)) = self.order.front()
            && (now.since(since) > FELT_TICKS || self.order.len() >= MAX_FELT)
        {
            self.order.pop_front();
            self.known.remove(&oldest);
        }
        if self.known.insert(name, now).is_some() {
            return false;
        }
        self.order.push_back((now, name));
        true
    }

    fn is_new_contact(&mut self, pair: (EntityId, EntityId), impact: &GhostImpact, now: SimTick) -> bool {
        if self.witness(pair, now) == Some(Witness::Here) {
            return false;
        }
        let GhostImpact { tick: since, impulse, .. } = *impact;
        self.note(pair, Contact { witness: Witness::There, at: now, since, impulse });
        true
    }

    /// Records that `own` has touched `other`, by the physics of its own shard, this one or another.
    pub fn feel(&mut self, own: EntityId, other: EntityId, impulse: DVec2, now: SimTick) {
        let felt = Contact { witness: Witness::Here, at: now, since: now, impulse };
        let going_on = self.witness((own, other), now) == Some(Witness::Here);
        let known = self.contacts.get(&(own, other)).filter(|_| going_on);
        let felt = known.map_or(felt, |known| Contact { since: known.since, impulse: known.impulse + impulse, ..felt });
        self.note((own, other), felt);
    }

    /// The contacts with own bodies here that `id`, which is taken over with a record of the tick `recorded`, has
    /// missed. From now on they are known.
    pub fn missed(&mut self, id: EntityId, recorded: SimTick, now: SimTick) -> Vec<MissedContact> {
        let blows: Vec<MissedContact> = self
            .contacts
            .iter()
            .filter(|((own, other), contact)| {
                *other == id
                    && contact.since > recorded
                    && contact.impulse != DVec2::ZERO
                    && self.witness((*own, id), now).is_some()
                    && self.witness((id, *own), now).is_none()
            })
            .map(|((own, _), contact)| MissedContact {
                other: *own,
                tick: contact.since.min(now),
                impulse: -contact.impulse,
            })
            .collect();
        for blow in &blows {
            self.feel(id, blow.other, blow.impulse, now);
        }
        blows
    }

    /// Whether this shard's physics must ignore the contact of two bodies: another shard has sent it.
    pub fn suppresses_contact(&self, one: EntityId, other: EntityId, now: SimTick) -> bool {
        [(one, other), (other, one)].into_iter().any(|pair| self.witness(pair, now) == Some(Witness::There))
    }

    /// Whether the contact of `ghost` with `own` must be sent to the ghost's authority: once per window. From now on it
    /// counts as sent.
    pub fn tells(&mut self, own: EntityId, ghost: EntityId, now: SimTick) -> bool {
        let known = self.told.get(&(own, ghost)).is_some_and(|told| now.since(*told) <= CONTACT_WINDOW_TICKS);
        if known || self.told.len() >= MAX_CONTACTS {
            return false;
        }
        self.told.insert((own, ghost), now);
        true
    }

    /// Forgets contacts past the window.
    pub(crate) fn forget(&mut self, now: SimTick) {
        self.contacts.retain(|_, contact| now.since(contact.at) <= CONTACT_WINDOW_TICKS);
        self.told.retain(|_, told| now.since(*told) <= CONTACT_WINDOW_TICKS);
    }

    fn witness(&self, pair: (EntityId, EntityId), now: SimTick) -> Option<Witness> {
        self.contacts
            .get(&pair)
            .filter(|contact| now.since(contact.at) <= CONTACT_WINDOW_TICKS)
            .map(|contact| contact.witness)
    }

    fn note(&mut self, pair: (EntityId, EntityId), contact: Contact) {
        if self.contacts.len() < MAX_CONTACTS || self.contacts.contains_key(&pair) {
            self.contacts.insert(pair, contact);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::{rules::shot::ShotId, world::ids::NetId};

    fn id(number: u64) -> EntityId {
        EntityId::from_halves(1, number)
    }

    fn impact(target: u64, cause: ImpactCause) -> GhostImpact {
        let (impulse, tick) = (DVec2::X, SimTick(100));
        GhostImpact { target: id(target), source: Some(id(2)), cause, impulse, damage: 10, tick }
    }

    fn bullet(tick: u64) -> ImpactCause {
        ImpactCause::Bullet(ShotId { shooter: NetId(1), tick: SimTick(tick) })
    }

    #[test]
    fn a_hit_is_new_once_and_another_one_is_another() {
        let mut felt = AppliedImpacts::default();
        let now = SimTick(100);
        assert!(felt.is_new(&impact(1, bullet(90)), now));
        assert!(!felt.is_new(&impact(1, bullet(90)), now + FELT_TICKS));
        assert!(felt.is_new(&impact(2, bullet(90)), now));
        assert!(felt.is_new(&impact(1, bullet(91)), now));
        let beam = ImpactCause::Beam(ShotId { shooter: NetId(1), tick: SimTick(90) });
        assert!(felt.is_new(&impact(1, beam), now));
    }

    #[test]
    fn a_contact_that_was_felt_here_is_not_felt_again_when_it_is_told() {
        let mut felt = AppliedImpacts::default();
        let told = impact(1, ImpactCause::Contact { other: id(2) });
        felt.feel(id(1), id(2), DVec2::X, SimTick(100));
        assert!(!felt.is_new(&told, SimTick(100 + CONTACT_WINDOW_TICKS)));
        assert!(!felt.suppresses_contact(id(1), id(2), SimTick(101)));
        assert!(felt.is_new(&told, SimTick(101 + CONTACT_WINDOW_TICKS)));
    }

    #[test]
    fn who_tells_of_a_contact_has_felt_it_unless_it_was_leaving() {
        for (source, felt_before) in [(Some(id(2)), true), (None, false)] {
            let mut felt = AppliedImpacts::default();
            let told = GhostImpact { source, ..impact(1, ImpactCause::Contact { other: id(2) }) };
            assert!(felt.is_new(&told, SimTick(100)));
            // The other body comes to this shard, and after it an impact for its last owner.
            let late = impact(2, ImpactCause::Contact { other: id(1) });
            assert_eq!(felt.is_new(&late, SimTick(104)), !felt_before);
        }
    }

    #[test]
    fn who_is_taken_over_gets_the_other_side_of_what_its_record_does_not_know() {
        let met = SimTick(100);
        for (recorded, missed) in [(SimTick(99), true), (met, false)] {
            let mut felt = AppliedImpacts::default();
            felt.feel(id(1), id(2), DVec2::new(3.0, 4.0), met);
            let blows = felt.missed(id(2), recorded, SimTick(104));
            let blow = MissedContact { other: id(1), tick: met, impulse: DVec2::new(-3.0, -4.0) };
            assert_eq!(blows, if missed { vec![blow] } else { vec![] });
            assert_eq!(felt.missed(id(2), recorded, SimTick(104)), vec![]);
            // What its last owner has held arrives too late.
            let held = impact(2, ImpactCause::Contact { other: id(1) });
            assert_eq!(felt.is_new(&held, SimTick(105)), !missed);
        }
    }

    #[test]
    fn a_contact_that_was_told_is_not_seen_here_for_a_while() {
        let mut felt = AppliedImpacts::default();
        assert!(felt.is_new(&impact(1, ImpactCause::Contact { other: id(2) }), SimTick(100)));
        assert!(felt.suppresses_contact(id(2), id(1), SimTick(100 + CONTACT_WINDOW_TICKS)));
        assert!(!felt.suppresses_contact(id(1), id(2), SimTick(101 + CONTACT_WINDOW_TICKS)));
        assert!(!felt.suppresses_contact(id(1), id(3), SimTick(101)));
    }

    #[test]
    fn a_neighbour_is_told_of_a_pair_once_in_a_window() {
        let mut felt = AppliedImpacts::default();
        let told: Vec<u64> = (100..140).filter(|&tick| felt.tells(id(1), id(2), SimTick(tick))).collect();
        assert_eq!(told, vec![100, 101 + CONTACT_WINDOW_TICKS, 102 + 2 * CONTACT_WINDOW_TICKS, 139]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut felt = AppliedImpacts::default();
        for tick in 0..MAX_FELT as u64 + 10 {
            felt.is_new(&impact(1, bullet(tick)), SimTick(100));
        }
        assert_eq!(felt.known.len(), felt.order.len());
        assert!(felt.known.len() <= MAX_FELT);
        for other in 0..MAX_CONTACTS as u64 + 10 {
            felt.feel(id(1), id(other), DVec2::X, SimTick(100));
        }
        assert_eq!(felt.contacts.len(), MAX_CONTACTS);
    }
}
