//! The networks that sessions run over: a QUIC connection, or the in-memory network of the tests.

pub(crate) mod link;
pub mod memory;
pub(crate) mod path;
pub(crate) mod quic;
