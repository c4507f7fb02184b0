//! Passes one session's datagrams to its QUIC connection. Runs on the network thread of a native client.

use std::net::SocketAddr;

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
        let session_header = session_header(connection.session_id().into_u64());
        Self { connection: connection.quic_connection().clone(), session_header }
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
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

/// What precedes every datagram of a session: the id of its stream divided by four (RFC 9297).
pub(crate) fn session_header(session_id: u64) -> Bytes {
    let mut header = BytesMut::new();
    put_varint(&mut header, session_id / 4);
    header.freeze()
}

fn put_varint(out: &mut BytesMut, value: u64) {
    match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(value as u16 | 0x4000),
        0x4000..0x4000_0000 => out.put_u32(value as u32 | 0x8000_0000),
        _ => out.put_u64(value | 0xc000_0000_0000_0000),
    }
}
