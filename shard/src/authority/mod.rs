//! What this shard is the authority of: its leases, the server's control frames, and what it publishes.

pub(crate) mod borders;
pub(crate) mod census;
pub(crate) mod control;
pub mod drain;
pub mod leases;
pub(crate) mod publish;
pub(crate) mod replication;
pub(crate) mod withdrawal;
