//! The writer's batch: changes into rows, with an exact count of those that lost against a newer fence.
//!
//! All entities of a batch go in one statement of either backend's own; what happens when a row is there already is the
//! same SQL for both. Measured once, batches of 500 on two busy cores, this crate at opt-level 1, rows per second: SQLite
//! 12,000 to 16,000 one by one, 58,000 to 100,000 together; PostgreSQL on the same machine 1,700 to 3,000 one by one,
//! 31,000 to 51,000 together, and 30,000 to 35,000 by `COPY` into a temporary table and from there.

use std::collections::HashMap;

use diesel::prelude::*;
use uuid::Uuid;

use super::conn::Conn;
use super::database::{write_meta, write_ship};
#[cfg(feature = "postgres")]
use super::postgres;
use super::rows::{Fence, Sector, StoredEntity};
use super::sqlite;
use super::write_behind::Change;

#[cfg(test)]
mod tests;

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WriteOutcome {
    /// Changes that lost against a newer fence.
    pub stale: u64,
}

/// An entity's state, or that it is gone.
#[derive(Clone, Copy, Debug)]
pub(super) enum EntityRow<'a> {
    State(&'a StoredEntity),
    Tombstone(Uuid, Fence),
}

impl<'a> EntityRow<'a> {
    pub fn id(&self) -> Uuid {
        match self {
            Self::State(entity) => entity.id,
            Self::Tombstone(id, _) => *id,
        }
    }

    pub fn fence(&self) -> Fence {
        match self {
            Self::State(entity) => entity.fence(),
            Self::Tombstone(_, fence) => *fence,
        }
    }

    /// Kind, owner, sector and record; a tombstone has none, and leaves those of the row as they are, but for the record.
    pub fn content(&self) -> (i16, Option<&'a [u8]>, Sector, &'a [u8]) {
        match self {
            Self::State(entity) => {
                let owner = entity.owner.as_ref().map(|owner| owner.as_bytes().as_slice());
                (entity.kind, owner, entity.sector, &entity.record)
            }
            Self::Tombstone(..) => (0, None, (0, 0), &[]),
        }
    }
}

/// The columns of an entity's row, as the statements of both backends bind them.
pub(super) const COLUMNS: &str =
    "id, kind, owner, sector_x, sector_y, epoch, version, tick, record, deleted, updated_at";

/// What happens when the row is there: nothing if it is newer, by the order of [`Fence`].
pub(super) const ON_CONFLICT: &str = "\
    ON CONFLICT (id) DO UPDATE SET \
    kind = CASE WHEN excluded.deleted THEN entities.kind ELSE excluded.kind END, \
    owner = CASE WHEN excluded.deleted THEN entities.owner ELSE excluded.owner END, \
    sector_x = CASE WHEN excluded.deleted THEN entities.sector_x ELSE excluded.sector_x END, \
    sector_y = CASE WHEN excluded.deleted THEN entities.sector_y ELSE excluded.sector_y END, \
    epoch = excluded.epoch, version = excluded.version, tick = excluded.tick, record = excluded.record, \
    deleted = excluded.deleted, updated_at = excluded.updated_at \
    WHERE (excluded.epoch, excluded.version, excluded.tick, excluded.deleted) \
    >= (entities.epoch, entities.version, entities.tick, entities.deleted)";

/// Writes changes inside a transaction, those of one key in their order. `now` is in Unix milliseconds.
pub(super) fn write<'a>(
    conn: &mut Conn<'_>,
    changes: impl IntoIterator<Item = &'a Change>,
    now: i64,
) -> QueryResult<WriteOutcome> {
    let (mut rows, mut marks) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::Put(entity) => rows.push(EntityRow::State(entity)),
            Change::Tombstone { id, fence } => rows.push(EntityRow::Tombstone(*id, *fence)),
            Change::Generated { sector, tick } => marks.push((*sector, *tick)),
            Change::Ship { account, ship } => {
                if !write_ship(conn, *account, *ship)? {
                    tracing::warn!(%account, %ship, "no such account: its ship was not linked");
                }
            }
            Change::Meta { key, value } => write_meta(conn, key, value)?,
        }
    }
    let written = write_entities(conn, &rows, now)?;
    if !marks.is_empty() {
        write_generated(conn, &marks)?;
    }
    Ok(WriteOutcome { stale: (rows.len() - written) as u64 })
}

/// Stores states and tombstones unless newer ones are there; tells how many were stored.
fn write_entities(conn: &mut Conn<'_>, rows: &[EntityRow<'_>], now: i64) -> QueryResult<usize> {
    let mut written = 0;
    for wave in waves(rows) {
        written += match conn {
            Conn::Sqlite(conn) => sqlite::write_entities(conn, &wave, now)?,
            #[cfg(feature = "postgres")]
            Conn::Postgres(conn) => postgres::write_entities(conn, &wave, now)?,
        };
    }
    Ok(written)
}

/// The rows in as few groups as it takes for none to hold an entity twice: a statement cannot change a row twice, and of
/// two changes each must be counted. The writer's batches need one. Each is in the order of its ids, so that two writers
/// cannot wait for each other.
fn waves<'a>(rows: &[EntityRow<'a>]) -> Vec<Vec<EntityRow<'a>>> {
    let mut waves: Vec<Vec<EntityRow<'a>>> = Vec::new();
    let mut seen: HashMap<Uuid, usize> = HashMap::with_capacity(rows.len());
    for row in rows {
        let times = seen.entry(row.id()).or_default();
        if waves.len() == *times {
            waves.push(Vec::new());
        }
        waves[*times].push(*row);
        *times += 1;
    }
    for wave in &mut waves {
        wave.sort_unstable_by_key(EntityRow::id);
    }
    waves
}

/// Marks sectors as generated; the first mark stays.
fn write_generated(conn: &mut Conn<'_>, marks: &[(Sector, i64)]) -> QueryResult<()> {
    match conn {
        Conn::Sqlite(conn) => sqlite::write_generated(conn, marks),
        #[cfg(feature = "postgres")]
        Conn::Postgres(conn) => postgres::write_generated(conn, marks),
    }
}
