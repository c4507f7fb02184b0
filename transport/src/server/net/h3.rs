//! HTTP/3 and WebTransport as far as a server needs them, without I/O: what arrives on each of a connection's streams,
//! and the few bytes that a server sends.
//!
//! Frames and headers are read and written by wtransport's protocol crate, as at the client's end. QPACK's dynamic
//! table is not used, so its two streams carry nothing that matters.

use bytes::{Buf, BytesMut};
use quinn_proto::{StreamId, VarInt};
use wtransport::proto::bytes::{BufferReader, BytesReader};
use wtransport::proto::capsule::capsules::CloseWebTransportSession;
use wtransport::proto::capsule::{Capsule, CapsuleKind};
use wtransport::proto::error::ErrorCode;
use wtransport::proto::frame::{Frame, FrameKind, ParseError};
use wtransport::proto::headers::Headers;
use wtransport::proto::session::{HeadersParseError, SessionRequest, SessionResponse};
use wtransport::proto::settings::Settings;
use wtransport::proto::stream_header::{self, StreamHeader, StreamKind};

/// The longest payload of a frame that is read, bytes: as wtransport has it. A request is far shorter.
const MAX_PAYLOAD_BYTES: usize = 4096;
/// What may wait of a stream, bytes: a whole frame with its kind and its length.
pub(super) const MAX_BUFFER_BYTES: usize = MAX_PAYLOAD_BYTES + 16;

/// The role of a stream that the peer has opened.
#[derive(Debug)]
pub(super) enum Role {
    /// It goes one way and has not named its kind yet.
    Uni,
    /// HTTP/3's control stream.
    Control { has_settings: bool },
    /// QPACK's streams: read and ignored.
    Ignored,
    /// It goes both ways and has not sent a whole frame yet.
    First,
    /// The stream of the accepted request: its end is the session's end.
    Connect,
    /// A stream of the WebTransport session with this id. Its data are not read here.
    Held(u64),
}

/// A stream that the peer has opened, with what was read of it and not yet understood.
pub(super) struct Inlet {
    pub(super) id: StreamId,
    pub(super) role: Role,
    pub(super) buffer: BytesMut,
}

/// What a stream brought.
pub(super) enum Arrived {
    /// The stream is of this kind.
    Kind(StreamKind),
    /// The peer's settings.
    Settings,
    /// A request for a session.
    Request(SessionRequest),
    /// The stream belongs to a session.
    Stream,
    /// The peer has closed the session.
    Closed {
        /// Its reason, one line or nothing.
        reason: String,
    },
    /// Nobody needs this stream: it is to be stopped with this code.
    Unwanted(ErrorCode),
}

impl Inlet {
    pub(super) fn new(id: StreamId) -> Self {
        let role = if id.dir() == quinn_proto::Dir::Uni { Role::Uni } else { Role::First };
        Self { id, role, buffer: BytesMut::new() }
    }

    /// Whether the connection cannot go on without this stream.
    pub(super) fn is_critical(&self) -> bool {
        matches!(self.role, Role::Control { .. } | Role::Ignored | Role::Connect)
    }

    /// Reads the buffer. `None` if more has to arrive first.
    ///
    /// # Errors
    /// The code with which the connection is to be closed.
    pub(super) fn next(&mut self) -> Result<Option<Arrived>, ErrorCode> {
        loop {
            match &mut self.role {
                Role::Uni => return self.read_kind(),
                Role::Control { has_settings } => {
                    let had_settings = std::mem::replace(has_settings, true);
                    let read = take_frame(&mut self.buffer, |frame| match frame.kind() {
                        FrameKind::Settings if !had_settings => Settings::with_frame(frame).map(|_| true),
                        FrameKind::Exercise(_) if had_settings => Ok(false),
                        _ if had_settings => Err(ErrorCode::FrameUnexpected),
                        _ => Err(ErrorCode::MissingSettings),
                    })?;
                    match read {
                        Some(true) => return Ok(Some(Arrived::Settings)),
                        Some(false) => {}
                        None => {
                            self.role = Role::Control { has_settings: had_settings };
                            return Ok(None);
                        }
                    }
                }
                Role::Ignored => {
                    self.buffer.clear();
                    return Ok(None);
                }
                Role::First => match take_frame(&mut self.buffer, first_frame)? {
                    Some(First::Nothing) => {}
                    Some(First::Session(id)) => {
                        self.role = Role::Held(id);
                        return Ok(Some(Arrived::Stream));
                    }
                    Some(First::Request(request)) => return Ok(Some(Arrived::Request(request))),
                    Some(First::Unwanted(code)) => return Ok(Some(Arrived::Unwanted(code))),
                    None => return Ok(None),
                },
                Role::Connect => match take_frame(&mut self.buffer, closing)? {
                    Some(Some(reason)) => return Ok(Some(Arrived::Closed { reason })),
                    Some(None) => {}
                    None => return Ok(None),
                },
                Role::Held(_) => return Ok(None),
            }
        }
    }

    fn read_kind(&mut self) -> Result<Option<Arrived>, ErrorCode> {
        let mut reader = BufferReader::new(&self.buffer);
        let kind = match StreamHeader::read_from_buffer(&mut reader) {
            Ok(Some(header)) => header.kind(),
            Ok(None) => return Ok(None),
            Err(stream_header::ParseError::UnknownStream) => {
                return Ok(Some(Arrived::Unwanted(ErrorCode::StreamCreation)));
            }
            Err(stream_header::ParseError::InvalidSessionId) => return Err(ErrorCode::Id),
        };
        let read = reader.offset();
        self.buffer.advance(read);
        match kind {
            StreamKind::Control => self.role = Role::Control { has_settings: false },
            StreamKind::QPackEncoder | StreamKind::QPackDecoder => self.role = Role::Ignored,
            StreamKind::WebTransport => return Ok(Some(Arrived::Unwanted(ErrorCode::BufferedStreamRejected))),
            StreamKind::Exercise(_) => return Ok(Some(Arrived::Unwanted(ErrorCode::StreamCreation))),
        }
        Ok(Some(Arrived::Kind(kind)))
    }
}

/// The first frame of a stream.
enum First {
    Nothing,
    Session(u64),
    Request(SessionRequest),
    Unwanted(ErrorCode),
}

fn first_frame(frame: &Frame<'_>) -> Result<First, ErrorCode> {
    Ok(match frame.kind() {
        FrameKind::WebTransport => match frame.session_id() {
            Some(id) => First::Session(id.into_u64()),
            None => return Err(ErrorCode::Id),
        },
        FrameKind::Headers => match SessionRequest::try_from(Headers::with_frame(frame)?) {
            Ok(request) => First::Request(request),
            Err(HeadersParseError::MethodNotConnect) => First::Unwanted(ErrorCode::RequestRejected),
            Err(_) => First::Unwanted(ErrorCode::Message),
        },
        FrameKind::Exercise(_) => First::Nothing,
        FrameKind::Data | FrameKind::Settings => return Err(ErrorCode::FrameUnexpected),
    })
}

/// The reason in a frame that closes the session; `None` for other frames.
fn closing(frame: &Frame<'_>) -> Result<Option<String>, ErrorCode> {
    match frame.kind() {
        FrameKind::Data => {}
        FrameKind::Headers | FrameKind::Exercise(_) => return Ok(None),
        FrameKind::Settings | FrameKind::WebTransport => return Err(ErrorCode::FrameUnexpected),
    }
    match Capsule::with_frame(frame) {
        Some(capsule) if matches!(capsule.kind(), CapsuleKind::CloseWebTransportSession) => {
            Ok(Some(CloseWebTransportSession::with_capsule(&capsule)?.reason().to_owned()))
        }
        _ => Ok(None),
    }
}

/// Takes the next frame out of a buffer, and reads it. Frames of unknown kinds are skipped. `None` if no frame is whole.
fn take_frame<T>(
    buffer: &mut BytesMut,
    read: impl FnOnce(&Frame<'_>) -> Result<T, ErrorCode>,
) -> Result<Option<T>, ErrorCode> {
    loop {
        let mut reader = BufferReader::new(buffer);
        let skipped = match Frame::read_from_buffer(&mut reader) {
            Ok(Some(frame)) => {
                let result = read(&frame);
                let bytes = reader.offset();
                buffer.advance(bytes);
                return result.map(Some);
            }
            Ok(None) => return Ok(None),
            Err(ParseError::InvalidSessionId) => return Err(ErrorCode::Id),
            Err(ParseError::PayloadTooBig) => return Err(ErrorCode::ExcessiveLoad),
            Err(ParseError::UnknownFrame) => unknown_frame_bytes(buffer)?,
        };
        match skipped {
            Some(bytes) => buffer.advance(bytes),
            None => return Ok(None),
        }
    }
}

/// The length of the whole frame at the beginning of a buffer, of whatever kind; `None` if it is not whole.
fn unknown_frame_bytes(buffer: &[u8]) -> Result<Option<usize>, ErrorCode> {
    let mut reader = BufferReader::new(buffer);
    let (Some(_kind), Some(length)) = (reader.get_varint(), reader.get_varint()) else { return Ok(None) };
    let length = usize::try_from(length.into_inner()).unwrap_or(usize::MAX);
    if length > MAX_PAYLOAD_BYTES {
        return Err(ErrorCode::ExcessiveLoad);
    }
    Ok(reader.get_bytes(length).map(|_| reader.offset()))
}

/// A code of HTTP/3 as QUIC sends it.
pub(super) fn code(code: ErrorCode) -> VarInt {
    VarInt::from_u64(code.to_code().into_inner()).unwrap_or(VarInt::MAX)
}

/// All that a server sends on its control stream.
pub(super) fn control_stream() -> Vec<u8> {
    let number = wtransport::VarInt::from_u32;
    let settings = Settings::builder()
        .qpack_max_table_capacity(number(0))
        .qpack_blocked_streams(number(0))
        .enable_connect_protocol()
        .enable_webtransport()
        .enable_h3_datagrams()
        .webtransport_max_sessions(number(1))
        .build();
    let mut bytes = Vec::new();
    StreamHeader::new_control().write(&mut bytes).expect("a vector grows");
    settings.generate_frame().write(&mut bytes).expect("a vector grows");
    bytes
}

/// The answer to a request.
pub(super) fn response(response: &SessionResponse) -> Vec<u8> {
    let mut bytes = Vec::new();
    response.headers().generate_frame().write(&mut bytes).expect("a vector grows");
    bytes
}

/// The id that precedes a session's datagrams, and the rest of a datagram.
pub(super) fn split_datagram(datagram: &[u8]) -> Option<(u64, &[u8])> {
    let mut reader = BufferReader::new(datagram);
    let id = reader.get_varint()?.into_inner();
    Some((id, &datagram[reader.offset()..]))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn inlet(role: Role) -> Inlet {
        Inlet { id: StreamId::new(quinn_proto::Side::Client, quinn_proto::Dir::Bi, 0), role, buffer: BytesMut::new() }
    }

    fn frame_bytes(frame: &Frame<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame.write(&mut bytes).unwrap();
        bytes
    }

    /// Passes bytes one at a time, and returns what came with the last one.
    fn feed(inlet: &mut Inlet, bytes: &[u8]) -> Result<Option<Arrived>, ErrorCode> {
        let (last, others) = bytes.split_last().unwrap();
        for byte in others {
            inlet.buffer.extend_from_slice(&[*byte]);
            assert!(inlet.next()?.is_none());
        }
        inlet.buffer.extend_from_slice(&[*last]);
        inlet.next()
    }

    #[test]
    fn the_control_stream_begins_with_settings_and_unknown_frames_are_skipped() {
        let mut control = inlet(Role::Uni);
        let own = control_stream();
        assert!(matches!(feed(&mut control, &own[..1]), Ok(Some(Arrived::Kind(StreamKind::Control)))));
        assert!(matches!(feed(&mut control, &own[1..]), Ok(Some(Arrived::Settings))));
        // PRIORITY_UPDATE, which Chromium sends.
        assert!(matches!(feed(&mut control, &[0x80, 0x0f, 0x07, 0x00, 2, 0, 0]), Ok(None)));
        assert!(control.buffer.is_empty());
        let second = frame_bytes(&Frame::new_settings(Cow::Borrowed(&[])));
        assert!(matches!(feed(&mut control, &second), Err(ErrorCode::FrameUnexpected)));

        let mut early = inlet(Role::Control { has_settings: false });
        let data = frame_bytes(&Frame::new_data(Cow::Borrowed(b"x")));
        assert!(matches!(feed(&mut early, &data), Err(ErrorCode::MissingSettings)));
    }

    #[test]
    fn a_request_is_read_and_others_are_unwanted() {
        let request = SessionRequest::new("https://127.0.0.1:7777/sidereal").unwrap();
        let bytes = frame_bytes(&request.headers().generate_frame());
        match feed(&mut inlet(Role::First), &bytes) {
            Ok(Some(Arrived::Request(request))) => assert_eq!(request.path(), "/sidereal"),
            _ => panic!("no request"),
        }
        let get: Headers = [(":method", "GET"), (":path", "/")].into_iter().collect();
        let bytes = frame_bytes(&get.generate_frame());
        let unwanted = feed(&mut inlet(Role::First), &bytes);
        assert!(matches!(unwanted, Ok(Some(Arrived::Unwanted(ErrorCode::RequestRejected)))));
        let data = frame_bytes(&Frame::new_data(Cow::Borrowed(b"x")));
        assert!(matches!(feed(&mut inlet(Role::First), &data), Err(ErrorCode::FrameUnexpected)));
    }

    #[test]
    fn a_capsule_closes_the_session_with_its_reason() {
        let mut connect = inlet(Role::Connect);
        let mut capsule = vec![0x68, 0x43, 7];
        capsule.extend_from_slice(&[0, 0, 0, 9]);
        capsule.extend_from_slice(b"bye");
        let bytes = frame_bytes(&Frame::new_data(Cow::Owned(capsule)));
        match feed(&mut connect, &bytes) {
            Ok(Some(Arrived::Closed { reason })) => assert_eq!(reason, "bye"),
            _ => panic!("not closed"),
        }
    }

    #[test]
    fn nothing_that_a_stranger_sends_panics_or_waits_without_limit() {
        let too_long = [0x00, 0x80, 0x01, 0x00, 0x00];
        for role in [Role::First, Role::Connect, Role::Control { has_settings: true }] {
            assert!(matches!(feed(&mut inlet(role), &too_long), Err(ErrorCode::ExcessiveLoad)));
        }
        let unknown = [0x21 + 1, 0x80, 0x01, 0x00, 0x00];
        assert!(matches!(feed(&mut inlet(Role::First), &unknown), Err(ErrorCode::ExcessiveLoad)));
        for seed in 0..20_000u32 {
            let bytes: Vec<u8> =
                (0..24).map(|at| (seed.wrapping_mul(2_654_435_761).rotate_left(at * 7) >> 3) as u8).collect();
            for role in [Role::Uni, Role::First, Role::Connect, Role::Control { has_settings: seed % 2 == 0 }] {
                let mut inlet = inlet(role);
                inlet.buffer.extend_from_slice(&bytes);
                while let Ok(Some(Arrived::Kind(_) | Arrived::Settings)) = inlet.next() {}
            }
            let _ = split_datagram(&bytes[..seed as usize % 24]);
        }
    }
}
