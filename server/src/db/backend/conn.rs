//! A connection of either backend, and the macro that writes a query once for both.
//!
//! Diesel checks a query against one backend at compile time, so it is compiled once for each: the body of
//! [`with_conn!`] is instantiated with each connection type.

use diesel::Connection;
use diesel::r2d2::{ConnectionManager, PooledConnection};
use diesel::result::Error as DieselError;
use diesel::sqlite::SqliteConnection;

#[cfg(feature = "postgres")]
use diesel::pg::PgConnection;

#[cfg(feature = "postgres")]
use crate::db::backend::postgres;
use crate::db::backend::sqlite;
use crate::db::error::DbError;

/// The connections of a database.
#[derive(Clone)]
pub(in crate::db) enum Pool {
    Sqlite(sqlite::Pool),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Pool),
}

/// A connection from the pool, returned to it on drop.
pub(in crate::db) enum Pooled {
    Sqlite(PooledConnection<ConnectionManager<SqliteConnection>>),
    #[cfg(feature = "postgres")]
    Postgres(PooledConnection<ConnectionManager<PgConnection>>),
}

/// A connection to run queries on, see [`with_conn!`].
pub(in crate::db) enum Conn<'a> {
    Sqlite(&'a mut SqliteConnection),
    #[cfg(feature = "postgres")]
    Postgres(&'a mut PgConnection),
}

/// Runs a query on a [`Conn`]: `with_conn!(conn, |c| query.execute(c))`. The body is compiled once per backend, with
/// `c` as `&mut SqliteConnection` or `&mut PgConnection`; both must give the same type.
macro_rules! with_conn {
    ($conn:expr, |$c:ident| $body:expr) => {
        match $conn {
            $crate::db::backend::conn::Conn::Sqlite(inner) => {
                let $c: &mut diesel::sqlite::SqliteConnection = inner;
                $body
            }
            #[cfg(feature = "postgres")]
            $crate::db::backend::conn::Conn::Postgres(inner) => {
                let $c: &mut diesel::pg::PgConnection = inner;
                $body
            }
        }
    };
}
pub(in crate::db) use with_conn;

impl Pool {
    /// Takes a free connection; waits for one up to the pool's timeout.
    pub fn get(&self) -> Result<Pooled, DbError> {
        match self {
            Self::Sqlite(pool) => pool
                .get()
                .map(Pooled::Sqlite)
                .map_err(|error| DbError::Unavailable { wait_ms: sqlite::POOL_WAIT_MS, why: error.to_string() }),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => pool.get().map(Pooled::Postgres),
        }
    }
}

impl Pooled {
    /// Borrows it for queries.
    pub fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(conn) => Conn::Sqlite(conn),
            #[cfg(feature = "postgres")]
            Self::Postgres(conn) => Conn::Postgres(conn),
        }
    }
}

impl Conn<'_> {
    /// Runs `work` as one transaction that may write, and rolls it back if it fails. On SQLite it takes the write lock
    /// at its start, because taking it later can fail without waiting.
    pub fn write_transaction<T, E: From<DieselError>>(
        &mut self,
        work: impl FnOnce(&mut Conn<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(conn) => conn.immediate_transaction(|conn| work(&mut Conn::Sqlite(conn))),
            #[cfg(feature = "postgres")]
            Self::Postgres(conn) => conn.transaction(|conn| work(&mut Conn::Postgres(conn))),
        }
    }

    /// Runs `work` as one transaction whose queries all see the same snapshot. It must not write.
    pub fn read_transaction<T, E: From<DieselError>>(
        &mut self,
        work: impl FnOnce(&mut Conn<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(conn) => conn.transaction(|conn| work(&mut Conn::Sqlite(conn))),
            #[cfg(feature = "postgres")]
            Self::Postgres(conn) => {
                conn.build_transaction().repeatable_read().read_only().run(|conn| work(&mut Conn::Postgres(conn)))
            }
        }
    }
}
