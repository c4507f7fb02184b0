//! One session: the queues between the main loop and the network, for either end of a connection, over
//! the real network or the in-memory one. Runs in every process. It has no I/O.
//!
//! The *application side* queues data to send and reads what has arrived; the *network side* (`link`, `memory`) does
//! the opposite. Everything is bounded by [`Limits`](crate::Limits).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::PeerKind;
use crate::acks::{self, Acks, HEARTBEAT_BYTES};
use crate::ending::{EndCause, SessionEnd};
use crate::error::StreamError;
use crate::guard::Guard;
use crate::hub::{self, Inbound, Listed, lock};
use crate::limits::{Limits, MAX_FRAME_BYTES, MAX_LANE_BYTES, MAX_NAIA_PACKET_BYTES, MAX_PLAYER_FRAME_BYTES};
#[cfg(not(target_family = "wasm"))]
use crate::quic::QuicLink;
use crate::rate::Bucket;
use crate::wire::{AuthReply, FrameWay, LANE_PREFIX, NAIA_PREFIX, OutDatagram, OutFrame, cut};

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
    /// Wakes the stream's writer, and the task that waits for the verdict.
    pub(crate) writer_wake: Notify,
    /// Wakes the stream's reader, which waits for room.
    pub(crate) room_wake: Notify,
    /// Bytes of frames that may wait to be sent, and to be read.
    stream_limits: StreamLimits,
    /// The real network's sending half; not set in memory.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) quic: OnceLock<QuicLink>,
    /// The number of the session's link in an in-memory network; not set otherwise.
    pub(crate) memory_link: OnceLock<usize>,
    inner: Mutex<Inner>,
}

struct StreamLimits {
    outbound_bytes: usize,
    inbound_bytes: usize,
}

/// The rates of a player. Other peers have none.
struct PlayerRates {
    naia: Bucket,
    lane: Bucket,
    frames: Bucket,
    excess: Bucket,
}

impl PlayerRates {
    fn new(limits: &Limits) -> Self {
        Self {
            naia: Bucket::new(limits.player_naia_packets),
            lane: Bucket::new(limits.player_lane_datagrams),
            frames: Bucket::new(limits.player_frames),
            excess: Bucket::new(limits.player_excess),
        }
    }

    fn of(&mut self, way: Inbound) -> &mut Bucket {
        match way {
            Inbound::Naia => &mut self.naia,
            Inbound::Lane => &mut self.lane,
            Inbound::Stream | Inbound::Closed => &mut self.frames,
        }
    }
}

/// Whether received data may be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Admission {
    Read,
    /// Over its rate.
    Drop,
    /// Far over its rate.
    Flood,
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

impl Inner {
    fn admission(&mut self, way: Inbound, now_ms: u64) -> Admission {
        let Some(rates) = &mut self.rates else { return Admission::Read };
        if rates.of(way).take(now_ms) {
            Admission::Read
        } else if rates.excess.take(now_ms) {
            Admission::Drop
        } else {
            Admission::Flood
        }
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
            writer_wake: Notify::new(),
            room_wake: Notify::new(),
            stream_limits,
            #[cfg(not(target_family = "wasm"))]
            quic: OnceLock::new(),
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
                ended: false,
                reported: false,
            }),
        })
    }

    // Application side: sending.

    /// Sends a packet of naia's. Entity data in a server's packet must arrive, so it goes on the stream, and its
    /// delivery is confirmed to naia: see [`acks`]. When there is no room, the peer's session is closed.
    pub(crate) fn send_naia(self: &Arc<Self>, packet: &[u8]) {
        let payload = Bytes::copy_from_slice(packet);
        if self.end == End::Client {
            return self.send_datagram(NAIA_PREFIX, payload);
        }
        if lock(&self.inner).acks.on_sent(packet) {
            self.hub.mark_unacknowledged(self.clone());
        }
        if !acks::is_data(packet) {
            return self.send_datagram(NAIA_PREFIX, payload);
        }
        if self.send_frame(OutFrame { way: FrameWay::Naia, payload }) == Err(StreamError::Full) {
            self.close_for_backlog();
        }
    }

    /// Ends a session whose peer does not read.
    fn close_for_backlog(self: &Arc<Self>) {
        let reason = "too much waits to be sent to you: the connection is too slow";
        if self.request_close(EndCause::Backlog, reason) {
            tracing::warn!(session = %self.address, remote = ?self.remote(), "session closed: its peer does not read");
            self.hub.counters.closed_for_backlog.one();
            self.hub.wake_network();
        }
    }

    pub(crate) fn send_lane(self: &Arc<Self>, payload: Bytes) {
        if payload.len() > MAX_LANE_BYTES {
            self.hub.counters.lane_oversize.one();
            return;
        }
        self.send_datagram(LANE_PREFIX, payload);
    }

    fn send_datagram(self: &Arc<Self>, prefix: u8, payload: Bytes) {
        let counters = &self.hub.counters;
        let mut inner = lock(&self.inner);
        if inner.phase != Phase::Open {
            drop(inner);
            counters.sends_to_closed.one();
            return;
        }
        let (queue, dropped) = if prefix == LANE_PREFIX {
            (&mut inner.lane_out, &counters.lane_dropped_outbound)
        } else {
            (&mut inner.naia_out, &counters.naia_dropped_outbound)
        };
        if queue.len() >= self.hub.limits.outbound_datagrams {
            queue.pop_front();
            dropped.one();
        }
        queue.push_back(payload);
        self.mark_dirty(&mut inner);
    }

    /// Sends a frame of the game. If there is no room for a player's frame, the session is closed.
    pub(crate) fn send_stream(self: &Arc<Self>, payload: Bytes) -> Result<(), StreamError> {
        if payload.len() > MAX_FRAME_BYTES {
            return Err(StreamError::TooLarge);
        }
        let sent = self.send_frame(OutFrame { way: FrameWay::Data, payload });
        if sent == Err(StreamError::Full) {
            self.hub.counters.frames_refused_full.one();
            if self.end == End::Server && self.kind == PeerKind::Player {
                self.close_for_backlog();
                return Err(StreamError::Closed);
            }
        }
        sent
    }

    fn send_frame(self: &Arc<Self>, frame: OutFrame) -> Result<(), StreamError> {
        let bytes = frame.payload.len();
        let mut inner = lock(&self.inner);
        if inner.phase != Phase::Open {
            drop(inner);
            self.hub.counters.sends_to_closed.one();
            return Err(StreamError::Closed);
        }
        if inner.stream_out_bytes + bytes > self.stream_limits.outbound_bytes {
            return Err(StreamError::Full);
        }
        inner.stream_out_bytes += bytes;
        inner.stream_out.push_back(frame);
        self.mark_dirty(&mut inner);
        Ok(())
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

    // Network side: sending.

    /// Takes all waiting datagrams, naia's first. Then the session is no longer dirty. True if the stream's writer has
    /// something to do as well.
    pub(crate) fn take_datagrams(&self, out: &mut Vec<OutDatagram>) -> bool {
        let mut inner = lock(&self.inner);
        inner.dirty = false;
        let counters = &self.hub.counters;
        let bytes = |queue: &VecDeque<Bytes>| queue.iter().map(|d| d.len() as u64).sum();
        counters.naia_packets_sent.add(inner.naia_out.len() as u64);
        counters.naia_bytes_sent.add(bytes(&inner.naia_out));
        counters.lane_sent.add(inner.lane_out.len() as u64);
        counters.lane_bytes_sent.add(bytes(&inner.lane_out));
        out.extend(inner.naia_out.drain(..).map(|payload| OutDatagram { prefix: NAIA_PREFIX, payload }));
        out.extend(inner.lane_out.drain(..).map(|payload| OutDatagram { prefix: LANE_PREFIX, payload }));
        !inner.stream_out.is_empty() || inner.close.is_some() || inner.verdict.is_some()
    }

    /// The next step of the stream's writer. A close comes once, after the frames queued before it.
    pub(crate) fn next_out(&self) -> Next {
        let mut inner = lock(&self.inner);
        if let Some(frame) = inner.stream_out.pop_front() {
            let bytes = frame.payload.len();
            inner.stream_out_bytes -= bytes;
            drop(inner);
            let counters = &self.hub.counters;
            match frame.way {
                FrameWay::Data => {
                    counters.frames_sent.one();
                    counters.frame_bytes_sent.add(bytes as u64);
                }
                FrameWay::Naia => {
                    counters.naia_frames_sent.one();
                    counters.naia_bytes_sent.add(bytes as u64);
                }
            }
            return Next::Frame(frame);
        }
        match &inner.close {
            Some(close) if !inner.close_taken => {
                let close = close.clone();
                inner.close_taken = true;
                Next::Close(close)
            }
            _ => Next::Wait,
        }
    }

    pub(crate) fn take_verdict(&self) -> Option<AuthReply> {
        lock(&self.inner).verdict.take()
    }

    /// How this end wants the session to end, if it does.
    pub(crate) fn close_request(&self) -> Option<SessionEnd> {
        lock(&self.inner).close.clone()
    }

    // Network side: receiving.

    pub(crate) fn set_remote(&self, remote: SocketAddr) {
        lock(&self.inner).remote = Some(remote);
    }

    /// A datagram has arrived, with its prefix, at this time of the network.
    pub(crate) fn on_datagram(self: &Arc<Self>, datagram: &[u8], now_ms: u64) {
        let Some((&prefix, payload)) = datagram.split_first() else {
            return self.on_violation("an empty datagram");
        };
        let counters = &self.hub.counters;
        let mut inner = lock(&self.inner);
        if inner.ended || (self.end == End::Server && !matches!(inner.phase, Phase::Open)) {
            return;
        }
        let way = match prefix {
            NAIA_PREFIX => Inbound::Naia,
            LANE_PREFIX => Inbound::Lane,
            _ => {
                drop(inner);
                return self.on_violation("a datagram of an unknown kind");
            }
        };
        match inner.admission(way, now_ms) {
            Admission::Read => {}
            too_much => {
                drop(inner);
                return self.on_excess(too_much);
            }
        }
        let refused = match way {
            Inbound::Naia if payload.len() > MAX_NAIA_PACKET_BYTES => Some("an oversize naia packet"),
            Inbound::Naia if self.end == End::Server => inner.guard.check(payload).err().map(|refused| refused.0),
            Inbound::Lane if payload.len() > MAX_LANE_BYTES => Some("an oversize lane datagram"),
            _ => None,
        };
        if let Some(refused) = refused {
            drop(inner);
            if way == Inbound::Naia {
                counters.naia_packets_refused.one();
            }
            return self.on_violation(refused);
        }
        let waiting = inner.naia_in.items.len() + inner.lane_in.items.len();
        if waiting >= self.hub.limits.inbound_datagrams_per_session || !self.hub.take_inbound_place() {
            drop(inner);
            counters.inbound_dropped.one();
            // The main loop is behind: wake it, it has something to do.
            self.hub.waker.wake();
            return;
        }
        inner.heard = true;
        // Copied, so that a small payload does not keep the large receive buffer that contains it.
        let list = if way == Inbound::Naia {
            counters.naia_packets_received.one();
            counters.naia_bytes_received.add(payload.len() as u64);
            let mut packet = payload.to_vec();
            if self.end == End::Server {
                inner.acks.stamp(&mut packet);
            }
            inner.naia_in.push(packet.into())
        } else {
            counters.lane_received.one();
            counters.lane_bytes_received.add(payload.len() as u64);
            inner.lane_in.push(Bytes::copy_from_slice(payload))
        };
        drop(inner);
        if list {
            self.hub.mark_ready(self.clone(), way);
        }
    }

    /// A player has exceeded its rate.
    fn on_excess(self: &Arc<Self>, admission: Admission) {
        self.hub.counters.over_rate.one();
        if admission == Admission::Flood {
            self.close_for_violation("far more was sent than any honest client sends");
        }
    }

    /// Whether naia's packets of the stream may be queued now. Only at a client's end.
    pub(crate) fn has_naia_room(&self) -> bool {
        lock(&self.inner).naia_in.items.len() < self.hub.limits.inbound_datagrams_per_session
    }

    /// A naia packet has arrived on the stream. The caller has waited for room.
    pub(crate) fn on_naia_frame(self: &Arc<Self>, packet: Bytes) {
        if self.end == End::Server || packet.len() > MAX_NAIA_PACKET_BYTES {
            self.on_violation("a naia packet on the stream");
            self.close_for_violation("a naia packet on the stream, which only the server sends");
            return;
        }
        if !self.hub.take_inbound_place() {
            return self.close_for_violation("no place for a naia packet that must not be lost");
        }
        self.hub.counters.naia_frames_received.one();
        self.hub.counters.naia_bytes_received.add(packet.len() as u64);
        // Copied, so that it does not keep the frame's buffer.
        let list = lock(&self.inner).naia_in.push(Bytes::copy_from_slice(&packet));
        if list {
            self.hub.mark_ready(self.clone(), Inbound::Naia);
        }
    }

    /// Whether a frame of `bytes` may be queued now. One frame always may if none waits.
    pub(crate) fn has_stream_room(&self, bytes: usize) -> bool {
        let inner = lock(&self.inner);
        inner.stream_in_bytes == 0 || inner.stream_in_bytes + bytes <= self.stream_limits.inbound_bytes
    }

    /// A data frame has arrived, at this time of the network. The caller has waited for room.
    pub(crate) fn on_frame(self: &Arc<Self>, payload: Bytes, now_ms: u64) {
        let mut inner = lock(&self.inner);
        if inner.rates.is_some() && payload.len() > MAX_PLAYER_FRAME_BYTES {
            drop(inner);
            self.on_violation("an oversize frame of a player");
            return self.close_for_violation("a frame that is longer than any honest client's");
        }
        match inner.admission(Inbound::Stream, now_ms) {
            Admission::Read => {}
            too_much => {
                drop(inner);
                return self.on_excess(too_much);
            }
        }
        self.hub.counters.frames_received.one();
        self.hub.counters.frame_bytes_received.add(payload.len() as u64);
        inner.heard = true;
        inner.stream_in_bytes += payload.len();
        let list = inner.stream_in.push(payload);
        drop(inner);
        if list {
            self.hub.mark_ready(self.clone(), Inbound::Stream);
        }
    }

    /// A peer has sent what no honest peer sends. Beyond the limit the session is closed.
    pub(crate) fn on_violation(self: &Arc<Self>, what: &str) {
        self.hub.counters.violations.one();
        let violations = {
            let mut inner = lock(&self.inner);
            inner.violations += 1;
            inner.violations
        };
        let limit = self.hub.limits.violations_before_close;
        if violations == 1 {
            tracing::warn!(session = %self.address, remote = ?self.remote(), what, "peer violates the protocol");
        }
        if violations == limit {
            self.close_for_violation("too many packets that no honest peer sends");
        }
    }

    /// Closes a session at once for its peer's violation.
    pub(crate) fn close_for_violation(self: &Arc<Self>, reason: &str) {
        if self.request_close(EndCause::Violation, reason) {
            tracing::warn!(session = %self.address, remote = ?self.remote(), reason, "session closed");
            self.hub.counters.closed_for_violations.one();
            self.hub.wake_network();
        }
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

/// The application side's reading.
impl Listed for Session {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn pop(self: &Arc<Self>, way: Inbound) -> (Option<Bytes>, bool) {
        let mut inner = lock(&self.inner);
        match way {
            Inbound::Naia | Inbound::Lane => {
                let queue = if way == Inbound::Naia { &mut inner.naia_in } else { &mut inner.lane_in };
                let popped = queue.pop();
                drop(inner);
                if popped.0.is_some() {
                    self.hub.free_inbound_places(1);
                    if self.end == End::Client && way == Inbound::Naia {
                        self.room_wake.notify_one();
                    }
                }
                popped
            }
            Inbound::Stream => {
                let popped = inner.stream_in.pop();
                if let Some(frame) = &popped.0 {
                    inner.stream_in_bytes -= frame.len();
                }
                let report = self.take_report(&mut inner);
                drop(inner);
                self.room_wake.notify_one();
                if report {
                    self.hub.mark_ready(self.clone(), Inbound::Closed);
                }
                popped
            }
            Inbound::Closed => (None, false),
        }
    }

    fn next_heartbeat(&self) -> (Option<[u8; HEARTBEAT_BYTES]>, bool) {
        let acks = &mut lock(&self.inner).acks;
        (acks.next_heartbeat(), acks.is_waiting())
    }
}
