//! The writer's batch: changes into rows, with an exact count of those that lost against a newer fence.
//!
//! SQLite takes them one by one, for a statement is a call of a function there. PostgreSQL takes all of them in one
//! statement, for there each is a round trip, see `postgres::bulk`.

#[cfg(any(feature = "postgres", test))]
use std::collections::HashMap;

use diesel::prelude::*;
use diesel::query_dsl::methods;
use diesel::sqlite::SqliteConnection;
use diesel::upsert::excluded;
use uuid::Uuid;

use super::conn::Conn;
use super::database::{write_meta, write_ship};
#[cfg(feature = "postgres")]
use super::postgres;
use super::rows::{Fence, Sector, StoredEntity};
use super::schema::{entities, sectors};
use super::write_behind::Change;

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

impl EntityRow<'_> {
    #[cfg(any(feature = "postgres", test))]
    pub fn id(&self) -> Uuid {
        match self {
            Self::State(entity) => entity.id,
            Self::Tombstone(id, _) => *id,
        }
    }
}

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

fn write_entities(conn: &mut Conn<'_>, rows: &[EntityRow<'_>], now: i64) -> QueryResult<usize> {
    let mut written = 0;
    match conn {
        Conn::Sqlite(conn) => {
            for row in rows {
                written += usize::from(match row {
                    EntityRow::State(entity) => write_state(conn, entity, now)?,
                    EntityRow::Tombstone(id, fence) => write_tombstone(conn, *id, *fence, now)?,
                });
            }
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(conn) => {
            for wave in waves(rows) {
                written += postgres::write_entities(conn, &wave, now)?;
            }
        }
    }
    Ok(written)
}

/// The rows in as few groups as it takes for none to hold an entity twice: a statement cannot change a row twice, and of
/// two changes each must be counted. The writer's batches need one.
#[cfg_attr(not(feature = "postgres"), cfg(test))]
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
    waves
}

fn write_generated(conn: &mut Conn<'_>, marks: &[(Sector, i64)]) -> QueryResult<()> {
    match conn {
        Conn::Sqlite(conn) => {
            for ((x, y), tick) in marks {
                diesel::insert_into(sectors::table)
                    .values((sectors::x.eq(x), sectors::y.eq(y), sectors::generated_at_tick.eq(tick)))
                    .on_conflict_do_nothing()
                    .execute(*conn)?;
            }
            Ok(())
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(conn) => postgres::write_generated(conn, marks),
    }
}

/// The order of [`Fence`] in SQL: the new row is not older than the stored one. A macro, for the type has forty lines.
macro_rules! is_not_older {
    () => {
        excluded(entities::epoch).gt(entities::epoch).or(excluded(entities::epoch).eq(entities::epoch).and(
            excluded(entities::version).gt(entities::version).or(excluded(entities::version)
                .eq(entities::version)
                .and(excluded(entities::tick).gt(entities::tick).or(
                    excluded(entities::tick).eq(entities::tick).and(excluded(entities::deleted).ge(entities::deleted)),
                ))),
        ))
    };
}

/// Stores a state unless a newer one is there; tells whether it was stored.
fn write_state(conn: &mut SqliteConnection, entity: &StoredEntity, now: i64) -> QueryResult<bool> {
    let owner = entity.owner.as_ref().map(|owner| owner.as_bytes().as_slice());
    let insert = diesel::insert_into(entities::table)
        .values((
            entities::id.eq(entity.id.as_bytes().as_slice()),
            entities::kind.eq(entity.kind),
            entities::owner.eq(owner),
            entities::sector_x.eq(entity.sector.0),
            entities::sector_y.eq(entity.sector.1),
            entities::epoch.eq(entity.epoch),
            entities::version.eq(entity.version),
            entities::tick.eq(entity.tick),
            entities::record.eq(entity.record.as_slice()),
            entities::deleted.eq(false),
            entities::updated_at.eq(now),
        ))
        .on_conflict(entities::id)
        .do_update()
        .set((
            entities::kind.eq(excluded(entities::kind)),
            entities::owner.eq(excluded(entities::owner)),
            entities::sector_x.eq(excluded(entities::sector_x)),
            entities::sector_y.eq(excluded(entities::sector_y)),
            entities::epoch.eq(excluded(entities::epoch)),
            entities::version.eq(excluded(entities::version)),
            entities::tick.eq(excluded(entities::tick)),
            entities::record.eq(excluded(entities::record)),
            entities::deleted.eq(excluded(entities::deleted)),
            entities::updated_at.eq(excluded(entities::updated_at)),
        ));
    Ok(methods::FilterDsl::filter(insert, is_not_older!()).execute(conn)? > 0)
}

/// Marks an entity as gone unless a newer state is there; tells whether it was marked. The row keeps the fence.
fn write_tombstone(conn: &mut SqliteConnection, id: Uuid, fence: Fence, now: i64) -> QueryResult<bool> {
    const NOTHING: &[u8] = &[];
    let insert = diesel::insert_into(entities::table)
        .values((
            entities::id.eq(id.as_bytes().as_slice()),
            entities::kind.eq(0),
            entities::sector_x.eq(0),
            entities::sector_y.eq(0),
            entities::epoch.eq(fence.epoch),
            entities::version.eq(fence.version),
            entities::tick.eq(fence.tick),
            entities::record.eq(NOTHING),
            entities::deleted.eq(true),
            entities::updated_at.eq(now),
        ))
        .on_conflict(entities::id)
        .do_update()
        .set((
            entities::epoch.eq(excluded(entities::epoch)),
            entities::version.eq(excluded(entities::version)),
            entities::tick.eq(excluded(entities::tick)),
            entities::record.eq(excluded(entities::record)),
            entities::deleted.eq(excluded(entities::deleted)),
            entities::updated_at.eq(excluded(entities::updated_at)),
        ));
    Ok(methods::FilterDsl::filter(insert, is_not_older!()).execute(conn)? > 0)
}
