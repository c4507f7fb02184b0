//! Counters of what went through the transport and of what it refused. Runs in every process.
//!
//! Counters only grow. They say what happened to whom in total; who it was stands in the log.

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
    /// What went through one end of the transport: one client's session, or all of a server's.
    TrafficCounters => TrafficStats {
        /// naia packets handed to the network.
        naia_packets_sent,
        /// naia packets handed to naia.
        naia_packets_received,
        /// Bytes of naia packets handed to the network.
        naia_bytes_sent,
        /// Bytes of naia packets received.
        naia_bytes_received,
        /// Lane datagrams handed to the network.
        lane_sent,
        /// Lane datagrams received.
        lane_received,
        /// Bytes of lane payloads handed to the network.
        lane_bytes_sent,
        /// Bytes of lane payloads received.
        lane_bytes_received,
        /// naia packets with data handed to the network, as frames of the stream.
        naia_frames_sent,
        /// naia packets with data received as frames of the stream.
        naia_frames_received,
        /// Stream frames handed to the network.
        frames_sent,
        /// Stream frames received.
        frames_received,
        /// Bytes of stream frames handed to the network.
        frame_bytes_sent,
        /// Bytes of stream frames received.
        frame_bytes_received,
        /// Calls of `flush` that had something to send, for each network thread that had.
        flushes,
        /// Lane payloads over the size limit, refused.
        lane_oversize,
        /// Lane datagrams dropped, the oldest first, because the outbound queue was full.
        lane_dropped_outbound,
        /// naia packets dropped, the oldest first, because the outbound queue was full.
        naia_dropped_outbound,
        /// Datagrams that the network layer had no room for: the peer or the path is too slow.
        datagrams_dropped_by_network,
        /// Datagrams that the path was too narrow for.
        datagrams_too_large,
        /// Datagrams dropped on arrival because the session's or the server's share was full.
        inbound_dropped,
        /// Datagrams and frames of players beyond their rates, dropped on arrival.
        over_rate,
        /// Stream frames refused because the outbound queue was full.
        frames_refused_full,
        /// Sessions closed because their peer did not read what it was sent.
        closed_for_backlog,
        /// Sends to a session that is not open (any more).
        sends_to_closed,
        /// What no honest peer sends: malformed, oversize, unexpected.
        violations,
        /// Those of them that were naia packets kept from naia.
        naia_packets_refused,
        /// Sessions closed for too many violations, or one that is too grave.
        closed_for_violations,
    }
}

counters! {
    /// How a server's door was used.
    AdmissionCounters => AdmissionStats {
        /// Connection attempts that reached the server.
        attempts,
        /// Attempts turned away because too many were pending.
        refused_pending,
        /// Attempts turned away because their network, or all together, had too many sessions.
        refused_sessions,
        /// Attempts left without an answer because their network starts too many handshakes.
        ignored_network_rate,
        /// Attempts left without an answer because all networks together start too many handshakes.
        ignored_total_rate,
        /// Attempts that were told to prove their address first.
        retried,
        /// Attempts that failed before an auth request was read: TLS, HTTP/3, path, time.
        failed_handshake,
        /// Those of them that came from pages of others, by their browsers' word.
        refused_origin,
        /// Auth requests that were malformed.
        refused_malformed,
        /// Auth requests with another protocol version.
        refused_version,
        /// Auth requests for the other kind of listener.
        refused_kind,
        /// Auth requests handed to naia.
        auth_requests,
        /// Sessions that naia (the game) accepted.
        accepted,
        /// Sessions that naia (the game) rejected.
        rejected,
        /// Auth requests on which no verdict came in time.
        unanswered,
        /// Sessions that ended, of all that got as far as an auth request.
        ended,
    }
}

/// A server's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Sessions that are open now, or wait for a verdict.
    pub sessions: u64,
    /// What went through all sessions together.
    pub traffic: TrafficStats,
    /// How connections came and were turned away.
    pub admission: AdmissionStats,
}

/// A client's counters: what went through its one session.
pub type ClientStats = TrafficStats;
