//! The link to the server, and the queues between it and the simulation.

pub mod mailbox;
pub(crate) mod naia;

pub use naia::{LinkPlugin, LinkState, Transport, update};
