//! Everything received from players and shards.

pub mod datagrams;
pub mod frames;
pub mod peers;
mod refusals;
