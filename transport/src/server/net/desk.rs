//! What all connections of a listener share: its limits, its door and its clock. Listeners of the same kind share the
//! door, and so its clock.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;

use crate::PeerKind;
use crate::limits::Limits;
use crate::server::door::{Door, Full, Rate, Verdict};
use crate::server::origin::AllowedOrigins;
use crate::server::registry::Registry;
use crate::session::hub::lock;
use crate::session::wire::Refusal;
use crate::session::{Hub, Session};

/// The door of all listeners of one kind, with its clock.
#[derive(Clone)]
pub(super) struct Entrance {
    door: Arc<Mutex<Door>>,
    opened: Instant,
}

impl Entrance {
    pub(super) fn new(limits: &Limits, kind: PeerKind) -> Self {
        Self { door: Arc::new(Mutex::new(Door::new(limits, kind))), opened: Instant::now() }
    }
}

pub(super) struct Desk {
    pub(super) kind: PeerKind,
    pub(super) registry: Arc<Registry>,
    pub(super) allowed_origins: AllowedOrigins,
    hub: Arc<Hub>,
    /// Locked for each attempt to connect, and at a connection's end; never for a packet of a connection.
    door: Arc<Mutex<Door>>,
    opened: Instant,
    /// The time of this round of the loop.
    pub(super) now: Instant,
}

impl Desk {
    /// For the listener of `hub`.
    pub(super) fn new(
        kind: PeerKind,
        registry: Arc<Registry>,
        hub: Arc<Hub>,
        allowed_origins: AllowedOrigins,
        entrance: &Entrance,
    ) -> Self {
        let Entrance { door, opened } = entrance.clone();
        Self { kind, registry, allowed_origins, hub, door, opened, now: Instant::now() }
    }

    /// The state shared by the sessions of this listener's thread.
    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.hub().limits
    }

    /// The clock of the rates, milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.now.saturating_duration_since(self.opened).as_millis()).unwrap_or(u64::MAX)
    }

    /// Judges and counts an attempt.
    pub(super) fn judge(&mut self, ip: IpAddr, is_proven: bool) -> Verdict {
        let (sessions, now_ms) = (self.registry.len_of(self.kind), self.now_ms());
        let verdict = lock(&self.door).judge(ip, is_proven, sessions, now_ms);
        let admission = &self.registry.admission;
        admission.attempts.one();
        match verdict {
            Verdict::Serve => {}
            Verdict::Retry => admission.retried.one(),
            Verdict::Ignore(Rate::Network) => admission.ignored_network_rate.one(),
            Verdict::Ignore(Rate::Total) => admission.ignored_total_rate.one(),
            Verdict::Refuse(Full::Pending) => admission.refused_pending.one(),
            Verdict::Refuse(Full::Sessions | Full::Network) => admission.refused_sessions.one(),
        }
        verdict
    }

    /// Makes a session of an auth request.
    pub(super) fn admit(&self, request: &Bytes, remote: SocketAddr) -> Result<Arc<Session>, Refusal> {
        self.registry.admit(request, self.kind, &self.hub, remote)
    }

    /// A connection has its verdict.
    pub(super) fn settle(&mut self) {
        lock(&self.door).settle();
    }

    /// A connection has ended.
    pub(super) fn leave(&mut self, ip: IpAddr) {
        lock(&self.door).leave(ip);
    }
}
