//! The size of a database's contents.

use std::collections::BTreeMap;
use std::fmt;

use diesel::prelude::*;
use serde::Serialize;

use super::rows::BalanceRow;
use crate::db::backend::conn::{Conn, with_conn};
use crate::db::database::Database;
use crate::db::error::DbError;
use crate::db::ledger::holdings::{Commodity, Holder};
use crate::db::tables::rows::{META_SEED, META_TICK};
use crate::db::tables::schema::{accounts, balances, carried, deals, entities, meta, postings, sectors, sessions};

/// The contents of a database, counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatabaseStats {
    /// The world's seed.
    pub seed: Option<String>,
    /// The world's tick.
    pub tick: Option<String>,
    /// Accounts.
    pub accounts: i64,
    /// Generated sectors.
    pub sectors: i64,
    /// Living entities, by the number of their kind.
    pub entities: BTreeMap<i16, i64>,
    /// Entities that are gone, whose fence is kept.
    pub tombstones: i64,
    /// Bytes of all records.
    pub record_bytes: i64,
    /// Completed deals.
    pub deals: i64,
    /// Their lines.
    pub postings: i64,
    /// Holders with removed deals, each with the sum of their changes.
    pub carried: i64,
    /// Sessions, expired ones included.
    pub sessions: i64,
    /// Rows of the ledger.
    pub balances: i64,
    /// The total of each commodity by kind of holder.
    pub held: BTreeMap<String, i64>,
}

/// Counts a snapshot of the database.
///
/// # Errors
/// When the database fails.
pub fn stats(database: &Database) -> Result<DatabaseStats, DbError> {
    database.read_transaction(|conn| {
        let setting = |conn: &mut Conn<'_>, key: &str| -> QueryResult<Option<String>> {
            let query = meta::table.filter(meta::key.eq(key)).select(meta::value);
            with_conn!(conn, |c| query.first(c)).optional()
        };
        let mut kinds: BTreeMap<i16, i64> = BTreeMap::new();
        let (mut tombstones, mut record_bytes) = (0, 0);
        let rows = entities::table.select((entities::kind, entities::deleted, entities::record));
        for_each_row!(conn, rows, |row: (i16, bool, Vec<u8>)| {
            let (kind, deleted, record) = row;
            record_bytes += record.len() as i64;
            if deleted {
                tombstones += 1;
            } else {
                *kinds.entry(kind).or_default() += 1;
            }
        });
        let mut held: BTreeMap<String, i64> = BTreeMap::new();
        let mut rows_held = 0;
        for_each_row!(conn, balances::table.select(BalanceRow::as_select()), |row: BalanceRow| {
            rows_held += 1;
            let who = Holder::from_row(row.kind, &row.id, &row.place).map(|holder| format!("{:?}", holder.kind));
            let what = Commodity::from_i16(row.commodity).map(|commodity| format!("{commodity:?}"));
            if let (Some(who), Some(what)) = (who, what) {
                *held.entry(format!("{who} {what}").to_lowercase()).or_default() += row.amount;
            }
        });
        Ok(DatabaseStats {
            seed: setting(conn, META_SEED)?,
            tick: setting(conn, META_TICK)?,
            accounts: with_conn!(conn, |c| accounts::table.count().get_result(c))?,
            sectors: with_conn!(conn, |c| sectors::table.count().get_result(c))?,
            entities: kinds,
            tombstones,
            record_bytes,
            deals: with_conn!(conn, |c| deals::table.count().get_result(c))?,
            postings: with_conn!(conn, |c| postings::table.count().get_result(c))?,
            carried: with_conn!(conn, |c| carried::table.count().get_result(c))?,
            sessions: with_conn!(conn, |c| sessions::table.count().get_result(c))?,
            balances: rows_held,
            held,
        })
    })
}

impl fmt::Display for DatabaseStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "none".to_owned();
        writeln!(f, "seed        {}", self.seed.clone().unwrap_or_else(unknown))?;
        writeln!(f, "tick        {}", self.tick.clone().unwrap_or_else(unknown))?;
        writeln!(f, "accounts    {}", self.accounts)?;
        writeln!(f, "sectors     {}", self.sectors)?;
        let alive: i64 = self.entities.values().sum();
        writeln!(f, "entities    {alive} alive, {} gone, {} bytes of records", self.tombstones, self.record_bytes)?;
        for (kind, count) in &self.entities {
            let name = u8::try_from(*kind).ok().and_then(sidereal_protocol::record::EntityKind::from_u8);
            writeln!(f, "  {:<22}{count}", name.map_or_else(|| format!("kind {kind}"), |kind| format!("{kind:?}")))?;
        }
        writeln!(f, "deals       {}, in {} lines; of older ones {} sums", self.deals, self.postings, self.carried)?;
        writeln!(f, "sessions    {}", self.sessions)?;
        writeln!(f, "ledger      {} rows", self.balances)?;
        for (who, amount) in &self.held {
            writeln!(f, "  {who:<22}{amount}")?;
        }
        Ok(())
    }
}
