//! Own bodies: made from records, written back into records, removed.
//!
//! Runs in the shard.

use crate::{
    bodies::{
        body::{Body, Flight, Hands, Helm, Owned, Planned, View, collider},
        past::Past,
        registry::Registry,
    },
    flight::queue::InputQueue,
};
use avian2d::prelude::*;
use bevy::prelude::*;
use sidereal_protocol::{
    economy::MINING_INTERVAL_TICKS, flight::FlightState, ids::EntityId, input::FIRST_INPUT_DELAY_TICKS,
    record::EntityRecord, tick::SimTick,
};

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
