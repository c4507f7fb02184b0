//! The handles of the game and of naia for a client's one session.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use naia_bevy_client::transport::{
    IdentityReceiver, IdentityReceiverResult, PacketReceiver, PacketSender, RecvError, SendError, ServerAddr, Socket,
};

use crate::error::StreamError;
use crate::naia::acks;
use crate::session::ending::EndCause;
use crate::session::hub::{Inbound, lock};
use crate::session::waker::Waker;
use crate::session::{Phase, Session};
use crate::stats::ClientStats;

/// The only code for which naia's client fires its `RejectEvent`.
const NAIA_REJECTED: u16 = 401;

/// The state of a client's link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkStatus {
    /// Connecting: nothing can be sent yet.
    Connecting,
    /// The server accepted; naia's own handshake follows.
    Connected,
    /// Rejected by the server, or by this end's check of the server: a retry with the same input gives the same result.
    /// One line with the reason and the remedy.
    Rejected(String),
    /// The link has ended, or could not be made; a retry may help. One line with the reason.
    Closed(String),
}

/// The network behind a client: real or in memory.
pub(crate) trait Backend: Send + Sync {
    /// Starts to connect. Called at most once.
    fn connect(&self, session: &Arc<Session>, auth: Bytes);
    fn flush(&self);
}

/// The shared state of all handles of one client.
pub(crate) struct Core {
    pub(crate) session: Arc<Session>,
    pub(crate) server_addr: SocketAddr,
    pub(crate) backend: Box<dyn Backend>,
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.session.request_close(EndCause::ClosedHere, "the client ended") {
            self.backend.flush();
        }
    }
}

/// The game's handle for a client's session. Cheap to clone. When the last clone and naia's socket are dropped, the
/// session closes.
#[derive(Clone)]
pub struct ClientHandle {
    core: Arc<Core>,
}

impl ClientHandle {
    pub(crate) fn new(core: Core) -> (Self, ClientSocket) {
        let core = Arc::new(core);
        (Self { core: core.clone() }, ClientSocket { core, credential: Bytes::new() })
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.core.session
    }

    /// The present state of the link.
    pub fn status(&self) -> LinkStatus {
        match self.core.session.phase() {
            Phase::Pending => LinkStatus::Connecting,
            Phase::Open => LinkStatus::Connected,
            Phase::Rejected(reason) => LinkStatus::Rejected(reason),
            Phase::Closed(end) => LinkStatus::Closed(end.reason),
            Phase::Closing => {
                LinkStatus::Closed(self.core.session.close_request().map_or_else(String::new, |close| close.reason))
            }
        }
    }

    /// Queues a lane datagram for the next [`flush`](Self::flush). Payloads over
    /// [`MAX_LANE_BYTES`](crate::MAX_LANE_BYTES) are refused and counted. When the queue is full, the oldest lane
    /// datagram is dropped and counted. While not connected, it is dropped and counted.
    pub fn send_lane(&self, payload: Bytes) {
        self.core.session.send_lane(payload);
    }

    /// The next lane payload.
    pub fn recv_lane(&self) -> Option<Bytes> {
        self.pop(Inbound::Lane)
    }

    /// Queues a stream frame for the next [`flush`](Self::flush). The server closes the session of a player whose frame
    /// is longer than [`MAX_PLAYER_FRAME_BYTES`](crate::MAX_PLAYER_FRAME_BYTES).
    ///
    /// # Errors
    /// `Full` at the limit of queued bytes (the caller keeps the frame and retries later), `Closed` while not
    /// connected, `TooLarge`.
    pub fn send_stream(&self, frame: Bytes) -> Result<(), StreamError> {
        self.core.session.send_stream(frame)
    }

    /// The next stream frame, in the order in which they were sent. Frames that arrived before the link ended can still
    /// be read afterwards.
    pub fn recv_stream(&self) -> Option<Bytes> {
        self.pop(Inbound::Stream)
    }

    fn pop(&self, way: Inbound) -> Option<Bytes> {
        self.core.session.hub.pop(way).map(|(_, item)| item)
    }

    /// Ends the link after the queued data were sent. The server receives the reason. Must also be called after naia's
    /// client has disconnected, because naia cannot end the link.
    pub fn close(&self, reason: &str) {
        if self.core.session.request_close(EndCause::ClosedHere, reason) {
            self.core.backend.flush();
        }
    }

    /// True once nothing of this link is left: after [`close`](Self::close), when all queued data were delivered or
    /// given up. A process that is about to exit waits for it, on the [`waker`](Self::waker).
    pub fn is_finished(&self) -> bool {
        matches!(self.core.session.phase(), Phase::Rejected(_) | Phase::Closed(_))
    }

    /// Passes all queued data, including naia's packets, to the network at once. Called once per tick, after naia's
    /// `SendPackets`.
    pub fn flush(&self) {
        self.core.backend.flush();
    }

    /// The waker on which the main loop sleeps. All arriving data and every change of the status wake it.
    pub fn waker(&self) -> Waker {
        self.core.session.hub.waker.clone()
    }

    /// All counters.
    pub fn stats(&self) -> ClientStats {
        self.core.session.hub.counters.snapshot()
    }
}

/// The socket for naia's `Client::connect`, which starts to connect.
pub struct ClientSocket {
    core: Arc<Core>,
    credential: Bytes,
}

impl ClientSocket {
    /// Sets the credential that the server reads with [`poll_auth`](crate::ServerHandle::poll_auth) when naia connects
    /// without an auth of its own. At most [`MAX_AUTH_BYTES`](crate::limits::MAX_AUTH_BYTES), else the connection
    /// fails.
    #[must_use]
    pub fn with_credential(mut self, credential: Bytes) -> Self {
        self.credential = credential;
        self
    }
}

type Halves = (Box<dyn IdentityReceiver>, Box<dyn PacketSender>, Box<dyn PacketReceiver>);

impl Socket for ClientSocket {
    fn connect(self: Box<Self>) -> Halves {
        let credential = self.credential.to_vec();
        self.connect_with_auth(credential)
    }

    fn connect_with_auth(self: Box<Self>, auth_bytes: Vec<u8>) -> Halves {
        let core = self.core;
        core.backend.connect(&core.session, auth_bytes.into());
        (
            Box::new(IdentityIn { core: core.clone() }),
            Box::new(PacketsOut { core: core.clone() }),
            Box::new(PacketsIn { core, current: Bytes::new(), early: Arc::default() }),
        )
    }

    /// The headers are ignored: credentials belong into the auth bytes.
    fn connect_with_auth_headers(self: Box<Self>, _auth_headers: Vec<(String, String)>) -> Halves {
        self.connect_with_auth(Vec::new())
    }

    /// The headers are ignored: credentials belong into the auth bytes.
    fn connect_with_auth_and_headers(
        self: Box<Self>,
        auth_bytes: Vec<u8>,
        _auth_headers: Vec<(String, String)>,
    ) -> Halves {
        self.connect_with_auth(auth_bytes)
    }
}

impl From<ClientSocket> for Box<dyn Socket> {
    fn from(socket: ClientSocket) -> Self {
        Box::new(socket)
    }
}

#[derive(Clone)]
struct IdentityIn {
    core: Arc<Core>,
}

impl IdentityReceiver for IdentityIn {
    fn receive(&mut self) -> IdentityReceiverResult {
        if let Some(token) = self.core.session.take_identity() {
            return IdentityReceiverResult::Success(token);
        }
        match self.core.session.phase() {
            Phase::Pending | Phase::Open => IdentityReceiverResult::Waiting,
            Phase::Closing | Phase::Rejected(_) | Phase::Closed(_) => {
                IdentityReceiverResult::ErrorResponseCode(NAIA_REJECTED)
            }
        }
    }
}

struct PacketsOut {
    core: Arc<Core>,
}

impl PacketSender for PacketsOut {
    fn send(&self, payload: &[u8]) -> Result<(), SendError> {
        self.core.session.send_naia(payload);
        Ok(())
    }

    fn server_addr(&self) -> ServerAddr {
        // Never `Finding`, on which naia's client panics.
        ServerAddr::Found(self.core.server_addr)
    }
}

#[derive(Clone)]
struct PacketsIn {
    core: Arc<Core>,
    current: Bytes,
    early: Arc<Mutex<Early>>,
}

/// Data packets that arrive before naia's connection is complete. The stream may be faster than the datagrams of the
/// handshake. naia's client ignores packets that it does not expect yet, and they are never resent, because the server
/// counts them as delivered.
#[derive(Default)]
struct Early {
    is_connected: bool,
    waiting: VecDeque<Bytes>,
}

/// The most packets that wait like this: those of the largest view. More of them end the session.
const MAX_EARLY: usize = 4096;

impl PacketsIn {
    fn next(&self) -> Option<Bytes> {
        let mut early = lock(&self.early);
        if early.is_connected
            && let Some(packet) = early.waiting.pop_front()
        {
            return Some(packet);
        }
        while let Some((_, packet)) = self.core.session.hub.pop(Inbound::Naia) {
            if early.is_connected || !acks::is_data(&packet) {
                early.is_connected |= acks::is_connect_response(&packet);
                return Some(packet);
            }
            if early.waiting.len() >= MAX_EARLY {
                self.core.session.close_for_violation("the server tells too much before the connection is made");
                return None;
            }
            early.waiting.push_back(packet);
        }
        None
    }
}

impl PacketReceiver for PacketsIn {
    fn receive(&mut self) -> Result<Option<&[u8]>, RecvError> {
        Ok(self.next().map(|packet| {
            self.current = packet;
            &self.current[..]
        }))
    }

    fn server_addr(&self) -> ServerAddr {
        ServerAddr::Found(self.core.server_addr)
    }
}
