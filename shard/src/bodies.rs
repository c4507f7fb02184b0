//! Bodies: what the simulation holds of an entity, made from a record and written back into one.
//!
//! Runs in the shard. A body is either this shard's own ([`Owned`]) or a ghost of a neighbour's
//! ([`crate::ghosts::Ghost`]), never both. avian's components hang on it but the truth about where it
//! is stands in [`Flight`].

use crate::{docking::Pending, inputs::InputQueue, past::Past, registry::Registry};
use avian2d::prelude::*;
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    economy::{Fitted, MINING_INTERVAL_TICKS},
    flight::{Controls, FlightState, HullKind, HullSpec},
    ids::{AccountId, EntityId, NetId},
    motion::Motion,
    record::{DroneMind, EntityKind, EntityRecord, FIRST_INPUT_DELAY_TICKS, Pilot, Warhead},
    sector::SectorId,
    tick::SimTick,
};
use std::time::Instant;

/// Radius of a body whose mass is one: a scout's. Mass goes with the area.
const UNIT_RADIUS: f64 = 9.0;

/// Share of the closing speed that is left after a collision.
const RESTITUTION: f64 = 0.4;

/// Who and what a body is, for own ones and ghosts alike.
#[derive(Component, Debug, Clone, PartialEq)]
pub struct Body {
    /// Its name.
    pub id: EntityId,
    /// Its name in motion packets.
    pub net_id: NetId,
    /// What it is.
    pub kind: EntityKind,
    /// Its hull, if it flies.
    pub hull_kind: Option<HullKind>,
    /// The player that it belongs to.
    pub owner: Option<AccountId>,
    /// What players read.
    pub name: String,
    /// Radius of its circle, units.
    pub radius: f64,
    /// Hull points left.
    pub hull: u16,
    /// Hull points when whole.
    pub hull_max: u16,
    /// What was bought for it.
    pub fitted: Fitted,
}

impl Body {
    /// What its hull can do, if it flies.
    pub fn spec(&self) -> Option<HullSpec> {
        self.hull_kind.map(HullKind::spec)
    }

    /// Its mass, in scouts.
    pub fn mass(&self) -> f64 {
        (self.radius / UNIT_RADIUS).powi(2)
    }

    /// Whether it is a player's ship.
    pub fn is_ship(&self) -> bool {
        self.kind == EntityKind::Ship
    }

    /// Whether it is a station.
    pub fn is_station(&self) -> bool {
        self.kind == EntityKind::Station
    }
}

/// Where a body is and how it moves, after the last tick.
#[derive(Component, Debug, Clone, Copy, PartialEq)]
pub struct Flight(pub FlightState);

/// Where a body will be after this tick if nothing touches it.
#[derive(Component, Debug, Clone, Copy, PartialEq)]
pub struct Planned(pub FlightState);

/// What this tick's flight obeys. On own ships and drones.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Helm(pub Controls);

/// When a pilot wants the beam in this tick: the moment that it saw, as a tick with fractions. On what has
/// a [`Helm`].
#[derive(Component, Debug, Clone, Copy, PartialEq, Default)]
pub struct View(pub Option<f64>);

/// A pilot and the inputs that wait.
#[derive(Debug, Clone)]
pub struct Hands {
    /// What goes with the ship from shard to shard.
    pub pilot: Pilot,
    /// What is not due yet.
    pub queue: InputQueue,
}

/// A body that this shard is the authority of.
#[derive(Component, Debug)]
pub struct Owned {
    /// Changes of authority so far.
    pub epoch: u64,
    /// Changes of the record in this epoch that were told.
    pub version: u64,
    /// Logical sector: always one that this shard holds.
    pub sector: SectorId,
    /// No shot before this tick.
    pub weapon_ready: SimTick,
    /// No missile before this tick.
    pub launcher_ready: SimTick,
    /// No beam before this tick.
    pub beam_ready: SimTick,
    /// A missile's warhead.
    pub warhead: Option<Warhead>,
    /// How far a missile's path was held against the bodies in its way: until then, when it was there.
    pub judged: Option<(SimTick, DVec2)>,
    /// No handoff before this tick.
    pub settled_at: SimTick,
    /// A player's hands.
    pub hands: Option<Hands>,
    /// A drone's mind.
    pub mind: Option<DroneMind>,
    /// Something besides motion changed and was not told yet.
    pub changed: bool,
    /// When its record was last told.
    pub record_sent: SimTick,
    /// What subscribers were last told of its motion, and in which sector.
    pub motion_sent: Option<(SectorId, Motion)>,
    /// It came by a handoff at this moment, and its first tick here is still to be told. For a figure only.
    pub adopted: Option<Instant>,
    /// Its record was ahead of this shard's clock: the state at that tick, until then.
    pub ahead: Option<(SimTick, FlightState)>,
    /// The station that it is docked at.
    pub docked: Option<EntityId>,
    /// Units of ore in it, as the server's ledger last told.
    pub ore: u32,
    /// When a crate is lost; zero for what does not end by itself.
    pub expires: SimTick,
    /// No bite out of a rock, and no crate taken in, before this tick.
    pub hold_ready: SimTick,
    /// It mines, for others to see.
    pub mining: bool,
    /// A deal that was let pass and is not settled.
    pub deal: Option<Box<Pending>>,
}

impl Owned {
    /// Whether nothing reaches it: it is docked, or a deal of it is not settled. Its helm is not heeded, and it
    /// stays where its authority is.
    pub fn is_sheltered(&self) -> bool {
        self.docked.is_some() || self.deal.is_some()
    }
}

/// The body of a record, as its authority from `record.epoch` on.
pub fn own_body(record: &EntityRecord) -> (Body, Owned, Flight) {
    let body = Body {
        id: record.id,
        net_id: record.net_id,
        kind: record.kind,
        hull_kind: record.hull_kind,
        owner: record.owner,
        name: record.name.clone(),
        radius: record.radius,
        hull: record.hull,
        hull_max: record.hull_max,
        fitted: record.fitted,
    };
    let hands = record.pilot.map(|mut pilot| {
        if pilot.inputs_applied == 0 && pilot.input_delay_ticks == 0 {
            pilot.input_delay_ticks = FIRST_INPUT_DELAY_TICKS;
        }
        Hands { pilot, queue: InputQueue::default() }
    });
    let owned = Owned {
        epoch: record.epoch,
        version: record.version,
        sector: record.sector,
        weapon_ready: record.weapon_ready,
        launcher_ready: record.launcher_ready,
        beam_ready: record.beam_ready,
        warhead: record.warhead,
        judged: record.warhead.map(|_| (record.tick, record.state.position)),
        settled_at: record.settled_at,
        hands,
        mind: record.mind,
        changed: false,
        record_sent: SimTick(0),
        motion_sent: None,
        adopted: None,
        ahead: None,
        docked: record.docked,
        ore: record.ore,
        expires: record.expires,
        hold_ready: record.tick + MINING_INTERVAL_TICKS,
        mining: false,
        deal: None,
    };
    (body, owned, Flight(record.state))
}

/// The record of an own body after `tick`, under the version that was last told.
pub fn record(body: &Body, owned: &Owned, flight: &Flight, tick: SimTick) -> EntityRecord {
    let (tick, state) = owned.ahead.unwrap_or((tick, flight.0));
    EntityRecord {
        id: body.id,
        net_id: body.net_id,
        kind: body.kind,
        hull_kind: body.hull_kind,
        owner: body.owner,
        name: body.name.clone(),
        epoch: owned.epoch,
        version: owned.version,
        tick,
        sector: owned.sector,
        state,
        radius: body.radius,
        hull: body.hull,
        hull_max: body.hull_max,
        weapon_ready: owned.weapon_ready,
        launcher_ready: owned.launcher_ready,
        beam_ready: owned.beam_ready,
        warhead: owned.warhead,
        settled_at: owned.settled_at,
        pilot: owned.hands.as_ref().map(|hands| hands.pilot),
        mind: owned.mind,
        docked: owned.docked,
        fitted: body.fitted,
        ore: owned.ore,
        expires: owned.expires,
    }
}

/// The record of the own body of `id`; `None` when it is not this shard's.
pub fn record_of(world: &World, id: EntityId, tick: SimTick) -> Option<EntityRecord> {
    let entity = world.entity(world.resource::<Registry>().get(id)?);
    Some(record(entity.get::<Body>()?, entity.get::<Owned>()?, entity.get::<Flight>()?, tick))
}

/// Whether `id` is this shard's, and under which epoch.
pub fn owned_epoch(world: &World, id: EntityId) -> Option<u64> {
    let entity = world.resource::<Registry>().get(id)?;
    world.entity(entity).get::<Owned>().map(|owned| owned.epoch)
}

/// avian's part of a body: a circle that bounces. Rotation is locked, contacts have no friction: a
/// circle's collision is then one push along the normal, and what turns a body is its own flight. A station
/// does not give way. A missile has none: it ends where it meets something. Nor has a crate.
pub fn collider(body: &Body, state: &FlightState) -> Option<impl Bundle + use<>> {
    let rigid = if body.is_station() { RigidBody::Static } else { RigidBody::Dynamic };
    (!matches!(body.kind, EntityKind::Missile | EntityKind::Crate)).then(|| {
        (
            rigid,
            Collider::circle(body.radius),
            ColliderDensity((1.0 / (std::f64::consts::PI * UNIT_RADIUS * UNIT_RADIUS)) as f32),
            ActiveCollisionHooks::MODIFY_CONTACTS,
            LockedAxes::ROTATION_LOCKED,
            Restitution::new(RESTITUTION),
            Friction::ZERO,
            Position(state.position),
            Rotation::IDENTITY,
            LinearVelocity(state.velocity),
            AngularVelocity(0.0),
        )
    })
}

/// Puts the components of an own body on `entity`.
pub fn insert_owned(entity: &mut EntityCommands, body: Body, owned: Owned, flight: Flight, past: Past) {
    // Ships may be docked at one place: they are not in each other's way.
    if owned.docked.is_none()
        && let Some(collider) = collider(&body, &flight.0)
    {
        entity.insert(collider);
    }
    if body.hull_kind.is_some() {
        entity.insert((Helm::default(), View::default()));
    }
    entity.insert((body, owned, flight, Planned(flight.0), past));
}

/// Spawns an own body in place of whatever stood for the same id. If that was its ghost, what was known of
/// its past stays known.
pub fn spawn_owned(world: &mut World, body: Body, owned: Owned, flight: Flight) -> Entity {
    let known = world.resource::<Registry>().get(body.id).and_then(|entity| world.get_mut::<Past>(entity));
    let past = known.map(|mut past| std::mem::take(&mut *past)).unwrap_or_default();
    remove(world, body.id);
    let (id, net_id) = (body.id, body.net_id);
    let mut commands = world.commands();
    let mut spawned = commands.spawn_empty();
    insert_owned(&mut spawned, body, owned, flight, past);
    let entity = spawned.id();
    world.flush();
    world.resource_mut::<Registry>().insert(id, net_id, entity);
    entity
}

/// Puts an own body somewhere else, at once. Returns whether it is this shard's. For tests that set a
/// scene; nothing in the game does it.
pub fn set_state(world: &mut World, id: EntityId, state: FlightState) -> bool {
    let Some(entity) = world.resource::<Registry>().get(id) else { return false };
    let mut entity = world.entity_mut(entity);
    if !entity.contains::<Owned>() {
        return false;
    }
    entity.insert((Flight(state), Planned(state)));
    if entity.contains::<RigidBody>() {
        entity.insert((Position(state.position), LinearVelocity(state.velocity), AngularVelocity(0.0)));
    }
    true
}

/// Removes the body of `id`, own or ghost. That there is none is normal.
pub fn remove(world: &mut World, id: EntityId) -> bool {
    let Some(entity) = world.resource_mut::<Registry>().remove(id) else { return false };
    world.despawn(entity)
}

/// Whether a circle at `position` with `radius` is clear of every body in `bodies`.
pub fn is_clear<'a>(
    position: DVec2,
    radius: f64,
    bodies: impl IntoIterator<Item = (&'a Body, &'a Flight)>,
    from_ships: f64,
) -> bool {
    bodies.into_iter().all(|(body, flight)| {
        let room = if body.is_ship() { from_ships } else { 0.0 };
        flight.0.position.distance(position) > radius + body.radius + room
    })
}
