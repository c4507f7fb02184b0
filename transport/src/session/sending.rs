//! A session's sending: the application side queues, the network side takes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::{End, Next, Phase, Session};
use crate::PeerKind;
use crate::error::StreamError;
use crate::limits::{MAX_FRAME_BYTES, MAX_LANE_BYTES};
use crate::naia::acks;
use crate::session::ending::{EndCause, SessionEnd};
use crate::session::hub::lock;
use crate::session::wire::{AuthReply, FrameWay, LANE_PREFIX, NAIA_PREFIX, OutDatagram, OutFrame};

impl Session {
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

    // Network side.

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
}
