//! naia's transport for Sidereal: one encrypted WebTransport connection per peer with three channels, and an in-memory
//! network with seeded faults that behaves in the same way.
//!
//! * **naia packets**, which naia reads and writes through its `Socket` traits: the server's packets with data go on
//!   the stream, so that naia never has to resend them; heartbeats, pings and the handshake are datagrams;
//! * the **lane**: datagrams beside naia's, unreliable, newest wins, for motion and inputs;
//! * the **stream**: one reliable, ordered stream of frames with back-pressure: shards' control, players' messages and
//!   requests.
//!
//! Data that an application sends are only queued. [`ServerHandle::flush`] and [`ClientHandle::flush`] pass the whole
//! tick's output to the network at once, so that QUIC puts it into as few packets and system calls as possible.
//! Arriving data are queued too, within limits (see [`limits`]), and wake the main loop ([`Waker`]).
//!
//! The real network (`bind`, [`ClientNetwork`]) and `network::memory` provide the same handles. In the browser
//! [`ClientNetwork`] is the browser's own `WebTransport`, which feeds the same session queues and uses the same wire
//! format. Servers, certificates and the in-memory network are not built there.
//!
//! A session over the network in memory:
//!
//! ```
//! use naia_bevy_client::transport::Socket as _;
//! use naia_bevy_server::transport::Socket as _;
//! use sidereal_transport::network::memory::{LinkConditions, MemoryNetwork};
//! use sidereal_transport::{LinkStatus, PeerKind};
//!
//! let network = MemoryNetwork::new(7, LinkConditions { latency_ms: 40, ..LinkConditions::default() });
//! let (server, socket) = network.server(1);
//! let (verdicts, mut admitted, _, _) = Box::new(socket).listen();
//! let (client, socket) = network.connector(PeerKind::Player, 1);
//! let _naia = Box::new(socket).connect_with_auth(b"the ticket".to_vec());
//! for now_ms in (0..1_000).step_by(10) {
//!     network.advance(now_ms);
//!     if let Some((address, _, credential)) = server.poll_auth() {
//!         assert_eq!(&credential[..], b"the ticket");
//!         server.admit(&address);
//!     }
//!     if let Ok(Some((address, _))) = admitted.receive() {
//!         assert!(verdicts.accept(&address, &"token".to_owned()).is_ok());
//!     }
//!     client.flush();
//!     server.flush();
//! }
//! assert_eq!(client.status(), LinkStatus::Connected);
//! ```
//!
//! Not here: the meaning of the messages (`sidereal-protocol`), authentication (the server), interest.

#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(not(target_family = "wasm"))]
pub mod cert;
pub mod client;
#[cfg_attr(target_family = "wasm", allow(dead_code))]
mod error;
pub mod limits;
#[cfg_attr(target_family = "wasm", allow(dead_code))]
mod naia;
#[cfg(not(target_family = "wasm"))]
pub mod network;
#[cfg(not(target_family = "wasm"))]
pub mod server;
#[cfg_attr(target_family = "wasm", allow(dead_code))]
mod session;
#[cfg_attr(target_family = "wasm", allow(dead_code))]
pub mod stats;

#[cfg(not(target_family = "wasm"))]
pub use cert::{Identity, LiveCertificate, SELF_SIGNED_LIFETIME};
pub use client::{
    ClientHandle, ClientNetwork, ClientSocket, ConnectOptions, LinkStatus, SESSION_PATH, SinglePacketGate,
};
pub use error::{BindError, StreamError, TransportError};
pub use limits::{Limits, MAX_AUTH_BYTES, MAX_FRAME_BYTES, MAX_LANE_BYTES, MAX_PLAYER_FRAME_BYTES, Rate};
#[cfg(not(target_family = "wasm"))]
pub use server::{
    AllowedOrigins, LaneBatch, LanePeer, ListenerConfig, ServerConfig, ServerHandle, ServerSocket, SharedDatagrams,
    bind, network_of,
};
pub use session::ending::{EndCause, SessionEnd};
pub use session::waker::Waker;
pub use session::wire::{CERTIFICATES_DIFFER, VERSIONS_DIFFER};
pub use stats::{ClientStats, EndpointStats, ServerStats};

/// The kind of a peer. Each kind has a listener of its own, and a credential of one is refused by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerKind {
    /// A player's client (or a bot): limited in everything that it sends.
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
