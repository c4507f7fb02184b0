//! Thin clients: the real connection, handshake and inputs of a player, without a game behind them.

pub mod link;
pub mod player;
