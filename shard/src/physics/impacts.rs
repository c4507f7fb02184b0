//! Each impact is felt once: [`Felt`] knows which ones an own entity has felt already.
//!
//! Runs in the shard, where impacts on own entities are applied ([`crate::physics::damage`]), and where contacts
//! are felt (`crate::physics::contacts`).
//!
//! A bullet, a beam or a missile hits one body once, so target and cause name the impact. The control
//! stream is reliable and ordered, and a hit is judged by one shard; the same impact comes twice only if
//! two shards judged it, one of which was about to give the shooter, the missile or a part of a path away.
//! What was felt does not travel with an entity: impacts that came before its release are felt here or are
//! held and follow it; what comes for it after the commit goes to its new owner. So one impact could meet
//! both only if two copies of it were already on their way, on both sides of the commit.
//!
//! A contact has two witnesses, the shards of both bodies, and neither is sure to see it: what is a touch
//! with a ghost here may be a near miss there. Each shard feels what its own bodies feel, and tells the
//! ghost's authority what the ghost has felt ([`ImpactCause::Contact`]). That one drops it if it has felt
//! the contact itself; else it applies it, and is blind to the pair for a while, for its own view of it
//! comes later than the other's.
//!
//! A contact while one of the two changes shards needs two things more. What was told to its old owner may
//! reach the new one, who has not felt it; but who tells of a contact has felt it, so the other's shard
//! knows from the telling, and it is the one that takes it over, if not a third. And what was felt after
//! the record was made ([`GhostImpact::source`] is `None` then) is not in it: the new owner, whose body has
//! felt the one side, gives the other side to the one that it takes over ([`Felt::missed`]), before the
//! two meet again in its own physics.

use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    control::{GhostImpact, ImpactCause},
    ids::EntityId,
    tick::{SimTick, TICK_HZ},
};
use std::collections::{BTreeMap, VecDeque};

/// How long two shards may take to agree on one contact, ticks: 0.4 s. A side sees what the other did up
/// to a way later and answers for another way, of up to 5 ticks each (shard, server, shard), and each
/// rounds up to its own tick.
pub const CONTACT_WINDOW_TICKS: u64 = 12;

/// How long an impact is remembered, ticks: 10 s, longer than a connection that does not move stays open.
pub const FELT_TICKS: u64 = 10 * TICK_HZ as u64;

/// Impacts that are remembered at most: 300 ships under the fire of 20 each. Past it the oldest are
/// forgotten.
pub const MAX_FELT: usize = 300_000;

/// Pairs in contact that are remembered at most, far more than touch in a shard within the window. Past
/// it a contact is not noted, and may be felt on both ways.
pub const MAX_CONTACTS: usize = 16_384;

type Name = (EntityId, ImpactCause);

/// By whom a contact of an own body was felt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Witness {
    /// By its own shard's physics.
    Here,
    /// By the other body's authority, which told of it.
    There,
}

#[derive(Debug, Clone, Copy)]
struct Contact {
    witness: Witness,
    /// When it was felt last, by this shard's clock.
    at: SimTick,
    /// When it was felt first, by its witness's clock.
    since: SimTick,
    /// Change of velocity times mass; zero if only the telling is known.
    impulse: DVec2,
}

/// A contact that an entity has lived through and its record does not know of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blow {
    /// With whom.
    pub other: EntityId,
    /// In which tick.
    pub tick: SimTick,
    /// Change of velocity times mass.
    pub impulse: DVec2,
}

/// What own entities have felt.
#[derive(Resource, Debug, Default)]
pub struct Felt {
    known: BTreeMap<Name, SimTick>,
    order: VecDeque<(SimTick, Name)>,
    /// By own body and the other one.
    contacts: BTreeMap<(EntityId, EntityId), Contact>,
    /// When a ghost's authority was last told of its contact with an own body.
    told: BTreeMap<(EntityId, EntityId), SimTick>,
}

impl Felt {
    /// Whether `impact`, which is about to be applied to its target, was not felt before. From now on it was.
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

    /// `own` has felt `other`, by the physics of its shard: of this one, if it is this one's.
    pub fn feel(&mut self, own: EntityId, other: EntityId, impulse: DVec2, now: SimTick) {
        let felt = Contact { witness: Witness::Here, at: now, since: now, impulse };
        let going_on = self.witness((own, other), now) == Some(Witness::Here);
        let known = self.contacts.get(&(own, other)).filter(|_| going_on);
        let felt = known.map_or(felt, |known| Contact { since: known.since, impulse: known.impulse + impulse, ..felt });
        self.note((own, other), felt);
    }

    /// What `id`, which is taken over with a record of the tick `recorded`, has not felt of its contacts with
    /// own bodies here. From now on it has.
    pub fn missed(&mut self, id: EntityId, recorded: SimTick, now: SimTick) -> Vec<Blow> {
        let blows: Vec<Blow> = self
            .contacts
            .iter()
            .filter(|((own, other), contact)| {
                *other == id
                    && contact.since > recorded
                    && contact.impulse != DVec2::ZERO
                    && self.witness((*own, id), now).is_some()
                    && self.witness((id, *own), now).is_none()
            })
            .map(|((own, _), contact)| Blow { other: *own, tick: contact.since.min(now), impulse: -contact.impulse })
            .collect();
        for blow in &blows {
            self.feel(id, blow.other, blow.impulse, now);
        }
        blows
    }

    /// Whether this shard's physics are not to see the two touch: the contact was told by another shard.
    pub fn is_blind_to(&self, one: EntityId, other: EntityId, now: SimTick) -> bool {
        [(one, other), (other, one)].into_iter().any(|pair| self.witness(pair, now) == Some(Witness::There))
    }

    /// Whether the authority of `ghost` is to be told of its contact with `own`: once in a window. From now
    /// on it was.
    pub fn tells(&mut self, own: EntityId, ghost: EntityId, now: SimTick) -> bool {
        let known = self.told.get(&(own, ghost)).is_some_and(|told| now.since(*told) <= CONTACT_WINDOW_TICKS);
        if known || self.told.len() >= MAX_CONTACTS {
            return false;
        }
        self.told.insert((own, ghost), now);
        true
    }

    /// Forgets what is over.
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
    use sidereal_protocol::{ids::NetId, shot::ShotId};

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
        let mut felt = Felt::default();
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
        let mut felt = Felt::default();
        let told = impact(1, ImpactCause::Contact { other: id(2) });
        felt.feel(id(1), id(2), DVec2::X, SimTick(100));
        assert!(!felt.is_new(&told, SimTick(100 + CONTACT_WINDOW_TICKS)));
        assert!(!felt.is_blind_to(id(1), id(2), SimTick(101)));
        assert!(felt.is_new(&told, SimTick(101 + CONTACT_WINDOW_TICKS)));
    }

    #[test]
    fn who_tells_of_a_contact_has_felt_it_unless_it_was_leaving() {
        for (source, felt_before) in [(Some(id(2)), true), (None, false)] {
            let mut felt = Felt::default();
            let told = GhostImpact { source, ..impact(1, ImpactCause::Contact { other: id(2) }) };
            assert!(felt.is_new(&told, SimTick(100)));
            // The other one comes over to this shard, and after it what was meant for its last owner.
            let late = impact(2, ImpactCause::Contact { other: id(1) });
            assert_eq!(felt.is_new(&late, SimTick(104)), !felt_before);
        }
    }

    #[test]
    fn who_is_taken_over_gets_the_other_side_of_what_its_record_does_not_know() {
        let met = SimTick(100);
        for (recorded, missed) in [(SimTick(99), true), (met, false)] {
            let mut felt = Felt::default();
            felt.feel(id(1), id(2), DVec2::new(3.0, 4.0), met);
            let blows = felt.missed(id(2), recorded, SimTick(104));
            let blow = Blow { other: id(1), tick: met, impulse: DVec2::new(-3.0, -4.0) };
            assert_eq!(blows, if missed { vec![blow] } else { vec![] });
            assert_eq!(felt.missed(id(2), recorded, SimTick(104)), vec![]);
            // What its last owner held back of it comes too late.
            let held = impact(2, ImpactCause::Contact { other: id(1) });
            assert_eq!(felt.is_new(&held, SimTick(105)), !missed);
        }
    }

    #[test]
    fn a_contact_that_was_told_is_not_seen_here_for_a_while() {
        let mut felt = Felt::default();
        assert!(felt.is_new(&impact(1, ImpactCause::Contact { other: id(2) }), SimTick(100)));
        assert!(felt.is_blind_to(id(2), id(1), SimTick(100 + CONTACT_WINDOW_TICKS)));
        assert!(!felt.is_blind_to(id(1), id(2), SimTick(101 + CONTACT_WINDOW_TICKS)));
        assert!(!felt.is_blind_to(id(1), id(3), SimTick(101)));
    }

    #[test]
    fn a_neighbour_is_told_of_a_pair_once_in_a_window() {
        let mut felt = Felt::default();
        let told: Vec<u64> = (100..140).filter(|&tick| felt.tells(id(1), id(2), SimTick(tick))).collect();
        assert_eq!(told, vec![100, 101 + CONTACT_WINDOW_TICKS, 102 + 2 * CONTACT_WINDOW_TICKS, 139]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut felt = Felt::default();
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
