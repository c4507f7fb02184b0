//! The ledger's state in memory: balances, what of them is unwritten, and the deals that wait for the database.
//!
//! A state machine without I/O, like `write_behind`; `store` passes the time and runs its transactions. While the
//! server runs it is authoritative for every balance. Runs in `sidereal-server`.
//!
//! - *Ordinary moves* (mining, a wreck's cargo) apply at once. They are written behind, all changes in one
//!   transaction, as absolute amounts: writing them twice changes nothing, and both sides of a move are in the same
//!   transaction.
//! - *Deals* apply once they are in the database. Each is sent at once, with all moves before it, and ends exactly
//!   once, as done or rejected. Until its result is returned, its parties are locked: other deals are rejected, and
//!   moves wait. The caller of a deal therefore sees its parties as all earlier deals have left them.
//! - *Room* is checked when a deal is submitted, against what its parties will have and hold: a deal that makes a hold
//!   smaller counts as a party of that hold, and moves that waited for its end use the new size.
//! - If the result of a transaction is unknown, its deals are first looked up by their keys.
//! - *Links* are entity states that belong to a move: a crate and the ship whose cargo it was.
//! - Holders that have left (an entity that is gone, an account without a ship) are removed once all of theirs is
//!   written; they are read again when they return.
//! - While the database fails, new deals are rejected at once, and so are those that have waited too long to be sent;
//!   moves continue; memory is bounded by the active holders.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use crate::db::ledger::holdings::{Balance, Commodity, Deal, Holder, HolderKind, Posting, Room};
use crate::db::writer::write_behind::Change;

#[cfg(test)]
mod tests;

/// Maximum number of deals in one transaction.
const DEALS_AT_ONCE: usize = 256;

/// Maximum number of deals that wait for the database. Further ones are rejected.
const MAX_DEALS: usize = 2_048;

/// Maximum number of moves that wait for the end of a deal. At the limit a mining move is dropped; a wreck's never is.
const MAX_DEFERRED: usize = 4_096;

/// How long a transaction may take before new deals are rejected, milliseconds: the player gets that answer instead of
/// waiting for the database.
pub(in crate::db) const SLOW_MS: u64 = 2_000;

/// First and maximum wait after a failure, milliseconds; it doubles in between.
const FIRST_RETRY_MS: u64 = 100;
const LAST_RETRY_MS: u64 = 2_000;

/// An ordinary move. It never fails: it moves what is available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The giver.
    pub from: Holder,
    /// The receiver.
    pub to: Holder,
    /// The commodity.
    pub commodity: Commodity,
    /// Maximum amount.
    pub amount: i64,
    /// Maximum amount that `to` may hold afterwards.
    pub room: i64,
    /// The amount that `from` has if it has no balance yet: a rock's initial ore.
    pub born_with: i64,
    /// Entity states for the same transaction, which is then sent at once.
    pub links: Vec<Change>,
}

/// The result of submitting a deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submission {
    /// It is being written; the end follows as [`Settled`].
    Accepted,
    /// A party has another deal in progress.
    Busy,
    /// This party has too little.
    Poor(Holder, Commodity),
    /// The amount does not fit into this party's hold.
    Full(Holder),
    /// The database is unavailable, or too many deals wait for it.
    Away,
}

/// The end of a deal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The deal's key.
    pub key: Uuid,
    /// Whether it is in the database; if not, it never will be.
    pub done: bool,
}

/// One transaction of the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::db) struct BooksTx {
    /// Absolute amounts, after the deals.
    pub balances: Vec<Balance>,
    /// The deals.
    pub deals: Vec<Deal>,
    /// Entity states that belong to them.
    pub links: Vec<Change>,
}

/// The next database call of the ledger.
#[derive(Clone, Debug)]
pub(in crate::db) enum Work {
    /// Read all balances of [`Holder::is_shared`] holders: once, at the start.
    LoadShared,
    /// Write this transaction.
    Write(Arc<BooksTx>),
    /// Look up which of these deals of this run are stored.
    Resolve(Vec<Uuid>),
}

/// The ledger's figures. Counters rise from the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BooksStats {
    /// Completed deals.
    pub deals_done: u64,
    /// Deals rejected because the database was unavailable or failed.
    pub deals_refused: u64,
    /// Deals whose result was unknown for a while.
    pub deals_undecided: u64,
    /// Waiting deals.
    pub deals_waiting: u64,
    /// Ordinary moves.
    pub moves: u64,
    /// Moves dropped because too many waited.
    pub moves_dropped: u64,
    /// Transactions that failed.
    pub failures: u64,
    /// Transactions that were committed.
    pub commits: u64,
    /// Unwritten balances and links.
    pub dirty: u64,
    /// The age of the oldest of them, milliseconds.
    pub oldest_dirty_ms: u64,
    /// Maximum age at a commit, milliseconds.
    pub loss_window_max_ms: u64,
    /// Maximum time that a deal waited for its commit, milliseconds.
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
    /// When the oldest of these became unwritten.
    since_ms: Option<u64>,
    deals: Vec<Waiting>,
    started_ms: u64,
    /// It failed; whether its deals are in the database must be looked up.
    undecided: bool,
}

/// The state machine.
#[derive(Debug)]
pub(in crate::db) struct Books {
    balances: BTreeMap<(Holder, Commodity), i64>,
    /// Entities and accounts that have left, to be removed.
    left: BTreeSet<Uuid>,
    /// The rows of shared holders are loaded.
    shared_loaded: bool,
    loading: bool,
    /// Changed since the last write.
    dirty: BTreeSet<(Holder, Commodity)>,
    links: BTreeMap<Uuid, Change>,
    /// When the oldest of these started to wait.
    since_ms: Option<u64>,
    queue: VecDeque<Waiting>,
    /// Parties of deals whose result was not returned yet.
    locked: HashMap<Holder, Uuid>,
    deferred: VecDeque<Move>,
    in_flight: Option<InFlight>,
    flush_interval_ms: u64,
    urgent: bool,
    stopping: bool,
    retry_at_ms: u64,
    failures_in_a_row: u32,
    /// Ended deals whose result was not returned yet, each with the remaining room.
    settled: VecDeque<(Settled, Vec<Room>)>,
    /// Holders whose amounts changed since the last query.
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

    /// A holder's balance; `None` if none is known.
    pub fn balance(&self, holder: Holder, commodity: Commodity) -> Option<i64> {
        self.balances.get(&(holder, commodity)).copied()
    }

    fn amount(&self, key: &(Holder, Commodity)) -> i64 {
        self.balances.get(key).copied().unwrap_or(0)
    }

    /// Adds rows read for these entities or accounts, which have returned. Balances already in memory are newer.
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

    /// These entities and accounts have left. Their balances are removed once the database has them.
    pub fn leave(&mut self, ids: impl IntoIterator<Item = Uuid>) {
        self.left.extend(ids);
    }

    /// Removes holders that have left and have nothing unwritten. Do not call this during a read: it may return rows
    /// from before the last write, and would restore them.
    pub fn forget_departed(&mut self) {
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

    /// The number of balances in memory, and of holders that have left.
    pub fn known(&self) -> (usize, usize) {
        (self.balances.len(), self.left.len())
    }

    /// Adds the rows of shared holders. Their moves so far are added on top.
    pub fn shared_loaded(&mut self, rows: impl IntoIterator<Item = Balance>) {
        self.loading = false;
        if std::mem::replace(&mut self.shared_loaded, true) {
            return;
        }
        for (holder, commodity, amount) in rows {
            *self.balances.entry((holder, commodity)).or_default() += amount;
        }
    }

    /// Applies an ordinary move, or queues it until a deal has ended.
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

    /// Adds an entity's state to the next transaction. `at_once`: that transaction is sent without delay.
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

    /// Whether new deals are rejected because the database is unavailable.
    pub fn is_away(&self, now_ms: u64) -> bool {
        let slow = self.in_flight.as_ref().is_some_and(|tx| tx.undecided || now_ms >= tx.started_ms + SLOW_MS);
        self.failures_in_a_row > 0 || slow || self.has_overdue(now_ms) || !self.shared_loaded
    }

    fn has_overdue(&self, now_ms: u64) -> bool {
        self.queue.front().is_some_and(|waiting| now_ms >= waiting.since_ms + SLOW_MS)
    }

    /// Counts a deal that the caller rejected because the database is unavailable.
    pub fn count_refused(&mut self) {
        self.counts.deals_refused += 1;
    }

    /// Rejects deals that waited too long and were not sent: they certainly had no effect.
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

    /// Submits a deal, the entity states that belong to it, and its parties' room after it. The caller has looked up
    /// its key before, and submits a key once at a time.
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

    /// The next ended deal. This unlocks its parties and applies the moves that waited for it.
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

    /// The holders whose amounts changed since the last call.
    pub fn take_changed(&mut self) -> BTreeSet<Holder> {
        std::mem::take(&mut self.changed)
    }

    /// The next database call, if any.
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

    /// When [`take_work`](Self::take_work) will return something if nothing else happens.
    pub fn next_wake_ms(&self) -> Option<u64> {
        if self.loading || self.in_flight.as_ref().is_some_and(|tx| !tx.undecided) {
            return None;
        }
        if self.in_flight.is_some() || !self.shared_loaded {
            return Some(self.retry_at_ms);
        }
        // After a failure an empty transaction is written too, to detect when the database is back.
        let probing = self.failures_in_a_row > 0;
        let due = if !self.queue.is_empty() || self.urgent || probing || (self.stopping && self.since_ms.is_some()) {
            0
        } else {
            self.since_ms? + self.flush_interval_ms
        };
        Some(due.max(self.retry_at_ms))
    }

    /// The transaction was committed.
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

    /// The transaction failed. `begun` is false if the database was not reached at all.
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

    /// Another write has failed: deals are rejected until a transaction of the ledger, empty if need be, succeeds.
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

    /// The transaction had no effect: its moves are written with the next one, its deals are rejected.
    fn give_up(&mut self, found: &HashSet<Uuid>, now_ms: u64) {
        let Some(tx) = self.in_flight.take() else { return };
        self.dirty.extend(tx.dirty);
        for (_, link) in tx.links {
            self.put_link(link, now_ms);
        }
        // The returned changes are older than those that came meanwhile.
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
            // No caller will poll it.
            self.release(&settled, &waiting.rooms);
        }
        self.settled.push_back((settled, waiting.rooms));
    }

    /// Applies the moves that waited for deals of parties that are now unlocked.
    fn resume(&mut self, now_ms: u64) {
        for order in std::mem::take(&mut self.deferred) {
            self.apply(order, now_ms);
        }
    }

    /// From now on all work is due at once.
    pub fn stop(&mut self, now_ms: u64) {
        self.stopping = true;
        self.retry_at_ms = self.retry_at_ms.min(now_ms);
        for (settled, rooms) in std::mem::take(&mut self.settled) {
            self.release(&settled, &rooms);
            self.settled.push_back((settled, rooms));
        }
        self.resume(now_ms);
    }

    /// Makes all unwritten changes due now.
    pub fn flush_now(&mut self) {
        self.urgent |= !self.dirty.is_empty() || !self.links.is_empty();
    }

    /// Transactions that failed.
    pub fn failures(&self) -> u64 {
        self.counts.failures
    }

    /// Whether no deal waits, and no database call is in progress.
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

    /// The number of changes that are not in the database yet.
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
