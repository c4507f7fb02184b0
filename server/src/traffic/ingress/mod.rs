//! Where everything from players and shards comes in.

pub mod datagrams;
pub mod frames;
pub mod peers;
mod refusals;
