//! One session: the queues between the main loop and the network, for either end of a connection, over
//! the real network or the in-memory one. Runs in every process. It has no I/O.
//!
//! The *application side* queues data to send and reads what has arrived; the *network side* (the server's `net`, the
//! client's `link`, `memory`) does the opposite. Everything is bounded by [`Limits`](crate::Limits).

pub(crate) mod ending;
pub(crate) mod hub;
mod rates;
mod receiving;
mod sending;
pub(crate) mod waker;
pub(crate) mod wire;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use tokio::sync::Notify;

use self::rates::PlayerRates;
use crate::PeerKind;
use crate::naia::acks::Acks;
use crate::naia::guard::Guard;
#[cfg(not(target_family = "wasm"))]
use crate::network::{path::PeerPath, quic::QuicLink};
use crate::session::ending::{EndCause, SessionEnd};
use crate::session::hub::{Inbound, lock};
use crate::session::wire::{AuthReply, OutFrame, cut};

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Server,
    Client,
}

/// The progress of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Connecting, or waiting for the verdict on the auth request.
    Pending,
    Open,
    /// Closed by this end; queued data may still be on the way.
    Closing,
    /// Refused before it was open, with the reason.
    Rejected(String),
    /// Ended.
    Closed(SessionEnd),
}

/// The next step of the network side's stream writer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Frame(OutFrame),
    Close(SessionEnd),
    Wait,
}

/// The hub of sessions.
pub(crate) type Hub = hub::Hub<Session>;

pub(crate) struct Session {
    /// The address by which naia and the game identify it: artificial, and the same as long as the session lives.
    pub(crate) address: SocketAddr,
    pub(crate) kind: PeerKind,
    pub(crate) end: End,
    pub(crate) hub: Arc<Hub>,
    /// The game has admitted it, at a server's end.
    pub(crate) was_admitted: AtomicBool,
    /// Wakes the stream's writer, and the task that waits for the verdict.
    pub(crate) writer_wake: Notify,
    /// Wakes the stream's reader, which waits for room.
    pub(crate) room_wake: Notify,
    /// Bytes of frames that may wait to be sent, and to be read.
    stream_limits: StreamLimits,
    /// A client's sending half; set over the real network.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) quic: OnceLock<QuicLink>,
    /// The connection at a server's end; set over the real network.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) path: OnceLock<Arc<PeerPath>>,
    /// The number of the session's link in an in-memory network; not set otherwise.
    pub(crate) memory_link: OnceLock<usize>,
    inner: Mutex<Inner>,
}

struct StreamLimits {
    outbound_bytes: usize,
    inbound_bytes: usize,
}

struct Inner {
    remote: Option<SocketAddr>,
    phase: Phase,
    reject_reason: Option<String>,
    verdict: Option<AuthReply>,
    identity: Option<String>,
    close: Option<SessionEnd>,
    close_taken: bool,

    dirty: bool,
    naia_out: VecDeque<Bytes>,
    lane_out: VecDeque<Bytes>,
    stream_out: VecDeque<OutFrame>,
    stream_out_bytes: usize,

    guard: Guard,
    acks: Acks,
    rates: Option<PlayerRates>,
    /// Something was read since the last call of `take_heard`.
    heard: bool,
    violations: u32,
    naia_in: InQueue,
    lane_in: InQueue,
    stream_in: InQueue,
    stream_in_bytes: usize,
    /// The network's loop waits for room in the stream's queue.
    room_awaited: bool,
    /// The session has ended, which is reported once its stream is read.
    ended: bool,
    reported: bool,
}

#[derive(Default)]
struct InQueue {
    items: VecDeque<Bytes>,
    /// The session is in the hub's list, or is being removed from it.
    listed: bool,
}

impl InQueue {
    /// Adds an item; true if the session has to be put into the hub's list.
    fn push(&mut self, item: Bytes) -> bool {
        self.items.push_back(item);
        !std::mem::replace(&mut self.listed, true)
    }

    fn pop(&mut self) -> (Option<Bytes>, bool) {
        let item = self.items.pop_front();
        self.listed = !self.items.is_empty();
        (item, self.listed)
    }
}

impl Session {
    pub(crate) fn new(hub: Arc<Hub>, end: End, kind: PeerKind, address: SocketAddr) -> Arc<Self> {
        let limits = &hub.limits;
        let is_player = end == End::Server && kind == PeerKind::Player;
        let stream_limits = if is_player {
            StreamLimits {
                outbound_bytes: limits.outbound_player_stream_bytes,
                inbound_bytes: limits.inbound_player_stream_bytes,
            }
        } else {
            StreamLimits { outbound_bytes: limits.outbound_stream_bytes, inbound_bytes: limits.inbound_stream_bytes }
        };
        let rates = is_player.then(|| PlayerRates::new(limits));
        Arc::new(Self {
            address,
            kind,
            end,
            hub,
            was_admitted: AtomicBool::new(false),
            writer_wake: Notify::new(),
            room_wake: Notify::new(),
            stream_limits,
            #[cfg(not(target_family = "wasm"))]
            quic: OnceLock::new(),
            #[cfg(not(target_family = "wasm"))]
            path: OnceLock::new(),
            memory_link: OnceLock::new(),
            inner: Mutex::new(Inner {
                remote: None,
                phase: Phase::Pending,
                reject_reason: None,
                verdict: None,
                identity: None,
                close: None,
                close_taken: false,
                dirty: false,
                naia_out: VecDeque::new(),
                lane_out: VecDeque::new(),
                stream_out: VecDeque::new(),
                stream_out_bytes: 0,
                guard: Guard::default(),
                acks: Acks::default(),
                rates,
                heard: false,
                violations: 0,
                naia_in: InQueue::default(),
                lane_in: InQueue::default(),
                stream_in: InQueue::default(),
                stream_in_bytes: 0,
                room_awaited: false,
                ended: false,
                reported: false,
            }),
        })
    }

    /// Puts the session into the hub's list of those with something to send.
    fn mark_dirty(self: &Arc<Self>, inner: &mut Inner) {
        if !std::mem::replace(&mut inner.dirty, true) {
            // The one place where a list's lock is taken under a session's. A list's lock is never held while a
            // session's is taken.
            self.hub.mark_dirty(self.clone());
        }
    }

    /// Ends the session. The first call counts; true if it was this one.
    pub(crate) fn request_close(self: &Arc<Self>, cause: EndCause, reason: &str) -> bool {
        let mut inner = lock(&self.inner);
        match inner.phase {
            Phase::Pending | Phase::Open => {}
            Phase::Closing | Phase::Rejected(_) | Phase::Closed(_) => return false,
        }
        inner.phase = Phase::Closing;
        inner.close = Some(SessionEnd::new(cause, cut(reason)));
        if cause.is_immediate() {
            inner.stream_out.clear();
            inner.stream_out_bytes = 0;
        }
        self.mark_dirty(&mut inner);
        drop(inner);
        self.room_wake.notify_one();
        true
    }

    // Application side: the verdict on an auth request.

    pub(crate) fn set_reject_reason(&self, reason: &str) {
        lock(&self.inner).reject_reason = Some(cut(reason).to_owned());
    }

    pub(crate) fn accept(self: &Arc<Self>, token: &str) -> bool {
        let mut inner = lock(&self.inner);
        if inner.phase != Phase::Pending {
            return false;
        }
        inner.phase = Phase::Open;
        inner.verdict = Some(AuthReply::Accept(token.to_owned()));
        self.mark_dirty(&mut inner);
        true
    }

    pub(crate) fn reject(self: &Arc<Self>) -> bool {
        let mut inner = lock(&self.inner);
        if inner.phase != Phase::Pending {
            return false;
        }
        let reason = inner.reject_reason.take().unwrap_or_else(|| "the server refused the credentials".to_owned());
        inner.phase = Phase::Rejected(reason.clone());
        inner.verdict = Some(AuthReply::Reject(reason));
        self.mark_dirty(&mut inner);
        true
    }

    pub(crate) fn phase(&self) -> Phase {
        lock(&self.inner).phase.clone()
    }

    /// Whether naia's handshake has begun: the peer has sent naia its identity.
    pub(crate) fn has_identified(&self) -> bool {
        lock(&self.inner).guard.has_identified()
    }

    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        #[cfg(not(target_family = "wasm"))]
        if let Some(path) = self.path.get() {
            return Some(path.remote_address());
        }
        #[cfg(not(target_family = "wasm"))]
        if let Some(quic) = self.quic.get() {
            return Some(quic.remote_address());
        }
        lock(&self.inner).remote
    }

    /// naia's identity token, once; `None` while there is none.
    pub(crate) fn take_identity(&self) -> Option<String> {
        lock(&self.inner).identity.take()
    }

    /// Drops unread data that will not be read any more.
    pub(crate) fn discard_inbound(&self) {
        let mut inner = lock(&self.inner);
        let dropped = inner.naia_in.items.len() + inner.lane_in.items.len();
        inner.naia_in.items.clear();
        inner.lane_in.items.clear();
        drop(inner);
        self.hub.free_inbound_places(dropped);
    }

    // Network side: the session's progress.

    /// The server has accepted (at the client's end).
    pub(crate) fn on_accepted(&self, token: String) {
        let mut inner = lock(&self.inner);
        if inner.phase == Phase::Pending {
            inner.phase = Phase::Open;
            inner.identity = Some(token);
        }
        drop(inner);
        self.hub.waker.wake();
    }

    /// The session was refused, or could not be opened.
    pub(crate) fn on_rejected(self: &Arc<Self>, reason: &str) {
        self.end_with(|| Phase::Rejected(cut(reason).to_owned()));
    }

    /// The session has ended. This end's own close takes precedence.
    pub(crate) fn on_closed(self: &Arc<Self>, cause: EndCause, reason: &str) {
        self.end_with(|| Phase::Closed(SessionEnd::new(cause, cut(reason))));
    }

    fn end_with(self: &Arc<Self>, phase: impl FnOnce() -> Phase) {
        let mut inner = lock(&self.inner);
        if inner.ended {
            return;
        }
        inner.ended = true;
        inner.phase = match (&inner.phase, &inner.close) {
            (Phase::Rejected(reason), _) => Phase::Rejected(reason.clone()),
            (_, Some(close)) => Phase::Closed(close.clone()),
            _ => phase(),
        };
        inner.naia_out.clear();
        inner.lane_out.clear();
        inner.stream_out.clear();
        inner.stream_out_bytes = 0;
        let report = self.take_report(&mut inner);
        drop(inner);
        self.writer_wake.notify_one();
        if report {
            self.hub.mark_ready(self.clone(), Inbound::Closed);
        }
        self.hub.waker.wake();
    }

    /// Whether the session's end is to be reported now: once, after its stream was read.
    fn take_report(&self, inner: &mut Inner) -> bool {
        inner.ended && inner.stream_in.items.is_empty() && !std::mem::replace(&mut inner.reported, true)
    }

    /// Whether anything was read since the last call.
    pub(crate) fn take_heard(&self) -> bool {
        std::mem::take(&mut lock(&self.inner).heard)
    }
}
