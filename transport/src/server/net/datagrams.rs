//! A connection's datagrams: between the session's queues and QUIC, without a queue of their own.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use quinn_proto::{Connection, SendDatagramError};
use sidereal_process::crash::fault_point;

use super::h3;
use crate::network::quic::session_header;
use crate::server::batch::SHARED_PREFIX;
use crate::session::Session;
use crate::session::wire::OutDatagram;
use crate::stats::TrafficCounters;

/// The datagrams of an accepted WebTransport session.
pub(super) struct Datagrams {
    session_id: u64,
    /// What precedes every datagram.
    header: Bytes,
}

impl Datagrams {
    pub(super) fn new(session_id: u64) -> Self {
        Self { session_id, header: session_header(session_id) }
    }

    /// Passes what has arrived to the session. False if it was no datagram of HTTP/3.
    pub(super) fn receive(&self, quic: &mut Connection, session: &Arc<Session>, now_ms: u64) -> bool {
        while let Some(datagram) = quic.datagrams().recv() {
            fault_point("session-part");
            if let Some(payload) = datagram.strip_prefix(&self.header[..]) {
                session.on_datagram(payload, now_ms);
                continue;
            }
            match h3::split_datagram(&datagram) {
                // The same id, written longer than it has to be.
                Some((id, payload)) if id.checked_mul(4) == Some(self.session_id) => {
                    session.on_datagram(payload, now_ms);
                }
                // Of another session, which is none of ours.
                Some(_) => {}
                None => return false,
            }
        }
        true
    }

    pub(super) fn send(&self, quic: &mut Connection, datagrams: &mut Vec<OutDatagram>, counters: &TrafficCounters) {
        let mut room = quic.datagrams().send_buffer_space();
        for OutDatagram { prefix, payload } in datagrams.drain(..) {
            let mut datagram = BytesMut::with_capacity(self.header.len() + 1 + payload.len());
            datagram.put_slice(&self.header);
            datagram.put_u8(prefix);
            datagram.put_slice(&payload);
            pass(quic, datagram.freeze(), &mut room, counters);
        }
    }

    /// Sends datagrams that many sessions share. Returns their payloads' bytes.
    pub(super) fn send_shared(&self, quic: &mut Connection, datagrams: &[Bytes], counters: &TrafficCounters) -> u64 {
        let is_first_session = self.header[..] == SHARED_PREFIX[..1];
        let mut room = quic.datagrams().send_buffer_space();
        let mut payload_bytes = 0;
        for shared in datagrams {
            payload_bytes += (shared.len() - SHARED_PREFIX.len()) as u64;
            let datagram = if is_first_session {
                shared.clone()
            } else {
                let mut own = BytesMut::with_capacity(self.header.len() + shared.len());
                own.put_slice(&self.header);
                own.put_slice(&shared[1..]);
                own.freeze()
            };
            pass(quic, datagram, &mut room, counters);
        }
        payload_bytes
    }
}

/// Passes a datagram to QUIC, which still has `room` bytes for datagrams.
fn pass(quic: &mut Connection, datagram: Bytes, room: &mut usize, counters: &TrafficCounters) {
    let bytes = datagram.len();
    match quic.datagrams().send(datagram, true) {
        Ok(()) if *room < bytes => counters.datagrams_dropped_by_network.one(),
        Ok(()) => *room -= bytes,
        Err(SendDatagramError::TooLarge) => counters.datagrams_too_large.one(),
        Err(_) => counters.sends_to_closed.one(),
    }
}
