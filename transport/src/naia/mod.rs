//! What protects naia, which assumes well-behaved peers: its packets are checked before it reads them, and the transport
//! acknowledges them instead of the peers.

pub(crate) mod acks;
pub(crate) mod bits;
// Only a server calls it.
pub(crate) mod guard;
