//! Passes one session's datagrams to its QUIC connection. Runs on the network thread of every process but the browser.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use wtransport::{Connection, quinn};

use crate::server::batch::SHARED_PREFIX;
use crate::session::wire::OutDatagram;
use crate::stats::TrafficCounters;

/// Where a session's datagrams are sent.
pub(crate) struct QuicLink {
    connection: quinn::Connection,
    /// The WebTransport session's id, which precedes every datagram.
    session_header: Bytes,
}

impl QuicLink {
    pub(crate) fn new(connection: &Connection) -> Self {
        let mut header = BytesMut::new();
        // HTTP/3 datagrams start with the id of the session's stream divided by four (RFC 9297).
        put_varint(&mut header, connection.session_id().into_u64() / 4);
        Self { connection: connection.quic_connection().clone(), session_header: header.freeze() }
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    pub(crate) fn round_trip(&self) -> Duration {
        self.connection.rtt()
    }

    /// Sends datagrams that many sessions share. Returns their payloads' bytes.
    pub(crate) fn send_shared(&self, datagrams: &[Bytes], counters: &TrafficCounters) -> u64 {
        let is_first_session = self.session_header[..] == SHARED_PREFIX[..1];
        let mut room = self.connection.datagram_send_buffer_space();
        let mut payload_bytes = 0;
        for shared in datagrams {
            payload_bytes += (shared.len() - SHARED_PREFIX.len()) as u64;
            let datagram = if is_first_session {
                shared.clone()
            } else {
                let mut own = BytesMut::with_capacity(self.session_header.len() + shared.len());
                own.put_slice(&self.session_header);
                own.put_slice(&shared[1..]);
                own.freeze()
            };
            self.pass(datagram, &mut room, counters);
        }
        payload_bytes
    }

    pub(crate) fn send(&self, datagrams: &mut Vec<OutDatagram>, counters: &TrafficCounters) {
        let mut room = self.connection.datagram_send_buffer_space();
        for OutDatagram { prefix, payload } in datagrams.drain(..) {
            let bytes = self.session_header.len() + 1 + payload.len();
            let mut datagram = BytesMut::with_capacity(bytes);
            datagram.put_slice(&self.session_header);
            datagram.put_u8(prefix);
            datagram.put_slice(&payload);
            self.pass(datagram.freeze(), &mut room, counters);
        }
    }

    /// Passes a datagram to QUIC, which still has `room` bytes for datagrams.
    fn pass(&self, datagram: Bytes, room: &mut usize, counters: &TrafficCounters) {
        let bytes = datagram.len();
        match self.connection.send_datagram(datagram) {
            Ok(()) if *room < bytes => counters.datagrams_dropped_by_network.one(),
            Ok(()) => *room -= bytes,
            Err(quinn::SendDatagramError::TooLarge) => counters.datagrams_too_large.one(),
            // The connection has ended, which its task reports.
            Err(_) => counters.sends_to_closed.one(),
        }
    }
}

fn put_varint(out: &mut BytesMut, value: u64) {
    match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(value as u16 | 0x4000),
        0x4000..0x4000_0000 => out.put_u32(value as u32 | 0x8000_0000),
        _ => out.put_u64(value | 0xc000_0000_0000_0000),
    }
}
