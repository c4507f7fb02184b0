//! The books: who has how much, what is still to be written of it, and which deals wait for the database.
//!
//! A state machine without I/O, as `write_behind` is; `store` gives it time and takes its transactions to the
//! database. It is the truth about every balance while the server runs, and runs in `sidereal-server`.
//!
//! - *Ordinary moves* (mining, a wreck's cargo) hold at once. They are written behind, all that have changed in one
//!   transaction, as absolute amounts: written twice they are the same, and what one holder lost another one has in the
//!   same transaction.
//! - *Deals* hold once they are in the database. Each goes out at once, with everything that moved before it, and
//!   ends as done or refused, once. Until that is told, those who have a part in it do nothing else: what moves at them
//!   waits. So whoever hands in a deal knows its parties as all deals before have made them.
//! - *Room* is judged where a deal is taken in, on what its parties will have and hold: a deal that makes a hold smaller
//!   has a part in that hold, and what waited for its end finds the new one.
//! - A transaction whose end is not known is not guessed at: its deals are looked up by their keys first.
//! - *Links* are entity states that belong to a move: a crate and the ship that it was the cargo of.
//! - Who has left (an entity that is gone, an account without a ship) is forgotten once all of it is written; it is read
//!   again when it comes back.
//! - While the database fails, new deals are refused at once, and so are those that have waited too long to go out;
//!   moves go on; memory is bounded by who is active.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use crate::db::ledger::holdings::{Balance, Commodity, Deal, Holder, HolderKind, Posting, Room};
use crate::db::writer::write_behind::Change;

#[cfg(test)]
mod tests;

/// The most deals in one transaction.
const DEALS_AT_ONCE: usize = 256;

/// Deals that may wait for the database. One more is refused.
const MAX_DEALS: usize = 2_048;

/// Moves that may wait for the end of a deal. A mining bite that finds no place is not taken; a wreck always is.
const MAX_DEFERRED: usize = 4_096;

/// How long a transaction may take before new deals are refused, milliseconds: the player should hear that the
/// database is away, not wait for it.
pub(in crate::db) const SLOW_MS: u64 = 2_000;

/// The first wait after a failure; it doubles up to the last one.
const FIRST_RETRY_MS: u64 = 100;
const LAST_RETRY_MS: u64 = 2_000;

/// An ordinary move. It never fails: it moves what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Who gives.
    pub from: Holder,
    /// Who gets.
    pub to: Holder,
    /// What.
    pub commodity: Commodity,
    /// At most so much...
    pub amount: i64,
    /// ...and not so much that the other one then has more than this.
    pub room: i64,
    /// What `from` has if nothing was ever heard of it: the ore that a rock is born with.
    pub born_with: i64,
    /// Entity states that go into the same transaction, which then does not wait for its time.
    pub links: Vec<Change>,
}

/// What became of a deal that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submission {
    /// It is on its way; its end comes as [`Settled`].
    Accepted,
    /// Another deal of one who has a part in it is on its way.
    Busy,
    /// This one has not enough.
    Poor(Holder, Commodity),
    /// So much does not fit into this one.
    Full(Holder),
    /// The database is away, or too much waits for it.
    Away,
}

/// How a deal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Which.
    pub key: Uuid,
    /// It is in the database; otherwise it is not and never will be.
    pub done: bool,
}

/// One transaction.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::db) struct BooksTx {
    /// Absolute amounts, deals included.
    pub balances: Vec<Balance>,
    /// The deals themselves.
    pub deals: Vec<Deal>,
    /// Entity states that go with them.
    pub links: Vec<Change>,
}

/// What the books want of the database now.
#[derive(Clone, Debug)]
pub(in crate::db) enum Work {
    /// All balances of [`Holder::is_shared`] holders: once, at the start.
    LoadShared,
    /// Write this.
    Write(Arc<BooksTx>),
    /// Which of these deals of this run are there?
    Resolve(Vec<Uuid>),
}

/// The figures of the books. Counters rise from the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BooksStats {
    /// Deals that were done.
    pub deals_done: u64,
    /// Deals that were refused because the database was away or failed.
    pub deals_refused: u64,
    /// Deals whose end was not known for a while.
    pub deals_undecided: u64,
    /// Deals that wait.
    pub deals_waiting: u64,
    /// Ordinary moves.
    pub moves: u64,
    /// Moves that found no place to wait.
    pub moves_dropped: u64,
    /// Transactions that failed.
    pub failures: u64,
    /// Transactions that were committed.
    pub commits: u64,
    /// Balances and links that are not written.
    pub dirty: u64,
    /// The age of the oldest of them.
    pub oldest_dirty_ms: u64,
    /// The greatest age that one had when it was committed.
    pub loss_window_max_ms: u64,
    /// The longest that a deal waited for its commit.
    pub deal_ms_max: u64,
}

#[derive(Debug)]
struct Waiting {
    deal: Deal,
    links: Vec<Change>,
    rooms: Vec<Room>,
    since_ms: u64,
}

#[derive(Debug)]
struct InFlight {
    dirty: BTreeSet<(Holder, Commodity)>,
    links: BTreeMap<Uuid, Change>,
    /// Since when the first of these was not written.
    since_ms: Option<u64>,
    deals: Vec<Waiting>,
    started_ms: u64,
    /// It failed, and whether its deals are in the database is to be looked up.
    undecided: bool,
}

/// The state machine.
#[derive(Debug)]
pub(in crate::db) struct Books {
    balances: BTreeMap<(Holder, Commodity), i64>,
    /// Entities and accounts that have left, to be forgotten.
    left: BTreeSet<Uuid>,
    /// The rows of shared holders have come.
    shared_loaded: bool,
    loading: bool,
    /// What changed since it was last written.
    dirty: BTreeSet<(Holder, Commodity)>,
    links: BTreeMap<Uuid, Change>,
    /// Since when the first of these waits.
    since_ms: Option<u64>,
    queue: VecDeque<Waiting>,
    /// Who has a part in a deal whose end was not told.
    locked: HashMap<Holder, Uuid>,
    deferred: VecDeque<Move>,
    in_flight: Option<InFlight>,
    flush_interval_ms: u64,
    urgent: bool,
    stopping: bool,
    retry_at_ms: u64,
    failures_in_a_row: u32,
    /// Deals that have ended and were not told, each with the room that it has left.
    settled: VecDeque<(Settled, Vec<Room>)>,
    /// Who has another amount than when it was last asked.
    changed: BTreeSet<Holder>,
    counts: BooksStats,
}

impl Books {
    pub fn new(flush_interval_ms: u64) -> Self {
        Self {
            balances: BTreeMap::new(),
            left: BTreeSet::new(),
            shared_loaded: false,
            loading: false,
            dirty: BTreeSet::new(),
            links: BTreeMap::new(),
            since_ms: None,
            queue: VecDeque::new(),
            locked: HashMap::new(),
            deferred: VecDeque::new(),
            in_flight: None,
            flush_interval_ms,
            urgent: false,
            stopping: false,
            retry_at_ms: 0,
            failures_in_a_row: 0,
            settled: VecDeque::new(),
            changed: BTreeSet::new(),
            counts: BooksStats::default(),
        }
    }

    /// What somebody has; `None` when nothing was ever heard of it.
    pub fn balance(&self, holder: Holder, commodity: Commodity) -> Option<i64> {
        self.balances.get(&(holder, commodity)).copied()
    }

    fn amount(&self, key: &(Holder, Commodity)) -> i64 {
        self.balances.get(key).copied().unwrap_or(0)
    }

    /// Takes in rows that were read of these entities or accounts, who are here again. What is known already is newer.
    pub fn admit(&mut self, ids: &[Uuid], rows: impl IntoIterator<Item = Balance>) {
        for id in ids {
            self.left.remove(id);
        }
        for (holder, commodity, amount) in rows {
            if !holder.is_shared() {
                self.balances.entry((holder, commodity)).or_insert(amount);
            }
        }
    }

    /// These entities and accounts have left. What they have is forgotten once the database has it.
    pub fn leave(&mut self, ids: impl IntoIterator<Item = Uuid>) {
        self.left.extend(ids);
    }

    /// Forgets who has left and has nothing unwritten. Not while a read is under way: it may have seen the rows of before
    /// the last write, and would bring them back.
    pub fn forget_the_left(&mut self) {
        if self.left.is_empty() || self.in_flight.is_some() || !self.queue.is_empty() || !self.deferred.is_empty() {
            return;
        }
        let (balances, dirty) = (&mut self.balances, &self.dirty);
        self.left.retain(|id| {
            let ranges = [HolderKind::Entity, HolderKind::Wallet, HolderKind::Vault].map(|kind| {
                let holder = |place| Holder { kind, id: *id, place };
                (holder(Uuid::nil()), Commodity::Ore)..=(holder(Uuid::max()), Commodity::Credits)
            });
            let waits = ranges.iter().any(|range| dirty.range(range.clone()).next().is_some());
            if !waits {
                for range in ranges {
                    balances.extract_if(range, |_, _| true).for_each(drop);
                }
            }
            waits
        });
    }

    /// How many balances are in memory, and how many of who has left.
    pub fn known(&self) -> (usize, usize) {
        (self.balances.len(), self.left.len())
    }

    /// The rows of shared holders have come. What moved at them before is on top.
    pub fn shared_loaded(&mut self, rows: impl IntoIterator<Item = Balance>) {
        self.loading = false;
        if std::mem::replace(&mut self.shared_loaded, true) {
            return;
        }
        for (holder, commodity, amount) in rows {
            *self.balances.entry((holder, commodity)).or_default() += amount;
        }
    }

    /// Makes an ordinary move, or lets it wait for the end of a deal.
    pub fn apply(&mut self, order: Move, now_ms: u64) {
        let waits = [order.from, order.to].iter().any(|holder| self.locked.contains_key(holder));
        if !waits {
            self.make(order, now_ms);
        } else if self.deferred.len() < MAX_DEFERRED || !order.links.is_empty() {
            self.deferred.push_back(order);
        } else {
            self.counts.moves_dropped += 1;
        }
    }

    fn make(&mut self, order: Move, now_ms: u64) {
        self.urgent |= !order.links.is_empty();
        for link in order.links {
            self.put_link(link, now_ms);
        }
        let from = (order.from, order.commodity);
        if order.born_with > 0 && !self.balances.contains_key(&from) {
            let birth = Posting::pair(Holder::WORLD, order.from, order.commodity, order.born_with);
            birth.iter().for_each(|posting| self.post(posting, now_ms));
        }
        let has = self.amount(&(order.to, order.commodity));
        let amount = order.amount.min(self.amount(&from)).min(order.room.saturating_sub(has));
        self.changed.extend([order.from, order.to]);
        if amount <= 0 {
            return;
        }
        self.counts.moves += 1;
        for posting in Posting::pair(order.from, order.to, order.commodity, amount) {
            self.post(&posting, now_ms);
        }
    }

    fn post(&mut self, posting: &Posting, now_ms: u64) {
        let key = (posting.holder, posting.commodity);
        *self.balances.entry(key).or_default() += posting.delta;
        self.dirty.insert(key);
        self.since_ms.get_or_insert(now_ms);
        self.changed.insert(posting.holder);
    }

    /// An entity's state goes into the next transaction. `at_once`: that one does not wait for its time.
    pub fn link(&mut self, change: Change, at_once: bool, now_ms: u64) {
        self.urgent |= at_once;
        self.put_link(change, now_ms);
    }

    /// Keeps the newer of two states of one entity.
    fn put_link(&mut self, change: Change, now_ms: u64) {
        let (Some(id), Some(fence)) = (change.entity_id(), change.fence()) else { return };
        self.since_ms.get_or_insert(now_ms);
        if self.links.get(&id).is_none_or(|known| known.fence() <= Some(fence)) {
            self.links.insert(id, change);
        }
    }

    /// Whether new deals are refused because the database is away.
    pub fn is_away(&self, now_ms: u64) -> bool {
        let slow = self.in_flight.as_ref().is_some_and(|tx| tx.undecided || now_ms >= tx.started_ms + SLOW_MS);
        self.failures_in_a_row > 0 || slow || self.has_overdue(now_ms) || !self.shared_loaded
    }

    fn has_overdue(&self, now_ms: u64) -> bool {
        self.queue.front().is_some_and(|waiting| now_ms >= waiting.since_ms + SLOW_MS)
    }

    /// Counts a deal that its caller has refused because the database is away.
    pub fn count_refused(&mut self) {
        self.counts.deals_refused += 1;
    }

    /// Refuses deals that have waited too long and have not gone out: of these it is known that nothing has happened.
    pub fn refuse_overdue(&mut self, now_ms: u64) {
        if !self.has_overdue(now_ms) {
            return;
        }
        while self.has_overdue(now_ms)
            && let Some(waiting) = self.queue.pop_front()
        {
            self.counts.deals_refused += 1;
            self.end(waiting, false);
        }
        self.resume(now_ms);
    }

    /// Takes a deal in, the entity states that go with it, and the room that its parties have once it is done. The caller
    /// has looked its key up before, and hands it in once at a time.
    pub fn submit(&mut self, deal: Deal, links: Vec<Change>, rooms: Vec<Room>, now_ms: u64) -> Submission {
        if self.is_away(now_ms) || self.queue.len() >= MAX_DEALS {
            self.count_refused();
            return Submission::Away;
        }
        let postings = deal.postings.iter().map(|posting| posting.holder).filter(|holder| !holder.is_shared());
        let parties: BTreeSet<Holder> = postings.chain(rooms.iter().map(|room| room.holder)).collect();
        if parties.iter().any(|party| self.locked.contains_key(party)) {
            return Submission::Busy;
        }
        let mut after: HashMap<(Holder, Commodity), i64> = HashMap::new();
        for posting in &deal.postings {
            let key = (posting.holder, posting.commodity);
            let amount = after.entry(key).or_insert_with(|| self.amount(&key));
            match amount.checked_add(posting.delta) {
                Some(sum) => *amount = sum,
                None => return Submission::Poor(posting.holder, posting.commodity),
            }
        }
        if let Some(((holder, commodity), _)) = after.iter().find(|((holder, _), sum)| **sum < 0 && !holder.may_owe()) {
            return Submission::Poor(*holder, *commodity);
        }
        let has_after = |key: &(Holder, Commodity)| after.get(key).copied().unwrap_or_else(|| self.amount(key));
        if let Some(room) = rooms.iter().find(|room| has_after(&(room.holder, room.commodity)) > room.amount) {
            return Submission::Full(room.holder);
        }
        self.locked.extend(parties.into_iter().map(|party| (party, deal.key)));
        self.queue.push_back(Waiting { deal, links, rooms, since_ms: now_ms });
        Submission::Accepted
    }

    /// The next deal that has ended. From now on its parties are free, and what waited for that moves.
    pub fn poll_settled(&mut self, now_ms: u64) -> Option<Settled> {
        let (settled, rooms) = self.settled.pop_front()?;
        self.release(&settled, &rooms);
        self.resume(now_ms);
        Some(settled)
    }

    fn release(&mut self, settled: &Settled, rooms: &[Room]) {
        self.locked.retain(|_, by| *by != settled.key);
        for room in rooms.iter().filter(|_| settled.done) {
            let fits = |order: &&mut Move| order.to == room.holder && order.commodity == room.commodity;
            self.deferred.iter_mut().filter(fits).for_each(|order| order.room = room.amount);
        }
    }

    /// Who has another amount than at the last call.
    pub fn take_changed(&mut self) -> BTreeSet<Holder> {
        std::mem::take(&mut self.changed)
    }

    /// What is to be done now, if anything.
    pub fn take_work(&mut self, now_ms: u64) -> Option<Work> {
        if now_ms < self.next_wake_ms()? {
            return None;
        }
        if !self.shared_loaded {
            self.loading = true;
            return Some(Work::LoadShared);
        }
        if let Some(tx) = &mut self.in_flight {
            tx.started_ms = now_ms;
            return Some(Work::Resolve(tx.deals.iter().map(|waiting| waiting.deal.key).collect()));
        }
        self.urgent = false;
        let dirty = std::mem::take(&mut self.dirty);
        let links = std::mem::take(&mut self.links);
        let deals: Vec<Waiting> = self.queue.drain(..self.queue.len().min(DEALS_AT_ONCE)).collect();
        let since_ms = self.since_ms.take();
        let mut amounts: BTreeMap<(Holder, Commodity), i64> =
            dirty.iter().map(|key| (*key, self.amount(key))).collect();
        for posting in deals.iter().flat_map(|waiting| &waiting.deal.postings) {
            let key = (posting.holder, posting.commodity);
            *amounts.entry(key).or_insert_with(|| self.amount(&key)) += posting.delta;
        }
        let all_links = links.values().chain(deals.iter().flat_map(|waiting| &waiting.links));
        let tx = Arc::new(BooksTx {
            balances: amounts.into_iter().map(|((holder, commodity), amount)| (holder, commodity, amount)).collect(),
            links: all_links.cloned().collect(),
            deals: deals.iter().map(|waiting| waiting.deal.clone()).collect(),
        });
        self.in_flight = Some(InFlight { dirty, links, since_ms, deals, started_ms: now_ms, undecided: false });
        Some(Work::Write(tx))
    }

    /// When [`take_work`](Self::take_work) will have something, if nothing else happens.
    pub fn next_wake_ms(&self) -> Option<u64> {
        if self.loading || self.in_flight.as_ref().is_some_and(|tx| !tx.undecided) {
            return None;
        }
        if self.in_flight.is_some() || !self.shared_loaded {
            return Some(self.retry_at_ms);
        }
        // After a failure even nothing is written: to see whether the database is there again.
        let probing = self.failures_in_a_row > 0;
        let due = if !self.queue.is_empty() || self.urgent || probing || (self.stopping && self.since_ms.is_some()) {
            0
        } else {
            self.since_ms? + self.flush_interval_ms
        };
        Some(due.max(self.retry_at_ms))
    }

    /// The transaction is in the database.
    pub fn committed(&mut self, now_ms: u64) {
        let Some(tx) = self.in_flight.take() else { return };
        self.counts.commits += 1;
        self.failures_in_a_row = 0;
        self.retry_at_ms = 0;
        if let Some(since_ms) = tx.since_ms {
            self.counts.loss_window_max_ms = self.counts.loss_window_max_ms.max(now_ms.saturating_sub(since_ms));
        }
        for waiting in tx.deals {
            for posting in &waiting.deal.postings {
                *self.balances.entry((posting.holder, posting.commodity)).or_default() += posting.delta;
                self.changed.insert(posting.holder);
            }
            self.counts.deal_ms_max = self.counts.deal_ms_max.max(now_ms.saturating_sub(waiting.since_ms));
            self.end(waiting, true);
        }
        self.resume(now_ms);
    }

    /// The transaction failed. `begun` is false when the database was not reached at all.
    pub fn failed(&mut self, begun: bool, now_ms: u64) {
        self.loading = false;
        self.back_off(now_ms);
        let Some(tx) = &mut self.in_flight else { return };
        if begun && !tx.deals.is_empty() {
            if !std::mem::replace(&mut tx.undecided, true) {
                self.counts.deals_undecided += tx.deals.len() as u64;
            }
        } else if !tx.undecided {
            self.give_up(&HashSet::new(), now_ms);
        }
    }

    /// Another write has failed: no deals until one of the books' own, of nothing if need be, comes through.
    pub fn doubt(&mut self) {
        self.failures_in_a_row = self.failures_in_a_row.max(1);
    }

    /// Which deals of the undecided transaction are in the database.
    pub fn resolved(&mut self, found: &HashSet<Uuid>, now_ms: u64) {
        let Some(tx) = &self.in_flight else { return };
        // One transaction: all of them or none.
        if tx.deals.iter().all(|waiting| found.contains(&waiting.deal.key)) {
            self.committed(now_ms);
        } else {
            self.failures_in_a_row = 0;
            self.retry_at_ms = 0;
            self.give_up(found, now_ms);
        }
    }

    /// Nothing of the transaction is in the database: what moved is written with the next one, deals are refused.
    fn give_up(&mut self, found: &HashSet<Uuid>, now_ms: u64) {
        let Some(tx) = self.in_flight.take() else { return };
        self.dirty.extend(tx.dirty);
        for (_, link) in tx.links {
            self.put_link(link, now_ms);
        }
        // What was taken out waits longer than what came meanwhile.
        self.since_ms = tx.since_ms.or(self.since_ms);
        let waiting = std::mem::take(&mut self.queue);
        for waiting in tx.deals.into_iter().chain(waiting) {
            let done = found.contains(&waiting.deal.key);
            self.counts.deals_refused += u64::from(!done);
            self.end(waiting, done);
        }
        self.resume(now_ms);
    }

    fn back_off(&mut self, now_ms: u64) {
        self.counts.failures += 1;
        let wait_ms = FIRST_RETRY_MS.saturating_mul(1 << self.failures_in_a_row.min(16)).min(LAST_RETRY_MS);
        self.retry_at_ms = now_ms + wait_ms;
        self.failures_in_a_row += 1;
    }

    fn end(&mut self, waiting: Waiting, done: bool) {
        self.counts.deals_done += u64::from(done);
        let settled = Settled { key: waiting.deal.key, done };
        if self.stopping {
            // Nobody will ask.
            self.release(&settled, &waiting.rooms);
        }
        self.settled.push_back((settled, waiting.rooms));
    }

    /// Makes the moves that waited for deals whose parties are free.
    fn resume(&mut self, now_ms: u64) {
        for order in std::mem::take(&mut self.deferred) {
            self.apply(order, now_ms);
        }
    }

    /// From now on everything is due at once.
    pub fn stop(&mut self, now_ms: u64) {
        self.stopping = true;
        self.retry_at_ms = self.retry_at_ms.min(now_ms);
        for (settled, rooms) in std::mem::take(&mut self.settled) {
            self.release(&settled, &rooms);
            self.settled.push_back((settled, rooms));
        }
        self.resume(now_ms);
    }

    /// Writes what waits now.
    pub fn flush_now(&mut self) {
        self.urgent |= !self.dirty.is_empty() || !self.links.is_empty();
    }

    /// Transactions that failed.
    pub fn failures(&self) -> u64 {
        self.counts.failures
    }

    /// Whether no deal waits, and nothing is being written or read.
    pub fn is_at_rest(&self) -> bool {
        self.shared_loaded && self.queue.is_empty() && self.in_flight.is_none()
    }

    /// Whether an entity's state waits to be written.
    pub fn links_wait(&self, id: Uuid) -> bool {
        let in_deals = |waiting: &Waiting| waiting.links.iter().any(|link| link.entity_id() == Some(id));
        self.links.contains_key(&id)
            || self.queue.iter().any(in_deals)
            || self.in_flight.as_ref().is_some_and(|tx| tx.links.contains_key(&id) || tx.deals.iter().any(in_deals))
            || self.deferred.iter().flat_map(|order| &order.links).any(|link| link.entity_id() == Some(id))
    }

    /// What is not in the database yet.
    pub fn unwritten(&self) -> usize {
        let in_flight = self.in_flight.as_ref().map_or(0, |tx| tx.dirty.len() + tx.links.len() + tx.deals.len());
        self.dirty.len() + self.links.len() + self.queue.len() + in_flight
    }

    pub fn stats(&self, now_ms: u64) -> BooksStats {
        let oldest = self.in_flight.as_ref().and_then(|tx| tx.since_ms).or(self.since_ms);
        let in_flight_deals = self.in_flight.as_ref().map_or(0, |tx| tx.deals.len());
        BooksStats {
            deals_waiting: (self.queue.len() + in_flight_deals) as u64,
            dirty: self.unwritten() as u64,
            oldest_dirty_ms: oldest.map_or(0, |since_ms| now_ms.saturating_sub(since_ms)),
            ..self.counts.clone()
        }
    }
}
