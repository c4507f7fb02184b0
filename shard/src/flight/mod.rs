//! How bodies move by themselves: their controls, and a tick of flight.

pub(crate) mod drones;
pub mod inputs;
pub(crate) mod motion;
pub(crate) mod queue;
