//! What the store's threads share, and what a read is answered with.

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

/// A sector, whether it was ever generated, and its entities that live and have no owner.
pub type LoadedSector = (Sector, bool, Vec<StoredEntity>);

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreReply {
    /// The sectors that were asked for, in that order.
    Sectors {
        /// As it was handed in.
        token: u64,
        /// The sectors.
        sectors: Vec<LoadedSector>,
    },
    /// The ship of an account.
    Ship {
        /// As it was handed in.
        token: u64,
        /// The ship, unless there is none or it is gone.
        ship: Option<StoredEntity>,
    },
    /// What became of a deal.
    Deal {
        /// As it was handed in.
        token: u64,
        /// The deal, if it was ever done.
        found: Option<DoneDeal>,
    },
    /// The read failed; ask again.
    Failed {
        /// As it was handed in.
        token: u64,
        /// Why.
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
    /// When the read that is under way began.
    pub(super) reading_since_ms: Option<u64>,
    pub(super) replies: VecDeque<StoreReply>,
    /// Removes what is over, where that is wanted.
    pub(super) pruner: Option<Pruner>,
    /// Both threads end after what they are doing; nothing more is written.
    pub(super) abandoned: bool,
    pub(super) last_error: Option<String>,
    pub(super) limit_logged_ms: Option<u64>,
    /// Whether the log has it that deals are refused; so it is until the ledger was read.
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

    /// When the pruner has something to do. Not while a transaction's end is unknown: its deals are still looked for.
    pub(super) fn prunes_at_ms(&self) -> Option<u64> {
        let pruner = self.pruner.as_ref().filter(|_| self.books.is_at_rest())?;
        Some(pruner.next_wake_ms())
    }

    /// Forgets the balances of who has left, when that does no harm.
    pub(super) fn tidy(&mut self) {
        if self.reading_since_ms.is_none() {
            self.books.forget_the_left();
        }
    }

    /// Whether a write of an entity waits.
    pub(super) fn awaits(&self, id: Uuid) -> bool {
        self.core.waiting_entity(id).is_some() || self.books.links_wait(id)
    }

    /// A deal needs the reader, for its key, and the writer: it waits for whatever holds one of them up.
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
    /// Names this run of the server in what it writes.
    pub(super) run: Uuid,
    pub(super) state: Mutex<State>,
    /// Something may be due for the writer.
    pub(super) write_work: Condvar,
    /// Something may be there for the reader.
    pub(super) read_work: Condvar,
    /// The reader has nothing to do.
    pub(super) reads_done: Condvar,
    /// A batch came to its end.
    pub(super) written: Condvar,
}

impl Shared {
    pub(super) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// A thread that panicked has left the state as it was between two steps.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
