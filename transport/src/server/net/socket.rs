//! A listener's UDP socket: packets are read and written in batches, as far as the system can. Runs on the network
//! thread.

use std::io::{self, IoSliceMut};

use bytes::BytesMut;
use mio::net::UdpSocket;
use quinn_proto::EcnCodepoint;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};

/// Messages in one read, at most. Each may be some fifty packets that the system has joined (GRO), so a batch is up to 400
/// packets.
const MESSAGES: usize = if BATCH_SIZE < 8 { BATCH_SIZE } else { 8 };
/// Room for one received message: the longest UDP packet, or the segments that the system has joined (GRO).
const MESSAGE_BYTES: usize = 64 << 10;
/// Packets of one connection in one system call (GSO). As many as quinn sends: more would be a burst that a small
/// buffer on the way loses.
const MAX_SEGMENTS: usize = 10;

pub(super) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    buffer: Vec<u8>,
    metas: [RecvMeta; MESSAGES],
}

/// What a read leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// More packets may wait.
    More,
    /// The event queue reports the next ones.
    Nothing,
    /// The system had an error: more packets may wait, but it may have the same one again.
    Failed,
}

impl Socket {
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self {
            io: UdpSocket::from_std(socket),
            state,
            buffer: vec![0; MESSAGES * MESSAGE_BYTES],
            metas: [RecvMeta::default(); MESSAGES],
        })
    }

    pub(super) fn source(&mut self) -> &mut UdpSocket {
        &mut self.io
    }

    /// Whether a packet may be split on its way, which makes the search for a larger packet size useless.
    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    pub(super) fn max_segments(&self) -> usize {
        self.state.max_gso_segments().min(MAX_SEGMENTS)
    }

    /// Reads one batch and passes each packet to `packet`, with its source, its destination and its mark of
    /// congestion.
    pub(super) fn receive(&mut self, mut packet: impl FnMut(&RecvMeta, Option<EcnCodepoint>, BytesMut)) -> Left {
        let mut messages = self.buffer.chunks_mut(MESSAGE_BYTES).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; MESSAGES] =
            std::array::from_fn(|_| messages.next().expect("the buffer has room for a batch"));
        let count = match self.state.recv((&self.io).into(), &mut slices, &mut self.metas) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Left::Nothing,
            Err(error) => {
                // An error of one packet, like an answer of ICMP: the next one may be readable.
                tracing::debug!(%error, "a packet could not be received");
                return Left::Failed;
            }
        };
        for (meta, message) in self.metas[..count].iter().zip(self.buffer.chunks(MESSAGE_BYTES)) {
            let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
            for bytes in message[..meta.len].chunks(meta.stride.max(1)) {
                packet(meta, ecn, BytesMut::from(bytes));
            }
        }
        // A batch that is not full has emptied the queue; the event queue reports what arrives later.
        if count == MESSAGES { Left::More } else { Left::Nothing }
    }

    /// Sends packets of one connection. False if the system takes none now. Other errors count as sent: QUIC sends
    /// again what is lost.
    pub(super) fn send(&self, transmit: &quinn_proto::Transmit, contents: &[u8]) -> bool {
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &contents[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        match self.state.send((&self.io).into(), &transmit) {
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            Ok(()) => true,
        }
    }
}
