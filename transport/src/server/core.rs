//! The state shared by naia's side of a server and the game's side.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::registry::Registry;
use crate::PeerKind;

/// The network behind a server: real or in memory. Dropping it ends it.
pub(crate) trait Backend: Send + Sync {
    /// Where the endpoints of this kind listen, in the order of their hubs.
    fn local_addrs(&self, kind: PeerKind) -> Vec<SocketAddr>;
    fn certificate_hash(&self) -> [u8; 32];
    fn flush(&self);
    fn shutdown(&self);
    /// Whether the network still runs.
    fn is_running(&self) -> bool;
}

/// The name of an endpoint's network thread. Linux shows 15 bytes of it.
pub(crate) fn thread_name(kind: PeerKind, index: usize) -> String {
    match kind {
        PeerKind::Player => format!("player-net-{index}"),
        PeerKind::Shard => "shard-net".to_owned(),
    }
}

/// The shared state of all handles of one server.
pub(crate) struct Core {
    pub(crate) registry: Arc<Registry>,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) gate: AuthGate,
}

/// The admitted peers: the game judges credentials before naia reads any packet of the peer.
#[derive(Default)]
pub(crate) struct AuthGate {
    /// Admitted sessions that naia has not taken yet; bounded by the number of sessions.
    admitted: Mutex<VecDeque<SocketAddr>>,
}

impl AuthGate {
    pub(super) fn admit(&self, session: SocketAddr) {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner).push_back(session);
    }

    pub(crate) fn take_admitted(&self) -> Option<SocketAddr> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}
