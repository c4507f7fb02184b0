//! An operator's tools: a dump moves a whole world, and a check finds each planted fault.

mod common;

use common::{PATIENCE, wait_for};
use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::sqlite::SqliteConnection;
use sidereal_protocol::{
    DVec2,
    record::{EntityKind, EntityRecord, ShipHull, Structure},
    rules::{economy::ore_of_rock, flight::HullKind},
    world::{
        ids::{AccountId, EntityId},
        tick::SimTick,
    },
};
use sidereal_server::run::db_tool::give_back;
use sidereal_server::{
    db::{
        Change, Commodity, Database, Deal, Fence, Holder, META_SEED, META_TICK, Move, Posting, Store, StoreConfig,
        Submission,
        tools::{self, DumpError},
    },
    persistence::storage::row_of,
};
use std::path::Path;
use uuid::Uuid;

const CONFIG: StoreConfig = StoreConfig { flush_interval_ms: 86_400_000, dirty_limit: 10_000, batch: 500 };
const SHIP: Uuid = Uuid::from_u128(11);
const ROCK: Uuid = Uuid::from_u128(12);
const GONE: Uuid = Uuid::from_u128(13);
const STATION: Uuid = Uuid::from_u128(14);

fn open(path: &Path) -> Database {
    Database::open(path.to_str().expect("a readable path")).expect("the database opens")
}

fn ship(account: Uuid) -> EntityRecord {
    EntityRecord {
        owner: Some(AccountId(account)),
        name: "Ann 🚀 O'Neil".to_owned(),
        epoch: 3,
        version: 2,
        ..EntityRecord::at_rest(EntityId(SHIP), EntityKind::Ship, DVec2::new(-5.0, 7.0), SimTick(90))
    }
    .with(ShipHull(HullKind::Scout))
}

fn rock() -> EntityRecord {
    EntityRecord::at_rest(EntityId(ROCK), EntityKind::Asteroid, DVec2::new(1.0, 1.0), SimTick(90))
        .with(Structure::whole(20.0, 1))
}

/// A world with an account, a ship, a mined rock, an entity that is gone, a stored item and a sale.
fn world(path: &Path) -> Uuid {
    let database = open(path);
    let account = database.create_account("ann", "$argon2id$hash").expect("a new name").id;
    database.set_meta(META_SEED, "42").expect("stored");
    let store = Store::start(database, CONFIG);
    wait_for("the ledger", || (!store.is_away()).then_some(()));
    store.put(row_of(&ship(account)).expect("a row"));
    store.put(row_of(&rock()).expect("a row"));
    store.tombstone(GONE, 1, 5, 80);
    store.mark_generated((0, 0), 42);
    store.set_ship(account, SHIP);
    store.set_meta(META_TICK, "100");
    store.move_goods(Move {
        from: Holder::entity(ROCK),
        to: Holder::entity(SHIP),
        commodity: Commodity::Ore,
        amount: 30,
        room: 60,
        born_with: i64::from(ore_of_rock(20.0)),
        links: Vec::new(),
    });
    let (market, wallet) = (Holder::market(STATION), Holder::wallet(account));
    let mut postings = Posting::pair(Holder::entity(SHIP), market, Commodity::Ore, 10).to_vec();
    postings.extend(Posting::pair(market, wallet, Commodity::Credits, 30));
    postings.extend(Posting::pair(Holder::entity(SHIP), Holder::vault(account, STATION), Commodity::Ore, 5));
    let (bargain, answer) = (vec![2, 10], "sold \"10\" ore\u{1f680}\n".to_owned());
    let deal = Deal { key: Uuid::from_u128(77), account, bargain, answer, tick: 95, postings };
    let fence = Fence { epoch: 3, version: 2, tick: 90, deleted: false };
    assert_eq!(row_of(&ship(account)).expect("a row").fence(), fence);
    assert_eq!(
        store.submit(deal, vec![Change::Put(row_of(&ship(account)).expect("a row"))], Vec::new()),
        Submission::Accepted
    );
    store.flush_and_stop(PATIENCE).expect("everything is written");
    account
}

fn dump(path: &Path) -> String {
    let mut bytes = Vec::new();
    tools::export(&open(path), &mut bytes).expect("it is exported");
    String::from_utf8(bytes).expect("JSON is text")
}

#[test]
fn a_dump_brings_a_world_over_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (from, to) = (folder.path().join("from.sqlite"), folder.path().join("to.sqlite"));
    let account = world(&from);
    let text = dump(&from);
    let rows = tools::import(&open(&to), &mut text.as_bytes()).expect("it is imported");
    assert_eq!(rows + 2, text.lines().count() as u64, "all but the first and the last line are rows");
    assert_eq!(dump(&to), text, "and it is the same");
    let database = open(&to);
    assert_eq!(database.entity(SHIP).expect("read"), row_of(&ship(account)));
    assert_eq!(database.fence(GONE).expect("read").map(|fence| fence.deleted), Some(true), "it stays deleted");
    assert_eq!(database.deal(Uuid::from_u128(77)).expect("read").map(|deal| deal.account), Some(account));
    assert_eq!(tools::stats(&database).expect("read"), tools::stats(&open(&from)).expect("read"));
    assert!(tools::check(&database).expect("read").is_clean());
    let again = tools::import(&database, &mut text.as_bytes()).expect_err("there is a world in it");
    assert!(matches!(again, DumpError::NotEmpty), "{again}");
}

#[cfg(feature = "postgres")]
#[test]
fn a_world_moves_from_sqlite_to_postgres_and_back() {
    let Some(postgres) = common::World::postgres() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (from, back) = (folder.path().join("from.sqlite"), folder.path().join("back.sqlite"));
    let account = world(&from);
    let text = dump(&from);
    // As the tool does it: locked by the importer.
    let lock = Database::lock(postgres.url()).expect("no other process has it");
    let there = postgres.open().guarded_by(&lock).expect("it is reserved");
    tools::import(&there, &mut text.as_bytes()).expect("it is imported");
    assert!(tools::check(&there).expect("read").is_clean());
    assert_eq!(tools::stats(&there).expect("read"), tools::stats(&open(&from)).expect("read"));
    assert_eq!(there.entity(SHIP).expect("read"), row_of(&ship(account)));
    let mut bytes = Vec::new();
    tools::export(&there, &mut bytes).expect("it is exported");
    assert_eq!(String::from_utf8(bytes).expect("JSON is text"), text, "the same on either backend");
    tools::import(&open(&back), &mut text.as_bytes()).expect("and back");
    assert_eq!(dump(&back), text);
    let full = tools::import(&there, &mut text.as_bytes()).expect_err("there is a world in it");
    assert!(matches!(full, DumpError::NotEmpty), "{full}");
}

#[test]
fn a_dump_that_is_not_whole_imports_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (from, to) = (folder.path().join("from.sqlite"), folder.path().join("to.sqlite"));
    world(&from);
    let text = dump(&from);
    let lines: Vec<&str> = text.lines().collect();
    let without_end = lines[..lines.len() - 1].join("\n");
    let without_row = [&lines[..3], &lines[4..]].concat().join("\n");
    let twice = [&lines[..4], &lines[3..4], &lines[4..]].concat().join("\n").replace("\"rows\":10", "\"rows\":11");
    let damaged = text.replacen("\"record\":\"", "\"record\":\"zz", 1);
    let strange = text.replacen("\"table\":\"account\"", "\"table\":\"robbery\"", 1);
    let newer = text.replacen("\"format\":1", "\"format\":2", 1);
    for (what, text, words) in [
        ("no end", without_end.as_str(), "has no end"),
        ("a row is missing", &without_row, "rows, and there were"),
        ("a row twice", &twice, "line"),
        ("no hexadecimal digits", &damaged, "hexadecimal"),
        ("an unknown table", &strange, "robbery"),
        ("a newer format", &newer, "format 2"),
        ("nothing", "", "not the first one"),
        ("something else", "{\"a\":1}\n", "line 1"),
    ] {
        let error = tools::import(&open(&to), &mut text.as_bytes()).expect_err(what).to_string();
        assert!(error.contains(words), "{what}: {error}");
        assert_eq!(dump(&to).lines().count(), 2, "{what}: nothing is in the database");
    }
    tools::import(&open(&to), &mut text.as_bytes()).expect("the whole dump still goes in");
}

#[test]
fn a_sound_database_has_no_problems_and_each_planted_fault_is_found() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sound = folder.path().join("sound.sqlite");
    world(&sound);
    let report = tools::check(&open(&sound)).expect("read");
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.held.get("wallet credits"), Some(&30));
    for (number, (fault, words)) in [
        ("UPDATE entities SET record = x'03ff' WHERE NOT deleted", "cannot be read"),
        ("UPDATE entities SET epoch = epoch + 1 WHERE NOT deleted", "do not agree on its fence"),
        ("UPDATE entities SET sector_x = 9 WHERE NOT deleted", "do not agree on its sector"),
        ("UPDATE entities SET record = x'03' WHERE deleted", "is gone and has a record"),
        ("UPDATE entities SET version = -1 WHERE deleted", "below zero"),
        ("UPDATE meta SET value = 'x' WHERE key = 'seed'", "is not a number"),
        ("UPDATE meta SET value = '1' WHERE key = 'sim_tick'; UPDATE entities SET tick = 9000", "after the world's"),
        ("DELETE FROM accounts", "belongs to no account"),
        ("UPDATE balances SET amount = amount + 1 WHERE kind = 1", "add up to"),
        ("UPDATE balances SET amount = amount + 1 WHERE kind = 2", "its deals add up to"),
        ("DELETE FROM balances WHERE kind = 3", "that has no balance"),
        ("DELETE FROM deals", "belongs to no deal"),
        ("UPDATE postings SET delta = delta + 1 WHERE line = 0", "its lines of commodity"),
        ("UPDATE entities SET deleted = 1, record = x'' WHERE kind = 1", "and is gone"),
        ("DELETE FROM entities WHERE kind = 3", "and is nowhere"),
        ("UPDATE balances SET amount = 500 WHERE kind = 1 AND amount = 15", "more than 60"),
    ]
    .into_iter()
    .enumerate()
    {
        let broken = folder.path().join(format!("broken-{number}.sqlite"));
        let mut shell = SqliteConnection::establish(sound.to_str().expect("a path")).expect("the file opens");
        shell
            .batch_execute(&format!("PRAGMA busy_timeout = 5000; VACUUM INTO '{}'", broken.display()))
            .expect("a copy");
        let mut shell = SqliteConnection::establish(broken.to_str().expect("a path")).expect("the file opens");
        shell.batch_execute(&format!("PRAGMA foreign_keys = OFF; {fault}")).expect("the fault is planted");
        drop(shell);
        let report = tools::check(&open(&broken)).expect("read");
        assert!(report.problems.iter().any(|problem| problem.contains(words)), "{fault}: {report}");
    }
}

#[test]
fn a_ship_that_was_set_aside_is_given_back_to_its_owner_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("world.sqlite");
    let account = world(&path);
    let database = open(&path);
    let another = Uuid::from_u128(77);
    database.set_ship(account, another).expect("stored");
    for wrong in [ROCK, GONE, Uuid::from_u128(999)] {
        give_back(&database, wrong).expect_err("no ship of anybody's");
    }
    assert_eq!(database.account_by_id(account).expect("an answer").expect("ann").ship_id, Some(another));
    assert_eq!(give_back(&database, SHIP).expect("it is hers"), ("ann".to_owned(), Some(another)));
    assert_eq!(give_back(&database, SHIP).expect("once more"), ("ann".to_owned(), None));
    assert_eq!(database.account_by_id(account).expect("an answer").expect("ann").ship_id, Some(SHIP));
}
