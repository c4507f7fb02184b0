//! The replication server's database: the stored world, the accounts, and the code that reads and writes them.
//!
//! Runs in `sidereal-server` only; no other process opens the database. It does not decode records: a record is bytes,
//! with the fence `(epoch, version, tick)` beside it.
//!
//! - [`Database`]: blocking calls, for start-up, the HTTP threads and tests.
//! - `sessions`: the calls of [`Database`] for sessions, registration keys, and external identities.
//! - [`Store`]: the ECS thread's handle. It takes changes and read requests, and never waits for the database.
//! - `writer`: the state machine between the two for entity states (`write_behind`), without I/O; writes a batch as rows
//!   (`batch`), and removes expired rows (`prune`).
//! - `ledger`: the ledger; `books` is its state machine, without I/O.
//! - `tables`: tables, rows and texts.
//! - `backend`: a connection of either backend, and the code of one backend only.
//!
//! # Writing a query
//!
//! Write it once, in Diesel's terms, over the tables of `tables::schema`, inside one of two calls of [`Database`]:
//!
//! ```ignore
//! // A read. Several that must agree with each other go into `conn.read_transaction(|conn| ...)`.
//! let query = meta::table.filter(meta::key.eq(key)).select(meta::value);
//! database.with(|conn| Ok(with_conn!(conn, |c| query.first(c)).optional()?))
//!
//! // Everything that writes.
//! database.write_transaction(|conn| {
//!     let upsert = insert_into(meta::table).values(row).on_conflict(meta::key).do_update().set(change);
//!     with_conn!(conn, |c| upsert.execute(c))?;
//!     Ok(())
//! })
//! ```
//!
//! - `with_conn!` compiles its body for both backends. A function that others call takes
//!   `&mut Conn<'_>`. What differs is a `match` on it.
//! - Columns are `Binary`, `Text`, `SmallInt`, `Integer`, `BigInt`, `Bool`, nullable or not.
//! - Texts are checked first (`tables::text`): PostgreSQL accepts no NUL, and indexes have a length limit.
//! - A transaction may be committed without an answer and be retried: applying it twice must be harmless.
//! - On PostgreSQL a failed statement ends its transaction: handle conflicts with `on_conflict`, or make it the last
//!   statement.
//! - A new migration is a folder of the same name under `migrations/sqlite` and `migrations/postgres`.

mod backend;
#[cfg(all(test, feature = "postgres"))]
#[path = "../../tests/common/cluster.rs"]
#[allow(dead_code, reason = "written for the tests outside, which use all of it")]
mod cluster;
mod database;
mod error;
mod ledger;
mod sessions;
mod tables;
pub mod tools;
mod writer;

pub use database::{Account, Database, DatabaseLock, unix_ms};
pub use error::DbError;
pub use ledger::books::{BooksStats, Move, Settled, Submission};
pub use ledger::holdings::{Balance, Commodity, Deal, DoneDeal, Holder, HolderKind, Posting, Room};
pub(crate) use sessions::REGISTRATION_KEY_LIFETIME_MS;
pub use sessions::{Made, SessionBounds, StoredToken, TokenHash};
pub use tables::rows::{Fence, MAX_RECORD_BYTES, META_SEED, META_TICK, Sector, StoredEntity};
pub use tables::text::{MAX_INDEXED_TEXT_BYTES, MAX_TEXT_BYTES};
pub use writer::prune::Pruned;
pub use writer::store::{FlushSummary, LoadedSector, StopError, Store, StoreConfig, StoreReply, StoreThread};
pub use writer::write_behind::{Admission, Change, StoreStats};

/// Cargo does not detect a new folder of migrations; this makes it rebuild the crate.
#[cfg(test)]
#[track_caller]
fn all_are_embedded<B: diesel::backend::Backend>(
    embedded: &impl diesel::migration::MigrationSource<B>,
    backend: &str,
    file: &str,
) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(backend);
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder of the migrations")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("a plain name"))
        .collect();
    names.sort();
    let migrations = embedded.migrations().expect("embedded");
    let mut embedded: Vec<String> = migrations.iter().map(|migration| migration.name().to_string()).collect();
    embedded.sort();
    assert_eq!(embedded, names, "touch {file}");
}
