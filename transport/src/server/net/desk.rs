//! What all connections of a listener share: its limits, its door and its clock.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::PeerKind;
use crate::limits::Limits;
use crate::server::door::{Door, Full, Rate, Verdict};
use crate::server::origin::AllowedOrigins;
use crate::server::registry::Registry;
use crate::session::wire::Refusal;
use crate::session::{Hub, Session};

pub(super) struct Desk {
    pub(super) kind: PeerKind,
    pub(super) registry: Arc<Registry>,
    pub(super) allowed_origins: AllowedOrigins,
    door: Door,
    opened: Instant,
    /// The time of this round of the loop.
    pub(super) now: Instant,
}

impl Desk {
    pub(super) fn new(kind: PeerKind, registry: Arc<Registry>, allowed_origins: AllowedOrigins) -> Self {
        let door = Door::new(&registry.hub(kind).limits, kind);
        let now = Instant::now();
        Self { kind, registry, allowed_origins, door, opened: now, now }
    }

    /// The state shared by the sessions of this listener's thread.
    pub(super) fn hub(&self) -> &Arc<Hub> {
        self.registry.hub(self.kind)
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
        let verdict = self.door.judge(ip, is_proven, self.registry.len_of(self.kind), self.now_ms());
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
        self.registry.admit(request, self.kind, remote)
    }

    /// A connection has its verdict.
    pub(super) fn settle(&mut self) {
        self.door.settle();
    }

    /// A connection has ended.
    pub(super) fn leave(&mut self, ip: IpAddr) {
        self.door.leave(ip);
    }
}
