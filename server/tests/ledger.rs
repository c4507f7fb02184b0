//! The ledger through real files: a completed deal is stored with all its changes, a rejected one changes nothing.

mod common;

use std::path::Path;

use common::{PATIENCE, wait_for};
use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::sqlite::SqliteConnection;
use sidereal_server::db::{
    Change, Commodity, Database, Deal, Fence, Holder, Move, Posting, Settled, Store, StoreConfig, StoreReply,
    StoredEntity, Submission,
};
use uuid::Uuid;

/// No ordinary change is written before the store is stopped.
const NEVER: StoreConfig = StoreConfig { flush_interval_ms: 86_400_000, dirty_limit: 10_000, batch: 500 };

const ROCK: Holder =
    Holder { kind: sidereal_server::db::HolderKind::Entity, id: Uuid::from_u128(1), place: Uuid::nil() };
const SHIP: Holder =
    Holder { kind: sidereal_server::db::HolderKind::Entity, id: Uuid::from_u128(2), place: Uuid::nil() };
const ACCOUNT: Uuid = Uuid::from_u128(3);
const STATION: Uuid = Uuid::from_u128(4);

fn open(path: &Path) -> Database {
    Database::open(path.to_str().expect("a readable path")).expect("the database opens")
}

/// A store whose writer is ready for deals.
fn start(path: &Path) -> Store {
    let store = Store::start(open(path), NEVER);
    wait_for("the ledger", || (!store.is_away()).then_some(()));
    store
}

fn mining(ore: i64) -> Move {
    let (room, born_with) = (60, 100);
    Move { from: ROCK, to: SHIP, commodity: Commodity::Ore, amount: ore, room, born_with, links: Vec::new() }
}

fn sale(key: u128, ore: i64) -> Deal {
    let market = Holder::market(STATION);
    let mut postings = Posting::pair(SHIP, market, Commodity::Ore, ore).to_vec();
    postings.extend(Posting::pair(market, Holder::wallet(ACCOUNT), Commodity::Credits, 3 * ore));
    let (bargain, answer) = (vec![2, 7], format!("sold {ore} ore"));
    Deal { key: Uuid::from_u128(key), account: ACCOUNT, bargain, answer, tick: 5, postings }
}

fn ship_row(version: i64) -> StoredEntity {
    let (id, owner, sector) = (SHIP.id, Some(ACCOUNT), (0, 0));
    StoredEntity { id, kind: 1, owner, sector, epoch: 1, version, tick: version, record: vec![version as u8] }
}

fn settle(store: &Store, deal: Deal, links: Vec<Change>) -> Settled {
    assert_eq!(store.submit(deal, links, Vec::new()), Submission::Accepted);
    wait_for("the deal's end", || store.poll_settled())
}

fn done(store: &Store, key: u128) -> Option<String> {
    store.request_deal(9, Uuid::from_u128(key));
    match wait_for("a reply", || store.poll()) {
        StoreReply::Deal { token: 9, found } => found.map(|deal| deal.answer),
        other => panic!("not the deal: {other:?}"),
    }
}

#[test]
fn a_deal_that_was_told_as_done_survives_a_kill_with_all_that_it_changed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("world.sqlite");
    let store = start(&path);
    store.move_goods(mining(40));
    let settled = settle(&store, sale(7, 15), vec![Change::Put(ship_row(4))]);
    assert_eq!(settled, Settled { key: Uuid::from_u128(7), done: true });
    store.move_goods(mining(5));
    // No flush, as in a crash.
    drop(store);

    let database = open(&path);
    let stored = |holder, commodity| database.balance(holder, commodity).expect("read");
    assert_eq!(stored(SHIP, Commodity::Ore), Some(25), "what was mined after the deal was not flushed");
    assert_eq!(stored(ROCK, Commodity::Ore), Some(60));
    assert_eq!(stored(Holder::WORLD, Commodity::Ore), Some(-100));
    assert_eq!(stored(Holder::wallet(ACCOUNT), Commodity::Credits), Some(45));
    assert_eq!(database.entity(SHIP.id).expect("read"), Some(ship_row(4)));

    let store = start(&path);
    assert_eq!(done(&store, 7).as_deref(), Some("sold 15 ore"), "a repeated request only repeats the answer");
    assert_eq!(done(&store, 8), None);
    store.request_ship(1, ACCOUNT);
    wait_for("a reply", || store.poll());
    assert_eq!(store.balance(Holder::wallet(ACCOUNT), Commodity::Credits), Some(45), "the wallet is read too");
}

#[test]
fn moves_go_on_from_what_is_stored() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("world.sqlite");
    for round in 1..=3 {
        let store = start(&path);
        store.put(StoredEntity { owner: None, ..ship_row(round) });
        store.put(StoredEntity { id: ROCK.id, owner: None, ..ship_row(round) });
        store.request_sectors(1, vec![(0, 0)]);
        wait_for("the sector", || store.poll());
        store.move_goods(mining(10));
        assert_eq!(store.balance(ROCK, Commodity::Ore), Some(100 - 10 * round));
        assert_eq!(store.balance(SHIP, Commodity::Ore), Some(10 * round));
        store.flush_and_stop(PATIENCE).expect("everything is written");
        let world = open(&path).balance(Holder::WORLD, Commodity::Ore).expect("read");
        assert_eq!(world, Some(-100), "a rock is created once");
    }
}

#[test]
fn a_wreck_its_cargo_and_the_end_of_its_ship_are_one_transaction() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("world.sqlite");
    let store = start(&path);
    store.put(ship_row(1));
    store.move_goods(mining(30));
    store.flush();
    let crate_row = StoredEntity { id: Uuid::from_u128(8), owner: None, ..ship_row(1) };
    let fence = Fence { deleted: true, ..ship_row(2).fence() };
    store.move_goods(Move {
        from: SHIP,
        to: Holder::entity(crate_row.id),
        amount: i64::MAX,
        room: i64::MAX,
        born_with: 0,
        links: vec![Change::Tombstone { id: SHIP.id, fence }, Change::Put(crate_row.clone())],
        ..mining(0)
    });
    let database = open(&path);
    wait_for("the wreck", || database.entity(crate_row.id).expect("read"));
    drop(store);
    assert_eq!(database.entity(SHIP.id).expect("read"), None);
    assert_eq!(database.balance(SHIP, Commodity::Ore).expect("read"), Some(0));
    assert_eq!(database.balance(Holder::entity(crate_row.id), Commodity::Ore).expect("read"), Some(30));
}

#[test]
fn a_transaction_that_fails_refuses_its_deals_and_keeps_what_had_moved() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("world.sqlite");
    let store = start(&path);
    store.move_goods(mining(40));
    let mut shell = SqliteConnection::establish(path.to_str().expect("a readable path")).expect("the file opens");
    shell
        .batch_execute(
            "PRAGMA busy_timeout = 5000; CREATE TRIGGER shut BEFORE INSERT ON deals \
             BEGIN SELECT RAISE(ABORT, 'shut'); END;",
        )
        .expect("a trigger");
    assert!(!settle(&store, sale(7, 15), vec![Change::Put(ship_row(4))]).done);
    shell.batch_execute("DROP TRIGGER shut").expect("the trigger goes");
    assert_eq!(store.balance(SHIP, Commodity::Ore), Some(40));
    wait_for("the database's return", || (!store.is_away()).then_some(()));
    assert_eq!(done(&store, 7), None, "a rejected deal stays rejected");
    assert_eq!(open(&path).entity(SHIP.id).expect("read"), None, "and is not stored");
    assert!(settle(&store, sale(7, 15), Vec::new()).done, "and may be requested again");
    drop(store);
    assert_eq!(open(&path).balance(SHIP, Commodity::Ore).expect("read"), Some(25));
}
