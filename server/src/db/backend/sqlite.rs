//! SQLite only: the forms of its URL, opening a file, its pragmas, its migrations, its batch statement.
//!
//! The other backend is `postgres`.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::migration::MigrationSource;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection};
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::db::error::DbError;
use crate::db::tables::rows::{COLUMNS, EntityRow, ON_CONFLICT, Sector};
use crate::db::tables::schema::sectors;

type Conn = SqliteConnection;

/// The pool of such connections.
pub(in crate::db) type Pool = r2d2::Pool<ConnectionManager<Conn>>;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");

/// `PRAGMA application_id` of a Sidereal database ("SDRL"); the first migration sets it.
const APPLICATION_ID: i32 = 0x5344_524C;

/// How long a statement waits for another process's lock (a backup, a session of the sqlite3 shell).
const BUSY_TIMEOUT_MS: u32 = 5_000;

/// How long a caller waits for a free connection.
pub(in crate::db) const POOL_WAIT_MS: u64 = 5_000;

/// Number of rows in one statement: eleven parameters each, and SQLite accepts 32,766.
const ROWS_PER_STATEMENT: usize = 500;

/// Size of the `-wal` file after a checkpoint: a long read, like an export beside the server, lets it grow.
const WAL_BYTES: u64 = 16 * 1024 * 1024;

/// The writer, the reader, two logins, and a spare one.
const MAX_CONNECTIONS: u32 = 5;

/// The database's location.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Location {
    File(String),
    Memory,
}

impl Location {
    fn parse(url: &str) -> Result<Self, DbError> {
        let no_path = || DbError::NoPath { url: url.to_owned() };
        let (path, may_have_parameters) = match url.split_once("://") {
            Some(("sqlite", path)) => (path, true),
            Some((scheme, _)) => {
                return Err(DbError::UnsupportedScheme { scheme: scheme.to_owned() });
            }
            None => match url.strip_prefix("sqlite:") {
                Some(path) => (path, true),
                None => (url, false),
            },
        };
        if path == ":memory:" {
            return Ok(Self::Memory);
        }
        if path.is_empty() || path.contains('\0') || (may_have_parameters && path.contains('?')) {
            return Err(no_path());
        }
        // SQLite takes "file:" for a URI with parameters, and reserves a leading ':'.
        if path.starts_with("file:") || path.starts_with(':') {
            return Err(no_path());
        }
        Ok(Self::File(path.to_owned()))
    }
}

/// Opens the database, checks that it is Sidereal's and not newer than this build, and migrates it.
pub(in crate::db) fn open(url: &str) -> Result<Pool, DbError> {
    let location = Location::parse(url)?;
    let (path, name, connections) = match &location {
        // A database in memory exists in its one connection, which the callers share in turn.
        Location::Memory => (":memory:", ":memory:", 1),
        Location::File(path) => {
            check_path(path)?;
            let mut probe = Conn::establish(path).map_err(|error| cannot_open(path, &error))?;
            check_ours(&mut probe, path)?;
            use_wal(&mut probe, path)?;
            (path.as_str(), path.as_str(), MAX_CONNECTIONS)
        }
    };
    let pool = r2d2::Pool::builder()
        .max_size(connections)
        .min_idle(Some(1))
        .idle_timeout(None)
        .max_lifetime(None)
        .connection_timeout(Duration::from_millis(POOL_WAIT_MS))
        .connection_customizer(Box::new(Pragmas))
        .build(ConnectionManager::new(path))
        .map_err(|error| cannot_open(name, &error))?;
    let mut conn = pool.get().map_err(|error| cannot_open(name, &error))?;
    // SQLite opens a read-only file without an error.
    conn.immediate_transaction(|_| Ok::<(), DieselError>(())).map_err(|error| cannot_open(name, &error))?;
    conn.run_pending_migrations(MIGRATIONS)
        .map_err(|error| DbError::Migration { database: name.to_owned(), why: error.to_string() })?;
    drop(conn);
    Ok(pool)
}

#[derive(Debug)]
struct Pragmas;

impl CustomizeConnection<Conn, diesel::r2d2::Error> for Pragmas {
    fn on_acquire(&self, conn: &mut Conn) -> Result<(), diesel::r2d2::Error> {
        // NORMAL with WAL: a crash of the process loses nothing committed, a power failure the last moments.
        conn.batch_execute(&format!(
            "PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}; PRAGMA journal_mode = WAL; \
             PRAGMA journal_size_limit = {WAL_BYTES}; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;"
        ))
        .map_err(diesel::r2d2::Error::QueryError)
    }
}

#[derive(QueryableByName)]
struct JournalMode {
    #[diesel(sql_type = Text)]
    journal_mode: String,
}

/// Sets the file's modes: free pages can be returned, and readers do not wait for the writer. SQLite answers with the
/// mode in effect: a file that does not support the other keeps its own, without an error.
fn use_wal(conn: &mut Conn, path: &str) -> Result<(), DbError> {
    let refused = |error: DieselError| cannot_open(path, &error);
    // In a file with tables this has no effect until it is rewritten (`rewrite`). It comes first, because WAL mode
    // writes the file's header.
    conn.batch_execute("PRAGMA auto_vacuum = INCREMENTAL").map_err(refused)?;
    let answer: JournalMode = diesel::sql_query("PRAGMA journal_mode = WAL").get_result(conn).map_err(refused)?;
    match answer.journal_mode.as_str() {
        "wal" => Ok(()),
        mode => Err(DbError::NoWal { database: path.to_owned(), mode: mode.to_owned() }),
    }
}

#[derive(QueryableByName)]
struct Pages {
    #[diesel(sql_type = BigInt)]
    page_count: i64,
    #[diesel(sql_type = BigInt)]
    freelist_count: i64,
    #[diesel(sql_type = BigInt)]
    auto_vacuum: i64,
}

fn pages(conn: &mut Conn) -> QueryResult<Pages> {
    let query = "SELECT page_count, freelist_count, auto_vacuum \
                 FROM pragma_page_count, pragma_freelist_count, pragma_auto_vacuum";
    diesel::sql_query(query).get_result(conn)
}

/// Returns free pages to the file system, except `spare` ones, a limited number at a time. Gives how many, and whether
/// there are more. A file from before this feature keeps them for new rows.
pub(in crate::db) fn give_pages_back(conn: &mut Conn, spare: i64) -> QueryResult<(u64, bool)> {
    /// SQLite's number for `INCREMENTAL`.
    const INCREMENTAL: i64 = 2;
    let before = pages(conn)?;
    let over = before.freelist_count - spare;
    if before.auto_vacuum != INCREMENTAL || over <= 0 {
        return Ok((0, false));
    }
    conn.batch_execute(&format!("PRAGMA incremental_vacuum({})", over.min(spare)))?;
    let after = pages(conn)?;
    Ok(((before.page_count - after.page_count).max(0) as u64, over > spare))
}

/// Rewrites the whole file without free pages, so that later ones can be returned. Gives by how many pages it shrank.
/// Other users are locked out meanwhile.
pub(in crate::db) fn rewrite(conn: &mut Conn) -> QueryResult<u64> {
    let before = pages(conn)?;
    conn.batch_execute("PRAGMA auto_vacuum = INCREMENTAL; VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
    Ok((before.page_count - pages(conn)?.page_count).max(0) as u64)
}

/// Locks a database file, so that no second server writes to it: each would overwrite the other's world. The lock is a
/// file beside the database, held as long as it is open, and released even if this process is killed. A database in
/// memory needs none. Changes nothing in the database.
pub(in crate::db) fn lock(url: &str) -> Result<Option<File>, DbError> {
    let Location::File(path) = Location::parse(url)? else {
        return Ok(None);
    };
    check_path(&path)?;
    if Path::new(&path).exists() {
        let mut probe = Conn::establish(&path).map_err(|error| cannot_open(&path, &error))?;
        check_ours(&mut probe, &path)?;
    }
    // A symbolic link leads to the same database.
    let mut name = std::fs::canonicalize(&path).unwrap_or_else(|_| PathBuf::from(&path)).into_os_string();
    name.push("-lock");
    let refused = |error: std::io::Error| {
        let file = PathBuf::from(&name);
        cannot_open(&path, &format_args!("its lock {}: {error}", file.display()))
    };
    let file = File::options().create(true).truncate(false).write(true).open(&name).map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(DbError::InUse { database: path }),
        Err(TryLockError::Error(error)) => Err(refused(error)),
    }
}

/// Stores states and tombstones; no entity may occur twice. Returns how many were stored.
pub(in crate::db) fn write_entities(conn: &mut Conn, rows: &[EntityRow<'_>], now: i64) -> QueryResult<usize> {
    let mut written = 0;
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        let places = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows.len()].join(", ");
        let sql = format!("INSERT INTO entities ({COLUMNS}) VALUES {places} {ON_CONFLICT}");
        let mut insert = diesel::sql_query(sql).into_boxed::<Sqlite>();
        for row in rows {
            let (kind, owner, sector, record) = row.content();
            let fence = row.fence();
            insert = insert
                .bind::<Binary, _>(row.id().into_bytes().to_vec())
                .bind::<SmallInt, _>(kind)
                .bind::<Nullable<Binary>, _>(owner)
                .bind::<Integer, _>(sector.0)
                .bind::<Integer, _>(sector.1)
                .bind::<BigInt, _>(fence.epoch)
                .bind::<BigInt, _>(fence.version)
                .bind::<BigInt, _>(fence.tick)
                .bind::<Binary, _>(record)
                .bind::<Bool, _>(fence.deleted)
                .bind::<BigInt, _>(now);
        }
        written += insert.execute(conn)?;
    }
    Ok(written)
}

/// Marks sectors as generated; the first mark stays.
pub(in crate::db) fn write_generated(conn: &mut Conn, marks: &[(Sector, i64)]) -> QueryResult<()> {
    for ((x, y), tick) in marks {
        diesel::insert_into(sectors::table)
            .values((sectors::x.eq(x), sectors::y.eq(y), sectors::generated_at_tick.eq(tick)))
            .on_conflict_do_nothing()
            .execute(conn)?;
    }
    Ok(())
}

fn cannot_open(database: &str, error: &dyn std::fmt::Display) -> DbError {
    let (database, why) = (database.to_owned(), error.to_string());
    if why.contains("database is locked") {
        DbError::InUse { database }
    } else if why.contains("malformed") {
        DbError::Broken { database, why }
    } else {
        DbError::CannotOpen { database, why }
    }
}

fn check_path(path: &str) -> Result<(), DbError> {
    let file = Path::new(path);
    if file.is_dir() {
        return Err(DbError::IsFolder { database: path.to_owned() });
    }
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(DbError::NoFolder { database: path.to_owned(), folder: folder.display().to_string() })
        }
        _ => Ok(()),
    }
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct ApplicationId {
    #[diesel(sql_type = Integer)]
    application_id: i32,
}

/// Rejects a file that this build must not touch, before changing anything in it.
fn check_ours(conn: &mut Conn, path: &str) -> Result<(), DbError> {
    let refused = |error: DieselError| {
        let why = error.to_string();
        if why.contains("not a database") {
            DbError::NotADatabase { database: path.to_owned() }
        } else {
            cannot_open(path, &why)
        }
    };
    conn.batch_execute(&format!("PRAGMA busy_timeout = {BUSY_TIMEOUT_MS};")).map_err(refused)?;
    let tables: Count =
        diesel::sql_query("SELECT count(*) AS count FROM sqlite_master WHERE tbl_name <> '__diesel_schema_migrations'")
            .get_result(conn)
            .map_err(refused)?;
    if tables.count == 0 {
        return Ok(());
    }
    let id: ApplicationId = diesel::sql_query("PRAGMA application_id").get_result(conn).map_err(refused)?;
    if id.application_id != APPLICATION_ID {
        return Err(DbError::Foreign { database: path.to_owned() });
    }
    let migration_error =
        |why: &dyn std::fmt::Display| DbError::Migration { database: path.to_owned(), why: why.to_string() };
    let known: Vec<String> = MigrationSource::<Sqlite>::migrations(&MIGRATIONS)
        .map_err(|error| migration_error(&error))?
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect();
    let applied = conn.applied_migrations().map_err(|error| migration_error(&error))?;
    match applied.iter().map(ToString::to_string).filter(|version| !known.contains(version)).max() {
        Some(migration) => Err(DbError::Newer { database: path.to_owned(), migration }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_url_is_understood_or_refused_by_name() {
        let file = |path: &str| Location::File(path.to_owned());
        assert_eq!(Location::parse("sqlite://world.sqlite").expect("a path"), file("world.sqlite"));
        assert_eq!(Location::parse("sqlite:///var/lib/world.sqlite").expect("a path"), file("/var/lib/world.sqlite"));
        assert_eq!(Location::parse("a folder/what?.db").expect("a path"), file("a folder/what?.db"));
        assert_eq!(Location::parse(":memory:").expect("memory"), Location::Memory);
        assert_eq!(Location::parse("sqlite://:memory:").expect("memory"), Location::Memory);
        for url in ["", "sqlite://", "sqlite://x.db?mode=ro", "file:x.db", ":elsewhere:"] {
            assert!(matches!(Location::parse(url), Err(DbError::NoPath { .. })), "{url}");
        }
    }

    #[test]
    fn a_refused_url_does_not_show_its_password() {
        let error = Location::parse("mysql://sidereal:hunter2@db/world").expect_err("not supported");
        let text = error.to_string();
        assert!(text.contains("\"mysql\"") && text.contains("sqlite://FILE"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_file_where_wal_cannot_be_had_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("world.sqlite");
        // Locks by files beside it, as on some network shares: such a file has no shared memory.
        let share = format!("file:{}?vfs=unix-dotfile", path.display());
        let mut conn = Conn::establish(&share).expect("the file opens");
        let error = use_wal(&mut conn, "world.sqlite").expect_err("no WAL there").to_string();
        assert!(error.contains("world.sqlite") && error.contains("delete") && error.contains("local disk"), "{error}");
        let mut conn = Conn::establish(path.with_extension("local").to_str().expect("a path")).expect("the file opens");
        use_wal(&mut conn, "world.sqlite").expect("it can be had on a local disk");
    }

    #[test]
    fn free_pages_are_given_back_in_a_new_file_and_in_an_old_one_that_was_rewritten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open_at = |name: &str| {
            let path = folder.path().join(name).to_str().expect("a path").to_owned();
            let pool = open(&path).expect("it opens");
            pool.get().expect("a connection")
        };
        let fill_and_empty = |conn: &mut Conn| {
            conn.batch_execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
                 INSERT INTO meta SELECT 'k' || i, hex(zeroblob(2000)) FROM n; DELETE FROM meta;",
            )
            .expect("it takes them");
        };
        let mut new = open_at("new.sqlite");
        fill_and_empty(&mut new);
        let before = pages(&mut new).expect("counted").page_count;
        let mut given = 0;
        loop {
            let (pages, more) = give_pages_back(&mut new, 100).expect("given back");
            // Pages in which SQLite keeps references to others may be freed with them.
            assert!(pages <= 110, "a little at a time: {pages}");
            given += pages;
            if !more {
                break;
            }
        }
        assert!(given > 1_000, "{given} pages of {before}");
        let kept = pages(&mut new).expect("counted").freelist_count;
        assert!((90..=100).contains(&kept), "some are kept for new rows: {kept}");

        // As an earlier build created it.
        let path = folder.path().join("old.sqlite");
        Conn::establish(path.to_str().expect("a path"))
            .map(|mut conn| conn.batch_execute("PRAGMA journal_mode = WAL; CREATE TABLE x (y); DROP TABLE x;"))
            .expect("the file opens")
            .expect("it is a database");
        let mut old = open_at("old.sqlite");
        fill_and_empty(&mut old);
        assert_eq!(give_pages_back(&mut old, 100).expect("nothing is wrong"), (0, false), "it is not possible");
        assert!(rewrite(&mut old).expect("rewritten") > 1_000);
        fill_and_empty(&mut old);
        assert_eq!(give_pages_back(&mut old, 100).expect("given back"), (100, true), "from then on it can");
    }

    #[test]
    fn every_migration_of_the_folder_is_in_this_build_and_can_be_undone() {
        crate::db::all_are_embedded::<Sqlite>(&MIGRATIONS, "sqlite", file!());

        let mut conn = Conn::establish(":memory:").expect("memory is there");
        conn.run_pending_migrations(MIGRATIONS).expect("up");
        conn.revert_all_migrations(MIGRATIONS).expect("down");
        conn.run_pending_migrations(MIGRATIONS).expect("up again");
    }
}
