//! A client's end: the handles for naia and for the game, and the network behind them. Runs in shards, bots and
//! players' clients; in the browser the network is the browser's own `WebTransport`.

mod handle;
#[cfg(not(target_family = "wasm"))]
mod network;
mod opening;
mod valve;
#[cfg(target_family = "wasm")]
mod web;

pub use handle::{ClientHandle, ClientSocket, LinkStatus};
#[cfg(not(target_family = "wasm"))]
pub use network::{ClientNetwork, ConnectOptions};
pub use valve::SinglePacketGate;
#[cfg(target_family = "wasm")]
pub use web::{ClientNetwork, ConnectOptions};

#[cfg(not(target_family = "wasm"))]
pub(crate) use handle::{Backend, Core};

/// Path of the WebTransport session. A server answers 404 to any other.
pub const SESSION_PATH: &str = "/sidereal";
