//! What this shard is the authority of: its sectors, what the server asks of it, what it tells the server.

pub(crate) mod borders;
pub(crate) mod census;
pub(crate) mod control;
pub mod drain;
pub mod leases;
pub(crate) mod publish;
pub(crate) mod replication;
pub(crate) mod withdrawal;
