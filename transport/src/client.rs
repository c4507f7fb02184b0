//! A client's end: the handles for naia and for the game, and the native network. Runs in shards, bots and
//! native players' clients.
//!
//! A browser client will come as a module `client_web` that gives out the same [`ClientHandle`] and
//! [`ClientSocket`] over the browser's own `WebTransport`.

mod handle;
mod network;
mod valve;

pub use handle::{ClientHandle, ClientSocket, LinkStatus};
pub use network::{ClientNetwork, ConnectOptions};
pub use valve::Valve;

pub(crate) use handle::{Backend, Core};

/// Path of the WebTransport session. A server answers 404 to every other.
pub const SESSION_PATH: &str = "/sidereal";
