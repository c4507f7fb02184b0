//! An open session's traffic: frames from and to its stream, datagrams to its queues, and its close.
//!
//! A session ends cleanly with a *goodbye* frame: the closing side sends it after everything that is queued, and the
//! peer reads up to it and then closes the connection. So nothing that was queued before a close is lost.

use bytes::BytesMut;
use wtransport::proto::error::ErrorCode;

use super::desk::Desk;
use super::frames::Written;
use super::h3;
use super::peer::{Peer, Stage};
use crate::network::link::{CHUNK_BYTES, CODE_OK, CODE_VIOLATION, ReadError};
use crate::session::Next;
use crate::session::ending::{EndCause, SessionEnd};
use crate::session::wire::{Frame, MAX_FRAME_BODY_BYTES};

/// What reading a stream came to.
enum Read {
    /// More has to arrive, or the session has no room.
    Paused,
    /// The peer has said goodbye.
    Goodbye(String),
}

impl Peer {
    /// Passes arrived datagrams to an open session. Others wait in QUIC's bounded buffer.
    pub(super) fn receive_datagrams(&mut self, desk: &mut Desk) {
        let (Stage::Open, Some(datagrams), Some(session)) = (&self.stage, &self.datagrams, &self.session) else {
            return;
        };
        if !datagrams.receive(&mut self.quic, session, desk.now_ms()) {
            let end = SessionEnd::new(EndCause::Lost, "the peer sent a malformed datagram");
            self.close(h3::code(ErrorCode::Datagram), "", end, desk);
        }
    }

    /// Reads frames as far as the session has room.
    pub(super) fn read_frames(&mut self, desk: &mut Desk) {
        if let Read::Goodbye(reason) = self.read_all(desk.now_ms(), true) {
            self.close(CODE_OK, &reason, SessionEnd::new(EndCause::ClosedByPeer, reason.clone()), desk);
        }
    }

    /// Reads what had arrived before the connection ended, room or not: at most a window's worth. Returns the peer's
    /// reason if it has sent a goodbye. After a violation nothing is read.
    pub(super) fn read_rest(&mut self, cause: EndCause, desk: &Desk) -> Option<String> {
        if cause.is_immediate() {
            return None;
        }
        match self.read_all(desk.now_ms(), false) {
            Read::Goodbye(reason) => Some(reason),
            Read::Paused => None,
        }
    }

    fn read_all(&mut self, now_ms: u64, needs_room: bool) -> Read {
        let (Some(session), Some(stream)) = (&self.session, &mut self.stream) else { return Read::Paused };
        while !stream.is_read {
            let frame = match stream.held.take() {
                Some(frame) => Ok(frame),
                None => match stream.next_body(&mut self.quic, MAX_FRAME_BODY_BYTES) {
                    Ok(Some(body)) => Frame::decode(&body),
                    Ok(None) => return Read::Paused,
                    Err(ReadError::Ended) => {
                        stream.is_read = true;
                        return Read::Paused;
                    }
                    Err(ReadError::Malformed(what)) => Err(what),
                },
            };
            match frame {
                Ok(Frame::Data(payload)) => {
                    if needs_room && !session.await_stream_room(payload.len()) {
                        stream.held = Some(Frame::Data(payload));
                        return Read::Paused;
                    }
                    session.on_frame(payload, now_ms);
                }
                // Only a server sends them, which ends the session.
                Ok(Frame::Naia(packet)) => {
                    stream.is_read = true;
                    session.on_naia_frame(packet);
                }
                Ok(Frame::Goodbye(reason)) => {
                    stream.is_read = true;
                    return Read::Goodbye(reason);
                }
                Err(what) => {
                    stream.is_read = true;
                    session.on_violation(what.0);
                    session.close_for_violation("a malformed stream frame");
                }
            }
        }
        Read::Paused
    }

    /// Passes the session's frames to QUIC as far as the peer reads, and closes the session when that is due. A peer
    /// that does not read does not delay a close: an immediate one ends the connection now, another one after the
    /// drain deadline without progress.
    pub(super) fn write(&mut self, desk: &mut Desk) {
        if !matches!(self.stage, Stage::Open) {
            if let (Stage::Lingering { .. }, Some(stream)) = (&self.stage, &mut self.stream) {
                stream.write(&mut self.quic);
            }
            return;
        }
        let Some(session) = self.session.clone() else { return };
        loop {
            let Some(stream) = &mut self.stream else { return };
            match stream.write(&mut self.quic) {
                Written::All => {}
                Written::Blocked => break,
                Written::Stopped => {
                    let end = SessionEnd::new(EndCause::ClosedByPeer, "the peer no longer reads its stream");
                    return self.close(CODE_OK, "", end, desk);
                }
            }
            if self.goodbye.is_none() {
                // The peer has read something: it gets its time again.
                self.deadline = None;
            }
            let mut chunk = BytesMut::new();
            let next = loop {
                match session.next_out() {
                    Next::Frame(frame) => {
                        frame.write(&mut chunk);
                        if chunk.len() >= CHUNK_BYTES {
                            break Next::Wait;
                        }
                    }
                    other => break other,
                }
            };
            match next {
                Next::Close(close) if close.cause.is_immediate() => return self.end_now(close, desk),
                Next::Close(close) => {
                    chunk.extend_from_slice(&Frame::goodbye(&close.reason));
                    self.goodbye = Some(close);
                    self.deadline = Some(desk.now + desk.limits().drain_deadline);
                }
                Next::Wait | Next::Frame(_) if chunk.is_empty() => return,
                Next::Wait | Next::Frame(_) => {}
            }
            stream.queue(chunk.freeze());
        }
        match session.close_request() {
            Some(close) if close.cause.is_immediate() => self.end_now(close, desk),
            Some(_) if self.deadline.is_none() => self.deadline = Some(desk.now + desk.limits().drain_deadline),
            _ => {}
        }
    }

    fn end_now(&mut self, close: SessionEnd, desk: &mut Desk) {
        let reason = close.reason.clone();
        self.close(CODE_VIOLATION, &reason, close, desk);
    }
}
