//! The session with the server: from the ticket to the ship, and how it ends.
//!
//! `link` contains the session, `news` sends and receives frames of its stream, `flow` advances it. Runs in the player
//! client and in bots.

pub(crate) mod flow;
pub(crate) mod link;
pub mod news;

pub use flow::{JOIN_DEADLINE_S, close, update};
pub use link::{Session, SessionState};
