//! Crates: the remaining cargo of a destroyed ship. They come to rest, are collected by ships nearby, and end.
//!
//! Runs in the shard. A crate is spawned in the tick in which its ship is destroyed, and is sent in the same message:
//! the server moves the cargo in the transaction of that death. A crate has a record and handoffs like other entities,
//! but no collider, and shots pass through it. It ends when the ledger has it empty, or when it is too old.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    authority::leases::{NetIds, Welcomed},
    bodies::{
        authority::Authority,
        body::{Body, Flight},
        ghosts::Ghost,
        parts::{AppRecordParts, RecordPart},
        registry::Registry,
        spawn,
    },
    economy::{
        cargo::{Cargo, room},
        mining::{MiningLaser, known_ore},
        ship_locks::LockState,
        spawner,
    },
    handoff::machine::{Event, Handoffs},
    link::mailbox::Outbox,
    schedule::{SimStep, SpawnSystems, WeaponSystems},
};
use bevy::{ecs::system::SystemParam, prelude::*};
use rand_pcg::Pcg64Mcg;
use sidereal_protocol::{
    frames::control::ToServer,
    record::{EntityRecord, ExpiresAt, OreLoad, Section, SettledAt, Structure},
    rules::{
        economy::{CRATE_RADIUS, CRATE_TICKS, MINING_INTERVAL_TICKS, OreMove, SCOOP_RANGE},
        tool::Tool,
    },
    world::{
        kind::{EntityKind, Ore},
        sector::SectorId,
        tick::SimTick,
    },
};

/// Adds crates.
pub(crate) struct CratesPlugin;

impl Plugin for CratesPlugin {
    fn build(&self, app: &mut App) {
        app.add_record_part::<CrateEnd>()
            .add_systems(SimStep, (scoop_crates.in_set(WeaponSystems::Scoop), end_crates.in_set(SpawnSystems::End)));
    }
}

/// Share of a ship's velocity that its crate keeps.
const KEPT_VELOCITY: f64 = 0.5;

/// When an own crate ends; zero if it does not end by itself.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CrateEnd(pub SimTick);

impl RecordPart for CrateEnd {
    const SECTION: Option<u16> = Some(ExpiresAt::ID);

    fn of(record: &EntityRecord) -> Option<Self> {
        (record.kind.spec().ore == Ore::Cargo).then_some(Self(record.get::<ExpiresAt>().unwrap_or_default().0))
    }

    fn write(&self, record: &mut EntityRecord) {
        record.set(ExpiresAt(self.0));
    }
}

/// What the spawning of a crate needs.
#[derive(SystemParam)]
pub(crate) struct CrateSpawning<'w> {
    welcomed: Option<Res<'w, Welcomed>>,
    net_ids: ResMut<'w, NetIds>,
}

impl CrateSpawning<'_> {
    /// Spawns a crate with the cargo of a destroyed ship, as an own body. `None` without cargo or without a free net
    /// id; in the latter case the cargo is lost.
    pub fn wreck(
        &mut self,
        body: &Body,
        sector: SectorId,
        cargo: Option<&Cargo>,
        flight: &Flight,
        now: SimTick,
        registry: &mut Registry,
        commands: &mut Commands,
    ) -> Option<Box<EntityRecord>> {
        let ore = cargo.map_or(0, |cargo| cargo.ore);
        if !body.is_ship() || ore == 0 {
            return None;
        }
        let welcomed = self.welcomed.as_ref()?;
        let net_id = self.net_ids.take()?;
        let seed = spawner::mixed(welcomed.id_seed, u64::from(body.net_id.0), now, 2);
        let id = spawner::new_id(now, &mut Pcg64Mcg::new(seed));
        let mut record = EntityRecord {
            net_id,
            epoch: 1,
            version: 1,
            sector,
            ..EntityRecord::at_rest(id, EntityKind::Crate, flight.0.position, now)
        }
        .with(Structure::whole(CRATE_RADIUS, 1))
        .with(OreLoad(ore))
        .with(ExpiresAt(now + CRATE_TICKS))
        .with(SettledAt(now));
        record.state.velocity = flight.0.velocity * KEPT_VELOCITY;
        spawn::spawn_new(commands, registry, record.clone());
        Some(Box::new(record))
    }
}

/// Requests the ore of crates near own ships with free space, the nearest first.
pub(crate) fn scoop_crates(
    clock: Res<SimClock>,
    registry: Res<Registry>,
    handoffs: Res<Handoffs>,
    mut totals: ResMut<Totals>,
    mut outbox: ResMut<Outbox<ToServer>>,
    mut ships: Query<(&Body, &Flight, &Authority, Option<&Cargo>, LockState, &mut MiningLaser)>,
    bodies: Query<(&Body, &Flight, Option<&Cargo>, Option<&Ghost>)>,
) {
    let now = clock.tick;
    let crates: Vec<Entity> = registry.of(|kind| kind.spec().ore == Ore::Cargo).collect();
    if crates.is_empty() {
        return;
    }
    for ship in registry.carrying(Tool::MiningLaser) {
        let Ok((body, flight, authority, cargo, lock, mut laser)) = ships.get_mut(ship) else { continue };
        let _at = suspect::at(body.id);
        let room = room(body, cargo);
        let takes = room > 0
            && now >= laser.ready
            && authority.ahead.is_none()
            && !lock.is_locked()
            && !handoffs.is_leaving(body.id);
        if !takes {
            continue;
        }
        let in_range =
            crates.iter().filter_map(|entity| bodies.get(*entity).ok()).filter_map(|(found, at, cargo, ghost)| {
                let ore = known_ore(cargo, ghost).unwrap_or(room);
                let distance = at.0.position.distance(flight.0.position);
                (ore > 0 && distance <= SCOOP_RANGE).then_some((distance, found.id, ore))
            });
        if let Some((_, from, ore)) = in_range.min_by(|(one, ..), (other, ..)| one.total_cmp(other)) {
            laser.ready = now + MINING_INTERVAL_TICKS;
            totals.ore_moves += 1;
            outbox.push(ToServer::OreMove(OreMove { from, to: body.id, ore: ore.min(room) }));
        }
    }
}

/// Ends own crates that are empty or too old. The next owner of one that is leaving ends it.
pub(crate) fn end_crates(
    clock: Res<SimClock>,
    mut handoffs: ResMut<Handoffs>,
    mut registry: ResMut<Registry>,
    mut outbox: ResMut<Outbox<ToServer>>,
    bodies: Query<(&Body, &Authority, &Cargo, &CrateEnd)>,
    mut commands: Commands,
) {
    let now = clock.tick;
    let crates: Vec<Entity> = registry.of(|kind| kind.spec().ore == Ore::Cargo).collect();
    for (body, authority, cargo, end) in crates.into_iter().filter_map(|entity| bodies.get(entity).ok()) {
        let _at = suspect::at(body.id);
        let over = cargo.ore == 0 || (end.0 != SimTick(0) && now >= end.0);
        if !over || handoffs.is_leaving(body.id) {
            continue;
        }
        let (id, epoch, version) = (body.id, authority.epoch, authority.version + 1);
        outbox.push(ToServer::Destroyed { id, epoch, version, tick: now, by: None, wreck: None });
        handoffs.step(now, Event::Gone { id, epoch });
        if let Some(entity) = registry.remove(id) {
            commands.entity(entity).despawn();
        }
    }
}
