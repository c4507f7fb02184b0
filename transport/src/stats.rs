//! Counters of the transport's traffic and of what it refused. Runs in every process.
//!
//! Counters only grow. They are totals; the log names the peers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($(#[$meta:meta])* $counters:ident => $stats:ident { $($(#[$doc:meta])* $name:ident,)* }) => {
        #[derive(Default)]
        pub(crate) struct $counters { $(pub(crate) $name: Counter,)* }

        impl $counters {
            pub(crate) fn snapshot(&self) -> $stats {
                $stats { $($name: self.$name.get(),)* }
            }
        }

        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $stats { $($(#[$doc])* pub $name: u64,)* }

        impl $stats {
            /// Every counter with its name, for metrics and reports.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        impl std::ops::Add for $stats {
            type Output = Self;

            /// The sum of both, counter by counter.
            fn add(self, other: Self) -> Self {
                Self { $($name: self.$name + other.$name,)* }
            }
        }
    };
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// The traffic of one end of the transport: one client's session, or all of a server's.
    TrafficCounters => TrafficStats {
        /// naia packets passed to the network.
        naia_packets_sent,
        /// naia packets passed to naia.
        naia_packets_received,
        /// Bytes of naia packets passed to the network.
        naia_bytes_sent,
        /// Bytes of naia packets received.
        naia_bytes_received,
        /// Lane datagrams passed to the network.
        lane_sent,
        /// Lane datagrams received.
        lane_received,
        /// Bytes of lane payloads passed to the network.
        lane_bytes_sent,
        /// Bytes of lane payloads received.
        lane_bytes_received,
        /// naia packets with data passed to the network, as frames of the stream.
        naia_frames_sent,
        /// naia packets with data received as frames of the stream.
        naia_frames_received,
        /// Stream frames passed to the network.
        frames_sent,
        /// Stream frames received.
        frames_received,
        /// Bytes of stream frames passed to the network.
        frame_bytes_sent,
        /// Bytes of stream frames received.
        frame_bytes_received,
        /// Calls of `flush` with something to send, for each network thread that had something.
        flushes,
        /// Lane payloads over the size limit, refused.
        lane_oversize,
        /// Lane datagrams dropped, the oldest first, because the outbound queue was full.
        lane_dropped_outbound,
        /// naia packets dropped, the oldest first, because the outbound queue was full.
        naia_dropped_outbound,
        /// Datagrams for which the network layer had no room: the peer or the path is too slow.
        datagrams_dropped_by_network,
        /// Datagrams that were too large for the path.
        datagrams_too_large,
        /// Datagrams dropped on arrival because the session's or the server's share was full.
        inbound_dropped,
        /// Datagrams and frames of players beyond their rates, dropped on arrival.
        over_rate,
        /// Stream frames refused because the outbound queue was full.
        frames_refused_full,
        /// Sessions closed because their peer did not read.
        closed_for_backlog,
        /// Sends to a session that is not (or no longer) open.
        sends_to_closed,
        /// Data that no honest peer sends: malformed, oversize, unexpected.
        violations,
        /// Of these, naia packets that the guard dropped.
        naia_packets_refused,
        /// Sessions closed for too many violations, or for a grave one.
        closed_for_violations,
    }
}

counters! {
    /// Connections at a server's door.
    AdmissionCounters => AdmissionStats {
        /// Connection attempts that reached the server.
        attempts,
        /// Attempts refused because too many were pending.
        refused_pending,
        /// Attempts refused because their network, or all together, had too many sessions.
        refused_sessions,
        /// Attempts not answered because their network starts too many handshakes.
        ignored_network_rate,
        /// Attempts not answered because all networks together start too many handshakes.
        ignored_total_rate,
        /// Attempts that had to validate their address first.
        retried,
        /// Attempts that failed before an auth request was read: TLS, HTTP/3, path, time.
        failed_handshake,
        /// Of these, connections from foreign pages, by the origin that the browser sends.
        refused_origin,
        /// Auth requests that were malformed.
        refused_malformed,
        /// Auth requests with another protocol version.
        refused_version,
        /// Auth requests for the other kind of listener.
        refused_kind,
        /// Auth requests passed to naia.
        auth_requests,
        /// Sessions that naia (the game) accepted.
        accepted,
        /// Sessions that naia (the game) rejected.
        rejected,
        /// Auth requests without a verdict in time.
        unanswered,
        /// Ended sessions, of all that had sent an auth request.
        ended,
    }
}

/// A server's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Sessions that are open now, or wait for a verdict.
    pub sessions: u64,
    /// The traffic of all sessions together.
    pub traffic: TrafficStats,
    /// How connections arrived and were refused.
    pub admission: AdmissionStats,
}

/// The counters of one endpoint of a server: a UDP port, and the network thread that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStats {
    /// The name of its thread, such as `player-net-0`.
    pub thread: String,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Sessions that are open there now, or wait for a verdict.
    pub sessions: usize,
    /// Their traffic.
    pub traffic: TrafficStats,
}

/// A client's counters: the traffic of its one session.
pub type ClientStats = TrafficStats;
