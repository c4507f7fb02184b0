//! Reads that include unwritten changes: the stored rows merged with the waiting changes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard};

use uuid::Uuid;

use super::state::{LoadedSector, Shared, State};
use crate::db::error::DbError;
use crate::db::ledger::holdings::HolderKind;
use crate::db::tables::rows::{Fence, Sector, StoredEntity};
use crate::db::writer::write_behind::Change;

/// The newest fence of each entity, with its state; `None` if it is gone or elsewhere.
type Newest = HashMap<Uuid, (Fence, Option<StoredEntity>)>;

/// Keeps the newer of two states; of equal ones the first.
fn keep_newest(newest: &mut Newest, id: Uuid, fence: Fence, entity: Option<StoredEntity>) {
    if newest.get(&id).is_none_or(|(known, _)| *known < fence) {
        newest.insert(id, (fence, entity));
    }
}

fn keep_newest_change(newest: &mut Newest, change: &Change) {
    match change {
        Change::Put(entity) => keep_newest(newest, entity.id, entity.fence(), Some(entity.clone())),
        Change::Tombstone { id, fence } => keep_newest(newest, *id, *fence, None),
        _ => {}
    }
}

/// Merges the stored rows with the waiting changes: the newest state of each entity, in that state's sector.
pub(super) fn read_sectors(
    shared: &Shared,
    mut state: MutexGuard<'_, State>,
    wanted: &[Sector],
) -> Result<Vec<LoadedSector>, DbError> {
    state.core.begin_read();
    let marked: HashSet<Sector> =
        wanted.iter().copied().filter(|sector| state.core.waiting_generated(*sector)).collect();
    let waiting: Vec<Arc<Change>> = wanted.iter().flat_map(|sector| state.core.waiting_in(*sector)).collect();
    drop(state);

    let mut newest = Newest::new();
    for change in &waiting {
        keep_newest_change(&mut newest, change);
    }
    let waiting_ids: Vec<Uuid> = newest.keys().copied().collect();
    let stored = shared.database.load_sectors(wanted, &waiting_ids)?;
    // A stored entity may have moved or been destroyed in a waiting change. Of equal fences the waiting one takes
    // precedence, as it will in the database, so it comes first.
    let state = shared.lock();
    let moved: Vec<Arc<Change>> =
        stored.entities.iter().filter_map(|entity| state.core.waiting_entity(entity.id)).collect();
    drop(state);
    for change in &moved {
        keep_newest_change(&mut newest, change);
    }
    for entity in stored.entities {
        keep_newest(&mut newest, entity.id, entity.fence(), Some(entity));
    }
    for (id, fence) in stored.fences {
        keep_newest(&mut newest, id, fence, None);
    }

    let ids: Vec<Uuid> = newest.keys().copied().collect();
    let balances = shared.database.balances_of(&[HolderKind::Entity], &ids)?;
    shared.lock().books.admit(&ids, balances);

    let mut found: HashMap<Sector, Vec<StoredEntity>> = HashMap::new();
    for entity in newest.into_values().filter_map(|(_, entity)| entity).filter(|entity| entity.owner.is_none()) {
        found.entry(entity.sector).or_default().push(entity);
    }
    Ok(wanted
        .iter()
        .map(|sector| {
            let mut entities = found.remove(sector).unwrap_or_default();
            entities.sort_unstable_by_key(|entity| entity.id);
            (*sector, marked.contains(sector) || stored.generated.contains(sector), entities)
        })
        .collect())
}

pub(super) fn read_ship(
    shared: &Shared,
    mut state: MutexGuard<'_, State>,
    account: Uuid,
) -> Result<Option<StoredEntity>, DbError> {
    state.core.begin_read();
    let waiting = state.core.waiting_ship(account);
    drop(state);
    let own = shared.database.balances_of(&[HolderKind::Wallet, HolderKind::Vault], &[account])?;
    shared.lock().books.admit(&[account], own);
    let Some(ship) = waiting.map_or_else(|| shared.database.ship_of(account), |ship| Ok(Some(ship)))? else {
        return Ok(None);
    };
    let cargo = shared.database.balances_of(&[HolderKind::Entity], &[ship])?;
    shared.lock().books.admit(&[ship], cargo);
    let stored = shared.database.entity_with_fence(ship)?;
    let state = shared.lock();
    let waiting = state.core.waiting_entity(ship);
    drop(state);
    let mut newest = Newest::new();
    if let Some(change) = waiting {
        keep_newest_change(&mut newest, &change);
    }
    if let Some((fence, entity)) = stored {
        keep_newest(&mut newest, ship, fence, entity);
    }
    Ok(newest.remove(&ship).and_then(|(_, entity)| entity))
}
