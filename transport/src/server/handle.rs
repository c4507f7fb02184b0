//! The game's handle for its sessions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use naia_bevy_server::{BigMapKey, UserKey};

use super::batch::{LaneBatch, LanePeer};
use super::core::{Core, thread_name};
use super::naia::ServerSocket;
use crate::PeerKind;
use crate::error::StreamError;
use crate::session::Phase;
use crate::session::ending::{EndCause, SessionEnd};
use crate::session::hub::Inbound;
use crate::session::waker::Waker;
use crate::stats::{EndpointStats, ServerStats};

pub(super) fn pair(core: Core) -> (ServerHandle, ServerSocket) {
    let core = Arc::new(core);
    (ServerHandle { core: core.clone() }, ServerSocket { core })
}

/// The game's handle for a server's sessions. Cheap to clone; all clones are one server, which lives as long as any of
/// them, or naia with its [`ServerSocket`].
///
/// A session is identified by an artificial [`SocketAddr`], the same by which naia identifies its user. It stays the
/// same when the peer's real address changes, and is never reused. Calls for a session that has ended do nothing, or
/// report it.
#[derive(Clone)]
pub struct ServerHandle {
    core: Arc<Core>,
}

impl ServerHandle {
    pub(crate) fn new(core: Core) -> (Self, ServerSocket) {
        pair(core)
    }

    /// The address of the first listener for this kind, with its real port.
    pub fn local_addr(&self, kind: PeerKind) -> Option<SocketAddr> {
        self.local_addrs(kind).first().copied()
    }

    /// The addresses of all listeners for this kind, in the order of the configuration.
    pub fn local_addrs(&self, kind: PeerKind) -> Vec<SocketAddr> {
        self.core.backend.local_addrs(kind)
    }

    /// The counters of each endpoint for this kind, in the same order.
    pub fn endpoints(&self, kind: PeerKind) -> Vec<EndpointStats> {
        let hubs = self.core.registry.hubs_of(kind).iter().enumerate();
        hubs.zip(self.local_addrs(kind))
            .map(|((index, hub), addr)| EndpointStats {
                thread: thread_name(kind, index),
                addr,
                sessions: hub.sessions(),
                traffic: hub.counters.snapshot(),
            })
            .collect()
    }

    /// The number of admitted sessions at each endpoint for this kind, in the same order.
    pub fn admitted_by_endpoint(&self, kind: PeerKind) -> impl Iterator<Item = usize> {
        self.core.registry.hubs_of(kind).iter().map(|hub| hub.admitted())
    }

    /// SHA-256 of the DER form of the certificate, which clients pin.
    pub fn certificate_hash(&self) -> [u8; 32] {
        self.core.backend.certificate_hash()
    }

    /// The session of a user of naia's, from the auth event until [`poll_closed`](Self::poll_closed) returned the
    /// session (naia itself gives the address only once the user is connected).
    pub fn session_of(&self, user: &UserKey) -> Option<SocketAddr> {
        self.core.registry.session_of(user.to_u64())
    }

    /// The kind of the listener that accepted a session, until [`poll_closed`](Self::poll_closed) returned it.
    pub fn peer_kind(&self, session: &SocketAddr) -> Option<PeerKind> {
        self.core.registry.get(session).map(|session| session.kind)
    }

    /// The peer's present real address: for logs and limits, not as an identifier.
    pub fn remote_addr(&self, session: &SocketAddr) -> Option<SocketAddr> {
        self.core.registry.get(session)?.remote()
    }

    /// The smoothed round trip to the peer, as QUIC's acknowledgements measure it; `None` over the in-memory network.
    pub fn round_trip(&self, session: &SocketAddr) -> Option<Duration> {
        Some(self.core.registry.get(session)?.path.get()?.round_trip())
    }

    /// The next peer that waits for a verdict, with its kind and its credential. The game judges it with
    /// [`admit`](Self::admit) or [`refuse`](Self::refuse). naia only reads packets of admitted peers (it must run with
    /// `require_auth: false`), because it trusts what it reads: ten bytes of a stranger would end it.
    pub fn poll_auth(&self) -> Option<(SocketAddr, PeerKind, Bytes)> {
        loop {
            let (address, credential) = self.core.registry.next_auth()?;
            // One that has disconnected meanwhile needs no verdict.
            if let Some(kind) = self.peer_kind(&address) {
                return Some((address, kind, credential));
            }
        }
    }

    /// Admits a peer: naia takes it at its next receive.
    pub fn admit(&self, session: &SocketAddr) {
        self.core.registry.note_admitted(session);
        self.core.gate.admit(*session);
    }

    /// To be called on naia's `ConnectEvent` for a session's user. naia keeps a user that has identified itself and
    /// never connects for ever, and has no call that removes it. So when a session ends without this call, the
    /// transport finishes the handshake in the peer's place: the user's `ConnectEvent` comes at naia's next receive,
    /// and the user can be disconnected.
    pub fn note_connected(&self, session: &SocketAddr) {
        self.core.registry.note_connected(*session);
    }

    /// Refuses a peer and sends it the reason, at most [`MAX_REASON_BYTES`](crate::limits::MAX_REASON_BYTES); the rest
    /// is cut.
    pub fn refuse(&self, session: &SocketAddr, reason: &str) {
        let Some(session) = self.core.registry.get(session) else { return };
        session.set_reject_reason(reason);
        if session.reject() {
            self.core.registry.admission.rejected.one();
            self.core.backend.flush();
        }
    }

    /// A session for [`LaneBatch::push`]; `None` once it has ended.
    pub fn lane_peer(&self, session: &SocketAddr) -> Option<LanePeer> {
        self.core.registry.get(session).map(LanePeer)
    }

    /// Queues a tick's lane datagrams of many sessions for the next [`flush`](Self::flush). A session whose network
    /// takes no more loses its oldest lane datagrams; those are counted.
    pub fn send_batch(&self, mut batch: LaneBatch) {
        for (hub, parcels) in self.core.registry.hubs().iter().zip(&mut batch.by_hub) {
            hub.push_parcels(parcels);
        }
    }

    /// Queues a lane datagram for the next [`flush`](Self::flush). Payloads over
    /// [`MAX_LANE_BYTES`](crate::MAX_LANE_BYTES) are refused and counted. When the session's queue is full, its oldest
    /// lane datagram is dropped and counted.
    pub fn send_lane(&self, session: &SocketAddr, payload: Bytes) {
        self.core.registry.for_each([session], |session| session.send_lane(payload.clone()));
    }

    /// The next lane payload of any session, in turn.
    pub fn recv_lane(&self) -> Option<(SocketAddr, Bytes)> {
        self.core.registry.pop(Inbound::Lane)
    }

    /// Queues a stream frame for the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// `Full` at the limit of queued bytes (the caller keeps the frame and retries later; a player's session is closed
    /// instead, because its peer does not read), `Closed`, `TooLarge`.
    pub fn send_stream(&self, session: &SocketAddr, frame: Bytes) -> Result<(), StreamError> {
        match self.core.registry.get(session) {
            Some(session) => session.send_stream(frame),
            None => Err(StreamError::Closed),
        }
    }

    /// The next stream frame of any session, in turn; the frames of each arrive in order. Frames that are not read stop
    /// their sender, through QUIC's flow control. A player's are at most
    /// [`MAX_PLAYER_FRAME_BYTES`](crate::MAX_PLAYER_FRAME_BYTES) long.
    pub fn recv_stream(&self) -> Option<(SocketAddr, Bytes)> {
        self.core.registry.pop(Inbound::Stream)
    }

    /// Whether something has arrived that only an update with naia handles: naia's packets, auth requests, the ends of
    /// sessions.
    pub fn has_input_for_naia(&self) -> bool {
        self.core.registry.hubs().iter().any(|hub| hub.has_input_for_naia())
    }

    /// The next session that has ended, so that naia's user can be disconnected. Each is returned once, after all of its
    /// stream frames were read; then the session is unknown. Includes sessions that this end closed, and rejected ones.
    pub fn poll_closed(&self) -> Option<(SocketAddr, SessionEnd)> {
        let registry = &self.core.registry;
        let session = registry.hubs().iter().find_map(|hub| hub.pop_closed())?;
        registry.remove(&session.address);
        registry.admission.ended.one();
        let end = match session.phase() {
            Phase::Closed(end) => end,
            Phase::Rejected(reason) => SessionEnd::new(EndCause::Refused, reason),
            Phase::Pending | Phase::Open | Phase::Closing => SessionEnd::new(EndCause::Lost, ""),
        };
        Some((session.address, end))
    }

    /// Whether anything was read from the peer since the last call. naia cannot detect it, because the transport
    /// answers in its peers' place. QUIC cannot either: it keeps a connection alive whose program stands still.
    pub fn take_heard(&self, session: &SocketAddr) -> bool {
        self.core.registry.get(session).is_some_and(|session| session.take_heard())
    }

    /// Closes a session after its queued data were sent. The peer receives the reason.
    pub fn close(&self, session: &SocketAddr, reason: &str) {
        self.close_for(session, EndCause::ClosedHere, reason);
    }

    /// The same, for a cause of this end's.
    pub fn close_for(&self, session: &SocketAddr, cause: EndCause, reason: &str) {
        if let Some(session) = self.core.registry.get(session)
            && session.request_close(cause, reason)
        {
            self.core.backend.flush();
        }
    }

    /// Passes all queued data, including naia's packets, to the network at once. Called once per tick, after naia's
    /// `SendPackets`.
    pub fn flush(&self) {
        self.core.backend.flush();
    }

    /// The waker on which the main loop sleeps. All arriving data wake it.
    pub fn waker(&self) -> Waker {
        self.core.registry.waker().clone()
    }

    /// All counters.
    pub fn stats(&self) -> ServerStats {
        let registry = &self.core.registry;
        ServerStats {
            sessions: registry.len() as u64,
            traffic: registry.traffic(),
            admission: registry.admission.snapshot(),
        }
    }

    /// Whether all network threads run: only [`shutdown`](Self::shutdown) ends them.
    pub fn is_running(&self) -> bool {
        self.core.backend.is_running()
    }

    /// Closes all sessions cleanly, accepts no new ones, and waits until the queued data have reached the peers, at
    /// most for [`drain_deadline`](crate::Limits::drain_deadline) and a second. In memory it does not wait: the
    /// goodbyes leave with the clock.
    pub fn shutdown(&self, reason: &str) {
        for session in self.core.registry.all() {
            session.request_close(EndCause::ClosedHere, reason);
        }
        self.core.backend.flush();
        self.core.backend.shutdown();
    }
}
