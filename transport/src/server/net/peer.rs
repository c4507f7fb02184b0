//! One connection at the server's end, from its first packet to its end: a state machine over `quinn_proto`, without a
//! socket and without a clock of its own. Runs on the listener's network thread.
//!
//! What becomes of a session that is open is in `serving`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{Connection, Dir, Event, StreamEvent, StreamId, VarInt};
use sidereal_process::{crash::fault_point, log_limited};
use wtransport::proto::error::ErrorCode;
use wtransport::proto::session::{SessionRequest, SessionResponse};

use super::datagrams::Datagrams;
use super::desk::Desk;
use super::frames::{FrameStream, Written};
use super::h3;
use super::http::{Http, Said};
use crate::client::SESSION_PATH;
use crate::network::link::{self, CODE_FAILED, CODE_OK, FAILED};
use crate::network::path::PeerPath;
use crate::session::Session;
use crate::session::ending::{EndCause, SessionEnd};
use crate::session::wire::{AuthReply, MAX_REQUEST_BYTES, OutDatagram, clean_reason, framed};

/// How long a refused peer has to read the reason.
const REFUSAL_LINGER: Duration = Duration::from_secs(1);

/// How long QUIC may answer late packets of a connection that has ended. It would be three times its estimate of the
/// round trip, which the peer's acknowledgements can make as long as they like.
const ENDED_LINGER: Duration = Duration::from_secs(3);

/// The progress of a connection. Each stage may have a deadline.
pub(super) enum Stage {
    /// QUIC, TLS, HTTP/3, the request for a session and the auth request.
    Opening,
    /// The game judges the auth request.
    Judged,
    Open,
    /// It was refused and may read why.
    Lingering {
        /// What it reads if it does not close first.
        reason: String,
        /// How its session ends, if it has one.
        outcome: Outcome,
    },
    /// It has ended. QUIC may still answer late packets.
    Ended,
}

/// How the session of a refused peer ends.
pub(super) enum Outcome {
    Rejected,
    Violation,
}

pub(super) struct Peer {
    pub(super) quic: Connection,
    pub(super) stage: Stage,
    pub(super) deadline: Option<Instant>,
    pub(super) session: Option<Arc<Session>>,
    pub(super) stream: Option<FrameStream>,
    pub(super) datagrams: Option<Datagrams>,
    /// The goodbye that was passed to QUIC.
    pub(super) goodbye: Option<SessionEnd>,
    /// It is in the loop's list of connections with something to do.
    pub(super) is_queued: bool,
    http: Http,
    path: Arc<PeerPath>,
    /// As it was at the door.
    ip: IpAddr,
    remote: SocketAddr,
    is_pending: bool,
}

impl Peer {
    /// A connection that the door has let in.
    pub(super) fn new(quic: Connection, slot: usize, desk: &Desk) -> Self {
        let remote = quic.remote_address();
        Self {
            quic,
            stage: Stage::Opening,
            deadline: Some(desk.now + desk.limits().connect_deadline),
            session: None,
            stream: None,
            datagrams: None,
            goodbye: None,
            is_queued: false,
            http: Http::default(),
            path: Arc::new(PeerPath::new(slot, remote)),
            ip: remote.ip(),
            remote,
            is_pending: true,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// Whether it may be forgotten although QUIC would still answer late packets.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended() && self.deadline.is_none()
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// When it wants to be looked at again.
    pub(super) fn next_deadline(&mut self) -> Option<Instant> {
        match (self.quic.poll_timeout(), self.deadline) {
            (Some(quic), Some(own)) => Some(quic.min(own)),
            (quic, own) => quic.or(own),
        }
    }

    /// Deals with what packets and deadlines have brought.
    pub(super) fn step(&mut self, desk: &mut Desk) {
        if self.quic.poll_timeout().is_some_and(|deadline| deadline <= desk.now) {
            self.quic.handle_timeout(desk.now);
        }
        while let Some(event) = self.quic.poll() {
            self.on_event(event, desk);
        }
        if self.deadline.is_some_and(|deadline| deadline <= desk.now) {
            self.deadline = None;
            self.on_deadline(desk);
        }
        self.note_path();
    }

    fn note_path(&mut self) {
        if self.session.is_none() {
            return;
        }
        self.path.set_round_trip(self.quic.rtt());
        let remote = self.quic.remote_address();
        if remote != self.remote {
            self.remote = remote;
            self.path.set_remote_address(remote);
        }
    }

    fn on_event(&mut self, event: Event, desk: &mut Desk) {
        if let Event::ConnectionLost { reason } = event {
            let end = link::explain(&reason.into(), desk.limits().idle_timeout);
            return self.finish(end, desk);
        }
        if self.has_ended() {
            return;
        }
        match event {
            Event::Connected | Event::Stream(StreamEvent::Available { dir: Dir::Uni }) => {
                if let Err(code) = self.http.open_control(&mut self.quic) {
                    self.fail_http(code, desk);
                }
            }
            Event::Stream(StreamEvent::Opened { dir }) => {
                while let Some(id) = self.http.accept(&mut self.quic, dir) {
                    self.on_readable(id, desk);
                }
            }
            Event::Stream(StreamEvent::Readable { id }) => self.on_readable(id, desk),
            Event::Stream(StreamEvent::Writable { id } | StreamEvent::Stopped { id, .. }) => {
                if self.stream.as_ref().is_some_and(|stream| stream.id == id) {
                    self.write(desk);
                }
            }
            Event::DatagramReceived => self.receive_datagrams(desk),
            Event::HandshakeDataReady
            | Event::DatagramsUnblocked
            | Event::Stream(StreamEvent::Finished { .. } | StreamEvent::Available { .. })
            | Event::ConnectionLost { .. } => {}
        }
    }

    fn on_readable(&mut self, id: StreamId, desk: &mut Desk) {
        if self.has_ended() {
            return;
        }
        if self.stream.as_ref().is_some_and(|stream| stream.id == id) {
            return self.read(desk);
        }
        loop {
            match self.http.read(&mut self.quic, id) {
                Ok(Some(Said::Progress)) => self.advance(desk),
                Ok(Some(Said::Closed(reason))) => {
                    let reason = clean_reason(reason.as_bytes());
                    let reason = if reason.is_empty() { "closed by the peer".to_owned() } else { reason };
                    self.close(h3::code(ErrorCode::NoError), "", SessionEnd::new(EndCause::ClosedByPeer, reason), desk);
                }
                Ok(None) => return,
                Err(code) => self.fail_http(code, desk),
            }
            if self.has_ended() {
                return;
            }
        }
    }

    /// The peer's HTTP/3 is not in order.
    fn fail_http(&mut self, code: ErrorCode, desk: &mut Desk) {
        let end = SessionEnd::new(EndCause::Lost, format!("the peer broke HTTP/3: {code}"));
        self.close(h3::code(code), "", end, desk);
    }

    /// Goes on with the opening as far as possible.
    fn advance(&mut self, desk: &mut Desk) {
        if self.stream.is_some() {
            return self.http.stop_streams(&mut self.quic);
        }
        if !matches!(self.stage, Stage::Opening) {
            return;
        }
        if let Some((id, request)) = self.http.take_request() {
            self.judge_request(id, &request, desk);
        }
        if matches!(self.stage, Stage::Opening)
            && let Some(stream) = self.http.take_stream(&mut self.quic)
        {
            self.stream = Some(stream);
            self.read(desk);
        }
    }

    fn judge_request(&mut self, id: StreamId, request: &SessionRequest, desk: &mut Desk) {
        if request.path() != SESSION_PATH {
            let what = format!("unknown path {:?}", request.path());
            return self.refuse_request(id, &SessionResponse::not_found(), &what, desk);
        }
        if !desk.allowed_origins.allows(request.origin()) {
            desk.registry.admission.refused_origin.one();
            let what = format!("a page of {:?}, from which players may not connect (--allow-origin)", request.origin());
            log_limited!(info, remote = %self.remote, what, "peer refused");
            return self.refuse_request(id, &SessionResponse::forbidden(), &what, desk);
        }
        match self.http.accept_request(&mut self.quic, id) {
            Ok(session_id) => self.datagrams = Some(Datagrams::new(session_id)),
            Err(code) => self.fail_http(code, desk),
        }
    }

    fn refuse_request(&mut self, id: StreamId, answer: &SessionResponse, what: &str, desk: &mut Desk) {
        desk.registry.admission.failed_handshake.one();
        tracing::debug!(remote = %self.remote, what, "connection failed");
        Http::refuse_request(&mut self.quic, id, answer);
        self.settle(desk);
        self.linger(String::new(), Outcome::Rejected, desk);
    }

    /// The stream has data.
    fn read(&mut self, desk: &mut Desk) {
        match self.stage {
            Stage::Opening => self.read_request(desk),
            Stage::Judged => self.check_silence(desk),
            Stage::Open => self.read_frames(desk),
            Stage::Lingering { .. } | Stage::Ended => {}
        }
    }

    fn read_request(&mut self, desk: &mut Desk) {
        let Some(stream) = &mut self.stream else { return };
        let request = match stream.next_body(&mut self.quic, MAX_REQUEST_BYTES) {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => {
                let end = SessionEnd::new(EndCause::Lost, format!("no auth request: {error:?}"));
                return self.close(CODE_OK, "", end, desk);
            }
        };
        match desk.admit(&request, self.remote) {
            Ok(session) => {
                // The only call that sets it.
                let _ = session.path.set(self.path.clone());
                self.session = Some(session);
                self.stage = Stage::Judged;
                self.deadline = Some(desk.now + desk.limits().connect_deadline);
                self.note_path();
                fault_point("session");
                self.check_silence(desk);
            }
            Err(refusal) => self.refuse(refusal.reason(), Outcome::Rejected, desk),
        }
    }

    /// A peer sends nothing on its stream before it has its verdict.
    fn check_silence(&mut self, desk: &mut Desk) {
        let (Some(stream), Some(session)) = (&mut self.stream, &self.session) else { return };
        if stream.take_any(&mut self.quic) {
            session.on_violation("stream data before the verdict");
            self.refuse("the peer broke the protocol", Outcome::Violation, desk);
        }
    }

    /// The main loop has something for this connection.
    pub(super) fn on_output(&mut self, datagrams: &mut Vec<OutDatagram>, has_stream_output: bool, desk: &mut Desk) {
        if matches!(self.stage, Stage::Judged) {
            self.take_verdict(desk);
        }
        match self.stage {
            Stage::Open => {
                if let Some(own) = &self.datagrams {
                    own.send(&mut self.quic, datagrams, &desk.hub().counters);
                }
                if has_stream_output {
                    self.write(desk);
                }
                if self.stream.as_ref().is_some_and(|stream| stream.held.is_some()) {
                    self.read(desk);
                }
            }
            Stage::Opening | Stage::Judged | Stage::Lingering { .. } | Stage::Ended => datagrams.clear(),
        }
    }

    /// Sends datagrams that many sessions share. Returns their number and their payloads' bytes.
    pub(super) fn send_shared(&mut self, datagrams: &[Bytes], desk: &Desk) -> (u64, u64) {
        match (&self.stage, &self.datagrams) {
            (Stage::Open, Some(own)) => {
                let bytes = own.send_shared(&mut self.quic, datagrams, &desk.hub().counters);
                (datagrams.len() as u64, bytes)
            }
            _ => (0, 0),
        }
    }

    fn take_verdict(&mut self, desk: &mut Desk) {
        let Some(session) = self.session.clone() else { return };
        match session.take_verdict() {
            Some(reply @ AuthReply::Accept(_)) => {
                self.settle(desk);
                self.stage = Stage::Open;
                self.deadline = None;
                if let Some(stream) = &mut self.stream {
                    stream.queue(framed(&reply.encode()));
                }
                self.write(desk);
                self.read(desk);
                self.receive_datagrams(desk);
            }
            Some(AuthReply::Reject(reason)) => self.refuse(&reason, Outcome::Rejected, desk),
            // The session was closed before it was open.
            None => {
                if let Some(close) = session.close_request() {
                    self.refuse(&close.reason, Outcome::Violation, desk);
                }
            }
        }
    }

    /// Sends a peer the reason of its refusal, and gives it time to read it.
    fn refuse(&mut self, reason: &str, outcome: Outcome, desk: &mut Desk) {
        self.settle(desk);
        let written = match &mut self.stream {
            Some(stream) => {
                stream.queue(framed(&AuthReply::Reject(reason.to_owned()).encode()));
                stream.write(&mut self.quic)
            }
            None => Written::Stopped,
        };
        self.linger(reason.to_owned(), outcome, desk);
        if written == Written::Stopped {
            self.on_deadline(desk);
        }
    }

    fn linger(&mut self, reason: String, outcome: Outcome, desk: &Desk) {
        self.stage = Stage::Lingering { reason, outcome };
        self.deadline = Some(desk.now + REFUSAL_LINGER);
    }

    fn on_deadline(&mut self, desk: &mut Desk) {
        match &self.stage {
            Stage::Opening => {
                self.close(CODE_OK, "", SessionEnd::new(EndCause::Lost, "connecting took too long"), desk);
            }
            Stage::Judged => {
                desk.registry.admission.unanswered.one();
                self.refuse("the server gave no answer in time; try again", Outcome::Rejected, desk);
            }
            Stage::Open => {
                let close = self.session.as_ref().and_then(|session| session.close_request());
                if let Some(close) = close {
                    let reason = close.reason.clone();
                    self.close(CODE_OK, &reason, close, desk);
                }
            }
            Stage::Lingering { reason, .. } => {
                let reason = reason.clone();
                self.close(CODE_OK, &reason, SessionEnd::new(EndCause::ClosedHere, "closed here"), desk);
            }
            Stage::Ended => {}
        }
    }

    /// Closes the connection at once.
    pub(super) fn close(&mut self, code: impl Into<VarInt>, reason: &str, end: SessionEnd, desk: &mut Desk) {
        self.quic.close(desk.now, code.into(), Bytes::copy_from_slice(reason.as_bytes()));
        self.finish(end, desk);
    }

    /// Closes it after a panic in its own code.
    pub(super) fn fail(&mut self, desk: &mut Desk) {
        // What is left of the stream is not read.
        self.stream = None;
        self.close(CODE_FAILED, FAILED, SessionEnd::new(EndCause::Failed, FAILED), desk);
    }

    /// The server ends, and this connection has no session that could be closed in order.
    pub(super) fn cut_off(&mut self, desk: &mut Desk) {
        let reason = "the server ended";
        self.close(CODE_OK, reason, SessionEnd::new(EndCause::ClosedHere, reason), desk);
    }

    fn settle(&mut self, desk: &mut Desk) {
        if std::mem::take(&mut self.is_pending) {
            desk.settle();
        }
    }

    /// The connection has ended.
    pub(super) fn finish(&mut self, end: SessionEnd, desk: &mut Desk) {
        let stage = std::mem::replace(&mut self.stage, Stage::Ended);
        if matches!(stage, Stage::Ended) {
            return;
        }
        self.settle(desk);
        desk.leave(self.ip);
        let goodbye = if matches!(stage, Stage::Open) { self.read_rest(end.cause, desk) } else { None };
        self.stream = None;
        // What it sent and nobody will read; QUIC may keep the connection for a while.
        while self.quic.datagrams().recv().is_some() {}
        self.http = Http::default();
        self.deadline = Some(desk.now + ENDED_LINGER);
        match (stage, self.session.take()) {
            (Stage::Opening, None) => {
                desk.registry.admission.failed_handshake.one();
                tracing::debug!(remote = %self.remote, reason = end.reason, "connection failed");
            }
            (Stage::Lingering { reason, outcome }, Some(session)) => match outcome {
                Outcome::Rejected => session.on_rejected(&reason),
                Outcome::Violation => session.on_closed(EndCause::Violation, &reason),
            },
            (_, Some(session)) => match goodbye {
                Some(reason) => session.on_closed(EndCause::ClosedByPeer, &reason),
                None => session.on_closed(end.cause, &end.reason),
            },
            (_, None) => {}
        }
    }
}
