//! Own bodies: spawned from records, written back into records, removed.
//!
//! Runs in the shard. Each capability reads and writes its own part: see [`crate::bodies::parts`].

use crate::{
    bodies::{
        authority::Authority,
        body::{Body, Flight, Planned, collider},
        parts::RecordParts,
        past::Past,
        registry::Registry,
    },
    economy::ship_locks::Docked,
};
use avian2d::prelude::*;
use bevy::prelude::*;
use sidereal_protocol::{
    record::{EntityRecord, SettledAt, ShipHull, Structure},
    rules::flight::FlightState,
    world::{ids::EntityId, tick::SimTick},
};

/// The record of the own body `entity` after `tick`, with the version that was last sent; `None` if it is not this
/// shard's own.
pub fn record(world: &World, entity: Entity, tick: SimTick) -> Option<EntityRecord> {
    let entity = world.get_entity(entity).ok()?;
    let (body, authority) = (entity.get::<Body>()?, entity.get::<Authority>()?);
    let (tick, state) = authority.ahead.unwrap_or((tick, entity.get::<Flight>()?.0));
    let mut record = EntityRecord {
        net_id: body.net_id,
        owner: body.owner,
        name: body.name.clone(),
        epoch: authority.epoch,
        version: authority.version,
        sector: authority.sector,
        state,
        ..EntityRecord::at_rest(body.id, body.kind, state.position, tick)
    };
    record.set(Structure { radius: body.radius, hull: body.hull, hull_max: body.hull_max });
    record.set(SettledAt(authority.settled_at));
    record.set(body.fitted);
    record.set_or_remove(body.hull_kind.map(ShipHull));
    world.resource::<RecordParts>().write(entity, &mut record);
    Some(record)
}

/// The record of the own body of `id`; `None` if it is not this shard's own.
pub fn record_of(world: &World, id: EntityId, tick: SimTick) -> Option<EntityRecord> {
    record(world, world.resource::<Registry>().get(id)?, tick)
}

/// The epoch under which `id` is this shard's own; `None` if it is not.
pub fn owned_epoch(world: &World, id: EntityId) -> Option<u64> {
    let entity = world.resource::<Registry>().get(id)?;
    world.get::<Authority>(entity).map(|authority| authority.epoch)
}

/// The authority over `id`, if it is this shard's own.
pub(crate) fn authority_mut(world: &mut World, id: EntityId) -> Option<Mut<'_, Authority>> {
    let entity = world.resource::<Registry>().get(id)?;
    world.get_mut::<Authority>(entity)
}

/// Adds the components of the own body of `record` to `entity`; the authority last, when all others are there.
fn insert(world: &mut World, entity: Entity, record: &EntityRecord, past: Past) {
    let parts = world.resource::<RecordParts>().clone();
    let Ok(mut entity) = world.get_entity_mut(entity) else { return };
    let (body, flight) = (Body::of(record), Flight(record.state));
    parts.insert(record, &mut entity);
    // Docked ships may share a position, and do not collide.
    if !entity.contains::<Docked>()
        && let Some(collider) = collider(&body, &flight.0)
    {
        entity.insert(collider);
    }
    entity.insert((body, flight, Planned(flight.0), past));
    entity.insert(Authority::of(record));
}

/// Spawns the own body of a record from a system: it exists when the system's commands are applied.
pub(crate) fn spawn_new(commands: &mut Commands, registry: &mut Registry, record: EntityRecord) {
    let entity = commands.spawn_empty().id();
    registry.insert(record.id, record.net_id, record.kind, entity);
    commands.queue(move |world: &mut World| insert(world, entity, &record, Past::default()));
}

/// Spawns the own body of a record and removes any earlier body of the same id. The past states of its ghost are kept.
pub fn spawn_owned(world: &mut World, record: &EntityRecord) -> Entity {
    let known = world.resource::<Registry>().get(record.id).and_then(|entity| world.get_mut::<Past>(entity));
    let past = known.map(|mut past| std::mem::take(&mut *past)).unwrap_or_default();
    remove(world, record.id);
    let entity = world.spawn_empty().id();
    insert(world, entity, record, past);
    world.flush();
    world.resource_mut::<Registry>().insert(record.id, record.net_id, record.kind, entity);
    entity
}

/// Removes the authority and every capability's part from the own body `entity`.
pub(crate) fn disown(world: &mut World, entity: Entity) -> Option<Authority> {
    let parts = world.resource::<RecordParts>().clone();
    let mut entity = world.get_entity_mut(entity).ok()?;
    let authority = entity.take::<Authority>()?;
    parts.remove(&mut entity);
    Some(authority)
}

/// Sets the state of an own body at once. Returns whether it is this shard's own. For the scenes of tests; the game
/// does not use it.
pub fn set_state(world: &mut World, id: EntityId, state: FlightState) -> bool {
    let Some(entity) = world.resource::<Registry>().get(id) else { return false };
    let own = world.entity(entity).contains::<Authority>();
    if own {
        place(world, entity, state);
    }
    own
}

/// Sets the state of the body `entity`, for avian too.
pub(crate) fn place(world: &mut World, entity: Entity, state: FlightState) {
    let mut entity = world.entity_mut(entity);
    entity.insert((Flight(state), Planned(state)));
    if entity.contains::<RigidBody>() {
        entity.insert((Position(state.position), LinearVelocity(state.velocity), AngularVelocity(0.0)));
    }
}

/// Removes the body of `id`, own or ghost, if there is one. Returns whether there was.
pub fn remove(world: &mut World, id: EntityId) -> bool {
    let Some(entity) = world.resource_mut::<Registry>().remove(id) else { return false };
    world.despawn(entity)
}
