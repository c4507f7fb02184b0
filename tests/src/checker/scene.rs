//! The bodies of all shards after a step, read once for all invariants.

use bevy::{ecs::query::With, prelude::App};
use sidereal_protocol::{
    record::EntityKind,
    rules::flight::FlightState,
    world::{
        ids::{EntityId, ShardId},
        tick::SimTick,
    },
};
use sidereal_shard::{
    bodies::{Authority, Body, Flight},
    clock::SimClock,
    ghosts::Ghost,
    leases::Welcomed,
};
use std::collections::{BTreeMap, BTreeSet};

/// An own body of a shard.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Its id.
    pub id: EntityId,
    /// Its kind.
    pub kind: EntityKind,
    /// Its shard, by the harness's index.
    pub shard: usize,
    /// Its epoch.
    pub epoch: u64,
    /// Hull points.
    pub hull: u16,
    /// The tick...
    pub tick: SimTick,
    /// ...of this state.
    pub state: FlightState,
}

/// The bodies of all shards.
#[derive(Debug, Default)]
pub struct Scene {
    /// Own bodies.
    pub held: Vec<Held>,
    /// Entities of which there is a ghost somewhere.
    pub ghosts: BTreeSet<EntityId>,
    /// Welcomed shards that are alive.
    pub shards: BTreeMap<ShardId, usize>,
}

impl Scene {
    /// The present bodies of `shards`.
    pub fn of(shards: &mut [Option<App>]) -> Self {
        let mut scene = Self::default();
        for (shard, app) in shards.iter_mut().enumerate() {
            let Some(app) = app else { continue };
            scene.held.extend(Self::held_by(shard, app));
            let world = app.world_mut();
            if let Some(welcomed) = world.get_resource::<Welcomed>() {
                scene.shards.insert(welcomed.shard, shard);
            }
            let mut query = world.query_filtered::<&Body, With<Ghost>>();
            scene.ghosts.extend(query.iter(world).map(|body| body.id));
        }
        scene.held.sort_unstable_by_key(|held| (held.id, held.shard));
        scene
    }

    /// The own bodies of one shard.
    pub fn held_by(shard: usize, app: &mut App) -> Vec<Held> {
        let world = app.world_mut();
        let tick = world.resource::<SimClock>().tick;
        let mut query = world.query::<(&Body, &Authority, &Flight)>();
        let held = query.iter(world).map(|(body, authority, flight)| Held {
            id: body.id,
            kind: body.kind,
            shard,
            epoch: authority.epoch,
            hull: body.hull,
            tick,
            state: flight.0,
        });
        held.collect()
    }

    /// The shards' own bodies of `id`.
    pub fn holders(&self, id: EntityId) -> &[Held] {
        let from = self.held.partition_point(|held| held.id < id);
        let to = from + self.held[from..].partition_point(|held| held.id == id);
        &self.held[from..to]
    }
}
