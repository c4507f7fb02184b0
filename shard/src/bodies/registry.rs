//! The Bevy entity of each world entity, and the order in which the simulation processes them.
//!
//! Runs in the shard. One body per id, own or ghost. Whatever depends on an order uses [`Registry::in_order`]: Bevy's
//! `Entity` differs from run to run, a [`NetId`] does not.

use bevy::prelude::*;
use sidereal_protocol::world::ids::{EntityId, NetId};
use std::collections::BTreeMap;

/// Adds the registry.
pub(crate) struct RegistryPlugin;

impl Plugin for RegistryPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Registry>();
    }
}

/// Every body on this shard.
#[derive(Resource, Debug, Default)]
pub struct Registry {
    by_id: BTreeMap<EntityId, (NetId, Entity)>,
    by_net: BTreeMap<NetId, Entity>,
}

impl Registry {
    /// Adds a body. The caller has removed an older one with the same id.
    pub fn insert(&mut self, id: EntityId, net_id: NetId, entity: Entity) {
        debug_assert!(!self.by_id.contains_key(&id), "one body per id: {id}");
        self.by_id.insert(id, (net_id, entity));
        self.by_net.insert(net_id, entity);
    }

    /// Removes the body of `id` from the registry.
    pub fn remove(&mut self, id: EntityId) -> Option<Entity> {
        let (net_id, entity) = self.by_id.remove(&id)?;
        if self.by_net.get(&net_id) == Some(&entity) {
            self.by_net.remove(&net_id);
        }
        Some(entity)
    }

    /// The body of `id`.
    pub fn get(&self, id: EntityId) -> Option<Entity> {
        self.by_id.get(&id).map(|&(_, entity)| entity)
    }

    /// The body of `net_id`.
    pub fn by_net(&self, net_id: NetId) -> Option<Entity> {
        self.by_net.get(&net_id).copied()
    }

    /// All bodies by rising net id.
    pub fn in_order(&self) -> impl Iterator<Item = Entity> + '_ {
        self.by_net.values().copied()
    }

    /// The number of bodies.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are no bodies.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
