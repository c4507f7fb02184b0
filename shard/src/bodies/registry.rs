//! The Bevy entity of each world entity, and the order in which the simulation processes them.
//!
//! Runs in the shard. One body per id, own or ghost. Whatever depends on an order uses [`Registry::in_order`], or
//! [`Registry::of`] for the few kinds that a pass is about: Bevy's `Entity` differs from run to run, a [`NetId`] does
//! not.

use bevy::{platform::collections::HashMap, prelude::*};
use sidereal_protocol::{
    rules::tool::Tool,
    world::{
        ids::{EntityId, NetId},
        kind::EntityKind,
    },
};

/// Adds the registry.
pub(crate) struct RegistryPlugin;

impl Plugin for RegistryPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Registry>();
    }
}

/// A body in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listed {
    net_id: NetId,
    kind: EntityKind,
    entity: Entity,
}

/// Every body on this shard.
#[derive(Resource, Debug, Default)]
pub struct Registry {
    by_id: HashMap<EntityId, (NetId, Entity)>,
    /// By strictly rising net id. New bodies nearly always have the highest one, so that an insertion is at the end.
    order: Vec<Listed>,
    changes: u64,
}

impl Registry {
    /// Adds a body. The caller has removed an older one with the same id.
    pub fn insert(&mut self, id: EntityId, net_id: NetId, kind: EntityKind, entity: Entity) {
        debug_assert!(!self.by_id.contains_key(&id), "one body per id: {id}");
        self.changes += 1;
        self.by_id.insert(id, (net_id, entity));
        let listed = Listed { net_id, kind, entity };
        match self.place(net_id) {
            Ok(index) => self.order[index] = listed,
            Err(index) => self.order.insert(index, listed),
        }
    }

    /// Removes the body of `id` from the registry.
    pub fn remove(&mut self, id: EntityId) -> Option<Entity> {
        let (net_id, entity) = self.by_id.remove(&id)?;
        self.changes += 1;
        if let Ok(index) = self.place(net_id)
            && self.order[index].entity == entity
        {
            self.order.remove(index);
        }
        Some(entity)
    }

    /// The body of `id`.
    pub fn get(&self, id: EntityId) -> Option<Entity> {
        self.by_id.get(&id).map(|&(_, entity)| entity)
    }

    /// The body of `net_id`.
    pub fn by_net(&self, net_id: NetId) -> Option<Entity> {
        self.place(net_id).ok().map(|index| self.order[index].entity)
    }

    /// All bodies by rising net id.
    pub fn in_order(&self) -> impl Iterator<Item = Entity> + '_ {
        self.order.iter().map(|listed| listed.entity)
    }

    /// The bodies of the kinds for which `wanted` is true, by rising net id.
    pub fn of<'a>(&'a self, wanted: impl Fn(EntityKind) -> bool + 'a) -> impl Iterator<Item = Entity> + 'a {
        // Each kind is asked about once: bits by the kind's number.
        let (mut known, mut yes) = (0u64, 0u64);
        let is_wanted = move |listed: &&Listed| {
            let bit = 1 << (listed.kind as u8 % 64);
            if known & bit == 0 {
                known |= bit;
                yes |= if wanted(listed.kind) { bit } else { 0 };
            }
            yes & bit != 0
        };
        self.order.iter().filter(is_wanted).map(|listed| listed.entity)
    }

    /// The bodies of the kinds that carry `tool`, by rising net id.
    pub fn carrying(&self, tool: Tool) -> impl Iterator<Item = Entity> + '_ {
        self.of(move |kind| tool.is_carried_by(kind))
    }

    /// The bodies with net ids for which `wanted` is true, by rising net id.
    pub fn with_net_ids<'a>(&'a self, wanted: impl Fn(NetId) -> bool + 'a) -> impl Iterator<Item = Entity> + 'a {
        self.order.iter().filter(move |listed| wanted(listed.net_id)).map(|listed| listed.entity)
    }

    /// How often a body was added or removed so far.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The number of bodies.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are no bodies.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn place(&self, net_id: NetId) -> Result<usize, usize> {
        match self.order.last() {
            Some(last) if last.net_id < net_id => Err(self.order.len()),
            _ => self.order.binary_search_by_key(&net_id, |listed| listed.net_id),
        }
    }
}
