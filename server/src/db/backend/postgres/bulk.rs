//! Writes a batch of changes in few statements: each is a round trip, and a hosted server is milliseconds away.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, SmallInt};
use uuid::Uuid;

use crate::db::tables::rows::{COLUMNS, EntityRow, Fence, ON_CONFLICT, Sector};

/// Stores states and tombstones; no entity may occur twice. Returns how many were stored. Binds one array per column,
/// so that the statement is the same for any number of rows.
pub(in crate::db) fn write_entities(conn: &mut PgConnection, rows: &[EntityRow<'_>], now: i64) -> QueryResult<usize> {
    let ids: Vec<Uuid> = rows.iter().map(EntityRow::id).collect();
    let fences: Vec<Fence> = rows.iter().map(EntityRow::fence).collect();
    let contents: Vec<_> = rows.iter().map(EntityRow::content).collect();
    diesel::sql_query(format!(
        "INSERT INTO entities ({COLUMNS}) \
         SELECT u.*, $11 FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS u {ON_CONFLICT}"
    ))
    .bind::<Array<Binary>, _>(ids.iter().map(|id| id.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind::<Array<SmallInt>, _>(contents.iter().map(|(kind, ..)| *kind).collect::<Vec<_>>())
    .bind::<Array<Nullable<Binary>>, _>(contents.iter().map(|(_, owner, ..)| *owner).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(contents.iter().map(|(_, _, sector, _)| sector.0).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(contents.iter().map(|(_, _, sector, _)| sector.1).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(fences.iter().map(|fence| fence.epoch).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(fences.iter().map(|fence| fence.version).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(fences.iter().map(|fence| fence.tick).collect::<Vec<_>>())
    .bind::<Array<Binary>, _>(contents.iter().map(|(.., record)| *record).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(fences.iter().map(|fence| fence.deleted).collect::<Vec<_>>())
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
