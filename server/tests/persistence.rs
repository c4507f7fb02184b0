//! The store and its database, through real files and a real server: what is read, what survives, what is rejected.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{PATIENCE, World, wait_for};
use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::sqlite::SqliteConnection;
use sidereal_server::db::{
    Admission, Database, DbError, Deal, Fence, LoadedSector, MAX_INDEXED_TEXT_BYTES, MAX_RECORD_BYTES, Sector, Store,
    StoreConfig, StoreReply, StoredEntity, Submission,
};
use tempfile::TempDir;
use uuid::Uuid;

/// Nothing is written before the store is stopped.
const NEVER: StoreConfig = StoreConfig { flush_interval_ms: 86_400_000, dirty_limit: 10_000, batch: 500 };

/// Everything is written as soon as it can be.
const AT_ONCE: StoreConfig = StoreConfig { flush_interval_ms: 0, ..NEVER };

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn open(path: &str) -> Database {
    Database::open(path).expect("the database opens")
}

fn entity(id: u128, sector: Sector, version: i64) -> StoredEntity {
    StoredEntity {
        id: Uuid::from_u128(id),
        kind: 3,
        owner: None,
        sector,
        epoch: 1,
        version,
        tick: 100 + version,
        record: format!("state {version}").into_bytes(),
    }
}

fn stop(store: Store) {
    store.flush_and_stop(PATIENCE).expect("everything is written");
}

fn reply(store: &Store) -> StoreReply {
    wait_for("a reply", || store.poll())
}

fn load(store: &Store, sectors: &[Sector]) -> Vec<LoadedSector> {
    store.request_sectors(5, sectors.to_vec());
    match reply(store) {
        StoreReply::Sectors { token: 5, sectors } => sectors,
        other => panic!("not the sectors: {other:?}"),
    }
}

fn ship(store: &Store, account: Uuid) -> Option<StoredEntity> {
    store.request_ship(6, account);
    match reply(store) {
        StoreReply::Ship { token: 6, ship } => ship,
        other => panic!("not the ship: {other:?}"),
    }
}

/// Writes through the store, one flush per change.
fn write(database: &Database, entities: impl IntoIterator<Item = StoredEntity>) -> u64 {
    let mut stale = 0;
    for entity in entities {
        let store = Store::start(database.clone(), NEVER);
        store.put(entity);
        stale += store.flush_and_stop(PATIENCE).expect("written").stale_refused;
    }
    stale
}

/// Another connection to the file, as an operator's tool would have.
fn shell(path: &str, sql: &str) {
    let mut conn = SqliteConnection::establish(path).expect("the file opens");
    conn.batch_execute("PRAGMA busy_timeout = 5000").expect("a pragma");
    conn.batch_execute(sql).expect("the statement runs");
}

on_every_backend!(
    a_restart_finds_everything,
    a_kill_between_flushes_loses_only_what_was_not_flushed,
    the_fence_lets_only_newer_states_win,
    a_deleted_entity_stays_deleted_and_keeps_its_fence,
    a_read_sees_what_is_not_yet_written,
    a_waiting_state_that_the_database_knows_better_is_not_shown,
    a_read_sees_every_change_while_flushes_run,
    large_records_and_hostile_texts_come_back_as_they_were,
    a_failing_database_is_tried_again_and_stops_nobody,
    a_write_that_hangs_closes_the_books_and_they_open_again,
    an_end_without_the_database_says_what_is_lost,
    reads_past_the_limit_fail_and_the_earlier_ones_are_answered,
    a_database_of_a_newer_version_is_refused_and_left_alone,
    an_unknown_account_gets_no_ship,
);

fn a_restart_finds_everything(world: &World) {
    let account = {
        let database = world.open();
        let account = database.create_account("ann", "hash").expect("a new name");
        let store = Store::start(database, NEVER);
        store.put(entity(1, (0, 0), 1));
        store.put(entity(2, (-7, i32::MIN), 1));
        store.put(StoredEntity { owner: Some(account.id), ..entity(3, (0, 0), 1) });
        store.put(entity(4, (0, 0), 1));
        store.tombstone(Uuid::from_u128(4), 1, 2, 0);
        store.mark_generated((0, 0), 42);
        store.set_ship(account.id, Uuid::from_u128(3));
        store.set_meta("sim_tick", "4711");
        let summary = store.flush_and_stop(PATIENCE).expect("everything is written");
        assert_eq!((summary.flushed_rows, summary.flushes, summary.stale_refused), (7, 1, 0));
        account.id
    };
    let database = world.open();
    assert_eq!(database.meta("sim_tick").expect("read").as_deref(), Some("4711"));
    assert_eq!(database.account_by_id(account).expect("read").expect("stored").ship_id, Some(Uuid::from_u128(3)));
    assert_eq!(database.find_account("ANN").expect("read").expect("stored").id, account);
    let store = Store::start(database, NEVER);
    assert_eq!(
        load(&store, &[(0, 0), (-7, i32::MIN), (5, 5)]),
        [
            ((0, 0), true, vec![entity(1, (0, 0), 1)]),
            ((-7, i32::MIN), false, vec![entity(2, (-7, i32::MIN), 1)]),
            ((5, 5), false, vec![]),
        ]
    );
    assert_eq!(ship(&store, account), Some(StoredEntity { owner: Some(account), ..entity(3, (0, 0), 1) }));
    assert_eq!(ship(&store, Uuid::from_u128(99)), None, "no such account");
}

fn a_kill_between_flushes_loses_only_what_was_not_flushed(world: &World) {
    write(&world.open(), [entity(1, (0, 0), 1)]);
    let store = Store::start(world.open(), NEVER);
    store.put(entity(1, (0, 0), 2));
    store.put(entity(2, (0, 0), 1));
    drop(store);
    let store = Store::start(world.open(), NEVER);
    assert_eq!(load(&store, &[(0, 0)]), [((0, 0), false, vec![entity(1, (0, 0), 1)])]);
}

fn the_fence_lets_only_newer_states_win(world: &World) {
    let database = world.open();
    let newest = StoredEntity { epoch: 3, version: 5, tick: 50, ..entity(1, (0, 0), 0) };
    write(&database, [newest.clone()]);
    let older = [
        StoredEntity { epoch: 2, version: 9, tick: 99, ..newest.clone() },
        StoredEntity { version: 4, tick: 99, ..newest.clone() },
        StoredEntity { tick: 49, ..newest.clone() },
    ];
    assert_eq!(write(&database, older), 3);
    assert_eq!(database.entity(newest.id).expect("read"), Some(newest.clone()));
    let newer = [
        newest.clone(),
        StoredEntity { tick: 51, sector: (1, 1), record: b"tick".to_vec(), ..newest.clone() },
        StoredEntity { version: 6, tick: 0, kind: 4, ..newest.clone() },
        StoredEntity { epoch: 4, version: 0, tick: 0, owner: Some(Uuid::from_u128(8)), ..newest.clone() },
    ];
    for state in newer {
        assert_eq!(write(&database, [state.clone()]), 0);
        assert_eq!(database.entity(newest.id).expect("read"), Some(state));
    }
}

fn a_deleted_entity_stays_deleted_and_keeps_its_fence(world: &World) {
    let database = world.open();
    write(&database, [entity(1, (0, 0), 1)]);
    let store = Store::start(database.clone(), NEVER);
    store.tombstone(Uuid::from_u128(1), 1, 5, 105);
    store.tombstone(Uuid::from_u128(2), 1, 5, 105);
    stop(store);
    assert_eq!(write(&database, [entity(1, (0, 0), 4), entity(1, (0, 0), 5), entity(2, (0, 0), 4)]), 3);
    let fence = Fence { epoch: 1, version: 5, tick: 105, deleted: true };
    for id in [Uuid::from_u128(1), Uuid::from_u128(2)] {
        assert_eq!(database.entity(id).expect("read"), None);
        assert_eq!(database.fence(id).expect("read"), Some(fence));
    }
    let store = Store::start(database.clone(), NEVER);
    assert_eq!(load(&store, &[(0, 0)]), [((0, 0), false, vec![])]);
    store.tombstone(Uuid::from_u128(1), 1, 4, 0);
    assert_eq!(store.flush_and_stop(PATIENCE).expect("written").stale_refused, 1);
    assert_eq!(database.fence(Uuid::from_u128(1)).expect("read"), Some(fence));
}

fn a_read_sees_what_is_not_yet_written(world: &World) {
    let database = world.open();
    let account = database.create_account("ann", "hash").expect("a new name").id;
    write(&database, [entity(1, (0, 0), 1), entity(2, (0, 0), 1), entity(3, (0, 0), 1)]);
    let store = Store::start(database, NEVER);
    store.put(entity(1, (0, 0), 2));
    store.put(entity(2, (1, 0), 2));
    store.tombstone(Uuid::from_u128(3), 1, 2, 0);
    store.put(entity(4, (1, 0), 1));
    store.mark_generated((1, 0), 9);
    let owned = StoredEntity { owner: Some(account), ..entity(5, (0, 0), 1) };
    store.put(owned.clone());
    store.set_ship(account, owned.id);
    assert_eq!(
        load(&store, &[(0, 0), (1, 0), (0, 0)]),
        [((0, 0), false, vec![entity(1, (0, 0), 2)]), ((1, 0), true, vec![entity(2, (1, 0), 2), entity(4, (1, 0), 1)]),]
    );
    assert_eq!(ship(&store, account), Some(owned.clone()));
    store.tombstone(owned.id, 1, 2, 0);
    assert_eq!(ship(&store, account), None);
    assert_eq!(store.stats().flushes, 0, "none of it was written");
}

fn a_waiting_state_that_the_database_knows_better_is_not_shown(world: &World) {
    let database = world.open();
    write(&database, [entity(1, (0, 0), 9), StoredEntity { epoch: 7, ..entity(2, (4, 4), 1) }]);
    let store = Store::start(database, NEVER);
    store.put(entity(1, (1, 0), 2));
    store.put(entity(2, (1, 0), 2));
    assert_eq!(load(&store, &[(1, 0), (0, 0)]), [((1, 0), false, vec![]), ((0, 0), false, vec![entity(1, (0, 0), 9)])]);
}

/// Flushes run all the time while entities move: every read finds each of them once, at its last position.
fn a_read_sees_every_change_while_flushes_run(world: &World) {
    let store = Store::start(world.open(), AT_ONCE);
    let sectors: Vec<Sector> = (0..4).map(|x| (x, 0)).collect();
    for version in 1..=300 {
        for id in 0..5 {
            store.put(entity(id, (((version + id as i64 * version) % 4) as i32, 0), version));
        }
        let mut found: Vec<StoredEntity> = load(&store, &sectors).into_iter().flat_map(|(_, _, found)| found).collect();
        found.sort_by_key(|entity| entity.id);
        let expected: Vec<StoredEntity> =
            (0..5).map(|id| entity(id, (((version + id as i64 * version) % 4) as i32, 0), version)).collect();
        assert_eq!(found, expected);
    }
    assert!(store.stats().flushes > 0, "the flushes did run");
    assert_eq!(store.stats().stale_refused, 0);
}

fn large_records_and_hostile_texts_come_back_as_they_were(world: &World) {
    let record: Vec<u8> = (0..1_048_576_u32).map(|i| if i % 3 == 0 { 0 } else { (i * 31) as u8 }).collect();
    let large = StoredEntity { record, ..entity(1, (0, 0), 1) };
    let names = ["'; DROP TABLE accounts; --", "%_\\\"`", "\u{202e}эйн🚀", "", &"x".repeat(MAX_INDEXED_TEXT_BYTES)];
    {
        let database = world.open();
        for name in names {
            database.create_account(name, name).expect("a new name");
            database.set_meta(name, name).expect("stored");
            assert!(matches!(database.create_account(name, "other"), Err(DbError::NameTaken)));
        }
        let store = Store::start(database, NEVER);
        store.put(large.clone());
        store.put(StoredEntity {
            record: vec![],
            kind: i16::MIN,
            epoch: i64::MAX,
            tick: i64::MIN,
            ..entity(2, (9, 9), 1)
        });
        let too_large = StoredEntity { record: vec![1; MAX_RECORD_BYTES + 1], ..entity(3, (0, 0), 1) };
        assert_eq!(store.put(too_large), Admission::TooLarge);
        stop(store);
    }
    let database = world.open();
    for name in names {
        let account = database.find_account(name).expect("read").expect("stored");
        assert_eq!((account.name.as_str(), account.password_hash.as_str()), (name, name));
        assert_eq!(database.meta(name).expect("read").as_deref(), Some(name));
    }
    assert_eq!(database.entity(large.id).expect("read"), Some(large));
    let edge = database.entity(Uuid::from_u128(2)).expect("read").expect("stored");
    assert_eq!((edge.kind, edge.epoch, edge.tick, edge.record.len()), (i16::MIN, i64::MAX, i64::MIN, 0));
}

fn a_failing_database_is_tried_again_and_stops_nobody(world: &World) {
    let store = Store::start(world.open(), AT_ONCE);
    world.shell("ALTER TABLE entities RENAME TO away");
    store.put(entity(1, (0, 0), 1));
    wait_for("a failed flush", || (store.stats().failed_flushes > 0).then_some(()));
    assert_eq!(store.put(entity(2, (0, 0), 1)), Admission::Accepted);
    store.request_sectors(8, vec![(0, 0)]);
    assert!(matches!(reply(&store), StoreReply::Failed { token: 8, .. }));
    world.shell("ALTER TABLE away RENAME TO entities");
    wait_for("the flush", || (store.stats().dirty == 0).then_some(()));
    assert_eq!(load(&store, &[(0, 0)])[0].2, [entity(1, (0, 0), 1), entity(2, (0, 0), 1)]);
    stop(store);
}

fn a_write_that_hangs_closes_the_books_and_they_open_again(world: &World) {
    let store = Store::start(world.open(), AT_ONCE);
    wait_for("the ledger", || (!store.is_away()).then_some(()));
    let hold = world.hold_writes();
    store.put(entity(1, (0, 0), 1));
    wait_for("the hang to be seen", || store.is_away().then_some(()));
    let (account, answer) = (Uuid::from_u128(1), "docked".to_owned());
    let deal = |key| Deal {
        key: Uuid::from_u128(key),
        account,
        bargain: vec![1],
        answer: answer.clone(),
        tick: 1,
        postings: Vec::new(),
    };
    assert_eq!(store.submit(deal(7), Vec::new(), Vec::new()), Submission::Away);
    assert_eq!(store.put(entity(2, (0, 0), 1)), Admission::Accepted);
    drop(hold);
    wait_for("the books to open", || (!store.is_away()).then_some(()));
    assert_eq!(store.submit(deal(8), Vec::new(), Vec::new()), Submission::Accepted);
    let settled = wait_for("the deal's end", || store.poll_settled());
    assert_eq!((settled.key, settled.done), (Uuid::from_u128(8), true));
    wait_for("the flush", || (store.stats().dirty == 0).then_some(()));
    stop(store);
}

fn an_end_without_the_database_says_what_is_lost(world: &World) {
    let store = Store::start(world.open(), NEVER);
    store.put(entity(1, (0, 0), 1));
    store.put(entity(2, (0, 0), 1));
    world.shell("DROP TABLE entities");
    let error = store.flush_and_stop(Duration::from_millis(300)).expect_err("nothing can be written");
    assert_eq!(error.unsaved, 2);
    let missing = if world.is_postgres() { "\"entities\" does not exist" } else { "no such table" };
    assert!(error.to_string().contains(missing), "{error}");
}

#[test]
fn at_the_limit_new_entities_are_dropped_and_counted() {
    let store = Store::start(open(":memory:"), StoreConfig { dirty_limit: 2, ..NEVER });
    assert_eq!(store.put(entity(1, (0, 0), 1)), Admission::Accepted);
    assert_eq!(store.put(entity(2, (0, 0), 1)), Admission::Accepted);
    assert_eq!(store.put(entity(3, (0, 0), 1)), Admission::Full);
    assert_eq!(store.put(entity(1, (0, 0), 2)), Admission::Accepted);
    assert_eq!((store.stats().dirty, store.stats().dropped_at_limit), (2, 1));
    assert_eq!(store.flush_and_stop(PATIENCE).expect("written").dropped_at_limit, 1);
}

fn reads_past_the_limit_fail_and_the_earlier_ones_are_answered(world: &World) {
    let store = Store::start(world.open(), NEVER);
    for token in 0..5_000 {
        store.request_sectors(token, vec![(0, 0)]);
    }
    let (mut answered, mut refused) = (0, 0);
    for _ in 0..5_000 {
        match reply(&store) {
            StoreReply::Sectors { .. } => answered += 1,
            StoreReply::Failed { error, .. } => {
                assert!(error.ends_with("ask again later"), "{error}");
                refused += 1;
            }
            other => panic!("not requested: {other:?}"),
        }
    }
    assert_eq!((answered, refused), (4_096, 904));
    assert_eq!(load(&store, &[(0, 0)]).len(), 1);
}

fn a_database_of_a_newer_version_is_refused_and_left_alone(world: &World) {
    drop(world.open());
    world.shell("INSERT INTO __diesel_schema_migrations (version) VALUES ('9998'), ('9999')");
    let error = Database::open(world.url()).expect_err("from the future").to_string();
    assert!(
        error.contains(
            " is from a newer version of Sidereal (migration 9999): update the server or use another file with --database-url"
        ),
        "{error}"
    );
    world.shell("DELETE FROM __diesel_schema_migrations WHERE version > '9'");
    world.open();
}

#[test]
fn what_cannot_be_opened_is_told_in_one_line_with_what_to_do() {
    let folder = folder();
    let inside = |name: &str| folder.path().join(name).to_str().expect("a readable path").to_owned();
    std::fs::write(inside("notes.txt"), "not a database at all, but long enough to be looked at. ".repeat(50))
        .expect("written");
    shell(&inside("other.db"), "CREATE TABLE songs (name TEXT)");
    std::fs::write(inside("empty.db"), "").expect("written");
    let cases = [
        (inside("missing/world.sqlite"), "does not exist"),
        (inside(""), "is a folder"),
        (inside("notes.txt"), "is not a SQLite database"),
        (inside("other.db"), "belongs to another program"),
        (inside("notes.txt/world.sqlite"), "does not exist"),
        ("mysql://host/world".to_owned(), "\"mysql\" are not supported"),
        (String::new(), "names no database file"),
    ];
    for (url, what) in cases {
        let error = Database::open(&url).expect_err(&url).to_string();
        assert!(error.contains(what) && error.contains("--database-url") && !error.contains('\n'), "{url}: {error}");
    }
    let notes = std::fs::read_to_string(inside("notes.txt")).expect("still there");
    assert!(notes.starts_with("not a database"), "a rejected file is unchanged");
    assert!(!Path::new(&inside("missing")).exists());
    open(&inside("empty.db"));
}

#[test]
fn databases_in_memory_are_shared_by_clones_only() {
    let database = open(":memory:");
    database.set_meta("seed", "7").expect("stored");
    assert_eq!(database.clone().meta("seed").expect("read").as_deref(), Some("7"));
    assert_eq!(open("sqlite://:memory:").meta("seed").expect("read"), None);
}

fn an_unknown_account_gets_no_ship(world: &World) {
    let database = world.open();
    let nobody = Uuid::from_u128(1);
    assert!(matches!(database.set_ship(nobody, Uuid::from_u128(2)), Err(DbError::NoAccount(id)) if id == nobody));
    let store = Store::start(database.clone(), NEVER);
    store.set_ship(nobody, Uuid::from_u128(2));
    store.set_meta("after", "it");
    stop(store);
    assert_eq!(database.meta("after").expect("read").as_deref(), Some("it"), "it does not block the batch");
}
