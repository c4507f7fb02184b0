//! What players write, and the feed of who destroyed whom.

pub(crate) mod chat;
pub(crate) mod kill_feed;
