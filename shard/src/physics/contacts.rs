//! Contacts: which bodies may touch, and the impacts of a contact on both.
//!
//! Runs in the shard, within and right after avian's step. The contacts of an own body apply at once, by the velocity
//! that avian computed. Those of a ghost are sent to its authority ([`crate::physics::impacts`] says which one applies
//! where). Two ghosts never touch here: their authorities compute that.

use crate::{
    app::{clock::SimClock, report::Totals},
    bodies::{
        authority::Authority,
        body::{Body, Flight, Planned},
        ghosts::Ghost,
    },
    handoff::machine::Handoffs,
    link::mailbox::Outbox,
    physics::{
        damage::{Impacts, collision_damage},
        impacts::{AppliedImpacts, MissedContact},
    },
    schedule::{PhysicsSystems, SimStep},
};
use avian2d::prelude::*;
use bevy::{ecs::system::SystemParam, prelude::*};
use sidereal_protocol::{
    DVec2,
    frames::control::{GhostImpact, ImpactCause, ToServer},
    rules::flight::MAX_SPEED,
    world::tick::SimTick,
};
use std::collections::BTreeMap;

/// Adds contacts and the filter for duplicate impacts.
pub(crate) struct ContactsPlugin;

impl Plugin for ContactsPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<AppliedImpacts>().add_systems(SimStep, apply_contacts.in_set(PhysicsSystems::Contacts));
    }
}

/// Excludes pairs from avian's contacts.
#[derive(SystemParam)]
pub(crate) struct TouchRules<'w, 's> {
    clock: Res<'w, SimClock>,
    felt: Res<'w, AppliedImpacts>,
    bodies: Query<'w, 's, (&'static Body, Has<Ghost>)>,
}

impl CollisionHooks for TouchRules<'_, '_> {
    fn modify_contacts(&self, contacts: &mut ContactPair, _commands: &mut Commands) -> bool {
        let Ok([(one, ghost), (other, also_ghost)]) = self.bodies.get_many([contacts.collider1, contacts.collider2])
        else {
            return true;
        };
        let apart = (ghost && also_ghost) || self.felt.suppresses_contact(one.id, other.id, self.clock.tick);
        !apart
    }
}

/// A body in a contact.
struct Side<'a> {
    body: &'a Body,
    owned: bool,
    leaving: bool,
    /// The change of its velocity by all its contacts of this tick.
    push: DVec2,
    /// The sum of its contacts' weights.
    weight: f64,
    /// The weight and the other body of its strongest contact.
    strongest: (f64, &'a Body),
}

/// Converts avian's contacts of this tick to impacts.
pub(crate) fn apply_contacts(
    clock: Res<SimClock>,
    handoffs: Res<Handoffs>,
    collisions: Collisions,
    mut felt: ResMut<AppliedImpacts>,
    mut impacts: ResMut<Impacts>,
    mut totals: ResMut<Totals>,
    mut outbox: ResMut<Outbox<ToServer>>,
    bodies: Query<(&Body, &Planned, &Flight, Has<Authority>)>,
) {
    let now = clock.tick;
    felt.forget(now);
    let mut touching: Vec<(Entity, Entity, f64)> = collisions
        .iter()
        .map(|pair| (pair.collider1, pair.collider2, pair.total_normal_impulse_magnitude()))
        .filter(|(_, _, weight)| *weight > 0.0)
        .collect();
    // avian's order follows Bevy's entities; this one is the same in every run.
    let net_id = |entity: Entity| bodies.get(entity).map(|(body, ..)| body.net_id).ok();
    touching.sort_by_key(|&(one, other, _)| {
        let (one, other) = (net_id(one), net_id(other));
        (one.min(other), one.max(other))
    });
    let mut sides: BTreeMap<Entity, Side> = BTreeMap::new();
    for &(one, other, weight) in &touching {
        for (entity, with) in [(one, other), (other, one)] {
            let (Ok((body, planned, flight, owned)), Ok((with, ..))) = (bodies.get(entity), bodies.get(with)) else {
                continue;
            };
            let side = sides.entry(entity).or_insert_with(|| Side {
                body,
                owned,
                leaving: owned && handoffs.is_leaving(body.id),
                push: flight.0.velocity - planned.0.velocity,
                weight: 0.0,
                strongest: (0.0, with),
            });
            side.weight += weight;
            if weight > side.strongest.0 {
                side.strongest = (weight, with);
            }
        }
    }
    for &(one, other, weight) in &touching {
        for (entity, with) in [(one, other), (other, one)] {
            let (Some(side), Some(with)) = (sides.get(&entity), sides.get(&with)) else { continue };
            let impulse = side.push * (side.body.mass() * weight / side.weight);
            let hardest = side.strongest.1.id == with.body.id;
            let damage = if hardest { collision_damage(side.body, side.push.length()) } else { 0 };
            if side.owned {
                felt.feel(side.body.id, with.body.id, impulse, now);
                // The body has moved by it already; only a new owner's copy has not.
                let impulse = if side.leaving { impulse } else { DVec2::ZERO };
                if side.leaving || damage > 0 {
                    impacts.push_applied(contact(side, with, impulse, damage, now));
                }
            } else if with.owned && !side.body.is_station() && felt.tells(with.body.id, side.body.id, now) {
                totals.contacts_told += 1;
                let mut told = contact(side, with, impulse, damage, now);
                if with.leaving {
                    // This shard's side of the contact is not in the record that the next owner gets.
                    told.source = None;
                }
                outbox.push(ToServer::Impact(told));
            }
        }
    }
}

fn contact(side: &Side, with: &Side, impulse: DVec2, damage: u16, tick: SimTick) -> GhostImpact {
    let other = with.body.id;
    let cause = ImpactCause::Contact { other };
    GhostImpact { target: side.body.id, source: Some(other), cause, impulse, damage, tick }
}

/// Applies the contacts of one tick to an adopted entity while it is advanced.
pub(crate) fn apply_missed_contacts(blows: &[MissedContact], body: &Body, flight: &mut Flight, tick: SimTick) {
    for blow in blows.iter().filter(|blow| blow.tick == tick) {
        flight.0.velocity = (flight.0.velocity + blow.impulse / body.mass()).clamp_length_max(MAX_SPEED);
    }
}

/// The damage of a contact whose push an entity has already.
pub(crate) fn missed_damage(blow: &MissedContact, body: &Body) -> GhostImpact {
    let damage = collision_damage(body, blow.impulse.length() / body.mass());
    let MissedContact { other, tick, .. } = *blow;
    let cause = ImpactCause::Contact { other };
    GhostImpact { target: body.id, source: Some(other), cause, impulse: DVec2::ZERO, damage, tick }
}
