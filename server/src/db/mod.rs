//! The replication server's database: what is stored of the world, the accounts, and the way it gets there.
//!
//! Runs in `sidereal-server` only; no other process opens the database. It does not know what a record holds: a record
//! is bytes, with the fence `(epoch, version, tick)` beside it.
//!
//! - [`Database`]: blocking calls, for start-up, the HTTP threads and tests.
//! - `sessions`: the calls of [`Database`] for sessions, keys of registrations, and identities.
//! - [`Store`]: what the ECS thread holds. It takes changes and read requests, and never waits for the database.
//! - `write_behind` and `books`: the state machines between the two, without I/O: entities' states, and who has what.
//! - `sqlite`: everything that only SQLite needs.

mod books;
mod database;
mod error;
mod holdings;
mod ledger;
mod rows;
mod schema;
mod sessions;
mod sqlite;
mod store;
pub mod tools;
mod write_behind;

pub use books::{BooksStats, Move, Settled, Submission};
pub use database::{Account, Database, DatabaseLock};
pub use error::DbError;
pub use holdings::{Balance, Commodity, Deal, DoneDeal, Holder, HolderKind, Posting};
pub use rows::{Fence, Sector, StoredEntity};
pub use sessions::{Made, SessionBounds, StoredToken, TokenHash};
pub use store::{FlushSummary, LoadedSector, StopError, Store, StoreConfig, StoreReply};
pub use write_behind::{Admission, Change, MAX_RECORD_BYTES, StoreStats};
