//! Withdrawal of own entities on the server's request.
//!
//! Runs in the shard, after a player has left, and for ships with a deal that stays unsettled.

use crate::{
    app::clock::SimClock,
    bodies::{
        registry::Registry,
        spawn::{self, record_of},
    },
    handoff::machine::{Event, Handoffs},
    link::mailbox::Outbox,
};
use bevy::prelude::*;
use sidereal_protocol::{frames::control::ToServer, world::ids::EntityId};

/// Sends the last record of the own entity `id` and removes its body.
pub(crate) fn withdraw(world: &mut World, id: EntityId) {
    let now = world.resource::<SimClock>().tick;
    let Some(mut record) = record_of(world, id, now) else {
        tracing::warn!(%id, "asked to withdraw an entity that is not here");
        return;
    };
    record.version += 1;
    spawn::remove(world, id);
    world.resource_mut::<Handoffs>().step(now, Event::Gone { id, epoch: record.epoch });
    world.resource_mut::<Outbox<ToServer>>().push(ToServer::Withdrawn { record: Box::new(record) });
    debug_assert!(world.resource::<Registry>().get(id).is_none());
}
