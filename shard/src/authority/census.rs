//! The census: all entities that this shard is the authority of, once a second.
//!
//! Runs in the shard. The server detects lost and doubled entities by it.

use crate::{
    app::{clock::SimClock, report::Totals},
    bodies::{authority::Authority, body::Body, registry::Registry},
    link::mailbox::Outbox,
    schedule::{PublishSystems, SimStep},
};
use bevy::prelude::*;
use sidereal_protocol::{frames::control::ToServer, world::tick::TICK_HZ};

/// Adds the census.
pub(crate) struct CensusPlugin;

impl Plugin for CensusPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(SimStep, take_census.in_set(PublishSystems::Census));
    }
}

/// Sends the census in each tick that is a multiple of [`TICK_HZ`].
pub(crate) fn take_census(
    clock: Res<SimClock>,
    registry: Res<Registry>,
    mut totals: ResMut<Totals>,
    mut outbox: ResMut<Outbox<ToServer>>,
    bodies: Query<(&Body, &Authority)>,
) {
    if !clock.tick.0.is_multiple_of(u64::from(TICK_HZ)) {
        return;
    }
    let entities: Vec<_> = registry
        .in_order()
        .filter_map(|entity| bodies.get(entity).ok())
        .map(|(body, authority)| (body.net_id, authority.epoch))
        .collect();
    totals.entities = entities.len() as u64;
    totals.ghosts = (registry.len() - entities.len()) as u64;
    outbox.push(ToServer::Census { tick: clock.tick, entities, inputs_applied: totals.inputs_applied });
}
