//! Passes one session's datagrams to its QUIC connection. Runs on the network thread of every process but the browser.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use wtransport::{Connection, quinn};

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

    pub(crate) fn send(&self, datagrams: &mut Vec<OutDatagram>, counters: &TrafficCounters) {
        let mut room = self.connection.datagram_send_buffer_space();
        for OutDatagram { prefix, payload } in datagrams.drain(..) {
            let bytes = self.session_header.len() + 1 + payload.len();
            let mut datagram = BytesMut::with_capacity(bytes);
            datagram.put_slice(&self.session_header);
            datagram.put_u8(prefix);
            datagram.put_slice(&payload);
            match self.connection.send_datagram(datagram.freeze()) {
                Ok(()) if room < bytes => counters.datagrams_dropped_by_network.one(),
                Ok(()) => room -= bytes,
                Err(quinn::SendDatagramError::TooLarge) => counters.datagrams_too_large.one(),
                // The connection has ended, which its task reports.
                Err(_) => counters.sends_to_closed.one(),
            }
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
