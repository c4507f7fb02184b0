//! The state shared by the store's threads, and the replies to reads.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use uuid::Uuid;

use crate::db::database::Database;
use crate::db::ledger::books::{Books, SLOW_MS};
use crate::db::ledger::holdings::DoneDeal;
use crate::db::tables::rows::{Sector, StoredEntity};
use crate::db::writer::prune::Pruner;
use crate::db::writer::write_behind::WriteBehind;

/// A sector, whether it was generated, and its living entities without an owner.
pub type LoadedSector = (Sector, bool, Vec<StoredEntity>);

/// The reply to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreReply {
    /// The requested sectors, in that order.
    Sectors {
        /// The request's token.
        token: u64,
        /// The sectors.
        sectors: Vec<LoadedSector>,
    },
    /// The ship of an account.
    Ship {
        /// The request's token.
        token: u64,
        /// The ship, unless there is none or it is gone.
        ship: Option<StoredEntity>,
    },
    /// The result of a deal lookup.
    Deal {
        /// The request's token.
        token: u64,
        /// The deal, if it was completed.
        found: Option<DoneDeal>,
    },
    /// The read failed and can be repeated.
    Failed {
        /// The request's token.
        token: u64,
        /// The cause.
        error: String,
    },
}

#[derive(Debug)]
pub(super) enum Read {
    Sectors { token: u64, sectors: Vec<Sector> },
    Ship { token: u64, account: Uuid },
    Deal { token: u64, key: Uuid },
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) core: WriteBehind,
    pub(super) books: Books,
    pub(super) reads: VecDeque<Read>,
    /// When the present read began.
    pub(super) reading_since_ms: Option<u64>,
    pub(super) replies: VecDeque<StoreReply>,
    /// Removes expired rows, if enabled.
    pub(super) pruner: Option<Pruner>,
    /// Both threads end after their present work; nothing more is written.
    pub(super) abandoned: bool,
    pub(super) last_error: Option<String>,
    pub(super) limit_logged_ms: Option<u64>,
    /// Whether the log says that deals are rejected; initially so, until the ledger was read.
    pub(super) away_logged: bool,
}

impl State {
    pub(super) fn unsaved(&self) -> usize {
        self.core.uncommitted() + self.books.unwritten()
    }

    pub(super) fn is_flushing(&self) -> bool {
        self.core.is_flushing() || self.books.unwritten() > 0
    }

    pub(super) fn failures(&self) -> u64 {
        self.core.failures() + self.books.failures()
    }

    /// When the pruner has work. Not while a transaction's result is unknown: its deals are still looked up.
    pub(super) fn prunes_at_ms(&self) -> Option<u64> {
        let pruner = self.pruner.as_ref().filter(|_| self.books.is_at_rest())?;
        Some(pruner.next_wake_ms())
    }

    /// Removes the balances of holders that have left, when that is safe.
    pub(super) fn tidy(&mut self) {
        if self.reading_since_ms.is_none() {
            self.books.forget_departed();
        }
    }

    /// Whether a write of an entity waits.
    pub(super) fn awaits(&self, id: Uuid) -> bool {
        self.core.waiting_entity(id).is_some() || self.books.links_wait(id)
    }

    /// A deal needs the reader, for its key, and the writer: a blocked one delays it.
    pub(super) fn is_away(&self, now_ms: u64) -> bool {
        let calls = [self.core.writing_since_ms(), self.reading_since_ms];
        let hangs = calls.into_iter().flatten().any(|since_ms| now_ms >= since_ms + SLOW_MS);
        hangs || self.books.is_away(now_ms)
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) started: Instant,
    /// Identifies this run of the server in its writes.
    pub(super) run: Uuid,
    pub(super) state: Mutex<State>,
    /// The writer may have work.
    pub(super) write_work: Condvar,
    /// The reader may have work.
    pub(super) read_work: Condvar,
    /// The reader is idle.
    pub(super) reads_done: Condvar,
    /// A batch has ended.
    pub(super) written: Condvar,
}

impl Shared {
    pub(super) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// A thread that panicked has left the state consistent, between two steps.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
