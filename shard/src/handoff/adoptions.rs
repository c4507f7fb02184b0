//! The answer to a commit, together with the entity's first state: neither waits for a tick.
//!
//! Runs in the shard, in every update, after the control frames. An adopted body is already advanced to this shard's
//! clock, so its state is known as soon as it is adopted. It leaves with the update that adopted it.

use crate::{
    app::clock::SimClock,
    authority::{drain::Draining, publish},
    bodies::{authority::Authority, body::Body},
    link::mailbox::{LaneDatagram, Outbox},
    schedule::ControlSystems,
};
use bevy::prelude::*;
use sidereal_protocol::frames::control::ToServer;
use std::time::Instant;

/// Adds the answers to commits.
pub(crate) struct AdoptionsPlugin;

impl Plugin for AdoptionsPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Adoptions>().add_systems(
            Update,
            publish_adoptions
                .in_set(ControlSystems::Adoptions)
                .run_if(|adoptions: Res<Adoptions>| !adoptions.0.is_empty()),
        );
    }
}

/// Entities that were adopted in this update, each with the time at which its commit was handled. It is emptied in
/// every update; the limit of frames that one update handles is also its limit.
#[derive(Resource, Debug, Default)]
pub(crate) struct Adoptions(Vec<(Entity, Instant)>);

impl Adoptions {
    /// Adds an adopted entity.
    pub(crate) fn add(&mut self, entity: Entity, since: Instant) {
        self.0.push((entity, since));
    }
}

/// Sends the present state of each entity that was adopted in this update, and the answer to its commit.
pub(crate) fn publish_adoptions(
    clock: Res<SimClock>,
    draining: Option<Res<Draining>>,
    mut adoptions: ResMut<Adoptions>,
    mut outbox: ResMut<Outbox<ToServer>>,
    mut lane: ResMut<Outbox<LaneDatagram>>,
    mut bodies: Query<publish::Published>,
    answers: Query<(&Body, &Authority)>,
) {
    let mut adopted = std::mem::take(&mut adoptions.0);
    if draining.is_some() {
        // Its record has been sent, and `Drained` is the last frame.
        return;
    }
    adopted.sort_by_key(|&(entity, _)| answers.get(entity).map(|(body, _)| body.net_id).ok());
    publish::publish_at_once(clock.tick, adopted.iter().map(|&(entity, _)| entity), &mut bodies, &mut lane);
    for (entity, since) in adopted {
        // A later frame of the same update may have taken it away again.
        let Ok((body, authority)) = answers.get(entity) else { continue };
        let waited_us = u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
        outbox.push(ToServer::Adopted { id: body.id, epoch: authority.epoch, tick: clock.tick, waited_us });
    }
}
