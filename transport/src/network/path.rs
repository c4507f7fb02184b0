//! What the main loop may know of a session's connection on the server's network thread.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::session::hub::lock;

/// The connection of a session, and the present state of its path. The network thread writes it, any thread reads it.
pub(crate) struct PeerPath {
    /// The connection's place in the network thread's list. Another session may have it later.
    pub(crate) slot: usize,
    remote: Mutex<SocketAddr>,
    round_trip_us: AtomicU64,
}

impl PeerPath {
    pub(crate) fn new(slot: usize, remote: SocketAddr) -> Self {
        Self { slot, remote: Mutex::new(remote), round_trip_us: AtomicU64::new(0) }
    }

    /// The peer's present address.
    pub(crate) fn remote_address(&self) -> SocketAddr {
        *lock(&self.remote)
    }

    /// The smoothed round trip.
    pub(crate) fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip_us.load(Ordering::Relaxed))
    }

    pub(crate) fn set_remote_address(&self, remote: SocketAddr) {
        *lock(&self.remote) = remote;
    }

    pub(crate) fn set_round_trip(&self, round_trip: Duration) {
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        self.round_trip_us.store(micros, Ordering::Relaxed);
    }
}
