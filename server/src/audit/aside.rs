//! What was set aside: entities that make shards fail, and suspects of that while it is found out.
//!
//! Who it was is decided by [`crate::audit::suspicion`]; [`super::setting_aside`] does it. What is set aside leaves the mirror, so that no shard
//! gets it, not as a ghost either; its newest state is in the database. When the server ends, everything is released: the
//! next one reads it with its sector or its player, as ever.

use super::suspicion::Suspicion;
use bevy::prelude::Resource;
use sidereal_protocol::{ids::EntityId, record::EntityRecord};
use std::collections::BTreeMap;

/// Why an entity was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Shards fail when they simulate it.
    Guilty,
    /// It is one of several that may be why: for a while.
    Suspect,
}

/// What has become of a player's ship: its player is still to be told.
#[derive(Debug)]
pub enum ShipFate {
    /// It was set aside.
    SetAside(Box<EntityRecord>, Why),
    /// It is free again.
    PutBack(Box<EntityRecord>),
}

/// What was set aside. All of it was in the mirror before, and each costs shards their lives: it needs no bound of its
/// own.
#[derive(Debug, Default, Resource)]
pub struct Aside {
    pub(super) kept: BTreeMap<EntityId, (Why, EntityRecord)>,
    /// To be set aside when their deals have ended: until then nobody simulates them either.
    pub(super) to_come: BTreeMap<EntityId, Why>,
    pub(super) suspicion: Suspicion,
}

impl Aside {
    /// Why an entity was set aside; `None` when it was not.
    pub fn why(&self, id: EntityId) -> Option<Why> {
        self.kept.get(&id).map(|(why, _)| *why)
    }

    /// How many were.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether nobody was.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}
