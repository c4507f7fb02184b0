//! The ledger's tables: balances, deals and their postings.

pub(in crate::db) mod books;
pub(in crate::db) mod holdings;

use std::collections::HashSet;

use diesel::prelude::*;
use diesel::upsert::excluded;
use uuid::Uuid;

use crate::db::backend::conn::{Conn, with_conn};
use crate::db::database::{Database, unix_ms, uuid_from};
use crate::db::error::DbError;
use crate::db::ledger::books::BooksTx;
use crate::db::ledger::holdings::{Balance, Commodity, Deal, DoneDeal, Holder, HolderKind};
use crate::db::tables::schema::{balances, deals, postings};
use crate::db::tables::text;
use crate::db::writer::batch::{self, write_meta};

/// The row of `meta` that every ledger transaction writes first. A transaction whose result is unknown holds its lock
/// until the database has decided, so that a lookup of its result waits for the decision.
const LOCK_KEY: &str = "ledger_run";

/// Maximum number of ids in one query: below every backend's limit of parameters.
const IDS_PER_QUERY: usize = 500;

/// Number of rows in one statement, where it can hold several.
#[cfg(feature = "postgres")]
const ROWS_PER_STATEMENT: usize = 1_000;

type BalanceRow = (i16, Vec<u8>, Vec<u8>, i16, i64);

impl Database {
    /// Writes a transaction of the ledger.
    pub(in crate::db) fn write_books(&self, tx: &BooksTx, run: Uuid) -> Result<(), DbError> {
        let now = unix_ms();
        for deal in &tx.deals {
            text::check("answer", &deal.answer)?;
        }
        self.write_transaction(|conn| {
            write_meta(conn, LOCK_KEY, &run.to_string())?;
            write_balances(conn, &tx.balances)?;
            for deal in &tx.deals {
                write_deal(conn, deal, run, now)?;
            }
            batch::write(conn, &tx.links, now)?;
            Ok(())
        })
    }

    /// The deals of `keys` that this run of the server has completed.
    pub(in crate::db) fn done_deals(&self, keys: &[Uuid], run: Uuid) -> Result<HashSet<Uuid>, DbError> {
        self.write_transaction(|conn| {
            write_meta(conn, LOCK_KEY, &run.to_string())?;
            let mut done = HashSet::new();
            for some in keys.chunks(IDS_PER_QUERY) {
                let query = deals::table
                    .filter(deals::id.eq_any(some.iter().map(|key| key.as_bytes().as_slice())))
                    .filter(deals::run.eq(run.as_bytes().as_slice()))
                    .select(deals::id);
                let rows: Vec<Vec<u8>> = with_conn!(conn, |c| query.load(c))?;
                for id in rows {
                    done.insert(uuid_from(&id, "deal id")?);
                }
            }
            Ok(done)
        })
    }

    /// A completed deal, by its key.
    ///
    /// # Errors
    /// When the database fails, or the row is damaged.
    pub fn deal(&self, key: Uuid) -> Result<Option<DoneDeal>, DbError> {
        type Row = (Vec<u8>, Vec<u8>, String, Vec<u8>);
        let query = deals::table.filter(deals::id.eq(key.as_bytes().as_slice())).select((
            deals::account,
            deals::bargain,
            deals::answer,
            deals::run,
        ));
        let row: Option<Row> = self.with(|conn| Ok(with_conn!(conn, |c| query.first(c)).optional()?))?;
        let Some((account, bargain, answer, run)) = row else { return Ok(None) };
        let (account, run) = (uuid_from(&account, "account id")?, uuid_from(&run, "run id")?);
        Ok(Some(DoneDeal { key, account, bargain, answer, run }))
    }

    /// The balances of shared holders.
    pub(in crate::db) fn shared_balances(&self) -> Result<Vec<Balance>, DbError> {
        let kinds = [HolderKind::World, HolderKind::Market, HolderKind::Void].map(|kind| kind as i16);
        let query = balances::table.filter(balances::kind.eq_any(kinds)).select((
            balances::kind,
            balances::id,
            balances::place,
            balances::commodity,
            balances::amount,
        ));
        let rows: Vec<BalanceRow> = self.with(|conn| Ok(with_conn!(conn, |c| query.load(c))?))?;
        rows.into_iter().map(balance_from).collect()
    }

    /// All balances under these ids of these kinds.
    pub(in crate::db) fn balances_of(&self, kinds: &[HolderKind], ids: &[Uuid]) -> Result<Vec<Balance>, DbError> {
        let mut found = Vec::new();
        for some in ids.chunks(IDS_PER_QUERY) {
            let query = balances::table
                .filter(balances::kind.eq_any(kinds.iter().map(|kind| *kind as i16)))
                .filter(balances::id.eq_any(some.iter().map(|id| id.as_bytes().as_slice())))
                .select((balances::kind, balances::id, balances::place, balances::commodity, balances::amount));
            let rows: Vec<BalanceRow> = self.with(|conn| Ok(with_conn!(conn, |c| query.load(c))?))?;
            for row in rows {
                found.push(balance_from(row)?);
            }
        }
        Ok(found)
    }

    /// A holder's stored amount.
    ///
    /// # Errors
    /// When the database fails.
    pub fn balance(&self, holder: Holder, commodity: Commodity) -> Result<Option<i64>, DbError> {
        let query = balances::table
            .filter(balances::kind.eq(holder.kind as i16))
            .filter(balances::id.eq(holder.id.as_bytes().as_slice()))
            .filter(balances::place.eq(holder.place.as_bytes().as_slice()))
            .filter(balances::commodity.eq(commodity as i16))
            .select(balances::amount);
        self.with(|conn| Ok(with_conn!(conn, |c| query.first(c)).optional()?))
    }
}

fn balance_from((kind, id, place, commodity, amount): BalanceRow) -> Result<Balance, DbError> {
    let damaged = || DbError::Damaged { what: "balance" };
    let holder = Holder::from_row(kind, &id, &place).ok_or_else(damaged)?;
    Ok((holder, Commodity::from_i16(commodity).ok_or_else(damaged)?, amount))
}

/// The columns of a balance. A macro, because the type cannot be named.
macro_rules! columns_of {
    ($balance:expr) => {{
        let (holder, commodity, amount) = $balance;
        (
            balances::kind.eq(holder.kind as i16),
            balances::id.eq(holder.id.as_bytes().as_slice()),
            balances::place.eq(holder.place.as_bytes().as_slice()),
            balances::commodity.eq(*commodity as i16),
            balances::amount.eq(amount),
        )
    }};
}

/// One by one on SQLite, many in a statement on PostgreSQL: see `batch`.
fn write_balances(conn: &mut Conn<'_>, all: &[Balance]) -> QueryResult<()> {
    let holder = (balances::kind, balances::id, balances::place, balances::commodity);
    match conn {
        Conn::Sqlite(conn) => {
            for balance in all {
                diesel::insert_into(balances::table)
                    .values(columns_of!(balance))
                    .on_conflict(holder)
                    .do_update()
                    .set(balances::amount.eq(excluded(balances::amount)))
                    .execute(*conn)?;
            }
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(conn) => {
            for some in all.chunks(ROWS_PER_STATEMENT) {
                let rows: Vec<_> = some.iter().map(|balance| columns_of!(balance)).collect();
                diesel::insert_into(balances::table)
                    .values(rows)
                    .on_conflict(holder)
                    .do_update()
                    .set(balances::amount.eq(excluded(balances::amount)))
                    .execute(*conn)?;
            }
        }
    }
    Ok(())
}

fn write_deal(conn: &mut Conn<'_>, deal: &Deal, run: Uuid, now: i64) -> QueryResult<()> {
    let insert = diesel::insert_into(deals::table).values((
        deals::id.eq(deal.key.as_bytes().as_slice()),
        deals::account.eq(deal.account.as_bytes().as_slice()),
        deals::bargain.eq(deal.bargain.as_slice()),
        deals::answer.eq(&deal.answer),
        deals::run.eq(run.as_bytes().as_slice()),
        deals::tick.eq(deal.tick),
        deals::created_at.eq(now),
    ));
    with_conn!(conn, |c| insert.execute(c))?;
    let lines: Vec<_> = (0i16..)
        .zip(&deal.postings)
        .map(|(line, posting)| {
            (
                postings::deal.eq(deal.key.as_bytes().as_slice()),
                postings::line.eq(line),
                postings::kind.eq(posting.holder.kind as i16),
                postings::id.eq(posting.holder.id.as_bytes().as_slice()),
                postings::place.eq(posting.holder.place.as_bytes().as_slice()),
                postings::commodity.eq(posting.commodity as i16),
                postings::delta.eq(posting.delta),
            )
        })
        .collect();
    let insert = diesel::insert_into(postings::table).values(lines);
    with_conn!(conn, |c| insert.execute(c))?;
    Ok(())
}
