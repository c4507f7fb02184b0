//! The shared state of the sessions of one network thread: limits, counters, the waker, and the lists of sessions that
//! have something to read or to send. Runs in every process. A server has one for players and one for shards, with the
//! same counters and waker.
//!
//! Reading takes one item of the first session in a list and moves the session to its end, so no session starves
//! another. Locks: a list's lock may be taken while a session's is held, never the other way round.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::limits::Limits;
use crate::naia::acks::HEARTBEAT_BYTES;
use crate::session::waker::Waker;
use crate::stats::TrafficCounters;

/// The most parcels that wait for the network thread: those of eight ticks for 2,000 sessions, two for each.
const MAX_PARCELS: usize = 32_768;

/// Locks. A poisoned lock is used as it is: the data are queues, each valid after every operation.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kinds of items that can be read from a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    Naia,
    Lane,
    Stream,
    Closed,
}

/// A session in a hub's lists.
pub(crate) trait Listed {
    /// The address by which naia and the game identify it.
    fn address(&self) -> SocketAddr;
    /// The next item of one kind, and whether there are more.
    fn pop(self: &Arc<Self>, way: Inbound) -> (Option<Bytes>, bool);
    /// The next heartbeat that confirms delivery to naia, and whether there are more.
    fn next_heartbeat(&self) -> (Option<[u8; HEARTBEAT_BYTES]>, bool);
}

pub(crate) struct Hub<S> {
    /// The hub's place among those of its server; zero at a client.
    pub(crate) index: usize,
    pub(crate) limits: Limits,
    pub(crate) counters: Arc<TrafficCounters>,
    pub(crate) waker: Waker,
    /// Wakes the network's task when [`Hub::take_dirty`] has something. Not if there is a `network`.
    pub(crate) flush_wake: Notify,
    /// Wakes a server's network thread when [`Hub::take_dirty`] or [`Hub::take_parcels`] has something.
    network: OnceLock<task::Waker>,
    ready: Mutex<Ready<S>>,
    /// Sessions with naia packets whose delivery is to be confirmed to naia.
    unacknowledged: Mutex<VecDeque<Arc<S>>>,
    dirty: Mutex<Vec<Arc<S>>>,
    /// Lane datagrams of a tick, one entry for each session that gets some.
    parcels: Mutex<Vec<Parcel<S>>>,
    /// Places of inbound datagrams that are taken, in all hubs that share them.
    inbound_datagrams: Arc<AtomicUsize>,
    /// Sessions that are not removed yet.
    sessions: AtomicUsize,
    /// Of these, those that the game has admitted.
    admitted: AtomicUsize,
}

/// Lane datagrams for one session. Many sessions may share them.
pub(crate) struct Parcel<S> {
    pub(crate) session: Arc<S>,
    /// Each with the prefix of [`SharedDatagrams`](crate::server::SharedDatagrams).
    pub(crate) datagrams: Arc<[Bytes]>,
    /// How many of them the session gets, from the first.
    pub(crate) count: usize,
}

struct Ready<S> {
    auth: VecDeque<(SocketAddr, Bytes)>,
    naia: VecDeque<Arc<S>>,
    lane: VecDeque<Arc<S>>,
    stream: VecDeque<Arc<S>>,
    closed: VecDeque<Arc<S>>,
}

impl<S> Default for Ready<S> {
    fn default() -> Self {
        Self {
            auth: VecDeque::new(),
            naia: VecDeque::new(),
            lane: VecDeque::new(),
            stream: VecDeque::new(),
            closed: VecDeque::new(),
        }
    }
}

impl<S> Ready<S> {
    fn list(&mut self, way: Inbound) -> &mut VecDeque<Arc<S>> {
        match way {
            Inbound::Naia => &mut self.naia,
            Inbound::Lane => &mut self.lane,
            Inbound::Stream => &mut self.stream,
            Inbound::Closed => &mut self.closed,
        }
    }
}

impl<S: Listed> Hub<S> {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Self::sharing(0, limits, Waker::new(), Arc::default())
    }

    /// The hubs of a server, which has one main loop: that of the shards, then one for each of the players'
    /// `endpoints`. Players share the places of inbound datagrams, and take none of the shards'.
    pub(crate) fn of_server(limits: &Limits, endpoints: usize) -> Vec<Arc<Self>> {
        let (waker, of_players) = (Waker::new(), Arc::default());
        let players = |index| Self::sharing(index, limits.clone(), waker.clone(), Arc::clone(&of_players));
        let shards = Self::sharing(0, limits.clone(), waker.clone(), Arc::default());
        std::iter::once(shards).chain((1..=endpoints).map(players)).collect()
    }

    fn sharing(index: usize, limits: Limits, waker: Waker, inbound_datagrams: Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self {
            index,
            limits,
            counters: Arc::default(),
            waker,
            flush_wake: Notify::new(),
            network: OnceLock::new(),
            ready: Mutex::default(),
            unacknowledged: Mutex::default(),
            dirty: Mutex::default(),
            parcels: Mutex::default(),
            inbound_datagrams,
            sessions: AtomicUsize::new(0),
            admitted: AtomicUsize::new(0),
        })
    }

    /// Counts a session of the server's.
    pub(crate) fn add_session(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// A session that was counted is admitted.
    pub(crate) fn admit_session(&self) {
        self.admitted.fetch_add(1, Ordering::Relaxed);
    }

    /// A session that was counted is removed.
    pub(crate) fn remove_session(&self, was_admitted: bool) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
        self.admitted.fetch_sub(was_admitted.into(), Ordering::Relaxed);
    }

    /// The server's sessions here that were admitted and are not removed yet.
    pub(crate) fn admitted(&self) -> usize {
        self.admitted.load(Ordering::Relaxed)
    }

    /// The server's sessions here that are not removed yet.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    // Inbound.

    /// Takes a place for one inbound datagram; false if all are taken.
    pub(crate) fn take_inbound_place(&self) -> bool {
        let limit = self.limits.inbound_datagrams_total;
        self.inbound_datagrams
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then_some(n + 1))
            .is_ok()
    }

    pub(crate) fn free_inbound_places(&self, n: usize) {
        self.inbound_datagrams.fetch_sub(n, Ordering::Relaxed);
    }

    /// Puts a session into the list of those with something to read.
    pub(crate) fn mark_ready(&self, session: Arc<S>, way: Inbound) {
        lock(&self.ready).list(way).push_back(session);
        self.waker.wake();
    }

    /// Passes an auth request to the game. There is one per session, so the limit of sessions also limits this queue.
    pub(crate) fn push_auth(&self, address: SocketAddr, auth: Bytes) {
        lock(&self.ready).auth.push_back((address, auth));
        self.waker.wake();
    }

    pub(crate) fn pop_auth(&self) -> Option<(SocketAddr, Bytes)> {
        lock(&self.ready).auth.pop_front()
    }

    /// The next naia packet, lane payload or stream frame of any session.
    pub(crate) fn pop(&self, way: Inbound) -> Option<(SocketAddr, Bytes)> {
        loop {
            let session = lock(&self.ready).list(way).pop_front()?;
            let (item, more) = session.pop(way);
            let address = session.address();
            if more {
                lock(&self.ready).list(way).push_back(session);
            }
            if let Some(item) = item {
                return Some((address, item));
            }
        }
    }

    /// Whether there is anything but lane payloads and stream frames.
    pub(crate) fn has_input_for_naia(&self) -> bool {
        let ready = lock(&self.ready);
        !(ready.naia.is_empty() && ready.auth.is_empty() && ready.closed.is_empty())
    }

    /// The delivery of a session's packets is to be confirmed to naia.
    pub(crate) fn mark_unacknowledged(&self, session: Arc<S>) {
        lock(&self.unacknowledged).push_back(session);
    }

    /// The next heartbeat that confirms it.
    pub(crate) fn pop_heartbeat(&self) -> Option<(SocketAddr, [u8; HEARTBEAT_BYTES])> {
        loop {
            let session = lock(&self.unacknowledged).pop_front()?;
            let (heartbeat, more) = session.next_heartbeat();
            let address = session.address();
            if more {
                lock(&self.unacknowledged).push_front(session);
            }
            if let Some(heartbeat) = heartbeat {
                return Some((address, heartbeat));
            }
        }
    }

    /// The next session that ended and whose stream was read to its end.
    pub(crate) fn pop_closed(&self) -> Option<Arc<S>> {
        lock(&self.ready).closed.pop_front()
    }

    // Outbound.

    pub(crate) fn mark_dirty(&self, session: Arc<S>) {
        lock(&self.dirty).push(session);
    }

    /// Adds parcels to what the next flush sends, and empties `parcels`. If the network thread takes none, the oldest
    /// are dropped and counted.
    pub(crate) fn push_parcels(&self, parcels: &mut Vec<Parcel<S>>) {
        let mut waiting = lock(&self.parcels);
        waiting.append(parcels);
        let surplus = waiting.len().saturating_sub(MAX_PARCELS);
        let dropped: usize = waiting.drain(..surplus).map(|parcel| parcel.count).sum();
        self.counters.lane_dropped_outbound.add(dropped as u64);
    }

    /// Moves the parcels of the flush into `parcels`, which is empty. Its memory is used for the next ones.
    pub(crate) fn take_parcels(&self, parcels: &mut Vec<Parcel<S>>) {
        std::mem::swap(&mut *lock(&self.parcels), parcels);
    }

    /// Whether any session has something to send.
    fn has_output(&self) -> bool {
        !lock(&self.dirty).is_empty() || !lock(&self.parcels).is_empty()
    }

    /// The sessions with something to send, in the order in which they got it.
    pub(crate) fn take_dirty(&self) -> Vec<Arc<S>> {
        std::mem::take(&mut *lock(&self.dirty))
    }

    /// Wakes the network thread to send what is queued.
    pub(crate) fn wake_network(&self) {
        if self.has_output() {
            self.counters.flushes.one();
            self.nudge_network();
        }
    }

    /// Wakes it without a flush.
    pub(crate) fn nudge_network(&self) {
        match self.network.get() {
            Some(network) => network.wake_by_ref(),
            None => self.flush_wake.notify_one(),
        }
    }

    /// The network thread that serves this hub's sessions. The first one counts.
    pub(crate) fn set_network(&self, network: task::Waker) {
        let _ = self.network.set(network);
    }
}
