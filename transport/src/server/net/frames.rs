//! The session's stream over QUIC: length-prefixed bodies in, bytes out, as far as flow control allows.

use bytes::{Buf, Bytes, BytesMut};
use quinn_proto::{Connection, StreamId, WriteError};

use crate::network::link::ReadError;
use crate::session::wire::{Frame, Malformed};

/// Memory that a body gets before its data have arrived, bytes: a length alone allocates no more.
const FIRST_BYTES: usize = 16 << 10;

/// How far a write came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Everything was passed to QUIC.
    All,
    /// The rest waits for room.
    Blocked,
    /// The peer has stopped the stream.
    Stopped,
}

/// The stream on which the peer was admitted.
pub(super) struct FrameStream {
    pub(super) id: StreamId,
    /// The present body with its length.
    input: BytesMut,
    /// A frame for which the session has no room yet.
    pub(super) held: Option<Frame>,
    /// Nothing more is read: it has ended, or the peer has broken the protocol.
    pub(super) is_read: bool,
    output: Bytes,
}

impl FrameStream {
    /// A stream of which `input` was read already.
    pub(super) fn new(id: StreamId, input: BytesMut) -> Self {
        Self { id, input, held: None, is_read: false, output: Bytes::new() }
    }

    /// The next body of at most `max` bytes; `None` if more has to arrive first.
    pub(super) fn next_body(&mut self, quic: &mut Connection, max: usize) -> Result<Option<Bytes>, ReadError> {
        let mut stream = quic.recv_stream(self.id);
        loop {
            let wanted = match self.input.first_chunk::<4>() {
                None => 4,
                Some(&length) => {
                    let length = u32::from_le_bytes(length) as usize;
                    if length == 0 || length > max {
                        return Err(ReadError::Malformed(Malformed("length of a stream frame")));
                    }
                    if self.input.len() >= 4 + length {
                        self.input.advance(4);
                        return Ok(Some(self.input.split_to(length).freeze()));
                    }
                    4 + length
                }
            };
            let missing = wanted - self.input.len();
            self.input.reserve(missing.min(FIRST_BYTES));
            let Ok(mut chunks) = stream.read(true) else { return Err(ReadError::Ended) };
            let before = self.input.len();
            while self.input.len() < wanted {
                match chunks.next(wanted - self.input.len()) {
                    Ok(Some(chunk)) => self.input.extend_from_slice(&chunk.bytes),
                    Ok(None) | Err(quinn_proto::ReadError::Reset(_)) => return Err(ReadError::Ended),
                    Err(quinn_proto::ReadError::Blocked) => break,
                }
            }
            if self.input.len() == before || self.input.len() < wanted {
                return Ok(None);
            }
        }
    }

    /// Whether data have arrived that nobody has read. They are taken.
    pub(super) fn take_any(&mut self, quic: &mut Connection) -> bool {
        if !self.input.is_empty() {
            return true;
        }
        let mut stream = quic.recv_stream(self.id);
        let Ok(mut chunks) = stream.read(true) else { return false };
        matches!(chunks.next(1), Ok(Some(_)))
    }

    /// Queues bytes behind what waits. The caller sees to it that little waits.
    pub(super) fn queue(&mut self, bytes: Bytes) {
        self.output = if self.output.is_empty() { bytes } else { [&self.output[..], &bytes[..]].concat().into() };
    }

    /// Passes what waits to QUIC.
    pub(super) fn write(&mut self, quic: &mut Connection) -> Written {
        while !self.output.is_empty() {
            match quic.send_stream(self.id).write_chunks(std::slice::from_mut(&mut self.output)) {
                Ok(_) => {}
                Err(WriteError::Blocked) => return Written::Blocked,
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return Written::Stopped,
            }
        }
        Written::All
    }
}
