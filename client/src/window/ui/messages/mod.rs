//! The chat and the kill feed.

pub(crate) mod chat;
pub(crate) mod kill_feed;
