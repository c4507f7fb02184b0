//! PostgreSQL only: opening a database, its session settings, its migrations, the check of the schema.
//!
//! All tables are in the first schema of the search path, so that one database can hold several worlds. A session has
//! settings and, in `lock`, an advisory lock: a pooler must keep one server connection for each of ours as long as it
//! is open ("session mode").

mod bulk;
mod lock;
mod url;

use std::time::Duration;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::migration::MigrationSource;
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, PooledConnection};
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::db::error::DbError;

pub(in crate::db) use bulk::{write_entities, write_generated};
pub(in crate::db) use lock::{SessionLock, Writer};
use url::PgUrl;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/postgres");

/// The comment of the table `meta` in a Sidereal schema; the first migration sets it.
const MARK: &str = "SDRL";

/// Statement timeout, waiting for locks included: the largest batch takes well under a second, and one that hangs for
/// ten will not finish. It is then an error, and the write is retried.
const STATEMENT_TIMEOUT_MS: u32 = 10_000;

/// Statement timeout of migrations: a large table may have to be rewritten.
const MIGRATION_TIMEOUT_MS: u32 = 600_000;

/// How long a transaction may be idle: its locks must not outlive a process that hangs.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u32 = 30_000;

/// How long a caller waits for a free connection, including a new one.
const POOL_WAIT_MS: u64 = 6_000;

/// The writer, the reader, two logins, and a spare one; the lock has its own. Hosted servers allow few.
const MAX_CONNECTIONS: u32 = 5;

/// The connections of one database.
#[derive(Clone)]
pub(in crate::db) struct Pool {
    connections: r2d2::Pool<ConnectionManager<PgConnection>>,
    url: PgUrl,
}

impl Pool {
    /// Takes a free connection that responds. A dead one is replaced.
    pub fn get(&self) -> Result<PooledConnection<ConnectionManager<PgConnection>>, DbError> {
        self.connections
            .get()
            .map_err(|error| DbError::Unavailable { wait_ms: POOL_WAIT_MS, why: self.url.scrub(&error.to_string()) })
    }
}

/// Opens the database, checks that its schema is Sidereal's and not newer than this build, and migrates it.
pub(in crate::db) fn open(url: &str) -> Result<Pool, DbError> {
    let url = PgUrl::parse(url)?;
    if url.is_open_to_readers() {
        tracing::warn!(database = %url, "the connection to the database may go without TLS: use sslmode=verify-full");
    }
    let mut conn = connect(&url)?;
    migrate(&mut conn, &url)?;
    drop(conn);
    let connections = r2d2::Pool::builder()
        .max_size(MAX_CONNECTIONS)
        .min_idle(Some(1))
        // Behind a firewall an old connection may be dead without notice, and the server's memory per connection only
        // grows.
        .max_lifetime(Some(Duration::from_secs(1_800)))
        .test_on_check_out(true)
        .connection_timeout(Duration::from_millis(POOL_WAIT_MS))
        .connection_customizer(Box::new(Settings))
        .error_handler(Box::new(Failures(url.clone())))
        .build(ConnectionManager::new(url.conninfo()))
        .map_err(|error| unreachable_error(&url, &error))?;
    Ok(Pool { connections, url })
}

/// One connection outside the pool, with its settings.
fn connect(url: &PgUrl) -> Result<PgConnection, DbError> {
    let mut conn = PgConnection::establish(&url.conninfo()).map_err(|error| unreachable_error(url, &error))?;
    configure(&mut conn).map_err(|error| unreachable_error(url, &error))?;
    Ok(conn)
}

fn unreachable_error(url: &PgUrl, error: &dyn std::fmt::Display) -> DbError {
    DbError::Unreachable { database: url.to_string(), why: url.scrub(&error.to_string()) }
}

/// Sets up a session. The settings end with it.
fn configure(conn: &mut PgConnection) -> QueryResult<()> {
    // Keepalives of the database server, so that it releases the locks of a peer that is gone. `synchronous_commit`
    // stays unchanged unless it is off: a commit has been confirmed to a player.
    conn.batch_execute(&format!(
        "SET statement_timeout = {STATEMENT_TIMEOUT_MS}; \
         SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_TIMEOUT_MS}; \
         SET client_min_messages = warning; \
         SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; \
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';"
    ))
}

#[derive(Debug)]
struct Settings;

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for Settings {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), diesel::r2d2::Error> {
        configure(conn).map_err(diesel::r2d2::Error::QueryError)
    }
}

/// Logs failed connections; the pool retries by itself.
#[derive(Debug)]
struct Failures(PgUrl);

impl r2d2::HandleError<diesel::r2d2::Error> for Failures {
    fn handle_error(&self, error: diesel::r2d2::Error) {
        // The caller that needed the connection reports the effect; this logs the cause.
        tracing::debug!(database = %self.0, error = self.0.scrub(&error.to_string()), "no new database connection");
    }
}

#[derive(QueryableByName)]
struct Place {
    #[diesel(sql_type = Nullable<Text>)]
    schema: Option<String>,
    #[diesel(sql_type = Text)]
    encoding: String,
    #[diesel(sql_type = BigInt)]
    lock_key: i64,
}

#[derive(QueryableByName)]
struct Content {
    #[diesel(sql_type = BigInt)]
    tables: i64,
    #[diesel(sql_type = Bool)]
    marked: bool,
    #[diesel(sql_type = Bool)]
    migrated: bool,
}

/// The schema of the tables, and the key of its advisory lock.
fn place(conn: &mut PgConnection, url: &PgUrl) -> Result<(String, i64), DbError> {
    let place: Place = diesel::sql_query(
        "SELECT current_schema()::text AS schema, current_setting('server_encoding') AS encoding, \
         hashtextextended('sidereal ' || current_database() || '.' || coalesce(current_schema(), ''), 0) AS lock_key",
    )
    .get_result(conn)
    .map_err(|error| unreachable_error(url, &error))?;
    let refused = |why: String| DbError::Unreachable { database: url.to_string(), why };
    let schema = place.schema.ok_or_else(|| refused("no schema of the search path exists: create it".to_owned()))?;
    if place.encoding != "UTF8" {
        return Err(refused(format!("its encoding is {}, not UTF8: create another one", place.encoding)));
    }
    Ok((schema, place.lock_key))
}

/// Rejects a schema that this build must not touch, before changing anything in it.
fn check_ours(conn: &mut PgConnection, url: &PgUrl) -> Result<(), DbError> {
    let (schema, _) = place(conn, url)?;
    let shown = || format!("{url} (schema {schema})");
    let content: Content = diesel::sql_query(
        "SELECT count(*) FILTER (WHERE c.relname <> '__diesel_schema_migrations') AS tables, \
         coalesce(bool_or(c.relname = 'meta' AND obj_description(c.oid, 'pg_class') = $2), false) AS marked, \
         coalesce(bool_or(c.relname = '__diesel_schema_migrations'), false) AS migrated \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')",
    )
    .bind::<Text, _>(&schema)
    .bind::<Text, _>(MARK)
    .get_result(conn)
    .map_err(|error| unreachable_error(url, &error))?;
    if content.tables > 0 && !content.marked {
        return Err(DbError::ForeignSchema { database: shown() });
    }
    if !content.migrated {
        return Ok(());
    }
    let migration_error = |why: &dyn std::fmt::Display| DbError::Migration { database: shown(), why: why.to_string() };
    let known: Vec<String> = MigrationSource::<Pg>::migrations(&MIGRATIONS)
        .map_err(|error| migration_error(&error))?
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect();
    let applied = conn.applied_migrations().map_err(|error| migration_error(&error))?;
    match applied.iter().map(ToString::to_string).filter(|version| !known.contains(version)).max() {
        Some(migration) => Err(DbError::Newer { database: shown(), migration }),
        None => Ok(()),
    }
}

/// One at a time: another process that opens a new database waits here, and then finds the tables.
fn migrate(conn: &mut PgConnection, url: &PgUrl) -> Result<(), DbError> {
    let failed = |error: &dyn std::fmt::Display| DbError::Migration {
        database: url.to_string(),
        why: url.scrub(&error.to_string()),
    };
    let (_, lock_key) = place(conn, url)?;
    // Differs from the key of the server's own lock, which is held while this runs.
    let key = lock_key.wrapping_add(1);
    conn.batch_execute(&format!("SET statement_timeout = {MIGRATION_TIMEOUT_MS}; SELECT pg_advisory_lock({key});"))
        .map_err(|error| failed(&error))?;
    check_ours(conn, url)?;
    conn.run_pending_migrations(MIGRATIONS).map_err(|error| failed(&error))?;
    conn.batch_execute(&format!("SELECT pg_advisory_unlock({key})")).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_of_the_folder_is_in_this_build() {
        crate::db::all_are_embedded::<Pg>(&MIGRATIONS, "postgres", file!());
    }
}
