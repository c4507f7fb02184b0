//! Impacts on own entities: damage, and in the end destruction.
//!
//! Runs in the shard. Every hit on an own entity is an impact, from own weapons, from collisions or from neighbours,
//! and applies once ([`AppliedImpacts`]). The handoff holds the impacts of an entity that is leaving.

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
        crates::CrateSpawning,
        ship_locks::{Docked, PendingDeal},
        spawner::Losses,
    },
    flight::drones::Drone,
    handoff::machine::{Action, BOUNCE_TICKS, Event, Handoffs},
    link::mailbox::Outbox,
    physics::impacts::AppliedImpacts,
    schedule::{SimStep, SimSystems},
};
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    frames::control::{GhostImpact, ToServer},
    rules::flight::MAX_SPEED,
};
use std::collections::BTreeSet;

/// Adds impacts and their damage.
pub(crate) struct DamagePlugin;

impl Plugin for DamagePlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Impacts>().add_systems(SimStep, apply_impacts.in_set(SimSystems::Damage));
    }
}

/// Age beyond which a momentary impact is dropped, ticks: longer than any path between two shards.
const MOMENT_TICKS: u64 = 10;

/// Push without damage, units/s: half of a scout's full speed.
pub const HARMLESS_PUSH: f64 = 110.0;

/// Push beyond that which costs one hull point, units/s.
pub const PUSH_PER_POINT: f64 = 12.0;

/// Limit of one collision's damage, hull points: the first one never destroys a ship.
pub const MAX_COLLISION_DAMAGE: u16 = 25;

/// Limit of impacts that wait for the end of a tick. More come from no correct neighbour; they are dropped and counted.
const MAX_IMPACTS: usize = 16_384;

/// An impact to apply.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    impact: GhostImpact,
    /// avian has pushed the body already.
    pushed: bool,
}

/// Impacts on own entities that apply in this tick.
#[derive(Resource, Debug, Default)]
pub struct Impacts {
    waiting: Vec<Waiting>,
    dropped: u64,
}

impl Impacts {
    /// Adds an impact.
    pub fn push(&mut self, impact: GhostImpact) {
        self.add(Waiting { impact, pushed: false });
    }

    /// Adds a contact that has moved its body already.
    pub(crate) fn push_applied(&mut self, impact: GhostImpact) {
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

/// A weapon's hit: it applies to an own target in this tick, or is sent to a ghost's authority.
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

/// Queues an impact on an own target for this tick; sends one on a ghost to its authority.
pub(crate) fn deliver(impact: GhostImpact, own: bool, impacts: &mut Impacts, outbox: &mut Outbox<ToServer>) {
    debug_assert!(impact.fits_cause(), "{impact:?}");
    if own {
        impacts.push(impact);
    } else {
        outbox.push(ToServer::Impact(impact));
    }
}

/// The damage to a hull of a push of `push` units/s within a tick. Rocks take none.
pub fn collision_damage(body: &Body, push: f64) -> u16 {
    if body.hull_kind.is_none() || push <= HARMLESS_PUSH {
        return 0;
    }
    // A float-to-integer cast saturates.
    (((push - HARMLESS_PUSH) / PUSH_PER_POINT) as u16).min(MAX_COLLISION_DAMAGE)
}

/// Applies every impact; bodies without hull points are destroyed.
pub(crate) fn apply_impacts(
    clock: Res<SimClock>,
    mut impacts: ResMut<Impacts>,
    mut felt: ResMut<AppliedImpacts>,
    mut handoffs: ResMut<Handoffs>,
    mut registry: ResMut<Registry>,
    mut totals: ResMut<Totals>,
    mut losses: ResMut<Losses>,
    mut outbox: ResMut<Outbox<ToServer>>,
    mut births: CrateSpawning,
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
            // Released since it arrived: the server routes it. If the body was destroyed, the server drops it.
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
            // The next one is computed from the result of this one: if it is late, doubled, or on a body whose other
            // copy counts, it would be one push too many.
            let is_timely = now.since(impact.tick) <= MOMENT_TICKS && !handoffs.is_leaving(body.id);
            if is_timely && pulled.insert(body.id) {
                push(&body, &mut authority, &mut flight, impact.impulse);
            }
            continue;
        }
        // A contact moves the body at once, even one that is leaving: it still collides with others here. Its damage is
        // held, and the push for the new owner's copy.
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
                // Checked only now: a held impact counts as not applied.
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
                losses.add(&body, authority.sector, drone.map(|drone| drone.mind.home), now);
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
