//! Exports a database as JSON lines and imports it: for a move from SQLite to PostgreSQL, and for a readable backup.
//!
//! The first line identifies the dump, the last one has the number of rows, so that a truncated file is detected.
//! Sessions are left out: they are short-lived secrets, and players can log in again. Password hashes are included:
//! keep it as safe as the database.

use std::io::{BufRead, Write};

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::rows::{
    AccountRow, BalanceRow, CarriedRow, DealRow, EntityRow, IdentityRow, MetaRow, PostingRow, RegistrationRow,
    SectorRow,
};
use crate::db::backend::conn::{Conn, with_conn};
use crate::db::database::Database;
use crate::db::error::DbError;
use crate::db::tables::schema::{
    accounts, balances, carried, deals, entities, identities, meta, postings, registrations, sectors,
};

/// The version of the dump format.
const FORMAT: u32 = 1;

/// Maximum length of a line, bytes: twice the largest record as hexadecimal digits, and the rest.
const MAX_LINE_BYTES: usize = 20 * 1024 * 1024;

/// Rows inserted at once.
const ROWS_AT_ONCE: usize = 200;

/// Settings of the present server run, not of the world.
const RUN_KEYS: [&str; 2] = ["writer", "ledger_run"];

/// Why an export or import failed.
#[derive(Debug, Error)]
pub enum DumpError {
    /// The file cannot be read or written.
    #[error("the dump: {0}")]
    File(#[from] std::io::Error),
    /// The database failed; nothing was imported.
    #[error(transparent)]
    Database(#[from] DbError),
    /// A line is invalid; nothing was imported.
    #[error("line {line} of the dump {problem}: nothing was imported")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// The database is not empty.
    #[error("the database is not empty: import into a new one (name another with --database-url)")]
    NotEmpty,
}

impl From<diesel::result::Error> for DumpError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "table", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Sidereal { format: u32 },
    Meta(MetaRow),
    Account(AccountRow),
    Identity(IdentityRow),
    Registration(RegistrationRow),
    Sector(SectorRow),
    Entity(EntityRow),
    Balance(BalanceRow),
    Deal(DealRow),
    Posting(PostingRow),
    Carried(CarriedRow),
    End { rows: u64 },
}

fn put_line(out: &mut dyn Write, line: &Line) -> Result<(), DumpError> {
    serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// Writes all rows of a table, one at a time.
macro_rules! put_table {
    ($conn:expr, $out:expr, $rows:expr, $table:ident, $row:ty, $line:path, $order:expr) => {
        for_each_row!($conn, $table::table.select(<$row>::as_select()).order($order), |row: $row| {
            put_line($out, &$line(row))?;
            $rows += 1;
        });
    };
}

/// Writes a snapshot of the database; returns the number of rows.
///
/// # Errors
/// [`DumpError`].
pub fn export(database: &Database, out: &mut dyn Write) -> Result<u64, DumpError> {
    database.read_transaction(|conn| {
        let mut rows = 0;
        put_line(out, &Line::Sidereal { format: FORMAT })?;
        for_each_row!(
            conn,
            meta::table.select(MetaRow::as_select()).filter(meta::key.ne_all(RUN_KEYS)).order(meta::key),
            |row: MetaRow| {
                put_line(out, &Line::Meta(row))?;
                rows += 1;
            }
        );
        put_table!(conn, out, rows, accounts, AccountRow, Line::Account, accounts::id);
        put_table!(conn, out, rows, identities, IdentityRow, Line::Identity, (identities::issuer, identities::subject));
        put_table!(conn, out, rows, registrations, RegistrationRow, Line::Registration, registrations::idempotency_key);
        put_table!(conn, out, rows, sectors, SectorRow, Line::Sector, (sectors::x, sectors::y));
        put_table!(conn, out, rows, entities, EntityRow, Line::Entity, entities::id);
        let holder = (balances::kind, balances::id, balances::place, balances::commodity);
        put_table!(conn, out, rows, balances, BalanceRow, Line::Balance, holder);
        put_table!(conn, out, rows, deals, DealRow, Line::Deal, deals::id);
        put_table!(conn, out, rows, postings, PostingRow, Line::Posting, (postings::deal, postings::line));
        let holder = (carried::kind, carried::id, carried::place, carried::commodity);
        put_table!(conn, out, rows, carried, CarriedRow, Line::Carried, holder);
        put_line(out, &Line::End { rows })?;
        out.flush()?;
        Ok(rows)
    })
}

/// Rows of one table that are inserted together.
#[derive(Default)]
struct Batch {
    meta: Vec<MetaRow>,
    accounts: Vec<AccountRow>,
    identities: Vec<IdentityRow>,
    registrations: Vec<RegistrationRow>,
    sectors: Vec<SectorRow>,
    entities: Vec<EntityRow>,
    balances: Vec<BalanceRow>,
    deals: Vec<DealRow>,
    postings: Vec<PostingRow>,
    carried: Vec<CarriedRow>,
    waiting: usize,
}

impl Batch {
    fn take(&mut self, line: Line) -> bool {
        match line {
            Line::Meta(row) => self.meta.push(row),
            Line::Account(row) => self.accounts.push(row),
            Line::Identity(row) => self.identities.push(row),
            Line::Registration(row) => self.registrations.push(row),
            Line::Sector(row) => self.sectors.push(row),
            Line::Entity(row) => self.entities.push(row),
            Line::Balance(row) => self.balances.push(row),
            Line::Deal(row) => self.deals.push(row),
            Line::Posting(row) => self.postings.push(row),
            Line::Carried(row) => self.carried.push(row),
            Line::Sidereal { .. } | Line::End { .. } => return false,
        }
        self.waiting += 1;
        true
    }

    fn write(&mut self, conn: &mut Conn<'_>) -> QueryResult<()> {
        macro_rules! put {
            ($($table:ident),*) => {
                $(if !self.$table.is_empty() {
                    let rows = std::mem::take(&mut self.$table);
                    with_conn!(conn, |c| diesel::insert_into($table::table).values(&rows).execute(c))?;
                })*
            };
        }
        // Tables that others refer to come first.
        put!(meta, accounts, identities, registrations, sectors, entities, balances, deals, postings, carried);
        self.waiting = 0;
        Ok(())
    }
}

/// Imports a dump into an empty database, completely or not at all; returns the number of rows.
///
/// # Errors
/// [`DumpError`].
pub fn import(database: &Database, input: &mut dyn BufRead) -> Result<u64, DumpError> {
    database.write_transaction_or(|conn| {
        let there: i64 = with_conn!(conn, |c| entities::table.count().get_result(c))?;
        let known: i64 = with_conn!(conn, |c| accounts::table.count().get_result(c))?;
        let settings: i64 = with_conn!(conn, |c| meta::table.filter(meta::key.ne_all(RUN_KEYS)).count().get_result(c))?;
        let held: i64 = with_conn!(conn, |c| balances::table.count().get_result(c))?;
        if there + known + settings + held > 0 {
            return Err(DumpError::NotEmpty);
        }
        let mut lines = Lines { input, number: 0 };
        match lines.next()? {
            Some(Line::Sidereal { format: FORMAT }) => {}
            Some(Line::Sidereal { format }) => {
                return Err(lines.wrong(format!("has format {format}, and this build reads {FORMAT}")));
            }
            _ => return Err(lines.wrong("is not the first one of a Sidereal dump".to_owned())),
        }
        let mut batch = Batch::default();
        let mut rows = 0;
        loop {
            match lines.next()? {
                None => return Err(lines.wrong("is missing: the dump has no end".to_owned())),
                Some(Line::End { rows: said }) if said == rows => break,
                Some(Line::End { rows: said }) => {
                    return Err(lines.wrong(format!("names {said} rows, and there were {rows}")));
                }
                Some(line) => {
                    if !batch.take(line) {
                        return Err(lines.wrong("begins another dump".to_owned()));
                    }
                    rows += 1;
                }
            }
            if batch.waiting >= ROWS_AT_ONCE {
                batch
                    .write(conn)
                    .map_err(|error| lines.wrong(format!("or one just before cannot be stored ({error})")))?;
            }
        }
        batch.write(conn).map_err(|error| lines.wrong(format!("or one just before cannot be stored ({error})")))?;
        Ok(rows)
    })
}

struct Lines<'a> {
    input: &'a mut dyn BufRead,
    number: u64,
}

impl Lines<'_> {
    fn wrong(&self, problem: String) -> DumpError {
        DumpError::Line { line: self.number, problem }
    }

    fn next(&mut self) -> Result<Option<Line>, DumpError> {
        self.number += 1;
        let mut bytes = Vec::new();
        std::io::Read::take(&mut *self.input, MAX_LINE_BYTES as u64).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() == MAX_LINE_BYTES {
            return Err(self.wrong(format!("is longer than {MAX_LINE_BYTES} bytes")));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| self.wrong(format!("is not a row ({error})")))
    }
}
