//! Entities that tests have poisoned: a shard panics when it simulates one.
//!
//! Runs in the shard, only with the feature `planted-faults`.

use crate::{
    app::suspect,
    bodies::{authority::Authority, body::Body},
    schedule::{SimStep, SimSystems},
};
use bevy::prelude::*;
use sidereal_protocol::world::ids::EntityId;
use std::{cell::RefCell, collections::BTreeMap};

/// Panics on the entities that a test has poisoned.
pub(crate) struct PoisonPlugin;

impl Plugin for PoisonPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(SimStep, take_poison.after(SimSystems::Helm).before(SimSystems::Flight));
    }
}

/// Where the panic happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// While only this entity is processed.
    Alone,
    /// While all entities are processed together.
    Amidst,
}

thread_local! {
    static POISON: RefCell<BTreeMap<EntityId, Place>> = const { RefCell::new(BTreeMap::new()) };
}

/// From now on every shard of this thread panics when it simulates `id`.
pub fn poison(id: EntityId, place: Place) {
    POISON.with_borrow_mut(|poison| poison.insert(id, place));
}

/// Undoes [`poison`].
pub fn cure(id: EntityId) {
    POISON.with_borrow_mut(|poison| poison.remove(&id));
}

pub(crate) fn take_poison(bodies: Query<&Body, With<Authority>>) {
    let place = |body: &Body| POISON.with_borrow(|poison| poison.get(&body.id).copied());
    for body in &bodies {
        let _at = suspect::at(body.id);
        assert_ne!(place(body), Some(Place::Alone), "planted: {} is poison", body.id);
    }
    assert!(!bodies.iter().any(|body| place(body) == Some(Place::Amidst)), "planted: one of the entities is poison");
}
