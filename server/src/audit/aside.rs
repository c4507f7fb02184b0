//! The entities that were set aside: those that make shards fail, and suspects during the search.
//!
//! [`crate::audit::suspicion`] decides which; [`super::setting_aside`] carries it out. An entity that is set aside
//! leaves the mirror, so that no shard gets it, not even as a ghost; its newest state is in the database. When the
//! server ends, all are released: the next one loads them with their sector or player, as usual.

use super::suspicion::Suspicion;
use bevy::prelude::Resource;
use sidereal_protocol::{record::EntityRecord, world::ids::EntityId};
use std::collections::BTreeMap;

/// Why an entity is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Shards fail when they simulate it.
    Guilty,
    /// One of several possible causes; set aside for a while.
    Suspect,
}

/// A change of a player's ship of which the player must be notified.
#[derive(Debug)]
pub enum ShipFate {
    /// It was set aside.
    SetAside(Box<EntityRecord>, Why),
    /// It is released.
    PutBack(Box<EntityRecord>),
}

/// The entities that are set aside. Each was in the mirror before, and each costs shards crashes, so this needs no
/// limit of its own.
#[derive(Debug, Default, Resource)]
pub struct Aside {
    pub(super) kept: BTreeMap<EntityId, (Why, EntityRecord)>,
    /// To be set aside when their deals have ended; until then no shard simulates them either.
    pub(super) to_come: BTreeMap<EntityId, Why>,
    pub(super) suspicion: Suspicion,
}

impl Aside {
    /// Why an entity is set aside; `None` if it is not.
    pub fn why(&self, id: EntityId) -> Option<Why> {
        self.kept.get(&id).map(|(why, _)| *why)
    }

    /// The number of entities set aside.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether no entity is set aside.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}
