//! The shard's side of a handoff.
//!
//! | file | what |
//! |---|---|
//! | `machine` | the decisions: a state machine without I/O |
//! | `effects` | their effects on the world |
//! | `adoptions` | the answer to a commit, and its figure |

pub(crate) mod adoptions;
pub(crate) mod effects;
pub(crate) mod machine;

#[cfg(feature = "planted-faults")]
pub use machine::Planted;
pub use machine::{
    ASK_AGAIN_TICKS, Action, BOUNCE_TICKS, Event, FENCE_TICKS, Handoffs, MAX_HELD_IMPACTS, SETTLE_TICKS,
};
