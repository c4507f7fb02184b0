//! A batch of changes in few statements: each is a round trip, and a hosted server is milliseconds away.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, SmallInt};
use uuid::Uuid;

use super::super::batch::EntityRow;
use super::super::rows::Sector;

/// A tombstone leaves the place where the entity was; the last condition is the order of [`Fence`].
const UPSERT: &str = "\
    INSERT INTO entities (id, kind, owner, sector_x, sector_y, epoch, version, tick, record, deleted, updated_at) \
    SELECT u.*, $11 FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS u \
    ON CONFLICT (id) DO UPDATE SET \
    kind = CASE WHEN excluded.deleted THEN entities.kind ELSE excluded.kind END, \
    owner = CASE WHEN excluded.deleted THEN entities.owner ELSE excluded.owner END, \
    sector_x = CASE WHEN excluded.deleted THEN entities.sector_x ELSE excluded.sector_x END, \
    sector_y = CASE WHEN excluded.deleted THEN entities.sector_y ELSE excluded.sector_y END, \
    epoch = excluded.epoch, version = excluded.version, tick = excluded.tick, record = excluded.record, \
    deleted = excluded.deleted, updated_at = excluded.updated_at \
    WHERE (excluded.epoch, excluded.version, excluded.tick, excluded.deleted) \
    >= (entities.epoch, entities.version, entities.tick, entities.deleted)";

/// Stores states and tombstones, none of which names an entity twice, unless newer ones are there; tells how many were
/// stored. In the order of their ids, so that two writers cannot wait for each other.
pub(in crate::db) fn write_entities(conn: &mut PgConnection, rows: &[EntityRow<'_>], now: i64) -> QueryResult<usize> {
    const NOTHING: &[u8] = &[];
    let ids: Vec<Uuid> = rows.iter().map(EntityRow::id).collect();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_unstable_by_key(|at| ids[*at]);
    let states: Vec<_> = order
        .iter()
        .map(|at| match &rows[*at] {
            EntityRow::State(entity) => (
                entity.kind,
                entity.owner.as_ref().map(|owner| owner.as_bytes().as_slice()),
                entity.sector,
                entity.fence(),
                entity.record.as_slice(),
            ),
            EntityRow::Tombstone(_, fence) => (0, None, (0, 0), *fence, NOTHING),
        })
        .collect();
    diesel::sql_query(UPSERT)
        .bind::<Array<Binary>, _>(order.iter().map(|at| ids[*at].as_bytes().as_slice()).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(states.iter().map(|(kind, ..)| *kind).collect::<Vec<_>>())
        .bind::<Array<Nullable<Binary>>, _>(states.iter().map(|(_, owner, ..)| *owner).collect::<Vec<_>>())
        .bind::<Array<Integer>, _>(states.iter().map(|(_, _, sector, ..)| sector.0).collect::<Vec<_>>())
        .bind::<Array<Integer>, _>(states.iter().map(|(_, _, sector, ..)| sector.1).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(states.iter().map(|(_, _, _, fence, _)| fence.epoch).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(states.iter().map(|(_, _, _, fence, _)| fence.version).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(states.iter().map(|(_, _, _, fence, _)| fence.tick).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(states.iter().map(|(.., record)| *record).collect::<Vec<_>>())
        .bind::<Array<Bool>, _>(states.iter().map(|(_, _, _, fence, _)| fence.deleted).collect::<Vec<_>>())
        .bind::<BigInt, _>(now)
        .execute(conn)
}

/// Marks sectors as generated; the first mark stays.
pub(in crate::db) fn write_generated(conn: &mut PgConnection, marks: &[(Sector, i64)]) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO sectors (x, y, generated_at_tick) SELECT * FROM unnest($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind::<Array<Integer>, _>(marks.iter().map(|((x, _), _)| *x).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(marks.iter().map(|((_, y), _)| *y).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(marks.iter().map(|(_, tick)| *tick).collect::<Vec<_>>())
    .execute(conn)?;
    Ok(())
}
