//! Expired rows are removed, from a database at rest and under a running store, and all sums still match.

mod common;

use clap::Parser;
use common::{PATIENCE, World, wait_for};
use sidereal_protocol::{
    DVec2,
    record::{EntityKind, EntityRecord, ShipHull, Structure},
    rules::{economy::ore_of_rock, flight::HullKind},
    world::{
        ids::{AccountId, EntityId},
        tick::SimTick,
    },
};
use sidereal_server::{
    db::{
        Change, Commodity, Database, Deal, Fence, Holder, META_SEED, META_TICK, Move, Posting, Pruned, SessionBounds,
        Store, StoreConfig, StoredEntity, Submission, tools, unix_ms,
    },
    persistence::storage::row_of,
    run::db_tool::{self, DbTool},
};
use std::time::Duration;
use uuid::Uuid;

on_every_backend!(
    old_deals_go_and_the_sums_stay_exact,
    the_fence_of_what_is_long_gone_goes_with_its_empty_balance,
    a_fence_stays_while_an_older_write_waits,
    a_running_store_removes_what_is_over_between_its_own_work,
);

/// No ordinary change is written before the store is asked to flush.
const NEVER: StoreConfig = StoreConfig { flush_interval_ms: 86_400_000, dirty_limit: 10_000, batch: 500 };
const DAY_MS: i64 = 86_400_000;
const SHIP: Uuid = Uuid::from_u128(11);
const STATIONS: [Uuid; 2] = [Uuid::from_u128(21), Uuid::from_u128(22)];

fn start(database: &Database) -> Store {
    let store = Store::start(database.clone(), NEVER);
    wait_for("the ledger", || (!store.is_away()).then_some(()));
    store
}

fn rock(number: u128) -> EntityRecord {
    let id = EntityId(Uuid::from_u128(number));
    EntityRecord::at_rest(id, EntityKind::Asteroid, DVec2::new(1.0, 1.0), SimTick(9)).with(Structure::whole(40.0, 1))
}

fn ship(account: Uuid) -> EntityRecord {
    let at_rest = EntityRecord::at_rest(EntityId(SHIP), EntityKind::Ship, DVec2::ZERO, SimTick(9));
    EntityRecord { owner: Some(AccountId(account)), ..at_rest }.with(ShipHull(HullKind::Scout))
}

fn row(record: &EntityRecord) -> StoredEntity {
    row_of(record).expect("a row")
}

fn mine(store: &Store, from: u128, ore: i64) {
    store.move_goods(Move {
        from: Holder::entity(Uuid::from_u128(from)),
        to: Holder::entity(SHIP),
        commodity: Commodity::Ore,
        amount: ore,
        // Less than the hold, for withdrawals from the vaults.
        room: 40,
        born_with: i64::from(ore_of_rock(40.0)),
        links: Vec::new(),
    });
}

/// Sells, stores, withdraws, buys, and gives credits to another account, in turn.
fn deal(store: &Store, key: u128, account: Uuid, other: Uuid) {
    let station = STATIONS[key as usize % 2];
    let (market, wallet, hold) = (Holder::market(station), Holder::wallet(account), Holder::entity(SHIP));
    let vault = Holder::vault(account, station);
    let pair = |from, to, what, amount| Posting::pair(from, to, what, amount).to_vec();
    let postings = match key % 10 {
        // Two of each kind, one at either station.
        0 | 1 => [pair(hold, market, Commodity::Ore, 2), pair(market, wallet, Commodity::Credits, 6)].concat(),
        2 | 3 => pair(hold, vault, Commodity::Ore, 2),
        4 | 5 => pair(vault, hold, Commodity::Ore, 1),
        6 | 7 => pair(wallet, market, Commodity::Credits, 1),
        _ => pair(wallet, Holder::wallet(other), Commodity::Credits, 2),
    };
    let (bargain, answer) = (vec![2, 7], "done".to_owned());
    let deal = Deal { key: Uuid::from_u128(key), account, bargain, answer, tick: 5, postings };
    assert_eq!(store.submit(deal, Vec::new(), Vec::new()), Submission::Accepted);
    assert!(wait_for("the deal's end", || store.poll_settled()).done);
}

/// A world with completed `deals`, the first with the key 1,000.
fn world(database: &Database, deals: std::ops::Range<u128>) -> (Uuid, Uuid) {
    let name = |name: &str| match database.find_account(name).expect("readable") {
        Some(account) => account.id,
        None => database.create_account(name, "hash").expect("a new name").id,
    };
    let (ann, bob) = (name("ann"), name("bob"));
    database.set_meta(META_SEED, "42").expect("stored");
    database.set_meta(META_TICK, "100").expect("stored");
    let store = start(database);
    store.put(row(&ship(ann)));
    store.set_ship(ann, SHIP);
    store.put(row(&rock(31)));
    store.put(row(&rock(32)));
    store.request_ship(1, ann);
    wait_for("the ship", || store.poll());
    store.request_ship(2, bob);
    wait_for("the other one", || store.poll());
    store.request_sectors(3, vec![(0, 0)]);
    wait_for("the rocks", || store.poll());
    for number in deals {
        mine(&store, 31 + number / 10 % 2, 4);
        deal(&store, 1_000 + number, ann, bob);
    }
    store.flush_and_stop(PATIENCE).expect("everything is written");
    (ann, bob)
}

/// All balances of the two accounts, which must not change.
fn held(database: &Database, (ann, bob): (Uuid, Uuid)) -> Vec<Option<i64>> {
    let markets = STATIONS.map(Holder::market);
    let vaults = STATIONS.map(|station| Holder::vault(ann, station));
    let entities = [SHIP, Uuid::from_u128(31), Uuid::from_u128(32)].map(Holder::entity);
    let others = [Holder::wallet(ann), Holder::wallet(bob), Holder::WORLD, Holder::VOID];
    [&markets[..], &vaults, &entities, &others]
        .concat()
        .into_iter()
        .flat_map(|holder| [Commodity::Ore, Commodity::Credits].map(|what| database.balance(holder, what)))
        .map(|balance| balance.expect("readable"))
        .collect()
}

fn assert_sound(database: &Database) {
    let report = tools::check(database).expect("readable");
    assert!(report.is_clean(), "{report}");
}

fn age_deals(world: &World, days: i64, condition: &str) {
    world.shell(&format!("UPDATE deals SET created_at = created_at - {} WHERE {condition}", days * DAY_MS));
}

fn old_deals_go_and_the_sums_stay_exact(world_at: &World) {
    let database = world_at.open();
    let accounts = world(&database, 0..230);
    age_deals(world_at, 40, "true");
    world(&database, 230..300);
    let before = held(&database, accounts);
    assert_sound(&database);

    let removed = database.prune(Some(30 * DAY_MS), unix_ms()).expect("pruned");
    assert_eq!((removed.deals, removed.postings), (230, 230 * 2 + 2 * 23 * 2), "more than one step's worth");
    let stats = tools::stats(&database).expect("readable");
    assert_eq!((stats.deals, stats.carried), (70, 9), "two wallets, two stores, two markets in both, all else");
    assert_eq!(held(&database, accounts), before, "no balance has changed");
    assert_sound(&database);
    assert!(database.deal(Uuid::from_u128(1_000)).expect("readable").is_none());
    assert!(database.deal(Uuid::from_u128(1_230)).expect("readable").is_some(), "a key of lately is known");
    let again = database.prune(Some(30 * DAY_MS), unix_ms()).expect("pruned");
    assert_eq!((again.deals, again.postings), (0, 0));

    // Carried sums are added to, and a dump contains them.
    world(&database, 300..340);
    age_deals(world_at, 40, "true");
    let before = held(&database, accounts);
    assert_eq!(database.prune(Some(30 * DAY_MS), unix_ms()).expect("pruned").deals, 110);
    assert_eq!(held(&database, accounts), before);
    assert_sound(&database);
    let mut dump = Vec::new();
    tools::export(&database, &mut dump).expect("exported");
    let copy = World::sqlite();
    tools::import(&copy.open(), &mut dump.as_slice()).expect("imported");
    assert_sound(&copy.open());

    for (fault, words) in [
        ("UPDATE carried SET amount = amount + 1 WHERE kind = 2", "its deals add up to"),
        ("UPDATE carried SET amount = amount - 1 WHERE kind = 1", "carried over of commodity"),
        ("DELETE FROM carried WHERE kind = 4", "its deals add up to"),
        ("UPDATE carried SET kind = 9 WHERE kind = 3", "is none's"),
    ] {
        let broken = World::sqlite();
        tools::import(&broken.open(), &mut dump.as_slice()).expect("imported");
        broken.shell(fault);
        let report = tools::check(&broken.open()).expect("readable");
        assert!(report.problems.iter().any(|problem| problem.contains(words)), "{fault}: {report}");
    }
}

/// Destroys a mined rock as the server does.
fn destroy(store: &Store, number: u128) {
    let id = Uuid::from_u128(number);
    let fence = Fence { epoch: 1, version: 0, tick: 50, deleted: true };
    store.tombstone(id, fence.epoch, fence.version, fence.tick);
    store.move_goods(Move {
        from: Holder::entity(id),
        to: Holder::VOID,
        commodity: Commodity::Ore,
        amount: i64::MAX,
        room: i64::MAX,
        born_with: 0,
        links: vec![Change::Tombstone { id, fence }],
    });
}

fn the_fence_of_what_is_long_gone_goes_with_its_empty_balance(world_at: &World) {
    let database = world_at.open();
    world(&database, 0..40);
    let store = start(&database);
    store.request_sectors(3, vec![(0, 0)]);
    wait_for("the rocks", || store.poll());
    destroy(&store, 31);
    destroy(&store, 32);
    store.flush_and_stop(PATIENCE).expect("everything is written");
    let old = unix_ms() - 31 * DAY_MS;
    // A fault: it is gone and has a balance.
    let fault = Uuid::from_u128(33);
    let store = start(&database);
    store.put(row(&rock(33)));
    store.flush();
    store.tombstone(fault, 1, 0, 60);
    store.flush_and_stop(PATIENCE).expect("everything is written");
    let bytes = |id: Uuid| {
        let id = id.simple();
        if world_at.is_postgres() { format!("'\\x{id}'") } else { format!("x'{id}'") }
    };
    let (literal, nil) = (bytes(fault), bytes(Uuid::nil()));
    world_at.shell(&format!("INSERT INTO balances VALUES (1, {literal}, {nil}, 1, 5)"));
    world_at.shell(&format!("UPDATE entities SET updated_at = {old} WHERE deleted AND id <> {literal}"));
    world_at.shell(&format!("UPDATE entities SET updated_at = {} WHERE id = {literal}", old - 1));

    let removed = database.prune(Some(30 * DAY_MS), unix_ms()).expect("pruned");
    assert_eq!((removed.tombstones, removed.balances), (2, 2), "{removed:?}");
    assert!(database.fence(Uuid::from_u128(31)).expect("readable").is_none());
    assert!(database.fence(SHIP).expect("readable").is_some_and(|fence| !fence.deleted), "what lives stays");
    let report = tools::check(&database).expect("readable");
    let its_own = |problem: &String| problem.contains(&fault.to_string()) || problem.contains("of Ore add up");
    assert!(report.problems.iter().all(its_own), "{report}");
    assert!(report.problems.iter().any(|problem| problem.contains("and is gone")), "a fault is kept for the check");
    world_at.shell(&format!("DELETE FROM balances WHERE id = {literal}"));
    assert_eq!(database.prune(Some(30 * DAY_MS), unix_ms()).expect("pruned").tombstones, 1);
    assert_sound(&database);
    // Without an age, only expired rows are removed.
    world_at.shell("UPDATE deals SET created_at = 0");
    assert_eq!(database.prune(None, unix_ms()).expect("pruned").deals, 0);
}

fn a_fence_stays_while_an_older_write_waits(world_at: &World) {
    let database = world_at.open();
    let store = start(&database);
    for number in [41, 42] {
        store.tombstone(Uuid::from_u128(number), 5, 0, 90);
    }
    store.flush();
    world_at.shell("UPDATE entities SET updated_at = 0 WHERE deleted");
    // It came late, and waits for the writer.
    store.put(row(&rock(41)));
    store.prune(Some(Duration::from_secs(3_600)));
    let fence = |number| database.fence(Uuid::from_u128(number)).expect("readable");
    wait_for("the end of the other one", || fence(42).is_none().then_some(()));
    assert!(fence(41).is_some_and(|fence| fence.deleted), "without it the rock would return");
    store.flush();
    assert!(fence(41).is_some_and(|fence| fence.deleted));
    assert!(database.entity(Uuid::from_u128(41)).expect("readable").is_none());
    store.prune(Some(Duration::from_secs(3_600)));
    wait_for("the end of this one", || fence(41).is_none().then_some(()));
}

fn a_running_store_removes_what_is_over_between_its_own_work(world_at: &World) {
    let database = world_at.open();
    let accounts = world(&database, 0..250);
    let session = database
        .begin_session(accounts.0, &[7; 32], 0, 1_000, SessionBounds { sessions_per_account: 4, tokens_per_session: 4 })
        .expect("stored");
    age_deals(world_at, 40, "true");
    let store = start(&database);
    store.request_ship(1, accounts.0);
    wait_for("the ship", || store.poll());
    store.request_ship(2, accounts.1);
    wait_for("the other one", || store.poll());
    store.prune(Some(Duration::from_secs(30 * 86_400)));
    let mut done: u128 = 0;
    wait_for("the end of all that is over", || {
        // Two units into the vault at a station, and out again one by one.
        let kind = [2, 4, 4][done as usize % 3];
        deal(&store, 100_000 + 10 * done + kind, accounts.0, accounts.1);
        done += 1;
        let Pruned { deals, sessions, .. } = store.pruned();
        (deals == 250 && sessions == 1).then_some(())
    });
    assert!(!database.end_session(session).expect("readable"), "it has gone");
    store.flush_and_stop(PATIENCE).expect("everything is written");
    assert_eq!(tools::stats(&database).expect("readable").deals as u128, done);
    assert_sound(&database);
}

#[test]
fn the_tool_prunes_a_database_at_rest_and_leaves_a_running_servers_alone() {
    let world_at = World::sqlite();
    world(&world_at.open(), 0..20);
    age_deals(&world_at, 2, "true");
    let prune = |retention: &str| {
        let arguments = ["db", "prune", "--database-url", world_at.url(), "--retention", retention];
        db_tool::run(&DbTool::try_parse_from(arguments).expect("a good command line"))
    };
    let lock = Database::lock(world_at.url()).expect("no process has it");
    let error = prune("1d").expect_err("a server runs").to_string();
    assert!(error.contains("in use") && error.contains("by itself"), "{error}");
    drop(lock);
    assert!(prune("3d").expect("pruned"));
    assert_eq!(tools::stats(&world_at.open()).expect("readable").deals, 20);
    assert!(prune("1d").expect("pruned"));
    assert_eq!(tools::stats(&world_at.open()).expect("readable").deals, 0);
    assert_sound(&world_at.open());
}
