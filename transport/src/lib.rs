//! naia's transport for Sidereal: one encrypted WebTransport connection per peer, with three ways through
//! it, and an in-memory network with seeded faults that behaves alike.
//!
//! * **naia packets**, which naia reads and writes through its `Socket` traits: those of the server with data go on the
//!   stream, so that naia never has to send them again; heartbeats, pings and the handshake are datagrams;
//! * the **lane**: datagrams beside naia's, unreliable, newest wins, for motion and inputs;
//! * the **stream**: one reliable, ordered, back-pressured stream of frames: shards' control, players' news and requests.
//!
//! What an application sends is only queued; [`ServerHandle::flush`] and [`ClientHandle::flush`] hand the
//! whole tick's output over at once, so that QUIC puts it into as few packets and system calls as it can.
//! What arrives is queued too, within limits (see [`limits`]), and wakes the main loop ([`Waker`]).
//!
//! The same handles come from the real network (`bind`, [`ClientNetwork`]) and from `memory`. In the browser
//! [`ClientNetwork`] is the browser's own `WebTransport`, which feeds the same session queues and speaks the same
//! wire; servers, certificates and the network in memory are not built there.
//!
//! Not here: what the messages mean (`sidereal-protocol`), who may come in (the server's auth), interest.

#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg_attr(target_family = "wasm", allow(dead_code))]
mod acks;
#[cfg_attr(target_family = "wasm", allow(dead_code))]
mod bits;
#[cfg(not(target_family = "wasm"))]
pub mod cert;
pub mod client;
#[cfg_attr(target_family = "wasm", allow(dead_code))]
mod ending;
#[cfg_attr(target_family = "wasm", allow(dead_code))]
mod error;
// Only a server calls it.
#[cfg_attr(target_family = "wasm", allow(dead_code))]
mod guard;
#[cfg_attr(target_family = "wasm", allow(dead_code))]
mod hub;
pub mod limits;
#[cfg(not(target_family = "wasm"))]
mod link;
#[cfg(not(target_family = "wasm"))]
pub mod memory;
#[cfg(not(target_family = "wasm"))]
mod quic;
#[cfg_attr(target_family = "wasm", allow(dead_code))]
mod rate;
#[cfg(not(target_family = "wasm"))]
pub mod server;
#[cfg_attr(target_family = "wasm", allow(dead_code))]
mod session;
#[cfg_attr(target_family = "wasm", allow(dead_code))]
pub mod stats;
mod waker;
#[cfg_attr(target_family = "wasm", allow(dead_code))]
mod wire;

#[cfg(not(target_family = "wasm"))]
pub use cert::{Identity, LiveCertificate, SELF_SIGNED_LIFETIME};
pub use client::{ClientHandle, ClientNetwork, ClientSocket, ConnectOptions, LinkStatus, SESSION_PATH, Valve};
pub use ending::{EndCause, SessionEnd};
pub use error::{BindError, StreamError, TransportError};
pub use limits::{Limits, MAX_AUTH_BYTES, MAX_FRAME_BYTES, MAX_LANE_BYTES, MAX_PLAYER_FRAME_BYTES, Rate};
#[cfg(not(target_family = "wasm"))]
pub use server::{AllowedOrigins, ListenerConfig, ServerConfig, ServerHandle, ServerSocket, bind, network_of};
pub use stats::{ClientStats, ServerStats};
pub use waker::Waker;
pub use wire::{CERTIFICATES_DIFFER, VERSIONS_DIFFER};

/// What a peer is. Each kind has a listener of its own, and a credential of one is refused on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerKind {
    /// A player's client (or a bot): bounded in all that it sends.
    Player,
    /// A shard: trusted with more.
    Shard,
}

impl PeerKind {
    pub(crate) fn to_wire(self) -> u8 {
        match self {
            Self::Player => 0,
            Self::Shard => 1,
        }
    }

    pub(crate) fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Player),
            1 => Some(Self::Shard),
            _ => None,
        }
    }
}

impl std::fmt::Display for PeerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Player => "player",
            Self::Shard => "shard",
        })
    }
}
