//! The session with the server: from the ticket to the ship, how it ends, and how another one replaces it.
//!
//! `link` contains the session, `news` sends and receives frames of its stream, `lane_reader` reads its lane, `flow`
//! advances it, and `player` goes through several. Runs in the player client and in bots.

pub(crate) mod flow;
pub mod lane_reader;
pub(crate) mod link;
pub mod news;
pub mod player;
pub(crate) mod pump;
pub mod reconnect;
pub mod stats;

pub use flow::{JOIN_DEADLINE_S, close, update};
pub use link::{Session, SessionState};
