//! How bodies move by themselves: who is at the helm, and what a tick of flight is.

pub(crate) mod drones;
pub mod inputs;
pub(crate) mod motion;
pub(crate) mod queue;
