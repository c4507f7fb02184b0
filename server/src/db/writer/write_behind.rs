//! The write-behind core: the changes that wait to be stored, their order, and the retries while the database fails.
//!
//! A state machine without I/O: it gets the time as `now_ms`, returns batches, and gets their results. It owns no
//! thread and no connection (`store` does) and runs in `sidereal-server`.
//!
//! - Per key the latest change is stored, and an older fence never replaces a newer one.
//! - Changes are written in the order in which their keys became dirty. A failed batch returns to its old place, so
//!   that a sector is never marked as generated before the entities that were put before the mark.
//! - A key stays visible to readers until its change is committed, and, during a read, until that read has ended: a
//!   read sees everything that was put before it.
//! - Memory is bounded: at the limit a new key is dropped and counted, a known one is still replaced.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use crate::db::error::DbError;
use crate::db::tables::rows::{Fence, MAX_RECORD_BYTES, Sector, StoredEntity};
use crate::db::tables::text;

#[cfg(test)]
mod tests;

/// Maximum total size of the waiting records, bytes: the memory that an outage of the database may cost.
const MAX_DIRTY_BYTES: usize = 512 * 1024 * 1024;

/// A batch is closed at this size, bytes, however few rows it has: a transaction should take milliseconds.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Room above the limit for links and settings: they are few, and a lost one costs a player their ship.
const SMALL_CHANGE_HEADROOM: usize = 10_000;

/// First wait after a failed batch, milliseconds; it doubles up to the maximum.
const FIRST_RETRY_MS: u64 = 100;

/// Maximum wait between two attempts, milliseconds: players should notice soon when an outage is over, and an attempt
/// is cheap.
const LAST_RETRY_MS: u64 = 2_000;

/// Maximum wait between two attempts while the server is shutting down, milliseconds.
const STOPPING_RETRY_MS: u64 = 200;

/// Number of flushes whose durations are kept.
const FLUSHES_REMEMBERED: usize = 512;

/// A change to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An entity's newest state.
    Put(StoredEntity),
    /// A tombstone; the fence's `deleted` is set.
    Tombstone {
        /// The entity.
        id: Uuid,
        /// Its fence.
        fence: Fence,
    },
    /// A sector was generated.
    Generated {
        /// The sector.
        sector: Sector,
        /// The world's tick.
        tick: i64,
    },
    /// The ship of an account.
    Ship {
        /// The account.
        account: Uuid,
        /// Its ship.
        ship: Uuid,
    },
    /// A setting of the world.
    Meta {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
}

/// The key of a change: a newer change of the same key replaces it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::db) enum Key {
    Entity(Uuid),
    Sector(Sector),
    Ship(Uuid),
    Meta(String),
}

impl Change {
    fn key(&self) -> Key {
        match self {
            Change::Put(entity) => Key::Entity(entity.id),
            Change::Tombstone { id, .. } => Key::Entity(*id),
            Change::Generated { sector, .. } => Key::Sector(*sector),
            Change::Ship { account, .. } => Key::Ship(*account),
            Change::Meta { key, .. } => Key::Meta(key.clone()),
        }
    }

    pub(in crate::db) fn fence(&self) -> Option<Fence> {
        match self {
            Change::Put(entity) => Some(entity.fence()),
            Change::Tombstone { fence, .. } => Some(*fence),
            _ => None,
        }
    }

    pub(in crate::db) fn entity_id(&self) -> Option<Uuid> {
        match self {
            Change::Put(entity) => Some(entity.id),
            Change::Tombstone { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// The sector whose readers must see this change.
    fn visible_in(&self) -> Option<Sector> {
        match self {
            Change::Put(entity) if entity.owner.is_none() => Some(entity.sector),
            _ => None,
        }
    }

    /// Checks that every backend can store it: one that cannot would block all later changes.
    fn check(&self) -> Result<(), DbError> {
        if let Change::Meta { key, value } = self {
            text::check_indexed("key", key)?;
            text::check("value", value)?;
        }
        match self.bytes() {
            bytes if bytes > MAX_RECORD_BYTES => {
                Err(DbError::TextTooLong { what: "record", bytes, limit: MAX_RECORD_BYTES })
            }
            _ => Ok(()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Change::Put(entity) => entity.record.len(),
            Change::Meta { key, value } => key.len() + value.len(),
            _ => 0,
        }
    }
}

/// The result of submitting a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It will be stored.
    Accepted,
    /// A newer state of the same entity waits already: nothing changed.
    Stale,
    /// Dropped: too many keys wait for the database, and this one is new.
    Full,
    /// Dropped: the record is larger than [`MAX_RECORD_BYTES`], or the key longer than an index allows.
    TooLarge,
    /// Dropped: a text contains a NUL character, which not every backend can store.
    NulInText,
}

/// The figures of the write-behind. Counters rise from the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Keys with uncommitted changes.
    pub dirty: u64,
    /// The age of the oldest uncommitted change, milliseconds: what a crash now would lose.
    pub oldest_dirty_ms: u64,
    /// Maximum age of a change at its commit, milliseconds: the measured loss window.
    pub loss_window_max_ms: u64,
    /// Changes in committed transactions.
    pub flushed_rows: u64,
    /// Committed transactions.
    pub flushes: u64,
    /// Failed transactions; their changes are retried.
    pub failed_flushes: u64,
    /// Changes rejected by a newer fence, here or in the database.
    pub stale_refused: u64,
    /// Changes dropped because too many keys waited.
    pub dropped_at_limit: u64,
    /// Changes dropped because their record was too large.
    pub too_large: u64,
    /// Changes dropped because a text contained a NUL character.
    pub nul_in_text: u64,
    /// Median duration of the latest transactions, milliseconds.
    pub flush_ms_p50: u64,
    /// 99th percentile of the duration of the latest transactions, milliseconds.
    pub flush_ms_p99: u64,
    /// Maximum duration of the latest transactions, milliseconds.
    pub flush_ms_max: u64,
}

/// Limits of the write-behind.
#[derive(Clone, Copy, Debug)]
pub(in crate::db) struct Limits {
    pub flush_interval_ms: u64,
    pub dirty_limit: usize,
    pub batch: usize,
}

/// The changes of one transaction, in this order.
#[derive(Debug)]
pub(in crate::db) struct Batch {
    pub changes: Vec<Arc<Change>>,
    /// For each change: its place in the order, its key, and when it started to wait.
    places: Vec<(u64, Key, u64)>,
    started_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits in the queue.
    Dirty,
    /// In the batch that is being written.
    InFlight,
    /// Committed, and kept until the present read has ended.
    Settled,
}

#[derive(Debug)]
struct Entry {
    change: Arc<Change>,
    stage: Stage,
    place: u64,
    since_ms: u64,
}

/// The state machine.
#[derive(Debug)]
pub(in crate::db) struct WriteBehind {
    limits: Limits,
    entries: HashMap<Key, Entry>,
    /// The dirty keys by their place in the order.
    queue: BTreeMap<u64, Key>,
    /// The entities of `entries` by the sector in which readers must see them.
    by_sector: HashMap<Sector, HashSet<Uuid>>,
    next_place: u64,
    in_flight: Option<Arc<Batch>>,
    /// A flush in progress writes all batches up to this place.
    flush_through: Option<u64>,
    retry_at_ms: u64,
    failures_in_a_row: u32,
    reading: bool,
    /// The keys whose stage is `Settled`.
    settled: HashSet<Key>,
    stopping: bool,
    bytes: usize,
    counts: StoreStats,
    flush_durations_ms: VecDeque<u64>,
}

impl WriteBehind {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            queue: BTreeMap::new(),
            by_sector: HashMap::new(),
            next_place: 0,
            in_flight: None,
            flush_through: None,
            retry_at_ms: 0,
            failures_in_a_row: 0,
            reading: false,
            settled: HashSet::new(),
            stopping: false,
            bytes: 0,
            counts: StoreStats::default(),
            flush_durations_ms: VecDeque::new(),
        }
    }

    /// Adds a change.
    pub fn put(&mut self, change: Change, now_ms: u64) -> Admission {
        let bytes = change.bytes();
        match change.check() {
            Err(DbError::NulInText { .. }) => {
                self.counts.nul_in_text += 1;
                return Admission::NulInText;
            }
            Err(_) => {
                self.counts.too_large += 1;
                return Admission::TooLarge;
            }
            Ok(()) => {}
        }
        let key = change.key();
        let Some(entry) = self.entries.get_mut(&key) else {
            return self.put_new(key, change, bytes, now_ms);
        };
        if let (Some(known), Some(new)) = (entry.change.fence(), change.fence())
            && new < known
        {
            self.counts.stale_refused += 1;
            return Admission::Stale;
        }
        let old = std::mem::replace(&mut entry.change, Arc::new(change));
        let new_sector = entry.change.visible_in();
        if entry.stage != Stage::Dirty {
            self.settled.remove(&key);
            entry.stage = Stage::Dirty;
            entry.place = self.next_place;
            entry.since_ms = now_ms;
            self.queue.insert(self.next_place, key.clone());
            self.next_place += 1;
        }
        self.bytes = self.bytes + bytes - old.bytes();
        if old.visible_in() != new_sector {
            self.unindex(&key, old.visible_in());
            self.index(&key, new_sector);
        }
        Admission::Accepted
    }

    fn put_new(&mut self, key: Key, change: Change, bytes: usize, now_ms: u64) -> Admission {
        let limit = match key {
            Key::Entity(_) | Key::Sector(_) => self.limits.dirty_limit,
            Key::Ship(_) | Key::Meta(_) => self.limits.dirty_limit + SMALL_CHANGE_HEADROOM,
        };
        if self.entries.len() >= limit || self.bytes + bytes > MAX_DIRTY_BYTES {
            self.counts.dropped_at_limit += 1;
            return Admission::Full;
        }
        self.index(&key, change.visible_in());
        self.bytes += bytes;
        self.queue.insert(self.next_place, key.clone());
        self.entries.insert(
            key,
            Entry { change: Arc::new(change), stage: Stage::Dirty, place: self.next_place, since_ms: now_ms },
        );
        self.next_place += 1;
        Admission::Accepted
    }

    /// The next transaction, if one is due. Report its result with [`committed`](Self::committed) or
    /// [`failed`](Self::failed) before taking another one.
    pub fn take_batch(&mut self, now_ms: u64) -> Option<Arc<Batch>> {
        if now_ms < self.next_wake_ms()? {
            return None;
        }
        let through = match self.flush_through {
            Some(through) => through,
            None => *self.queue.last_key_value()?.0,
        };
        let mut batch = Batch { changes: Vec::new(), places: Vec::new(), started_ms: now_ms };
        let mut bytes = 0;
        while let Some(first) = self.queue.first_entry()
            && *first.key() <= through
            && batch.changes.len() < self.limits.batch
            && bytes < BATCH_BYTES
        {
            let (place, key) = first.remove_entry();
            let entry = self.entries.get_mut(&key).expect("what is queued has an entry");
            entry.stage = Stage::InFlight;
            bytes += entry.change.bytes();
            batch.changes.push(entry.change.clone());
            batch.places.push((place, key, entry.since_ms));
        }
        let more = self.queue.first_key_value().is_some_and(|(place, _)| *place <= through);
        self.flush_through = more.then_some(through);
        let batch = Arc::new(batch);
        self.in_flight = Some(batch.clone());
        Some(batch)
    }

    /// When [`take_batch`](Self::take_batch) will return something if nothing else happens; in the past if it does
    /// now.
    pub fn next_wake_ms(&self) -> Option<u64> {
        // During a long read, writing waits, so that memory does not grow.
        if self.in_flight.is_some() || self.settled.len() >= self.limits.dirty_limit {
            return None;
        }
        let (_, first) = self.queue.first_key_value()?;
        let due = if self.stopping || self.flush_through.is_some() {
            0
        } else {
            self.entries.get(first).expect("what is queued has an entry").since_ms + self.limits.flush_interval_ms
        };
        Some(due.max(self.retry_at_ms))
    }

    /// The batch is committed, except for `stale` changes that were rejected by a newer fence.
    pub fn committed(&mut self, stale: u64, now_ms: u64) {
        let Some(batch) = self.in_flight.take() else {
            return;
        };
        for (_, key, since_ms) in &batch.places {
            self.counts.loss_window_max_ms = self.counts.loss_window_max_ms.max(now_ms.saturating_sub(*since_ms));
            if self.entries.get(key).is_some_and(|entry| entry.stage == Stage::InFlight) {
                if self.reading {
                    self.entries.get_mut(key).expect("looked up above").stage = Stage::Settled;
                    self.settled.insert(key.clone());
                } else {
                    self.forget(key);
                }
            }
        }
        self.failures_in_a_row = 0;
        self.retry_at_ms = 0;
        self.counts.flushes += 1;
        self.counts.flushed_rows += batch.changes.len() as u64 - stale;
        self.counts.stale_refused += stale;
        if self.flush_durations_ms.len() == FLUSHES_REMEMBERED {
            self.flush_durations_ms.pop_front();
        }
        self.flush_durations_ms.push_back(now_ms.saturating_sub(batch.started_ms));
    }

    /// The batch had no effect: it returns to its place and is retried after a while.
    pub fn failed(&mut self, now_ms: u64) {
        let Some(batch) = self.in_flight.take() else {
            return;
        };
        for (place, key, since_ms) in &batch.places {
            let entry = self.entries.get_mut(key).expect("a key in flight keeps its entry");
            if entry.stage == Stage::Dirty {
                // Replaced meanwhile: the newer change takes the older one's place.
                self.queue.remove(&entry.place);
            }
            entry.stage = Stage::Dirty;
            entry.place = *place;
            entry.since_ms = *since_ms;
            self.queue.insert(*place, key.clone());
        }
        let longest = if self.stopping { STOPPING_RETRY_MS } else { LAST_RETRY_MS };
        let wait_ms = FIRST_RETRY_MS.saturating_mul(1 << self.failures_in_a_row.min(16)).min(longest);
        self.retry_at_ms = now_ms + wait_ms;
        self.failures_in_a_row += 1;
        self.counts.failed_flushes += 1;
    }

    /// Makes all waiting changes due now.
    pub fn flush_now(&mut self) {
        self.flush_through = self.queue.last_key_value().map(|(place, _)| *place).max(self.flush_through);
    }

    /// When the batch that is being written was taken.
    pub fn writing_since_ms(&self) -> Option<u64> {
        self.in_flight.as_ref().map(|batch| batch.started_ms)
    }

    /// Whether a flush is in progress.
    pub fn is_flushing(&self) -> bool {
        self.flush_through.is_some() || self.in_flight.is_some()
    }

    /// Failed batches.
    pub fn failures(&self) -> u64 {
        self.counts.failed_flushes
    }

    /// From now on all changes are due at once, and failures are retried quickly.
    pub fn stop(&mut self, now_ms: u64) {
        self.stopping = true;
        self.retry_at_ms = self.retry_at_ms.min(now_ms);
    }

    /// The number of uncommitted changes.
    pub fn uncommitted(&self) -> usize {
        self.entries.len() - self.settled.len()
    }

    /// Whether the queue is empty; the batch that is being written does not count.
    pub fn queue_is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// A read starts: changes committed from now on stay visible until [`end_read`](Self::end_read). One read at a
    /// time.
    pub fn begin_read(&mut self) {
        self.reading = true;
    }

    /// The read has ended.
    pub fn end_read(&mut self) {
        self.reading = false;
        for key in std::mem::take(&mut self.settled) {
            self.forget(&key);
        }
    }

    /// The waiting states of entities that readers must see in `sector`.
    pub fn waiting_in(&self, sector: Sector) -> impl Iterator<Item = Arc<Change>> + '_ {
        self.by_sector.get(&sector).into_iter().flatten().filter_map(|id| self.waiting_entity(*id))
    }

    /// The waiting change of an entity.
    pub fn waiting_entity(&self, id: Uuid) -> Option<Arc<Change>> {
        self.entries.get(&Key::Entity(id)).map(|entry| entry.change.clone())
    }

    /// Whether a sector's generated mark waits.
    pub fn waiting_generated(&self, sector: Sector) -> bool {
        self.entries.contains_key(&Key::Sector(sector))
    }

    /// The waiting ship of an account.
    pub fn waiting_ship(&self, account: Uuid) -> Option<Uuid> {
        match *self.entries.get(&Key::Ship(account))?.change {
            Change::Ship { ship, .. } => Some(ship),
            _ => None,
        }
    }

    pub fn stats(&self, now_ms: u64) -> StoreStats {
        let queued =
            self.queue.first_key_value().and_then(|(_, key)| self.entries.get(key)).map(|first| first.since_ms);
        let in_flight = self.in_flight.as_ref().and_then(|batch| batch.places.first()).map(|(_, _, since)| *since);
        let oldest = queued.into_iter().chain(in_flight).min();
        let mut durations: Vec<u64> = self.flush_durations_ms.iter().copied().collect();
        durations.sort_unstable();
        let quantile =
            |percent: usize| durations.get((durations.len() * percent / 100).min(durations.len().max(1) - 1));
        StoreStats {
            dirty: self.uncommitted() as u64,
            oldest_dirty_ms: oldest.map_or(0, |since_ms| now_ms.saturating_sub(since_ms)),
            flush_ms_p50: quantile(50).copied().unwrap_or(0),
            flush_ms_p99: quantile(99).copied().unwrap_or(0),
            flush_ms_max: durations.last().copied().unwrap_or(0),
            ..self.counts.clone()
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.change.bytes();
            self.unindex(key, entry.change.visible_in());
        }
    }

    fn index(&mut self, key: &Key, sector: Option<Sector>) {
        if let (Key::Entity(id), Some(sector)) = (key, sector) {
            self.by_sector.entry(sector).or_default().insert(*id);
        }
    }

    fn unindex(&mut self, key: &Key, sector: Option<Sector>) {
        if let (Key::Entity(id), Some(sector)) = (key, sector)
            && let Some(ids) = self.by_sector.get_mut(&sector)
        {
            ids.remove(id);
            if ids.is_empty() {
                self.by_sector.remove(&sector);
            }
        }
    }
}
