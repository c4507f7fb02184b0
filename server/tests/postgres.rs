//! Events that only a PostgreSQL server has: it rejects, goes away, returns, and gives its lock to another server.
#![cfg(feature = "postgres")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::cluster::PgCluster;
use common::{PATIENCE, World, wait_for};
use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::{QueryableByName, RunQueryDsl};
use sidereal_server::db::{Database, DbError, Store, StoreConfig, StoredEntity};
use uuid::Uuid;

const AT_ONCE: StoreConfig = StoreConfig { flush_interval_ms: 0, dirty_limit: 10_000, batch: 500 };

fn entity(id: u128, version: i64) -> StoredEntity {
    StoredEntity {
        id: Uuid::from_u128(id),
        kind: 3,
        owner: None,
        sector: (0, 0),
        epoch: 1,
        version,
        tick: version,
        record: version.to_string().into_bytes(),
    }
}

/// Ends all connections to the database except its own; with `locks`, only those of one schema's lock.
fn terminate(url: &str, locks: bool) {
    let mut conn = PgConnection::establish(url).expect("the server answers");
    let which = if locks {
        format!("pid IN (SELECT pid FROM pg_locks WHERE {LOCK})")
    } else {
        "datname = current_database()".to_owned()
    };
    conn.batch_execute(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {which}"
    ))
    .expect("it may");
}

/// The condition for the lock of the search path's schema, over `pg_locks`.
const LOCK: &str = "locktype = 'advisory' AND objsubid = 1 AND ((classid::bigint << 32) | objid::bigint) = \
                    hashtextextended('sidereal ' || current_database() || '.' || current_schema(), 0)";

fn count(url: &str, from: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let mut conn = PgConnection::establish(url).expect("the server answers");
    let count: Count =
        diesel::sql_query(format!("SELECT count(*) AS count FROM {from}")).get_result(&mut conn).expect("counted");
    count.count
}

fn is_locked(url: &str) -> bool {
    count(url, &format!("pg_locks WHERE {LOCK}")) > 0
}

/// Opens a server's database as `sidereal-server` does.
fn serve(url: &str) -> Result<(sidereal_server::db::DatabaseLock, Database), DbError> {
    let lock = Database::lock(url)?;
    let database = Database::open(url)?.guarded_by(&lock)?;
    Ok((lock, database))
}

/// Connections are cut, and the server is killed and restarted, while states are written.
#[test]
fn what_is_written_through_outages_arrives_all_and_once() {
    let Some(cluster) = PgCluster::start_new() else { return };
    let url = cluster.new_schema();
    let (lock, database) = serve(&url).expect("no other server runs");
    let store = Store::start(database.clone(), AT_ONCE);
    let (mut version, mut accounts) = (0, Vec::new());
    let mut write_some = |store: &Store| {
        for _ in 0..50 {
            version += 1;
            for id in 0..20 {
                store.put(entity(id, version));
            }
            store.put(entity(1_000 + version as u128, version));
        }
        if let Ok(account) = database.create_account(&format!("ann {version}"), "hash") {
            accounts.push(account);
        }
    };
    for round in 0..2 {
        write_some(&store);
        terminate(&url, false);
        write_some(&store);
        let failed = store.stats().failed_flushes;
        if round == 0 {
            cluster.stop()
        } else {
            cluster.kill()
        }
        write_some(&store);
        wait_for("a failed flush", || (store.stats().failed_flushes > failed).then_some(()));
        cluster.start();
        write_some(&store);
        wait_for("the database again", || (store.stats().dirty == 0).then_some(()));
    }
    let summary = store.flush_and_stop(PATIENCE).expect("all is written");
    assert_eq!((summary.stale_refused, summary.dropped_at_limit), (0, 0));
    wait_for("the lock again", || (lock.losses() >= 1).then_some(()));
    drop((lock, database));

    let database = Database::open(&url).expect("it is there");
    for id in 0..20 {
        assert_eq!(database.entity(Uuid::from_u128(id)).expect("read"), Some(entity(id, version)));
    }
    for version in 1..=version {
        let id = 1_000 + version as u128;
        assert_eq!(database.entity(Uuid::from_u128(id)).expect("read"), Some(entity(id, version)));
    }
    for account in &accounts {
        assert_eq!(database.account_by_id(account.id).expect("read").as_ref(), Some(account), "it was confirmed");
    }
    assert_eq!(count(&url, "entities"), 20 + version);
}

#[test]
fn a_second_server_is_refused_until_the_first_has_ended() {
    let Some(world) = World::postgres() else { return };
    let (lock, database) = serve(world.url()).expect("no other server runs");
    let error = Database::lock(world.url()).expect_err("in use").to_string();
    assert!(error.contains("in use by another program") && error.contains("--database-url"), "{error}");
    database.set_meta("seed", "7").expect("the first goes on");
    Database::open(world.url()).expect("a reader is welcome").meta("seed").expect("it reads");
    let Some(other) = World::postgres() else { return };
    drop(Database::lock(other.url()).expect("another schema is another world"));
    drop(lock);
    serve(world.url()).expect("free again");
}

#[test]
fn a_lock_whose_connection_died_is_taken_again() {
    let Some(world) = World::postgres() else { return };
    let (lock, database) = serve(world.url()).expect("no other server runs");
    terminate(world.url(), true);
    wait_for("the loss", || (lock.losses() == 1).then_some(()));
    wait_for("the lock", || is_locked(world.url()).then_some(()));
    database.set_meta("seed", "7").expect("it still writes");
}

/// While another server has the lock nothing is written; one that has not written has changed nothing.
#[test]
fn a_server_writes_on_when_the_other_one_left_without_writing() {
    let Some(world) = World::postgres() else { return };
    let (_lock, database) = serve(world.url()).expect("no other server runs");
    let other = wait_for("the lock", || {
        terminate(world.url(), true);
        Database::lock(world.url()).ok()
    });
    wait_for("the first to see it", || matches!(database.set_meta("seed", "7"), Err(DbError::Overtaken)).then_some(()));
    drop(other);
    wait_for("the first to write again", || database.set_meta("seed", "8").ok());
}

#[test]
fn a_server_that_was_overtaken_writes_nothing_any_more() {
    let Some(world) = World::postgres() else { return };
    let (first_lock, first) = serve(world.url()).expect("no other server runs");
    first.set_meta("seed", "first").expect("it writes");
    let store = Store::start(first.clone(), AT_ONCE);
    let (second_lock, second) = wait_for("the lock", || {
        terminate(world.url(), true);
        serve(world.url()).ok()
    });
    let error = first.set_meta("seed", "late").expect_err("overtaken");
    assert!(matches!(error, DbError::Overtaken), "{error}");
    assert!(matches!(first.create_account("late", "hash"), Err(DbError::Overtaken)));
    store.put(entity(1, 1));
    wait_for("a refused flush", || (store.stats().failed_flushes > 0).then_some(()));
    second.set_meta("seed", "second").expect("the second writes");
    wait_for("the first to see it", || (first_lock.losses() > 0).then_some(()));
    drop((second_lock, second));
    assert!(matches!(first.set_meta("seed", "late"), Err(DbError::Overtaken)), "the world continued without it");
    let error = store.flush_and_stop(Duration::from_millis(500)).expect_err("nothing was stored");
    assert!(error.to_string().contains("taken over the database"), "{error}");
    let reader = Database::open(world.url()).expect("it opens");
    assert_eq!(reader.meta("seed").expect("read").as_deref(), Some("second"));
    assert_eq!(reader.entity(Uuid::from_u128(1)).expect("read"), None);
}

/// Another transaction locks the rows to be written: that is an error after a while, not a wait forever.
#[test]
fn a_statement_that_hangs_fails_and_is_tried_again() {
    let Some(world) = World::postgres() else { return };
    let store = Store::start(world.open(), AT_ONCE);
    let mut other = PgConnection::establish(world.url()).expect("the server answers");
    other.batch_execute("BEGIN; LOCK TABLE entities IN EXCLUSIVE MODE").expect("locked");
    store.put(entity(1, 1));
    wait_for("the failure", || (store.stats().failed_flushes > 0).then_some(()));
    other.batch_execute("COMMIT").expect("released");
    wait_for("the flush", || (store.stats().dirty == 0).then_some(()));
    assert_eq!(world.open().entity(Uuid::from_u128(1)).expect("read"), Some(entity(1, 1)));
}

#[test]
fn what_cannot_be_used_is_told_in_one_line_without_the_password() {
    let Some(cluster) = PgCluster::shared() else { return };
    let cluster: Arc<PgCluster> = cluster;
    let base = cluster.url();
    let host = base.rsplit_once('@').expect("a user").1;
    cluster.shell("CREATE ROLE locked LOGIN PASSWORD 'right'");
    cluster.shell("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    let foreign = World::postgres().expect("it runs");
    foreign.shell("CREATE TABLE songs (name TEXT)");
    let newer = World::postgres().expect("it runs");
    drop(newer.open());
    newer.shell("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    let cases = [
        (format!("postgres://locked:hunter2@{host}"), "authentication failed"),
        (format!("postgres://nobody-here:hunter2@{host}"), "does not exist"),
        ("postgres://me:hunter2@%2Fno%2Fsuch%2Ffolder/world".to_owned(), "cannot be used"),
        ("postgres://me:hunter2@127.0.0.1:1/world".to_owned(), "cannot be used"),
        (format!("postgres://me:hunter2@{host}?nonsense=hunter2"), "cannot be used"),
        (cluster.url_as("sidereal:hunter2", "no_such_database"), "does not exist"),
        (cluster.url_as("sidereal:hunter2", "ascii"), "not UTF8"),
        (format!("{base}?options=-csearch_path%3Dno_such_schema&password=hunter2"), "create it"),
        (foreign.url().to_owned(), "tables of another program"),
        (newer.url().to_owned(), "newer version"),
    ];
    for (url, what) in cases {
        for error in [
            Database::open(&url).expect_err("it cannot be used"),
            Database::lock(&url).map(|_| ()).expect_err("it cannot be used"),
        ] {
            let text = error.to_string();
            assert!(text.contains(what) && text.contains("--database-url") && !text.contains('\n'), "{what}: {text}");
            assert!(!format!("{text} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
    foreign.shell("INSERT INTO songs VALUES ('still here')");
    foreign.shell("CREATE TABLE meta (key INTEGER)");
    assert!(matches!(Database::open(foreign.url()), Err(DbError::ForeignSchema { .. })), "a name is not enough");
}

/// Two servers start on an empty schema at once.
#[test]
fn a_new_schema_is_made_once() {
    let Some(world) = World::postgres() else { return };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| world.open().meta("seed").expect("read"))).collect();
        for one in all {
            assert_eq!(one.join().expect("it opens"), None);
        }
    });
}
