//! Replacement of destroyed bodies: drones after 20 s, rocks after 60 s.
//!
//! Runs in the shard. A replacement is a new entity with a new id in the same sector, at a clear spot, made from the
//! world's seed, the sector and the tick: the same run gives the same world. Replacements that are due after a shard
//! has ended are lost: its successor does not know of them.

use crate::{
    app::{clock::SimClock, report::Totals},
    authority::leases::{Leases, NetIds, Welcomed},
    bodies::{
        body::{self, Body, Flight},
        registry::Registry,
        spawn,
    },
    link::mailbox::Outbox,
    schedule::{SimStep, SpawnSystems},
};
use bevy::prelude::*;
use rand::Rng;
use rand_pcg::Pcg64Mcg;
use sidereal_protocol::{
    DVec2,
    frames::control::ToServer,
    record::{DroneMind, EntityKind, EntityRecord, OreLoad, SettledAt, Structure},
    rules::{economy::ore_of_rock, flight::FlightState},
    world::{
        ids::{EntityId, NetId},
        sector::{SECTOR_SIZE, SectorId},
        tick::{SimTick, TICK_HZ, TICK_SECONDS},
    },
};

/// Adds losses and their replacement.
pub(crate) struct SpawnerPlugin;

impl Plugin for SpawnerPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Losses>().add_systems(SimStep, spawn_replacements.in_set(SpawnSystems::Replace));
    }
}

/// Wait before a retry if there was no clear spot, ticks: 2 s.
const LOOK_AGAIN_TICKS: u64 = 2 * TICK_HZ as u64;
/// Spots per attempt.
const TRIES: usize = 16;
/// Distance of a new body from the sector's edge, units.
const EDGE: f64 = 80.0;
/// Gap between a new body and others, units; to ships it is larger, so that nothing appears right before a pilot.
const GAP: f64 = 30.0;
const GAP_TO_SHIPS: f64 = 200.0;
/// Highest drift of a new rock, units/s.
const DRIFT: f64 = 8.0;
/// Limit of pending losses: the content of many sectors. Further ones are not replaced.
const MAX_LOSSES: usize = 16_384;

#[derive(Debug, Clone)]
struct Loss {
    due: SimTick,
    sector: SectorId,
    kind: EntityKind,
    name: String,
    radius: f64,
    hull_max: u16,
}

/// Bodies that are still to be replaced.
#[derive(Resource, Debug, Default)]
pub struct Losses(Vec<Loss>);

impl Losses {
    /// Adds a body that was destroyed in `sector`, or whose home is `home`. The server respawns players' ships.
    pub fn add(&mut self, body: &Body, sector: SectorId, home: Option<DVec2>, now: SimTick) {
        let Some(wait) = body.kind.spec().replaced_after_ticks else { return };
        if self.0.len() >= MAX_LOSSES {
            return;
        }
        let home = home.map(SectorId::containing);
        self.0.push(Loss {
            due: now + wait,
            sector: home.unwrap_or(sector),
            kind: body.kind,
            name: body.name.clone(),
            radius: body.radius,
            hull_max: body.hull_max,
        });
    }
}

/// Spawns the replacements that are due.
pub(crate) fn spawn_replacements(
    clock: Res<SimClock>,
    leases: Res<Leases>,
    welcomed: Option<Res<Welcomed>>,
    mut losses: ResMut<Losses>,
    mut net_ids: ResMut<NetIds>,
    mut registry: ResMut<Registry>,
    mut totals: ResMut<Totals>,
    mut outbox: ResMut<Outbox<ToServer>>,
    bodies: Query<(&Body, &Flight)>,
    mut commands: Commands,
) {
    let now = clock.tick;
    let Some(welcomed) = welcomed else { return };
    let due: Vec<Loss> = losses.0.extract_if(.., |loss| loss.due <= now).collect();
    let mut new: Vec<(Body, Flight)> = Vec::new();
    for loss in due {
        // The home of the drone may be leased to another shard by now, which is not for this one to fill.
        if !leases.holds(loss.sector) {
            continue;
        }
        let taken = bodies.iter().chain(new.iter().map(|(body, flight)| (body, flight)));
        let seed = seed(welcomed.id_seed, loss.sector, now, new.len() as u64);
        let mut random = Pcg64Mcg::new(seed);
        let spot = clear_spot(&mut random, loss.sector, loss.radius, taken);
        let (Some(spot), Some(net_id)) = (spot, spot.and_then(|_| net_ids.take())) else {
            losses.0.push(Loss { due: now + LOOK_AGAIN_TICKS, ..loss });
            continue;
        };
        let record = replacement(&loss, spot, net_id, now, &mut random);
        new.push((Body::of(&record), Flight(record.state)));
        outbox.push(ToServer::Record(Box::new(record.clone())));
        spawn::spawn_new(&mut commands, &mut registry, record);
        totals.respawned += 1;
    }
}

fn seed(id_seed: u64, sector: SectorId, now: SimTick, index: u64) -> u128 {
    let place = (u64::from(sector.x as u32) << 32) | u64::from(sector.y as u32);
    mixed(id_seed, place, now, index)
}

/// A seed from the shard's own seed, `what`, the tick and an index.
pub(crate) fn mixed(id_seed: u64, what: u64, now: SimTick, index: u64) -> u128 {
    // splitmix64 over the parts, so that neighbouring sectors and ticks have nothing in common.
    let mix = |value: u64| {
        let mut value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    };
    let high = mix(mix(mix(id_seed) ^ what) ^ now.0);
    let low = mix(high ^ index);
    (u128::from(high) << 64) | u128::from(low)
}

fn clear_spot<'a>(
    random: &mut Pcg64Mcg,
    sector: SectorId,
    radius: f64,
    taken: impl Iterator<Item = (&'a Body, &'a Flight)> + Clone,
) -> Option<DVec2> {
    let range = EDGE..SECTOR_SIZE - EDGE;
    (0..TRIES).find_map(|_| {
        let local = DVec2::new(random.random_range(range.clone()), random.random_range(range.clone()));
        let spot = sector.origin() + local;
        body::is_clear(spot, radius + GAP, taken.clone(), GAP_TO_SHIPS).then_some(spot)
    })
}

fn replacement(loss: &Loss, position: DVec2, net_id: NetId, now: SimTick, random: &mut Pcg64Mcg) -> EntityRecord {
    use std::f64::consts::PI;
    let angle = random.random_range(-PI..PI);
    let is_rock = loss.kind == EntityKind::Asteroid;
    let drift = DVec2::from_angle(random.random_range(-PI..PI)) * random.random_range(0.0..DRIFT);
    let spin = random.random_range(-0.5..0.5);
    let id = new_id(now, random);
    let mut record = EntityRecord {
        net_id,
        name: loss.name.clone(),
        epoch: 1,
        version: 1,
        sector: loss.sector,
        state: FlightState {
            position,
            velocity: if is_rock { drift } else { DVec2::ZERO },
            angle,
            angular_velocity: if is_rock { spin } else { 0.0 },
        },
        ..EntityRecord::at_rest(id, loss.kind, position, now)
    }
    .with(Structure::whole(loss.radius, loss.hull_max))
    .with(SettledAt(now));
    if is_rock {
        record.set(OreLoad(ore_of_rock(loss.radius)));
    }
    if loss.kind == EntityKind::Drone {
        record.set(DroneMind { home: position, patrol_phase: angle, target: None });
    }
    record
}

/// An id for an entity that is spawned at `now`. UUID version 7 by the world's clock: sorted by creation, and the same
/// in every run.
pub(crate) fn new_id(now: SimTick, random: &mut Pcg64Mcg) -> EntityId {
    let milliseconds = (now.0 as f64 * TICK_SECONDS * 1000.0) as u64;
    EntityId(uuid::Builder::from_unix_timestamp_millis(milliseconds, &random.random()).into_uuid())
}
