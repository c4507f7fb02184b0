//! Databases for tests: a SQLite file, and a schema of a PostgreSQL server that the tests run.

#![allow(dead_code, reason = "each test binary uses some of it")]

#[cfg(feature = "postgres")]
pub mod cluster;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::sqlite::SqliteConnection;
use sidereal_server::db::Database;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Limit after which a stuck test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until there is a value.
///
/// # Panics
/// If there is none in time.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::yield_now();
    }
}

/// An empty database of either backend, removed on drop.
pub struct World {
    url: String,
    _folder: Option<TempDir>,
    #[cfg(feature = "postgres")]
    _cluster: Option<std::sync::Arc<cluster::PgCluster>>,
}

impl World {
    /// A file in a folder of its own.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            url: folder.path().join("world.sqlite").to_str().expect("a readable path").to_owned(),
            _folder: Some(folder),
            #[cfg(feature = "postgres")]
            _cluster: None,
        }
    }

    /// A schema of its own in this binary's server; `None`, with a message on standard error, if PostgreSQL is not
    /// installed.
    #[cfg(feature = "postgres")]
    pub fn postgres() -> Option<Self> {
        let cluster = cluster::PgCluster::shared()?;
        Some(Self { url: cluster.new_schema(), _folder: None, _cluster: Some(cluster) })
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is a PostgreSQL database.
    pub fn is_postgres(&self) -> bool {
        self._folder.is_none()
    }

    /// Opens it.
    pub fn open(&self) -> Database {
        Database::open(&self.url).expect("the database opens")
    }

    /// Blocks every write until the returned guard is dropped; reads continue.
    pub fn hold_writes(&self) -> Box<dyn std::any::Any> {
        if self.is_postgres() {
            #[cfg(feature = "postgres")]
            {
                let mut conn = diesel::pg::PgConnection::establish(&self.url).expect("the server answers");
                conn.batch_execute("BEGIN; LOCK TABLE entities, meta IN EXCLUSIVE MODE").expect("the statement runs");
                return Box::new(conn);
            }
        }
        let mut conn = SqliteConnection::establish(&self.url).expect("the file opens");
        conn.batch_execute("BEGIN IMMEDIATE").expect("the statement runs");
        Box::new(conn)
    }

    /// Runs statements on a separate connection, as an operator's tool would.
    pub fn shell(&self, sql: &str) {
        if self.is_postgres() {
            #[cfg(feature = "postgres")]
            diesel::pg::PgConnection::establish(&self.url)
                .expect("the server answers")
                .batch_execute(sql)
                .expect("the statement runs");
        } else {
            let mut conn = SqliteConnection::establish(&self.url).expect("the file opens");
            conn.batch_execute("PRAGMA busy_timeout = 5000").expect("a pragma");
            conn.batch_execute(sql).expect("the statement runs");
        }
    }
}

/// Makes each listed function, which takes a `&World`, a test on SQLite and, if built in, on PostgreSQL.
#[macro_export]
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $test() {
                super::$test(&super::common::World::sqlite());
            })+
        }
        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[test]
            fn $test() {
                if let Some(world) = super::common::World::postgres() {
                    super::$test(&world);
                }
            })+
        }
    };
}
