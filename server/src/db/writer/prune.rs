//! Removes expired rows: deals and their lines, fences of entities that are long gone, sessions, registration keys;
//! and returns a SQLite file's free pages to the file system.
//!
//! Balances are absolute, so removing a deal changes none of them. The sums of the removed deals are added to the
//! table `carried` in the same transaction, so that deals and balances can still be checked against each other. A
//! fence is removed once no older write of its row can follow: none waits in this process, the only one that writes.
//!
//! [`Pruner`] decides when and how much, without I/O. The writer of [`Store`](super::Store) runs it between its own
//! transactions, a little at a time; `sidereal-server db prune` runs it all at once.

use std::collections::BTreeMap;
use std::fmt;

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel::upsert::excluded;
use serde::Serialize;
use uuid::Uuid;

use crate::db::backend::conn::{Conn, with_conn};
use crate::db::backend::sqlite;
use crate::db::database::{Database, uuid_from};
use crate::db::error::DbError;
use crate::db::ledger::holdings::{Holder, HolderKind};
use crate::db::sessions::REGISTRATION_KEY_LIFETIME_MS;
use crate::db::tables::schema::{balances, carried, deals, entities, postings};

/// Maximum number of deals, tombstones or sessions in one step. Two hundred deals with their lines take SQLite some
/// milliseconds.
const MAX_ROWS: usize = 200;

/// Minimum number, even if that takes long.
const MIN_ROWS: usize = 10;

/// A step that took longer than this is followed by smaller ones, milliseconds: the writer's callers should not notice
/// it.
const SLOW_STEP_MS: u64 = 50;

/// Pause between two steps while there is more to remove, milliseconds: this removes 800 deals a second, far more than
/// are made.
const STEP_PAUSE_MS: u64 = 250;

/// Pause between two rounds that find little, milliseconds.
const ROUND_MS: u64 = 60_000;

/// Pause after a failure, milliseconds.
const RETRY_MS: u64 = 10_000;

/// Free pages that a SQLite file keeps for new rows, and the most that are returned at a time: 1 MiB of 4 KiB each.
const SPARE_PAGES: i64 = 256;

/// Whether only deals change such a holder's balance.
pub(in crate::db) fn is_only_moved_by_deals(kind: HolderKind) -> bool {
    matches!(kind, HolderKind::Wallet | HolderKind::Vault | HolderKind::Market)
}

/// The holder in `carried` for all holders whose balances other moves change too.
pub(in crate::db) fn carried_together() -> Holder {
    Holder::entity(Uuid::nil())
}

/// The number of removed rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Deals.
    pub deals: u64,
    /// Their lines.
    pub postings: u64,
    /// Fences of entities that are gone.
    pub tombstones: u64,
    /// Their balances, all zero.
    pub balances: u64,
    /// Expired sessions and registration keys.
    pub sessions: u64,
    /// Pages returned from a SQLite file.
    pub pages: u64,
}

impl fmt::Display for Pruned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "deals       {}, in {} lines", self.deals, self.postings)?;
        writeln!(f, "fences      {}, and {} balances of nothing", self.tombstones, self.balances)?;
        writeln!(f, "sessions    {}, keys of registrations with them", self.sessions)?;
        writeln!(f, "pages       {}", self.pages)
    }
}

impl Pruned {
    /// Adds the result of another step.
    pub(in crate::db) fn add(&mut self, other: Self) {
        self.deals += other.deals;
        self.postings += other.postings;
        self.tombstones += other.tombstones;
        self.balances += other.balances;
        self.sessions += other.sessions;
        self.pages += other.pages;
    }
}

/// The steps of a round, in this order: deals are removed before their holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) enum Step {
    Deals { before_ms: i64 },
    Gone { before_ms: i64 },
    Sessions,
    Pages,
}

/// Decides when to remove rows, and how many at a time.
#[derive(Debug)]
pub(in crate::db) struct Pruner {
    /// How long deals and tombstones are kept; `None` means forever.
    keep_ms: Option<i64>,
    next: Step,
    /// Some step of this round left rows behind.
    more: bool,
    rows: usize,
    due_ms: u64,
    total: Pruned,
}

impl Pruner {
    pub fn new(keep_ms: Option<i64>) -> Self {
        let next = Self::first(keep_ms, i64::MIN);
        Self { keep_ms, next, more: false, rows: MAX_ROWS, due_ms: 0, total: Pruned::default() }
    }

    fn first(keep_ms: Option<i64>, unix_ms: i64) -> Step {
        match keep_ms {
            Some(keep_ms) => Step::Deals { before_ms: unix_ms.saturating_sub(keep_ms) },
            None => Step::Sessions,
        }
    }

    /// When [`take`](Self::take) will return a step.
    pub fn next_wake_ms(&self) -> u64 {
        self.due_ms
    }

    /// The next step, if it is due, and its maximum number of rows. `unix_ms` is the time for ages.
    pub fn take(&mut self, now_ms: u64, unix_ms: i64) -> Option<(Step, usize)> {
        if now_ms < self.due_ms {
            return None;
        }
        // The same cutoff for a whole round.
        if matches!(self.next, Step::Deals { .. }) {
            self.next = Self::first(self.keep_ms, unix_ms);
        }
        Some((self.next, self.rows))
    }

    /// The step is done. `full`: it reached its maximum, so there is more.
    pub fn done(&mut self, removed: Pruned, full: bool, took_ms: u64, now_ms: u64) {
        self.total.add(removed);
        if took_ms > SLOW_STEP_MS {
            self.rows = (self.rows / 2).max(MIN_ROWS);
        } else if full {
            self.rows = (self.rows * 2).min(MAX_ROWS);
        }
        self.more |= full;
        let round_is_over = self.next == Step::Pages;
        self.next = match self.next {
            // All old deals first.
            Step::Deals { before_ms } if !full => Step::Gone { before_ms },
            Step::Deals { .. } | Step::Gone { .. } => Step::Sessions,
            Step::Sessions => Step::Pages,
            Step::Pages => Self::first(self.keep_ms, i64::MIN),
        };
        // A short retention time is followed closely.
        let round_ms = self.keep_ms.map_or(ROUND_MS, |keep_ms| ROUND_MS.min(keep_ms.unsigned_abs() / 20));
        let rests = round_is_over && !std::mem::take(&mut self.more);
        self.due_ms = now_ms + if rests { round_ms.max(STEP_PAUSE_MS) } else { STEP_PAUSE_MS };
    }

    /// The step failed; it is retried later.
    pub fn failed(&mut self, now_ms: u64) {
        self.due_ms = now_ms + RETRY_MS;
    }

    /// The total removed since the start.
    pub fn total(&self) -> Pruned {
        self.total
    }
}

impl Database {
    /// Runs one step; returns whether there is more. `is_awaited` returns whether a write of an entity waits in this
    /// process.
    pub(in crate::db) fn prune_step(
        &self,
        step: Step,
        rows: usize,
        unix_ms: i64,
        is_awaited: impl Fn(Uuid) -> bool,
    ) -> Result<(Pruned, bool), DbError> {
        let limit = rows as i64;
        match step {
            Step::Deals { before_ms } => {
                let removed = self.prune_deals(before_ms, limit)?;
                Ok((removed, removed.deals as usize >= rows))
            }
            Step::Gone { before_ms } => {
                let mut ids = self.gone_before(before_ms, limit)?;
                let full = ids.len() >= rows;
                ids.retain(|id| !is_awaited(*id));
                let removed = self.remove_gone(&ids, before_ms)?;
                // Not immediately again for rows that must wait.
                Ok((removed, full && removed.tombstones > 0))
            }
            Step::Sessions => {
                let sessions = self.sweep_sessions(unix_ms, unix_ms - REGISTRATION_KEY_LIFETIME_MS, limit)?;
                Ok((Pruned { sessions: sessions as u64, ..Pruned::default() }, sessions >= rows))
            }
            Step::Pages => {
                let (pages, more) = self.give_pages_back()?;
                Ok((Pruned { pages, ..Pruned::default() }, more))
            }
        }
    }

    /// Removes all expired rows; for a database without other writers. Deals and tombstones older than `keep_ms` are
    /// removed, none without it; so are expired sessions and keys. A SQLite file is rewritten without free pages.
    ///
    /// # Errors
    /// When the database fails. Rows removed by then stay removed; the call can be repeated.
    pub fn prune(&self, keep_ms: Option<i64>, unix_ms: i64) -> Result<Pruned, DbError> {
        let mut total = Pruned::default();
        let before_ms = keep_ms.map(|keep_ms| unix_ms.saturating_sub(keep_ms));
        let aged = before_ms.map(|before_ms| [Step::Deals { before_ms }, Step::Gone { before_ms }]);
        for step in aged.into_iter().flatten().chain([Step::Sessions]) {
            loop {
                let (removed, more) = self.prune_step(step, MAX_ROWS, unix_ms, |_| false)?;
                total.add(removed);
                if !more {
                    break;
                }
            }
        }
        total.pages = self.with(|conn| match conn {
            Conn::Sqlite(conn) => Ok(sqlite::rewrite(conn)?),
            #[cfg(feature = "postgres")]
            Conn::Postgres(_) => Ok(0),
        })?;
        Ok(total)
    }

    fn prune_deals(&self, before_ms: i64, limit: i64) -> Result<Pruned, DbError> {
        type Line = (i16, Vec<u8>, Vec<u8>, i16, i64);
        self.write_transaction(|conn| {
            let old = deals::table
                .filter(deals::created_at.lt(before_ms))
                .order(deals::created_at)
                .limit(limit)
                .select(deals::id);
            let old: Vec<Vec<u8>> = with_conn!(conn, |c| old.load(c))?;
            if old.is_empty() {
                return Ok(Pruned::default());
            }
            let lines = postings::table.filter(postings::deal.eq_any(&old)).select((
                postings::kind,
                postings::id,
                postings::place,
                postings::commodity,
                postings::delta,
            ));
            let lines: Vec<Line> = with_conn!(conn, |c| lines.load(c))?;
            let mut sums: BTreeMap<(i16, Vec<u8>, Vec<u8>, i16), i64> = BTreeMap::new();
            for (kind, id, place, commodity, delta) in lines {
                let holder = Holder::from_row(kind, &id, &place).ok_or(DbError::Damaged { what: "posting" })?;
                let holder = if is_only_moved_by_deals(holder.kind) { holder } else { carried_together() };
                let (id, place) = (holder.id.as_bytes().to_vec(), holder.place.as_bytes().to_vec());
                let sum = sums.entry((holder.kind as i16, id, place, commodity)).or_default();
                *sum = sum.checked_add(delta).ok_or(DbError::Damaged { what: "posting" })?;
            }
            for ((kind, id, place, commodity), amount) in sums {
                let upsert = diesel::insert_into(carried::table)
                    .values((
                        carried::kind.eq(kind),
                        carried::id.eq(id),
                        carried::place.eq(place),
                        carried::commodity.eq(commodity),
                        carried::amount.eq(amount),
                    ))
                    .on_conflict((carried::kind, carried::id, carried::place, carried::commodity))
                    .do_update()
                    .set(carried::amount.eq(carried::amount + excluded(carried::amount)));
                with_conn!(conn, |c| upsert.execute(c))?;
            }
            let delete = diesel::delete(postings::table.filter(postings::deal.eq_any(&old)));
            let postings = with_conn!(conn, |c| delete.execute(c))? as u64;
            let delete = diesel::delete(deals::table.filter(deals::id.eq_any(&old)));
            let deals = with_conn!(conn, |c| delete.execute(c))? as u64;
            Ok(Pruned { deals, postings, ..Pruned::default() })
        })
    }

    /// Entities gone since before `before_ms` with zero balances. One with a balance is a fault, and stays for the
    /// check to find.
    fn gone_before(&self, before_ms: i64, limit: i64) -> Result<Vec<Uuid>, DbError> {
        let has_something = exists(
            balances::table
                .filter(balances::kind.eq(HolderKind::Entity as i16))
                .filter(balances::id.eq(entities::id))
                .filter(balances::amount.ne(0)),
        );
        let query = entities::table
            .filter(entities::deleted)
            .filter(entities::updated_at.lt(before_ms))
            .filter(not(has_something))
            .order(entities::updated_at)
            .limit(limit)
            .select(entities::id);
        let ids: Vec<Vec<u8>> = self.with(|conn| Ok(with_conn!(conn, |c| query.load(c))?))?;
        ids.iter().map(|id| uuid_from(id, "entity id")).collect()
    }

    fn remove_gone(&self, ids: &[Uuid], before_ms: i64) -> Result<Pruned, DbError> {
        if ids.is_empty() {
            return Ok(Pruned::default());
        }
        let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
        self.write_transaction(|conn| {
            let rows = entities::table
                .filter(entities::id.eq_any(&ids))
                .filter(entities::deleted)
                .filter(entities::updated_at.lt(before_ms));
            let gone = rows.select(entities::id);
            let gone: Vec<Vec<u8>> = with_conn!(conn, |c| gone.load(c))?;
            let delete = diesel::delete(
                balances::table
                    .filter(balances::kind.eq(HolderKind::Entity as i16))
                    .filter(balances::id.eq_any(&gone))
                    .filter(balances::amount.eq(0)),
            );
            let balances = with_conn!(conn, |c| delete.execute(c))? as u64;
            let delete = diesel::delete(entities::table.filter(entities::id.eq_any(&gone)));
            let tombstones = with_conn!(conn, |c| delete.execute(c))? as u64;
            Ok(Pruned { tombstones, balances, ..Pruned::default() })
        })
    }

    /// Returns some of a SQLite file's free pages; gives how many, and whether there are more. PostgreSQL's autovacuum
    /// does that by itself.
    fn give_pages_back(&self) -> Result<(u64, bool), DbError> {
        self.with(|conn| match conn {
            Conn::Sqlite(conn) => Ok(sqlite::give_pages_back(conn, SPARE_PAGES)?),
            #[cfg(feature = "postgres")]
            Conn::Postgres(_) => Ok((0, false)),
        })
    }
}
