//! The whole mesh in one process: real Apps of server, shards and clients over the in-memory network,
//! stepped tick by tick under naia's test clock.
//!
//! [`cluster::Cluster`] is the harness. It needs the feature `test-clock`, which replaces naia's clock in everything
//! that is built in the same cargo call: call cargo for this package alone.

#[cfg(feature = "test-clock")]
pub mod arena;
#[cfg(feature = "test-clock")]
pub mod checker;
#[cfg(feature = "test-clock")]
pub mod cluster;
#[cfg(feature = "test-clock")]
pub mod model;
#[cfg(feature = "test-clock")]
pub mod pendulum;
