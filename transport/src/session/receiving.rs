//! A session's receiving: the network side checks and queues, the application side reads.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::rates::Admission;
use super::{End, Inner, Phase, Session};
use crate::limits::{MAX_LANE_BYTES, MAX_NAIA_PACKET_BYTES, MAX_PLAYER_FRAME_BYTES};
use crate::naia::acks::HEARTBEAT_BYTES;
use crate::session::ending::EndCause;
use crate::session::hub::{Inbound, Listed, lock};
use crate::session::wire::{LANE_PREFIX, NAIA_PREFIX};

impl Session {
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
        self.has_room(&lock(&self.inner), bytes)
    }

    fn has_room(&self, inner: &Inner, bytes: usize) -> bool {
        inner.stream_in_bytes == 0 || inner.stream_in_bytes + bytes <= self.stream_limits.inbound_bytes
    }

    /// The same; if there is no room, the session is marked dirty once something was read.
    pub(crate) fn await_stream_room(&self, bytes: usize) -> bool {
        let mut inner = lock(&self.inner);
        let has_room = self.has_room(&inner, bytes);
        inner.room_awaited = !has_room;
        has_room
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
                let is_awaited = std::mem::take(&mut inner.room_awaited);
                if is_awaited {
                    self.mark_dirty(&mut inner);
                }
                drop(inner);
                self.room_wake.notify_one();
                if is_awaited {
                    self.hub.nudge_network();
                }
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
