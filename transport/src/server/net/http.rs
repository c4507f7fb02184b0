//! One connection's HTTP/3 over QUIC: reads the peer's streams, and writes the answer to its request.

use quinn_proto::{Connection, Dir, ReadError, StreamId};
use wtransport::proto::error::ErrorCode;
use wtransport::proto::session::{SessionRequest, SessionResponse};
use wtransport::proto::stream_header::StreamKind;

use super::frames::FrameStream;
use super::h3::{self, Arrived, Inlet, MAX_BUFFER_BYTES, Role};

/// What the peer has said.
pub(super) enum Said {
    /// Something that brings the opening forward: settings, a request or a stream.
    Progress,
    /// It has closed the session, with this reason.
    Closed(String),
}

/// HTTP/3 of one connection. The peer's streams are as many as QUIC lets it open.
#[derive(Default)]
pub(super) struct Http {
    inlets: Vec<Inlet>,
    has_own_control: bool,
    has_control: bool,
    has_encoder: bool,
    has_decoder: bool,
    has_settings: bool,
    request: Option<(StreamId, SessionRequest)>,
    /// The id of the accepted session.
    session: Option<u64>,
}

impl Http {
    /// Opens the own control stream, once and as soon as the peer allows it.
    pub(super) fn open_control(&mut self, quic: &mut Connection) -> Result<(), ErrorCode> {
        if self.has_own_control {
            return Ok(());
        }
        let Some(id) = quic.streams().open(Dir::Uni) else { return Ok(()) };
        self.has_own_control = true;
        write_all(quic, id, &h3::control_stream())
    }

    /// Takes the streams that the peer has opened, and returns their ids to be read.
    pub(super) fn accept(&mut self, quic: &mut Connection, dir: Dir) -> Option<StreamId> {
        let id = quic.streams().accept(dir)?;
        self.inlets.push(Inlet::new(id));
        Some(id)
    }

    /// Reads a stream. `None` if nothing more is to be said of it now.
    ///
    /// # Errors
    /// The code with which the connection is to be closed.
    pub(super) fn read(&mut self, quic: &mut Connection, id: StreamId) -> Result<Option<Said>, ErrorCode> {
        let Some(at) = self.inlets.iter().position(|inlet| inlet.id == id) else { return Ok(None) };
        loop {
            let inlet = &mut self.inlets[at];
            match inlet.next()? {
                Some(Arrived::Kind(kind)) => self.note_kind(kind)?,
                Some(Arrived::Settings) => {
                    self.has_settings = true;
                    return Ok(Some(Said::Progress));
                }
                Some(Arrived::Request(request)) => {
                    if self.session.is_some() || self.request.is_some() {
                        self.discard(quic, at, ErrorCode::RequestRejected);
                        return Ok(None);
                    }
                    self.request = Some((id, request));
                    return Ok(Some(Said::Progress));
                }
                Some(Arrived::Stream) => return Ok(Some(Said::Progress)),
                Some(Arrived::Closed { reason }) => return Ok(Some(Said::Closed(reason))),
                Some(Arrived::Unwanted(code)) => {
                    self.discard(quic, at, code);
                    return Ok(None);
                }
                None if matches!(inlet.role, Role::Held(_)) => return Ok(None),
                None => match fill(quic, inlet)? {
                    Filled::More => {}
                    Filled::Blocked => return Ok(None),
                    Filled::Ended { is_clean } => {
                        let inlet = self.inlets.swap_remove(at);
                        return match inlet.role {
                            Role::Connect if is_clean && inlet.buffer.is_empty() => {
                                Ok(Some(Said::Closed(String::new())))
                            }
                            _ if inlet.is_critical() => Err(ErrorCode::ClosedCriticalStream),
                            _ => Ok(None),
                        };
                    }
                },
            }
        }
    }

    /// There is one stream of each of these kinds.
    fn note_kind(&mut self, kind: StreamKind) -> Result<(), ErrorCode> {
        let had = match kind {
            StreamKind::Control => &mut self.has_control,
            StreamKind::QPackEncoder => &mut self.has_encoder,
            StreamKind::QPackDecoder => &mut self.has_decoder,
            StreamKind::WebTransport | StreamKind::Exercise(_) => return Ok(()),
        };
        if std::mem::replace(had, true) { Err(ErrorCode::StreamCreation) } else { Ok(()) }
    }

    /// The request, once, and after the peer's settings.
    pub(super) fn take_request(&mut self) -> Option<(StreamId, SessionRequest)> {
        if self.has_settings { self.request.take() } else { None }
    }

    /// Accepts a request. Returns the id of the session.
    pub(super) fn accept_request(&mut self, quic: &mut Connection, id: StreamId) -> Result<u64, ErrorCode> {
        write_all(quic, id, &h3::response(&SessionResponse::ok()))?;
        if let Some(inlet) = self.inlets.iter_mut().find(|inlet| inlet.id == id) {
            inlet.role = Role::Connect;
        }
        let session = u64::from(id);
        self.session = Some(session);
        Ok(session)
    }

    /// Answers a request that is not accepted.
    pub(super) fn refuse_request(quic: &mut Connection, id: StreamId, answer: &SessionResponse) {
        // If the peer takes no answer, it gets none.
        let _ = write_all(quic, id, &h3::response(answer));
        let _ = quic.send_stream(id).finish();
    }

    /// The first stream of the accepted session, if it is there. Streams of other sessions are stopped.
    pub(super) fn take_stream(&mut self, quic: &mut Connection) -> Option<FrameStream> {
        let session = self.session?;
        loop {
            let at = self.inlets.iter().position(|inlet| matches!(inlet.role, Role::Held(_)))?;
            if matches!(self.inlets[at].role, Role::Held(of) if of == session) {
                let Inlet { id, buffer, .. } = self.inlets.swap_remove(at);
                return Some(FrameStream::new(id, buffer));
            }
            self.discard(quic, at, ErrorCode::BufferedStreamRejected);
        }
    }

    /// A session has one stream: stops all further ones.
    pub(super) fn stop_streams(&mut self, quic: &mut Connection) {
        while let Some(at) = self.inlets.iter().position(|inlet| matches!(inlet.role, Role::Held(_))) {
            self.discard(quic, at, ErrorCode::BufferedStreamRejected);
        }
    }

    fn discard(&mut self, quic: &mut Connection, at: usize, code: ErrorCode) {
        let id = self.inlets.swap_remove(at).id;
        // An error means that the stream has ended.
        let _ = quic.recv_stream(id).stop(h3::code(code));
        if id.dir() == Dir::Bi {
            let _ = quic.send_stream(id).reset(h3::code(code));
        }
    }
}

enum Filled {
    More,
    Blocked,
    Ended { is_clean: bool },
}

/// Reads more of a stream into its buffer.
fn fill(quic: &mut Connection, inlet: &mut Inlet) -> Result<Filled, ErrorCode> {
    let room = MAX_BUFFER_BYTES.saturating_sub(inlet.buffer.len());
    if room == 0 {
        return Err(ErrorCode::ExcessiveLoad);
    }
    let mut stream = quic.recv_stream(inlet.id);
    let Ok(mut chunks) = stream.read(true) else { return Ok(Filled::Ended { is_clean: false }) };
    Ok(match chunks.next(room) {
        Ok(Some(chunk)) => {
            inlet.buffer.extend_from_slice(&chunk.bytes);
            Filled::More
        }
        Ok(None) => Filled::Ended { is_clean: true },
        Err(ReadError::Blocked) => Filled::Blocked,
        Err(ReadError::Reset(_)) => Filled::Ended { is_clean: false },
    })
}

/// Writes a few bytes at a stream's beginning, for which every peer has room.
fn write_all(quic: &mut Connection, id: StreamId, bytes: &[u8]) -> Result<(), ErrorCode> {
    match quic.send_stream(id).write(bytes) {
        Ok(written) if written == bytes.len() => Ok(()),
        _ => Err(ErrorCode::ClosedCriticalStream),
    }
}
