//! The store: the ECS thread's handle of the database. Nothing here waits for a disk.
//!
//! It has two threads: the writer takes batches from the write-behind core, the reader answers requests. Both are
//! thin; the decisions are in `write_behind`. They share the state under a lock that is never held during a database
//! call. A failing database causes retries and, past a limit, dropped changes, both counted; it never blocks the
//! caller.

use sidereal_process::log_limited;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sidereal_process::crash;
use thiserror::Error;
use uuid::Uuid;

use crate::db::database::{Database, unix_ms};
use crate::db::error::DbError;
use crate::db::ledger::books::{Books, BooksStats, Move, Settled, Submission, Work};
use crate::db::ledger::holdings::{Commodity, Deal, Holder, Room};
use crate::db::tables::rows::{Fence, Sector, StoredEntity};
use crate::db::writer::prune::{Pruned, Pruner};
use crate::db::writer::write_behind::{Admission, Change, Limits, StoreStats, WriteBehind};

mod reads;
mod state;

use reads::{read_sectors, read_ship};
use state::{Read, Shared, State};

pub use state::{LoadedSector, StoreReply};

/// Maximum number of reads whose answer was not fetched: beyond it a read fails at once. Far above what the grants of
/// one start need.
const MAX_OUTSTANDING_READS: usize = 4_096;

/// Interval of log messages about dropped changes.
const LIMIT_LOG_INTERVAL_MS: u64 = 1_000;

/// Settings of the store.
#[derive(Clone, Copy, Debug)]
pub struct StoreConfig {
    /// How long a change may wait for others before it is written: most of the loss window.
    pub flush_interval_ms: u64,
    /// Maximum number of keys with unwritten changes; new ones beyond it are dropped.
    pub dirty_limit: usize,
    /// Maximum number of changes in one transaction.
    pub batch: usize,
}

impl Default for StoreConfig {
    /// A loss window of two thirds of a second, a third of it for gathering changes; room for an outage of minutes in
    /// a large world.
    fn default() -> Self {
        Self { flush_interval_ms: 300, dirty_limit: 200_000, batch: 500 }
    }
}

/// The final state after a complete shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushSummary {
    /// Changes committed since the start.
    pub flushed_rows: u64,
    /// Transactions committed since the start.
    pub flushes: u64,
    /// Changes rejected by a newer state.
    pub stale_refused: u64,
    /// Changes dropped at the limit.
    pub dropped_at_limit: u64,
    /// Duration of the final flush.
    pub elapsed_ms: u64,
}

/// Not everything was stored at shutdown.
#[derive(Debug, Error)]
#[error(
    "{unsaved} changes could not be stored within {waited_ms} ms ({why}): check that the database is writable; the world loses these changes"
)]
pub struct StopError {
    /// Lost changes.
    pub unsaved: usize,
    /// Time waited.
    pub waited_ms: u64,
    /// The last database error.
    pub why: String,
}

/// Reports whether one of the store's threads is still running.
#[derive(Clone, Debug)]
pub struct StoreThread(Weak<()>);

impl StoreThread {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// The ECS thread's handle. Dropping it without [`flush_and_stop`](Self::flush_and_stop) has the effect of a crash:
/// uncommitted changes are lost.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    watched: [(&'static str, StoreThread); 2],
    at_once: bool,
}

impl Store {
    /// Starts the writer and the reader.
    ///
    /// # Panics
    /// When the operating system cannot start a thread.
    pub fn start(database: Database, config: StoreConfig) -> Self {
        let limits = Limits {
            flush_interval_ms: config.flush_interval_ms,
            dirty_limit: config.dirty_limit.max(1),
            batch: config.batch.max(1),
        };
        let shared = Arc::new(Shared {
            database,
            started: Instant::now(),
            run: Uuid::new_v4(),
            state: Mutex::new(State {
                core: WriteBehind::new(limits),
                books: Books::new(limits.flush_interval_ms),
                reads: VecDeque::new(),
                reading_since_ms: None,
                replies: VecDeque::new(),
                pruner: None,
                abandoned: false,
                last_error: None,
                limit_logged_ms: None,
                away_logged: true,
            }),
            write_work: Condvar::new(),
            read_work: Condvar::new(),
            reads_done: Condvar::new(),
            written: Condvar::new(),
        });
        let thread = |name: &str, run: fn(&Shared)| {
            let shared = shared.clone();
            // Dropped with the thread, however it ends.
            let alive = Arc::new(());
            let watched = StoreThread(Arc::downgrade(&alive));
            let body = move || {
                let _alive = alive;
                run(&shared);
            };
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
            (thread.expect("the operating system starts a thread"), watched)
        };
        let (writer, writer_watched) = thread("db-writer", write_loop);
        let (reader, reader_watched) = thread("db-reader", read_loop);
        let watched = [("the database's writer", writer_watched), ("the database's reader", reader_watched)];
        Self { shared, threads: vec![writer, reader], watched, at_once: false }
    }

    /// The store's threads with their readable names.
    pub fn threads(&self) -> [(&'static str, StoreThread); 2] {
        self.watched.clone()
    }

    /// Enables pruning: the writer removes expired rows, a little at a time between its own work: expired sessions,
    /// and deals and tombstones older than `keep`; without `keep` those are kept forever.
    pub fn prune(&self, keep: Option<Duration>) {
        let keep_ms = keep.map(|keep| i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
        self.shared.lock().pruner = Some(Pruner::new(keep_ms));
        self.shared.write_work.notify_one();
    }

    /// The rows removed by [`prune`](Self::prune) so far.
    pub fn pruned(&self) -> Pruned {
        self.shared.lock().pruner.as_ref().map(Pruner::total).unwrap_or_default()
    }

    /// Stores the newest state of an entity.
    pub fn put(&self, entity: StoredEntity) -> Admission {
        self.change(Change::Put(entity))
    }

    /// Stores a tombstone of an entity. Its fence stays, so that an older state cannot restore the entity.
    pub fn tombstone(&self, id: Uuid, epoch: i64, version: i64, tick: i64) -> Admission {
        self.change(Change::Tombstone { id, fence: Fence { epoch, version, tick, deleted: true } })
    }

    /// Stores that a sector was generated. Put its entities first, and mark it only if all were accepted. The mark is
    /// committed with or after them.
    pub fn mark_generated(&self, sector: Sector, tick: i64) -> Admission {
        self.change(Change::Generated { sector, tick })
    }

    /// Links a ship to an account.
    pub fn set_ship(&self, account: Uuid, ship: Uuid) -> Admission {
        self.change(Change::Ship { account, ship })
    }

    /// A holder's balance among those loaded or moved in this run; `None` if none is known.
    pub fn balance(&self, holder: Holder, commodity: Commodity) -> Option<i64> {
        self.shared.lock().books.balance(holder, commodity)
    }

    /// These entities no longer exist, or these accounts have no ship in the world: their balances can leave memory.
    /// They are read again with the ship or the sector.
    pub fn leave(&self, ids: impl IntoIterator<Item = Uuid>) {
        let mut state = self.shared.lock();
        state.books.leave(ids);
        state.tidy();
    }

    /// The number of balances in memory, and of holders that have left and are partly unwritten.
    pub fn known_balances(&self) -> (usize, usize) {
        self.shared.lock().books.known()
    }

    /// Makes an ordinary move: it applies at once, and is in the database within the loss window.
    pub fn move_goods(&self, order: Move) {
        let now_ms = self.shared.now_ms();
        self.shared.lock().books.apply(order, now_ms);
        self.shared.write_work.notify_one();
    }

    /// Stores an entity's state in one transaction with all earlier moves. `at_once`: without delay.
    pub fn link(&self, change: Change, at_once: bool) {
        let now_ms = self.shared.now_ms();
        self.shared.lock().books.link(change, at_once, now_ms);
        self.shared.write_work.notify_one();
    }

    /// Looks up a completed deal by its key.
    pub fn request_deal(&self, token: u64, key: Uuid) {
        self.request(Read::Deal { token, key }, token);
    }

    /// Whether deals are rejected because the database is unavailable.
    pub fn is_away(&self) -> bool {
        let now_ms = self.shared.now_ms();
        self.shared.lock().is_away(now_ms)
    }

    /// Submits a deal, with its entity states and its parties' room after it. Its result comes through
    /// [`poll_settled`](Self::poll_settled). The caller must have looked up its key before.
    pub fn submit(&self, deal: Deal, links: Vec<Change>, rooms: Vec<Room>) -> Submission {
        let now_ms = self.shared.now_ms();
        let mut state = self.shared.lock();
        if state.is_away(now_ms) {
            state.books.count_refused();
            return Submission::Away;
        }
        let submission = state.books.submit(deal, links, rooms, now_ms);
        drop(state);
        self.shared.write_work.notify_one();
        if self.at_once {
            self.await_books();
        }
        submission
    }

    /// The next ended deal, if any.
    pub fn poll_settled(&self) -> Option<Settled> {
        let now_ms = self.shared.now_ms();
        let mut state = self.shared.lock();
        let away = state.is_away(now_ms);
        let changed = std::mem::replace(&mut state.away_logged, away) != away;
        state.books.refuse_overdue(now_ms);
        let settled = state.books.poll_settled(now_ms);
        drop(state);
        if settled.is_some() {
            // The moves that waited for it were applied.
            self.shared.write_work.notify_one();
        }
        match (changed, away) {
            (true, true) => tracing::warn!("the database does not respond: deals are rejected"),
            (true, false) => tracing::info!("deals are accepted"),
            (false, _) => {}
        }
        settled
    }

    /// The holders whose amounts changed since the last call.
    pub fn take_changed(&self) -> std::collections::BTreeSet<Holder> {
        self.shared.lock().books.take_changed()
    }

    /// The ledger's present figures.
    pub fn books_stats(&self) -> BooksStats {
        let now_ms = self.shared.now_ms();
        self.shared.lock().books.stats(now_ms)
    }

    /// Stores a setting of the world.
    pub fn set_meta(&self, key: impl Into<String>, value: impl Into<String>) -> Admission {
        self.change(Change::Meta { key: key.into(), value: value.into() })
    }

    fn change(&self, change: Change) -> Admission {
        let now_ms = self.shared.now_ms();
        let mut state = self.shared.lock();
        let writer_rests = state.core.queue_is_empty();
        let admission = state.core.put(change, now_ms);
        if admission == Admission::Full
            && state.limit_logged_ms.is_none_or(|logged_ms| now_ms >= logged_ms + LIMIT_LOG_INTERVAL_MS)
        {
            state.limit_logged_ms = Some(now_ms);
            let stats = state.core.stats(now_ms);
            let why = state.last_error.clone().unwrap_or_default();
            drop(state);
            tracing::error!(
                dirty = stats.dirty,
                dropped = stats.dropped_at_limit,
                why,
                "the database does not keep up: changes are dropped"
            );
            return admission;
        }
        drop(state);
        if writer_rests {
            self.shared.write_work.notify_one();
        }
        admission
    }

    /// Requests sectors. The reply includes every change submitted before this call, and contains each sector once.
    pub fn request_sectors(&self, token: u64, mut sectors: Vec<Sector>) {
        let mut seen = HashSet::new();
        sectors.retain(|sector| seen.insert(*sector));
        self.request(Read::Sectors { token, sectors }, token);
    }

    /// Requests the ship of an account. The reply includes every change submitted before this call.
    pub fn request_ship(&self, token: u64, account: Uuid) {
        self.request(Read::Ship { token, account }, token);
    }

    fn request(&self, read: Read, token: u64) {
        let mut state = self.shared.lock();
        let outstanding = state.reads.len() + usize::from(state.reading_since_ms.is_some()) + state.replies.len();
        if outstanding < MAX_OUTSTANDING_READS {
            state.reads.push_back(read);
            drop(state);
            self.shared.read_work.notify_one();
            if self.at_once {
                self.await_reads();
            }
        } else if outstanding < 2 * MAX_OUTSTANDING_READS {
            let error = format!("{outstanding} reads are waiting for the database: ask again later");
            state.replies.push_back(StoreReply::Failed { token, error });
        } else {
            drop(state);
            log_limited!(error, token, outstanding, "a read was dropped: the replies are not fetched");
        }
    }

    /// The next reply, if any.
    pub fn poll(&self) -> Option<StoreReply> {
        self.shared.lock().replies.pop_front()
    }

    /// The present figures.
    pub fn stats(&self) -> StoreStats {
        let now_ms = self.shared.now_ms();
        self.shared.lock().core.stats(now_ms)
    }

    /// From now on a read returns when its reply is there, and a deal when it has ended. For tests with a simulated
    /// clock: their results must not depend on the threads' speed.
    #[must_use]
    pub fn answering_at_once(mut self) -> Self {
        self.at_once = true;
        self.await_books();
        self
    }

    fn await_books(&self) {
        let state = self.shared.lock();
        let _written = self
            .shared
            .written
            .wait_while(state, |state| !state.books.is_at_rest())
            .unwrap_or_else(PoisonError::into_inner);
    }

    fn await_reads(&self) {
        let state = self.shared.lock();
        let _read = self
            .shared
            .reads_done
            .wait_while(state, |state| state.reading_since_ms.is_some() || !state.reads.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
    }

    /// Writes all waiting changes now, and returns after the commit or the failed attempt. For tests with a simulated
    /// clock.
    pub fn flush(&self) {
        let mut state = self.shared.lock();
        state.core.flush_now();
        state.books.flush_now();
        let failures = state.failures();
        self.shared.write_work.notify_all();
        let _written = self
            .shared
            .written
            .wait_while(state, |state| state.is_flushing() && state.failures() == failures)
            .unwrap_or_else(PoisonError::into_inner);
    }

    /// Writes all waiting changes within `deadline`, and ends the threads.
    ///
    /// # Errors
    /// [`StopError`] if something could not be stored in time; a hanging database call is abandoned.
    pub fn flush_and_stop(mut self, deadline: Duration) -> Result<FlushSummary, StopError> {
        let begun = Instant::now();
        let mut state = self.shared.lock();
        state.core.stop(self.shared.now_ms());
        state.books.stop(self.shared.now_ms());
        state.pruner = None;
        self.shared.write_work.notify_all();
        let (state, _) = self
            .shared
            .written
            .wait_timeout_while(state, deadline, |state| state.unsaved() > 0)
            .unwrap_or_else(PoisonError::into_inner);
        let unsaved = state.unsaved();
        let stats = state.core.stats(self.shared.now_ms());
        let why = state.last_error.clone().unwrap_or_else(|| "the database was too slow".to_owned());
        drop(state);
        let elapsed_ms = begun.elapsed().as_millis() as u64;
        if unsaved > 0 {
            self.abandon();
            self.threads.clear();
            return Err(StopError { unsaved, waited_ms: elapsed_ms, why });
        }
        Ok(FlushSummary {
            flushed_rows: stats.flushed_rows,
            flushes: stats.flushes,
            stale_refused: stats.stale_refused,
            dropped_at_limit: stats.dropped_at_limit,
            elapsed_ms,
        })
    }

    fn abandon(&self) {
        self.shared.lock().abandoned = true;
        self.shared.write_work.notify_all();
        self.shared.read_work.notify_all();
    }
}

impl Drop for Store {
    /// Waits for a running database call, if any.
    fn drop(&mut self) {
        self.abandon();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a database thread panicked");
            }
        }
    }
}

fn write_loop(shared: &Shared) {
    let mut state = shared.lock();
    while !state.abandoned {
        crash::fault_point("db-writer");
        let now_ms = shared.now_ms();
        // Deals first: players wait for them.
        if let Some(work) = state.books.take_work(now_ms) {
            drop(state);
            state = keep_books(shared, work);
            state.tidy();
            shared.written.notify_all();
            continue;
        }
        if let Some(batch) = state.core.take_batch(now_ms) {
            drop(state);
            let outcome = shared.database.write(batch.changes.iter().map(|change| &**change));
            let now_ms = shared.now_ms();
            state = shared.lock();
            match outcome {
                Ok(outcome) => {
                    state.core.committed(outcome.stale, now_ms);
                    if state.last_error.take().is_some() {
                        tracing::info!(waiting = state.core.uncommitted(), "the database accepts writes again");
                    }
                }
                Err(error) => {
                    state.core.failed(now_ms);
                    state.books.doubt();
                    let waiting = state.core.uncommitted();
                    state.last_error = Some(error.to_string());
                    log_limited!(warn, %error, waiting, "a batch could not be stored: it is tried again");
                }
            }
            shared.written.notify_all();
            continue;
        }
        if state.prunes_at_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            drop(state);
            state = prune(shared);
            continue;
        }
        let wakes = [state.core.next_wake_ms(), state.books.next_wake_ms(), state.prunes_at_ms()];
        state = match wakes.into_iter().flatten().min() {
            None => shared.write_work.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(at_ms) => {
                let wait = Duration::from_millis(at_ms.saturating_sub(now_ms).max(1));
                shared.write_work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}

/// Runs one pruning step.
fn prune(shared: &Shared) -> MutexGuard<'_, State> {
    let (started_ms, unix_ms) = (shared.now_ms(), unix_ms());
    let mut state = shared.lock();
    let Some((step, rows)) = state.pruner.as_mut().and_then(|pruner| pruner.take(started_ms, unix_ms)) else {
        return state;
    };
    drop(state);
    let outcome = shared.database.prune_step(step, rows, unix_ms, |id| shared.lock().awaits(id));
    let now_ms = shared.now_ms();
    let mut state = shared.lock();
    if let Some(pruner) = &mut state.pruner {
        match outcome {
            Ok((removed, full)) => pruner.done(removed, full, now_ms - started_ms, now_ms),
            Err(error) => {
                pruner.failed(now_ms);
                log_limited!(warn, %error, "expired rows could not be removed: it is tried again");
            }
        }
    }
    state
}

/// Makes one database call for the ledger.
fn keep_books(shared: &Shared, work: Work) -> MutexGuard<'_, State> {
    let database = &shared.database;
    let outcome: Result<(), DbError> = match work {
        Work::LoadShared => database.shared_balances().map(|rows| shared.lock().books.shared_loaded(rows)),
        Work::Write(tx) => {
            database.write_books(&tx, shared.run).map(|()| shared.lock().books.committed(shared.now_ms()))
        }
        Work::Resolve(keys) => database.done_deals(&keys, shared.run).map(|found| {
            tracing::info!(deals = keys.len(), done = found.len(), "undecided deals were looked up in the database");
            shared.lock().books.resolved(&found, shared.now_ms());
        }),
    };
    let mut state = shared.lock();
    if let Err(error) = outcome {
        let begun = !matches!(error, DbError::Unavailable { .. });
        log_limited!(warn, %error, begun, "the ledger could not be written");
        state.last_error = Some(error.to_string());
        state.books.failed(begun, shared.now_ms());
    }
    state
}

fn read_loop(shared: &Shared) {
    let mut state = shared.lock();
    while !state.abandoned {
        crash::fault_point("db-reader");
        let Some(read) = state.reads.pop_front() else {
            state = shared.read_work.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        state.reading_since_ms = Some(shared.now_ms());
        let reply = match read {
            Read::Sectors { token, sectors } => match read_sectors(shared, state, &sectors) {
                Ok(sectors) => StoreReply::Sectors { token, sectors },
                Err(error) => failed(token, &error),
            },
            Read::Ship { token, account } => match read_ship(shared, state, account) {
                Ok(ship) => StoreReply::Ship { token, ship },
                Err(error) => failed(token, &error),
            },
            Read::Deal { token, key } => {
                drop(state);
                match shared.database.deal(key) {
                    Ok(found) => StoreReply::Deal { token, found },
                    Err(error) => failed(token, &error),
                }
            }
        };
        state = shared.lock();
        state.reading_since_ms = None;
        state.core.end_read();
        state.tidy();
        state.replies.push_back(reply);
        shared.write_work.notify_one();
        shared.reads_done.notify_all();
    }
}

fn failed(token: u64, error: &DbError) -> StoreReply {
    StoreReply::Failed { token, error: error.to_string() }
}
