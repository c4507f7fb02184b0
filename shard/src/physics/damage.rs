//! What hits cost: hull points, and in the end the entity.
//!
//! Runs in the shard. Every hit on an own entity comes here as an impact, from own shots, from
//! collisions, from neighbours, and is felt once ([`Felt`]). One that is leaving has its impacts held back
//! by the handoff.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    authority::replication::Replication,
    bodies::{
        authority::Authority,
        body::{Body, Flight},
        registry::Registry,
    },
    economy::{
        cargo::Cargo,
        crates::Births,
        shelter::{Docked, PendingDeal},
        spawner::Losses,
    },
    flight::drones::Drone,
    handoff::machine::{Action, BOUNCE_TICKS, Event, Handoffs},
    link::mailbox::Outbox,
    physics::impacts::Felt,
    schedule::{SimStep, SimSystems},
};
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    control::{GhostImpact, ToServer},
    flight::MAX_SPEED,
};
use std::collections::BTreeSet;

/// Impacts and what they cost.
pub(crate) struct DamagePlugin;

impl Plugin for DamagePlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Impacts>().add_systems(SimStep, apply_impacts.in_set(SimSystems::Damage));
    }
}

/// After so many ticks a momentary impact is too old: more than any path between two shards takes.
const MOMENT_TICKS: u64 = 10;

/// Push that a hull takes without damage, units/s: half of a scout's full speed.
pub const HARMLESS_PUSH: f64 = 110.0;

/// Push beyond that which costs one hull point, units/s.
pub const PUSH_PER_POINT: f64 = 12.0;

/// What one collision costs at most, hull points: nobody dies of the first.
pub const MAX_COLLISION_DAMAGE: u16 = 25;

/// Impacts that wait for this tick's end at most. More in one tick come from no honest neighbour; they
/// are dropped and counted.
const MAX_IMPACTS: usize = 16_384;

/// An impact to be applied.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    impact: GhostImpact,
    /// The body has its push already: avian gave it.
    pushed: bool,
}

/// Impacts on own entities that are to be applied in this tick.
#[derive(Resource, Debug, Default)]
pub struct Impacts {
    waiting: Vec<Waiting>,
    dropped: u64,
}

impl Impacts {
    /// Adds one.
    pub fn push(&mut self, impact: GhostImpact) {
        self.add(Waiting { impact, pushed: false });
    }

    /// Adds a contact that has moved its body already.
    pub(crate) fn push_felt(&mut self, impact: GhostImpact) {
        self.add(Waiting { impact, pushed: true });
    }

    fn add(&mut self, waiting: Waiting) {
        if self.waiting.len() < MAX_IMPACTS {
            self.waiting.push(waiting);
        } else {
            self.dropped += 1;
        }
    }
}

/// A weapon has hit: an own target feels it in this tick, a ghost's authority is told.
pub(crate) fn hit(
    impact: GhostImpact,
    own: bool,
    impacts: &mut Impacts,
    totals: &mut Totals,
    outbox: &mut Outbox<ToServer>,
) {
    totals.hits += 1;
    totals.ghost_impacts += u64::from(!own);
    deliver(impact, own, impacts, outbox);
}

/// An own target gets an impact in this tick; one of a ghost is sent to its authority.
pub(crate) fn deliver(impact: GhostImpact, own: bool, impacts: &mut Impacts, outbox: &mut Outbox<ToServer>) {
    debug_assert!(impact.fits_cause(), "{impact:?}");
    if own {
        impacts.push(impact);
    } else {
        outbox.push(ToServer::Impact(impact));
    }
}

/// What a push of `push` units/s within a tick costs a hull. Rocks do not mind.
pub fn collision_damage(body: &Body, push: f64) -> u16 {
    if body.hull_kind.is_none() || push <= HARMLESS_PUSH {
        return 0;
    }
    // A float-to-integer cast saturates.
    (((push - HARMLESS_PUSH) / PUSH_PER_POINT) as u16).min(MAX_COLLISION_DAMAGE)
}

/// Applies every impact; what has no hull left is destroyed.
pub(crate) fn apply_impacts(
    clock: Res<SimClock>,
    mut impacts: ResMut<Impacts>,
    mut felt: ResMut<Felt>,
    mut handoffs: ResMut<Handoffs>,
    mut registry: ResMut<Registry>,
    mut totals: ResMut<Totals>,
    mut losses: ResMut<Losses>,
    mut outbox: ResMut<Outbox<ToServer>>,
    mut births: Births,
    mut bodies: Query<(
        &mut Body,
        &mut Authority,
        &mut Flight,
        &mut Replication,
        Option<&Cargo>,
        Option<&Drone>,
        Has<Docked>,
        Has<PendingDeal>,
    )>,
    #[cfg(feature = "journal")] mut journal: ResMut<crate::journal::Journal>,
    mut commands: Commands,
) {
    let now = clock.tick;
    totals.impacts_lost += std::mem::take(&mut impacts.dropped);
    let mut pulled = BTreeSet::new();
    for Waiting { impact, pushed } in std::mem::take(&mut impacts.waiting) {
        let _at = suspect::at(impact.target);
        let cause = impact.cause.spec();
        let entity = registry.get(impact.target);
        let Some((mut body, mut authority, mut flight, mut replication, cargo, drone, docked, deals)) =
            entity.and_then(|entity| bodies.get_mut(entity).ok())
        else {
            // Released since it came: the server knows where to. If it was destroyed, it finds nobody there.
            if cause.is_momentary() {
                continue;
            }
            if now.since(impact.tick) <= BOUNCE_TICKS {
                outbox.push(ToServer::Impact(impact));
            } else {
                totals.impacts_lost += 1;
            }
            continue;
        };
        if body.is_station() || docked {
            continue;
        }
        if cause.is_momentary() {
            // The next one is computed from what becomes of this one: late, or doubled, or on a body whose copy elsewhere
            // counts, it would be a push too much.
            let is_timely = now.since(impact.tick) <= MOMENT_TICKS && !handoffs.is_leaving(body.id);
            if is_timely && pulled.insert(body.id) {
                push(&body, &mut authority, &mut flight, impact.impulse);
            }
            continue;
        }
        // A contact moves the body here and now, also one that is leaving: here it goes on being in the way
        // of others. What is held back of it is the damage, and the push for a new owner's copy.
        if cause.is_witnessed() && !pushed && impact.impulse != DVec2::ZERO {
            if !felt.is_new(&impact, now) {
                totals.impacts_doubled += 1;
                continue;
            }
            push(&body, &mut authority, &mut flight, impact.impulse);
        }
        for action in handoffs.step(now, Event::Struck(impact)) {
            let Action::Strike(impact) = action else { continue };
            if !cause.is_witnessed() {
                // Asked only now: what is held back is not felt yet.
                if !felt.is_new(&impact, now) {
                    totals.impacts_doubled += 1;
                    continue;
                }
                push(&body, &mut authority, &mut flight, impact.impulse);
            }
            if impact.damage == 0 || docked || deals {
                continue;
            }
            #[cfg(feature = "journal")]
            journal.damaged(&body, &authority, &impact);
            body.hull = body.hull.saturating_sub(impact.damage);
            replication.changed = true;
            if body.hull == 0 {
                let wreck = births.wreck(&body, authority.sector, cargo, &flight, now, &mut registry, &mut commands);
                totals.crates += u64::from(wreck.is_some());
                outbox.push(ToServer::Destroyed {
                    id: body.id,
                    epoch: authority.epoch,
                    version: authority.version + 1,
                    tick: now,
                    by: impact.culprit(),
                    wreck,
                });
                losses.add(&body, authority.sector, drone.map(|drone| drone.0.home), now);
                handoffs.step(now, Event::Gone { id: body.id, epoch: authority.epoch });
                totals.destroyed += 1;
                if let Some(entity) = registry.remove(body.id) {
                    commands.entity(entity).despawn();
                }
            }
        }
    }
}

fn push(body: &Body, authority: &mut Authority, flight: &mut Flight, impulse: DVec2) {
    if !impulse.is_finite() || impulse == DVec2::ZERO {
        return;
    }
    flight.0.velocity = (flight.0.velocity + impulse / body.mass()).clamp_length_max(MAX_SPEED);
    authority.ahead = None;
}
