//! The answer to a commit, with a figure: how long the entity waited for its first tick here.
//!
//! Runs in the shard, at the end of each tick.

use crate::{
    app::clock::SimClock,
    bodies::{authority::Authority, body::Body, registry::Registry},
    link::mailbox::Outbox,
    schedule::{PublishSystems, SimStep},
};
use bevy::prelude::*;
use sidereal_protocol::frames::control::ToServer;

/// Adds the answers to commits.
pub(crate) struct AdoptionsPlugin;

impl Plugin for AdoptionsPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(SimStep, publish_adoptions.in_set(PublishSystems::Adoptions));
    }
}

/// Reports entities that arrived by a handoff and had their first tick here.
pub(crate) fn publish_adoptions(
    clock: Res<SimClock>,
    registry: Res<Registry>,
    mut outbox: ResMut<Outbox<ToServer>>,
    mut bodies: Query<(&Body, &mut Authority)>,
) {
    for entity in registry.in_order() {
        let Ok((body, mut authority)) = bodies.get_mut(entity) else { continue };
        if let Some(since) = authority.bypass_change_detection().adopted.take() {
            let waited_us = u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
            outbox.push(ToServer::Adopted { id: body.id, epoch: authority.epoch, tick: clock.tick, waited_us });
        }
    }
}
