//! The server's end: listeners, sessions, and the handles for naia and for the game. Runs in the
//! replication server.

pub(crate) mod batch;
mod core;
mod door;
mod handle;
mod naia;
mod net;
mod origin;

use std::net::SocketAddr;

pub use batch::{LaneBatch, LanePeer, SharedDatagrams};
pub use door::network_of;
pub use handle::ServerHandle;
pub use naia::ServerSocket;
pub use origin::AllowedOrigins;

pub(crate) use self::core::{Backend, Core};
pub(crate) use registry::Registry;

mod registry;

use crate::PeerKind;
use crate::cert::{Identity, LiveCertificate};
use crate::error::TransportError;
use crate::limits::Limits;

/// One address that peers of one kind connect to.
#[derive(Clone, Copy, Debug)]
pub struct ListenerConfig {
    /// The kind of peers that it accepts.
    pub kind: PeerKind,
    /// The address to listen on; port 0 takes any free port ([`ServerHandle::local_addr`] returns it).
    pub addr: SocketAddr,
}

/// The configuration of a server.
#[derive(Debug)]
pub struct ServerConfig {
    /// The listeners: any number for players, each with a network thread of its own, and at most one for shards. The
    /// limits hold over all of them together.
    pub listeners: Vec<ListenerConfig>,
    /// The certificate of all listeners, as long as they run.
    pub identity: Identity,
    /// The certificate of the players' listeners instead, if any.
    pub player_certificate: Option<LiveCertificate>,
    /// The pages from which players' browsers may connect.
    pub allowed_origins: AllowedOrigins,
    /// Clients with another version are refused.
    pub protocol_version: u32,
    /// Limits; the defaults suit a public server.
    pub limits: Limits,
}

/// Binds all listeners and starts a network thread for each.
///
/// # Errors
/// When a listener cannot be bound (the text names it, its address and the remedy), or the certificate does not fit its
/// key.
pub fn bind(config: ServerConfig) -> Result<(ServerHandle, ServerSocket), TransportError> {
    net::bind(config).map(handle::pair)
}
