//! The ledger's tables: balances, deals and their postings.

use std::collections::HashSet;

use diesel::prelude::*;
use diesel::upsert::excluded;
use uuid::Uuid;

use super::books::BooksTx;
use super::database::{Database, unix_ms, uuid_from, write_entity, write_meta, write_tombstone};
use super::error::DbError;
use super::holdings::{Balance, Commodity, Deal, DoneDeal, Holder, HolderKind};
use super::schema::{balances, deals, postings};
use super::sqlite::{self, Conn};
use super::write_behind::Change;

/// The row of `meta` that every transaction of the ledger writes first. One whose end is not known holds its lock until
/// the database has decided, so that whoever looks up what became of it sees the decision.
const LOCK_KEY: &str = "ledger_run";

/// How many ids one query asks for: below every backend's limit of parameters.
const IDS_PER_QUERY: usize = 500;

type BalanceRow = (i16, Vec<u8>, Vec<u8>, i16, i64);

impl Database {
    /// Writes a transaction of the books.
    pub(super) fn write_books(&self, tx: &BooksTx, run: Uuid) -> Result<(), DbError> {
        let now = unix_ms();
        let mut conn = self.conn()?;
        sqlite::write_transaction(&mut conn, |conn| {
            write_meta(conn, LOCK_KEY, &run.to_string())?;
            for balance in &tx.balances {
                write_balance(conn, balance)?;
            }
            for deal in &tx.deals {
                write_deal(conn, deal, run, now)?;
            }
            for link in &tx.links {
                match link {
                    Change::Put(entity) => write_entity(conn, entity, now)?,
                    Change::Tombstone { id, fence } => write_tombstone(conn, *id, *fence, now)?,
                    _ => false,
                };
            }
            Ok(())
        })
    }

    /// Which of these deals this run of the server has done.
    pub(super) fn done_deals(&self, keys: &[Uuid], run: Uuid) -> Result<HashSet<Uuid>, DbError> {
        let mut conn = self.conn()?;
        sqlite::write_transaction(&mut conn, |conn| {
            write_meta(conn, LOCK_KEY, &run.to_string())?;
            let mut done = HashSet::new();
            for some in keys.chunks(IDS_PER_QUERY) {
                let rows: Vec<Vec<u8>> = deals::table
                    .filter(deals::id.eq_any(some.iter().map(|key| key.as_bytes().as_slice())))
                    .filter(deals::run.eq(run.as_bytes().as_slice()))
                    .select(deals::id)
                    .load(conn)?;
                for id in rows {
                    done.insert(uuid_from(&id, "deal id")?);
                }
            }
            Ok(done)
        })
    }

    /// A deal that was done, by its key.
    ///
    /// # Errors
    /// When the database fails, or the row is damaged.
    pub fn deal(&self, key: Uuid) -> Result<Option<DoneDeal>, DbError> {
        type Row = (Vec<u8>, Vec<u8>, String, Vec<u8>);
        let mut conn = self.conn()?;
        let row: Option<Row> = deals::table
            .filter(deals::id.eq(key.as_bytes().as_slice()))
            .select((deals::account, deals::bargain, deals::answer, deals::run))
            .first(&mut conn)
            .optional()?;
        let Some((account, bargain, answer, run)) = row else { return Ok(None) };
        let (account, run) = (uuid_from(&account, "account id")?, uuid_from(&run, "run id")?);
        Ok(Some(DoneDeal { key, account, bargain, answer, run }))
    }

    /// The balances of holders that everybody deals with.
    pub(super) fn shared_balances(&self) -> Result<Vec<Balance>, DbError> {
        let kinds = [HolderKind::World, HolderKind::Market, HolderKind::Void].map(|kind| kind as i16);
        let rows: Vec<BalanceRow> = balances::table
            .filter(balances::kind.eq_any(kinds))
            .select((balances::kind, balances::id, balances::place, balances::commodity, balances::amount))
            .load(&mut self.conn()?)?;
        rows.into_iter().map(balance_from).collect()
    }

    /// All balances under these ids of these kinds.
    pub(super) fn balances_of(&self, kinds: &[HolderKind], ids: &[Uuid]) -> Result<Vec<Balance>, DbError> {
        let mut conn = self.conn()?;
        let mut found = Vec::new();
        for some in ids.chunks(IDS_PER_QUERY) {
            let rows: Vec<BalanceRow> = balances::table
                .filter(balances::kind.eq_any(kinds.iter().map(|kind| *kind as i16)))
                .filter(balances::id.eq_any(some.iter().map(|id| id.as_bytes().as_slice())))
                .select((balances::kind, balances::id, balances::place, balances::commodity, balances::amount))
                .load(&mut conn)?;
            for row in rows {
                found.push(balance_from(row)?);
            }
        }
        Ok(found)
    }

    /// What a holder has, as it is stored.
    ///
    /// # Errors
    /// When the database fails.
    pub fn balance(&self, holder: Holder, commodity: Commodity) -> Result<Option<i64>, DbError> {
        Ok(balances::table
            .filter(balances::kind.eq(holder.kind as i16))
            .filter(balances::id.eq(holder.id.as_bytes().as_slice()))
            .filter(balances::place.eq(holder.place.as_bytes().as_slice()))
            .filter(balances::commodity.eq(commodity as i16))
            .select(balances::amount)
            .first(&mut self.conn()?)
            .optional()?)
    }
}

fn balance_from((kind, id, place, commodity, amount): BalanceRow) -> Result<Balance, DbError> {
    let damaged = || DbError::Damaged { what: "balance" };
    let holder = Holder::from_row(kind, &id, &place).ok_or_else(damaged)?;
    Ok((holder, Commodity::from_i16(commodity).ok_or_else(damaged)?, amount))
}

fn write_balance(conn: &mut Conn, (holder, commodity, amount): &Balance) -> QueryResult<()> {
    diesel::insert_into(balances::table)
        .values((
            balances::kind.eq(holder.kind as i16),
            balances::id.eq(holder.id.as_bytes().as_slice()),
            balances::place.eq(holder.place.as_bytes().as_slice()),
            balances::commodity.eq(*commodity as i16),
            balances::amount.eq(amount),
        ))
        .on_conflict((balances::kind, balances::id, balances::place, balances::commodity))
        .do_update()
        .set(balances::amount.eq(excluded(balances::amount)))
        .execute(conn)?;
    Ok(())
}

fn write_deal(conn: &mut Conn, deal: &Deal, run: Uuid, now: i64) -> QueryResult<()> {
    diesel::insert_into(deals::table)
        .values((
            deals::id.eq(deal.key.as_bytes().as_slice()),
            deals::account.eq(deal.account.as_bytes().as_slice()),
            deals::bargain.eq(deal.bargain.as_slice()),
            deals::answer.eq(&deal.answer),
            deals::run.eq(run.as_bytes().as_slice()),
            deals::tick.eq(deal.tick),
            deals::created_at.eq(now),
        ))
        .execute(conn)?;
    for (line, posting) in (0i16..).zip(&deal.postings) {
        diesel::insert_into(postings::table)
            .values((
                postings::deal.eq(deal.key.as_bytes().as_slice()),
                postings::line.eq(line),
                postings::kind.eq(posting.holder.kind as i16),
                postings::id.eq(posting.holder.id.as_bytes().as_slice()),
                postings::place.eq(posting.holder.place.as_bytes().as_slice()),
                postings::commodity.eq(posting.commodity as i16),
                postings::delta.eq(posting.delta),
            ))
            .execute(conn)?;
    }
    Ok(())
}
