//! Passes changes to the write-behind store.

use super::storage::{Storage, is_stored};
use crate::db::META_TICK;
use crate::replication::space::Space;
use bevy::prelude::{Res, ResMut, Resource};
use sidereal_protocol::world::ids::EntityId;

/// Each entity is looked at once in this many ticks, and passed to the store if it has changed: a third of a second. With
/// the store's 300 ms the loss window stays under a second, with reserve for a busy machine.
const HAND_OVER_TICKS: u64 = 10;

/// Where the next tick continues to look for changes.
#[derive(Debug, Default, Resource)]
pub struct Progress(Option<EntityId>);

/// Passes every changed entity to the store, with its motion.
pub fn hand_over(space: &mut Space, storage: &Storage) {
    let all: Vec<EntityId> = space.mirror.ids_after(None).collect();
    hand_over_of(space, storage, &all);
    hand_over_tick(space, storage);
}

fn hand_over_tick(space: &Space, storage: &Storage) {
    if let Some(store) = storage.store() {
        store.set_meta(META_TICK, space.clock.tick.0.to_string());
    }
}

/// Passes those of `ids` to the store that have changed.
fn hand_over_of(space: &mut Space, storage: &Storage, ids: &[EntityId]) {
    let changed: Vec<EntityId> = ids
        .iter()
        .filter_map(|id| space.mirror.get(*id).map(|entry| (*id, entry)))
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
}

/// Looks at a tenth of all entities, and passes the changed ones to the store.
pub fn hand_over_changes(mut space: Space, storage: Res<Storage>, mut progress: ResMut<Progress>) {
    let share = space.mirror.len().div_ceil(HAND_OVER_TICKS as usize);
    let ids: Vec<EntityId> = space.mirror.ids_after(progress.0).take(share).collect();
    // At the end it begins anew: no tick looks at nothing, so that a round takes ten.
    progress.0 = ids.last().copied().filter(|last| space.mirror.ids_after(Some(*last)).next().is_some());
    hand_over_of(&mut space, &storage, &ids);
    if space.clock.tick.0.is_multiple_of(HAND_OVER_TICKS) {
        hand_over_tick(&space, &storage);
    }
}
