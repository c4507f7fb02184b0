//! The ledger against a simulated database, a map, that fails before or after writing, and against crashes.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::db::tables::rows::Fence;

const INTERVAL_MS: u64 = 500;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn ship(number: u128) -> Holder {
    Holder::entity(id(number))
}

fn wallet(number: u128) -> Holder {
    Holder::wallet(id(1_000 + number))
}

fn mining(rock: u128, to: u128, amount: i64) -> Move {
    Move {
        from: ship(100 + rock),
        to: ship(to),
        commodity: Commodity::Ore,
        amount,
        room: 50,
        born_with: 200,
        links: Vec::new(),
    }
}

fn deal(key: u128, postings: Vec<Posting>) -> Deal {
    let (account, bargain, answer) = (id(1), vec![1], "done".to_owned());
    Deal { key: id(key), account, bargain, answer, tick: 1, postings }
}

fn sale(key: u128, from: u128, ore: i64) -> Deal {
    let market = Holder::market(id(9));
    let mut lines = Posting::pair(ship(from), market, Commodity::Ore, ore).to_vec();
    lines.extend(Posting::pair(market, wallet(from), Commodity::Credits, 3 * ore));
    deal(key, lines)
}

/// What is stored.
#[derive(Default, Clone)]
struct Stored {
    balances: BTreeMap<(Holder, Commodity), i64>,
    deals: BTreeSet<Uuid>,
    links: BTreeMap<Uuid, Fence>,
}

impl Stored {
    fn write(&mut self, tx: &BooksTx) {
        for (holder, commodity, amount) in &tx.balances {
            assert!(*amount >= 0 || holder.may_owe(), "{holder:?} owes");
            self.balances.insert((*holder, *commodity), *amount);
        }
        for deal in &tx.deals {
            assert!(self.deals.insert(deal.key), "a deal is written once");
        }
        for link in &tx.links {
            if let (Some(id), Some(fence)) = (link.entity_id(), link.fence()) {
                self.links.insert(id, fence);
            }
        }
        self.check();
    }

    fn check(&self) {
        for wanted in [Commodity::Ore, Commodity::Credits] {
            let sum: i64 = self.balances.iter().filter(|((_, of), _)| *of == wanted).map(|(_, amount)| *amount).sum();
            assert_eq!(sum, 0, "{wanted:?} is created or lost");
        }
    }

    fn rows(&self) -> Vec<Balance> {
        self.balances.iter().map(|((holder, commodity), amount)| (*holder, *commodity, *amount)).collect()
    }
}

fn opened() -> Books {
    let mut books = Books::new(INTERVAL_MS);
    assert!(matches!(books.take_work(0), Some(Work::LoadShared)));
    books.shared_loaded([]);
    books
}

fn write(books: &mut Books, now_ms: u64) -> Arc<BooksTx> {
    match books.take_work(now_ms) {
        Some(Work::Write(tx)) => tx,
        other => panic!("nothing to write: {other:?}"),
    }
}

#[test]
fn a_move_holds_at_once_and_is_written_with_its_other_side_after_the_interval() {
    let mut books = opened();
    books.apply(mining(1, 1, 8), 1_000);
    books.apply(mining(1, 1, 8), 1_100);
    assert_eq!(books.balance(ship(1), Commodity::Ore), Some(16));
    assert_eq!(books.balance(ship(101), Commodity::Ore), Some(184));
    assert_eq!(books.next_wake_ms(), Some(1_500));
    let mut stored = Stored::default();
    stored.write(&write(&mut books, 1_500));
    books.committed(1_510);
    assert_eq!(stored.balances[&(Holder::WORLD, Commodity::Ore)], -200, "the initial ore of the rock");
    assert_eq!((books.next_wake_ms(), books.unwritten()), (None, 0));
    assert_eq!(books.stats(2_000).loss_window_max_ms, 510);
}

#[test]
fn a_move_is_cut_to_what_is_there_and_to_what_fits() {
    let mut books = opened();
    books.apply(mining(1, 1, 1_000), 0);
    assert_eq!(books.balance(ship(1), Commodity::Ore), Some(50), "the hold is full");
    for miner in 2..=4 {
        books.apply(mining(1, miner, 1_000), 0);
    }
    books.apply(mining(1, 5, 1_000), 0);
    assert_eq!(books.balance(ship(101), Commodity::Ore), Some(0));
    assert_eq!(books.balance(ship(5), Commodity::Ore), None, "the rock was empty");
}

#[test]
fn a_deal_goes_out_at_once_with_all_that_moved_before_and_holds_when_it_is_written() {
    let mut books = opened();
    books.apply(mining(1, 1, 30), 0);
    assert_eq!(books.submit(sale(7, 1, 20), Vec::new(), Vec::new(), 10), Submission::Accepted);
    assert_eq!(books.balance(ship(1), Commodity::Ore), Some(30), "not yet");
    let mut stored = Stored::default();
    stored.write(&write(&mut books, 10));
    books.committed(15);
    assert_eq!(books.poll_settled(15), Some(Settled { key: id(7), done: true }));
    assert_eq!(books.balance(ship(1), Commodity::Ore), Some(10));
    assert_eq!(books.balance(wallet(1), Commodity::Credits), Some(60));
    assert_eq!(stored.balances[&(ship(1), Commodity::Ore)], 10);
    assert_eq!(books.next_wake_ms(), None);
}

#[test]
fn a_deal_that_cannot_go_out_is_refused_in_time_and_whoever_had_a_part_in_it_is_free() {
    let mut books = opened();
    books.apply(mining(1, 1, 30), 0);
    assert_eq!(books.submit(sale(7, 1, 20), Vec::new(), Vec::new(), 1_000), Submission::Accepted);
    books.apply(mining(1, 1, 8), 1_500);
    books.refuse_overdue(2_999);
    assert_eq!((books.poll_settled(2_999), books.is_away(2_999)), (None, false));
    assert!(books.is_away(3_000), "no more deals may wait for it");
    books.refuse_overdue(3_000);
    assert_eq!(books.poll_settled(3_000), Some(Settled { key: id(7), done: false }));
    assert_eq!(books.balance(ship(1), Commodity::Ore), Some(38), "moves meanwhile apply");
    let mut stored = Stored::default();
    let tx = write(&mut books, 3_000);
    stored.write(&tx);
    assert!(tx.deals.is_empty(), "a rejected deal is not written");
    books.committed(3_010);
    assert_eq!(books.submit(sale(8, 1, 20), Vec::new(), Vec::new(), 3_020), Submission::Accepted);
    assert_eq!(books.stats(3_020).deals_refused, 1);
}

#[test]
fn a_deal_that_has_gone_out_is_not_refused_however_long_it_takes() {
    let mut books = opened();
    books.apply(mining(1, 1, 30), 0);
    assert_eq!(books.submit(sale(7, 1, 20), Vec::new(), Vec::new(), 0), Submission::Accepted);
    write(&mut books, 0);
    books.refuse_overdue(60_000);
    assert_eq!(books.poll_settled(60_000), None, "it may be in the database");
    books.committed(60_000);
    assert_eq!(books.poll_settled(60_000), Some(Settled { key: id(7), done: true }));
}

#[test]
fn after_another_writes_failure_deals_wait_for_a_write_of_nothing() {
    let mut books = opened();
    assert_eq!(books.next_wake_ms(), None);
    books.doubt();
    assert_eq!(books.submit(sale(7, 1, 0), Vec::new(), Vec::new(), 10), Submission::Away);
    let tx = write(&mut books, 10);
    assert!(tx.balances.is_empty() && tx.deals.is_empty());
    assert!(books.is_away(20));
    books.committed(20);
    assert!(!books.is_away(20));
}

#[test]
fn nobody_sells_twice_what_he_has_once() {
    let mut books = opened();
    books.apply(mining(1, 1, 30), 0);
    assert_eq!(books.submit(sale(7, 1, 20), Vec::new(), Vec::new(), 0), Submission::Accepted);
    assert_eq!(books.submit(sale(8, 1, 20), Vec::new(), Vec::new(), 0), Submission::Busy);
    write(&mut books, 0);
    books.committed(1);
    assert_eq!(books.submit(sale(8, 1, 20), Vec::new(), Vec::new(), 1), Submission::Busy, "it was not returned");
    assert_eq!(books.poll_settled(1), Some(Settled { key: id(7), done: true }));
    assert_eq!(books.submit(sale(8, 1, 20), Vec::new(), Vec::new(), 2), Submission::Poor(ship(1), Commodity::Ore));
}

#[test]
fn what_moves_at_a_ship_in_a_deal_waits_for_its_end() {
    let mut books = opened();
    books.apply(mining(1, 1, 30), 0);
    books.submit(sale(7, 1, 30), Vec::new(), Vec::new(), 0);
    let wreck = Move { from: ship(1), to: ship(2), amount: i64::MAX, room: i64::MAX, born_with: 0, ..mining(1, 1, 1) };
    books.apply(wreck, 0);
    assert_eq!(books.balance(ship(2), Commodity::Ore), None);
    write(&mut books, 0);
    books.failed(false, 10);
    assert_eq!(books.poll_settled(10), Some(Settled { key: id(7), done: false }));
    assert_eq!(books.balance(ship(2), Commodity::Ore), Some(30), "the deal was rejected: the wreck has it all");
}

/// A trade that brings `ore` from one ship to another.
fn trade(key: u128, from: u128, to: u128, ore: i64) -> Deal {
    deal(key, Posting::pair(ship(from), ship(to), Commodity::Ore, ore).to_vec())
}

/// A hull purchase: only credits move.
fn hull(key: u128, of: u128) -> Deal {
    deal(key, Posting::pair(wallet(of), Holder::market(id(9)), Commodity::Credits, 5).to_vec())
}

fn room(of: u128, amount: i64) -> Vec<Room> {
    vec![Room { holder: ship(of), commodity: Commodity::Ore, amount }]
}

/// Two ships with 30 units of ore each, in holds of 50, and credits.
fn two_traders() -> Books {
    let mut books = opened();
    books.admit(&[], [1, 2].map(|trader| (wallet(trader), Commodity::Credits, 5)));
    books.apply(mining(1, 1, 30), 0);
    books.apply(mining(2, 2, 30), 0);
    books
}

#[test]
fn a_hold_that_is_being_made_smaller_takes_nothing_in_and_one_that_is_being_filled_is_not_made_smaller() {
    let mut books = two_traders();
    assert_eq!(books.submit(trade(7, 2, 1, 20), Vec::new(), room(1, 50), 0), Submission::Accepted);
    assert_eq!(books.submit(hull(8, 1), Vec::new(), room(1, 40), 0), Submission::Busy);
    write(&mut books, 0);
    books.committed(1);
    assert_eq!(books.submit(hull(8, 1), Vec::new(), room(1, 40), 1), Submission::Busy, "it was not returned");
    assert!(books.poll_settled(1).is_some());
    assert_eq!(books.submit(hull(8, 1), Vec::new(), room(1, 40), 1), Submission::Full(ship(1)));

    let mut books = two_traders();
    assert_eq!(books.submit(hull(8, 1), Vec::new(), room(1, 40), 0), Submission::Accepted);
    assert_eq!(books.submit(trade(7, 2, 1, 20), Vec::new(), room(1, 50), 0), Submission::Busy);
    write(&mut books, 0);
    books.committed(1);
    // The sender of this does not have the smaller hold yet.
    assert_eq!(books.submit(trade(7, 2, 1, 20), Vec::new(), room(1, 50), 1), Submission::Busy);
    assert!(books.poll_settled(1).is_some());
    assert_eq!(books.submit(trade(7, 2, 1, 20), Vec::new(), room(1, 40), 1), Submission::Full(ship(1)));
    assert_eq!(books.submit(trade(7, 2, 1, 10), Vec::new(), room(1, 40), 1), Submission::Accepted);
}

#[test]
fn what_was_mined_while_the_hold_was_made_smaller_is_cut_to_what_fits_now() {
    for done in [true, false] {
        let mut books = two_traders();
        books.submit(hull(8, 1), Vec::new(), room(1, 40), 0);
        books.apply(mining(1, 1, 15), 0);
        write(&mut books, 0);
        if done {
            books.committed(1);
        } else {
            books.failed(false, 1);
        }
        // Sent before its shard received the result.
        books.apply(mining(1, 1, 15), 2);
        assert_eq!(books.balance(ship(1), Commodity::Ore), Some(30), "it waits");
        assert_eq!(books.poll_settled(2), Some(Settled { key: id(8), done }));
        assert_eq!(books.balance(ship(1), Commodity::Ore), Some(if done { 40 } else { 50 }));
    }
}

#[test]
fn what_waits_for_a_deal_that_nobody_will_ask_for_moves_when_the_books_are_closed() {
    for ended_before in [true, false] {
        let mut books = two_traders();
        books.submit(hull(8, 1), Vec::new(), room(1, 40), 0);
        books.apply(mining(1, 1, 15), 0);
        write(&mut books, 0);
        if ended_before {
            books.committed(1);
            books.stop(2);
        } else {
            books.stop(1);
            books.committed(2);
        }
        assert_eq!(books.balance(ship(1), Commodity::Ore), Some(40));
        assert!(books.unwritten() > 0 && books.next_wake_ms() == Some(0), "and is written");
    }
}

#[test]
fn a_database_that_is_not_reached_refuses_deals_at_once_and_is_noticed_when_it_is_back() {
    let mut books = opened();
    books.apply(mining(1, 1, 30), 0);
    books.submit(sale(7, 1, 1), Vec::new(), Vec::new(), 0);
    write(&mut books, 0);
    books.failed(false, 10);
    assert_eq!(books.poll_settled(10), Some(Settled { key: id(7), done: false }));
    assert_eq!(books.submit(sale(8, 1, 1), Vec::new(), Vec::new(), 11), Submission::Away);
    let mut now_ms = 10;
    for _ in 0..8 {
        now_ms = books.next_wake_ms().expect("it is tried again");
        write(&mut books, now_ms);
        books.failed(false, now_ms);
    }
    assert!(books.next_wake_ms().expect("it is tried again") - now_ms <= LAST_RETRY_MS);
    write(&mut books, now_ms + LAST_RETRY_MS);
    books.committed(now_ms + LAST_RETRY_MS);
    assert_eq!(books.submit(sale(8, 1, 1), Vec::new(), Vec::new(), now_ms + LAST_RETRY_MS), Submission::Accepted);
}

#[test]
fn a_failure_with_nothing_left_to_write_is_got_over_too() {
    let mut books = opened();
    books.admit(&[], [(ship(1), Commodity::Ore, 10)]);
    books.submit(sale(7, 1, 1), Vec::new(), Vec::new(), 0);
    write(&mut books, 0);
    books.failed(false, 0);
    assert_eq!(books.poll_settled(0), Some(Settled { key: id(7), done: false }));
    let probe_ms = books.next_wake_ms().expect("the database is tried");
    write(&mut books, probe_ms);
    books.committed(probe_ms);
    assert_eq!(books.submit(sale(7, 1, 1), Vec::new(), Vec::new(), probe_ms), Submission::Accepted);
}

#[test]
fn a_transaction_whose_end_is_unknown_is_looked_up_and_not_guessed() {
    for was_written in [false, true] {
        let mut books = opened();
        books.apply(mining(1, 1, 30), 0);
        books.submit(sale(7, 1, 20), Vec::new(), Vec::new(), 0);
        let mut stored = Stored::default();
        let tx = write(&mut books, 0);
        if was_written {
            stored.write(&tx);
        }
        books.failed(true, 5);
        assert_eq!(books.poll_settled(5), None, "undecided");
        assert_eq!(books.submit(sale(8, 1, 1), Vec::new(), Vec::new(), 6), Submission::Away);
        let retry_ms = books.next_wake_ms().expect("it is looked up");
        let Some(Work::Resolve(keys)) = books.take_work(retry_ms) else { panic!("not looked up") };
        books.failed(true, retry_ms);
        assert_eq!(books.poll_settled(retry_ms), None, "still undecided");
        let retry_ms = books.next_wake_ms().expect("it is looked up again");
        assert!(matches!(books.take_work(retry_ms), Some(Work::Resolve(_))));
        let found = keys.into_iter().filter(|key| stored.deals.contains(key)).collect();
        books.resolved(&found, retry_ms);
        assert_eq!(books.poll_settled(retry_ms), Some(Settled { key: id(7), done: was_written }));
        let ore = if was_written { 10 } else { 30 };
        assert_eq!(books.balance(ship(1), Commodity::Ore), Some(ore));
        if !was_written {
            stored.write(&write(&mut books, retry_ms + INTERVAL_MS));
        }
        assert_eq!(stored.balances[&(ship(1), Commodity::Ore)], ore);
    }
}

#[test]
fn what_was_read_is_older_than_what_is_known() {
    let mut books = Books::new(INTERVAL_MS);
    books.apply(mining(1, 1, 10), 0);
    books.admit(&[], [(ship(1), Commodity::Ore, 3), (ship(2), Commodity::Ore, 4)]);
    assert_eq!(books.balance(ship(1), Commodity::Ore), Some(10));
    assert_eq!(books.balance(ship(2), Commodity::Ore), Some(4));
    assert!(matches!(books.take_work(0), Some(Work::LoadShared)));
    books.shared_loaded([(Holder::WORLD, Commodity::Ore, -1_000)]);
    assert_eq!(books.balance(Holder::WORLD, Commodity::Ore), Some(-1_200), "on top of what was stored");
}

#[test]
fn who_has_left_is_forgotten_once_all_of_it_is_written_unless_it_came_back() {
    let mut books = opened();
    books.admit(&[], [(wallet(1), Commodity::Credits, 7), (wallet(2), Commodity::Credits, 8)]);
    books.apply(mining(1, 1, 30), 0);
    books.leave([wallet(1).id, ship(1).id]);
    books.forget_departed();
    assert_eq!(books.balance(wallet(1), Commodity::Credits), None, "all of it was written");
    assert_eq!(books.balance(ship(1), Commodity::Ore), Some(30), "that is still unwritten");
    let mut stored = Stored::default();
    stored.write(&write(&mut books, INTERVAL_MS));
    books.forget_departed();
    assert_eq!(books.balance(ship(1), Commodity::Ore), Some(30), "it may fail");
    books.committed(INTERVAL_MS);
    books.forget_departed();
    assert_eq!(books.balance(ship(1), Commodity::Ore), None);
    assert_eq!(books.balance(ship(101), Commodity::Ore), Some(170), "the rock is still there");
    assert_eq!(books.balance(Holder::WORLD, Commodity::Ore), Some(-200), "and what is shared");

    books.leave([wallet(2).id, ship(1).id]);
    // Read again for the holder that returned.
    books.admit(&[wallet(2).id], [(wallet(2), Commodity::Credits, 8)]);
    books.forget_departed();
    assert_eq!(books.balance(wallet(2), Commodity::Credits), Some(8));
    assert_eq!(books.known().1, 0);
}

#[test]
fn who_has_a_part_in_a_deal_is_not_forgotten_before_its_end() {
    let mut books = opened();
    books.admit(&[], [(ship(1), Commodity::Ore, 10), (wallet(1), Commodity::Credits, 7)]);
    assert_eq!(books.submit(sale(7, 1, 4), Vec::new(), Vec::new(), 0), Submission::Accepted);
    books.leave([wallet(1).id, ship(1).id]);
    books.forget_departed();
    write(&mut books, 0);
    books.forget_departed();
    books.failed(true, 1);
    books.forget_departed();
    assert_eq!(books.balance(wallet(1), Commodity::Credits), Some(7));
    let retry_ms = books.next_wake_ms().expect("it is looked up");
    assert!(matches!(books.take_work(retry_ms), Some(Work::Resolve(_))));
    books.resolved(&HashSet::from([id(7)]), retry_ms);
    assert_eq!(books.balance(wallet(1), Commodity::Credits), Some(19));
    books.forget_departed();
    assert_eq!(books.balance(wallet(1), Commodity::Credits), None);
}

/// A world of miners, wrecks and deals, with a database that fails in every way and a server that crashes at any time.
#[test]
fn nothing_is_made_lost_or_done_twice_whatever_the_database_does() {
    for seed in 0..400 {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let mut stored = Stored::default();
        let mut told: BTreeMap<Uuid, bool> = BTreeMap::new();
        let mut asked: BTreeSet<Uuid> = BTreeSet::new();
        let mut next_key = 10_000u128;
        // The expected hold of each ship, by the key of its deal.
        let mut hulls: BTreeMap<Uuid, (u128, i64)> = BTreeMap::new();
        for _life in 0..3 {
            let mut books = Books::new(INTERVAL_MS);
            books.admit(&[], stored.rows());
            let mut open: BTreeSet<Uuid> = BTreeSet::new();
            let mut holds: BTreeMap<u128, i64> = (1..4).map(|of| (of, 50)).collect();
            holds.extend(hulls.iter().filter(|(key, _)| stored.deals.contains(key)).map(|(_, hold)| *hold));
            let mut now_ms = 0;
            for _step in 0..random.random_range(5..120) {
                now_ms += random.random_range(0..120);
                match random.random_range(0..8) {
                    0..=2 => {
                        let to = random.random_range(1..4);
                        let order = mining(random.random_range(0..3), to, 9);
                        books.apply(Move { room: holds[&to], ..order }, now_ms);
                    }
                    3 => {
                        let wreck = Holder::VOID;
                        let from = ship(random.random_range(1..4));
                        books.apply(
                            Move { from, to: wreck, amount: i64::MAX, room: i64::MAX, born_with: 0, ..mining(0, 1, 1) },
                            now_ms,
                        );
                    }
                    kind => {
                        next_key += 1;
                        let of = random.random_range(1..4);
                        let (order, rooms) = match kind {
                            6 => {
                                let from = 1 + of % 3;
                                (trade(next_key, from, of, random.random_range(1..12)), room(of, holds[&of]))
                            }
                            7 => {
                                let hold = random.random_range(2..8) * 10;
                                hulls.insert(id(next_key), (of, hold));
                                (hull(next_key, of), room(of, hold))
                            }
                            _ => (sale(next_key, of, random.random_range(1..12)), Vec::new()),
                        };
                        asked.insert(order.key);
                        if books.submit(order, Vec::new(), rooms, now_ms) == Submission::Accepted {
                            open.insert(id(next_key));
                        }
                    }
                }
                match books.take_work(now_ms) {
                    Some(Work::LoadShared) => {
                        let shared = stored.rows().into_iter().filter(|(holder, _, _)| holder.is_shared());
                        books.shared_loaded(shared);
                    }
                    Some(Work::Write(tx)) => match random.random_range(0..10) {
                        0 => books.failed(false, now_ms),
                        1 => books.failed(true, now_ms),
                        2 => {
                            stored.write(&tx);
                            books.failed(true, now_ms);
                        }
                        _ => {
                            stored.write(&tx);
                            books.committed(now_ms);
                        }
                    },
                    Some(Work::Resolve(keys)) => {
                        if random.random_bool(0.5) {
                            books.failed(true, now_ms);
                        } else {
                            let found = keys.into_iter().filter(|key| stored.deals.contains(key)).collect();
                            books.resolved(&found, now_ms);
                        }
                    }
                    None => {}
                }
                while let Some(settled) = books.poll_settled(now_ms) {
                    assert!(open.remove(&settled.key), "returned once, and only if submitted");
                    assert_eq!(told.insert(settled.key, settled.done), None);
                    assert_eq!(stored.deals.contains(&settled.key), settled.done, "the result is true");
                    holds.extend(hulls.get(&settled.key).filter(|_| settled.done).copied());
                }
                for (of, hold) in &holds {
                    let has = books.balance(ship(*of), Commodity::Ore).unwrap_or(0);
                    assert!(has <= *hold, "seed {seed}: {has} in a hold of {hold}");
                }
            }
        }
        stored.check();
        for (key, done) in told {
            assert_eq!(stored.deals.contains(&key), done, "and stays so");
        }
        assert!(stored.deals.iter().all(|key| asked.contains(key)));
    }
}
