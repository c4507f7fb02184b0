//! The orderly end: the simulation stops, every record is sent, then `Drained`.
//!
//! Runs in the shard, when the server ends or this process is asked to.

use crate::{
    app::clock::SimClock,
    bodies::{authority::Authority, registry::Registry, spawn},
    link::mailbox::Outbox,
};
use bevy::prelude::*;
use sidereal_protocol::frames::control::ToServer;

/// Present once the shard drains: no tick is simulated any more.
#[derive(Resource, Debug)]
pub struct Draining;

/// Stops the simulation and sends every record, once.
pub fn drain(world: &mut World) {
    if world.contains_resource::<Draining>() {
        return;
    }
    world.insert_resource(Draining);
    let now = world.resource::<SimClock>().tick;
    let order: Vec<Entity> = world.resource::<Registry>().in_order().collect();
    let mut records = Vec::new();
    for entity in order {
        if let Some(mut authority) = world.get_mut::<Authority>(entity) {
            authority.version += 1;
        }
        records.extend(spawn::record(world, entity, now));
    }
    tracing::info!(records = records.len(), "draining");
    let mut outbox = world.resource_mut::<Outbox<ToServer>>();
    for record in records {
        outbox.push(ToServer::Record(Box::new(record)));
    }
    outbox.push(ToServer::Drained);
}
