//! Frames of the reliable stream: control of shards, players' messages and requests, credentials.

pub mod chat;
pub mod control;
pub mod messages;
pub mod secret;
