//! Passes changes to the write-behind store.

use super::storage::{Storage, is_stored};
use crate::db::META_TICK;
use crate::replication::space::Space;
use bevy::prelude::Res;
use sidereal_protocol::world::ids::EntityId;

/// Interval at which changed entities are passed to the store, ticks: a third of a second. With the store's 300 ms the
/// loss window stays under a second, with reserve for a busy machine.
const HAND_OVER_TICKS: u64 = 10;

/// Passes every changed entity to the store, with its motion.
pub fn hand_over(space: &mut Space, storage: &Storage) {
    let changed: Vec<EntityId> = space
        .mirror
        .iter()
        .filter(|(_, entry)| is_stored(&entry.record))
        .filter(|(_, entry)| {
            entry.dirty
                || space.motion.state_of(entry.record.net_id).is_some_and(|(_, state, _)| state != entry.record.state)
        })
        .map(|(id, _)| id)
        .collect();
    for id in changed {
        let Some(record) = space.current_record(id) else { continue };
        if !storage.put(&record) {
            // It stays marked, and is passed again next time.
            continue;
        }
        if let Some(entry) = space.mirror.get_mut(id) {
            entry.dirty = false;
            entry.record.state = record.state;
            entry.record.tick = record.tick;
        }
    }
    if let Some(store) = storage.store() {
        store.set_meta(META_TICK, space.clock.tick.0.to_string());
    }
}

/// Passes changed entities to the store at each interval.
pub fn hand_over_changes(mut space: Space, storage: Res<Storage>) {
    if space.clock.tick.0.is_multiple_of(HAND_OVER_TICKS) {
        hand_over(&mut space, &storage);
    }
}
