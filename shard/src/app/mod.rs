//! The process around the simulation: configuration, sessions, ticks, counters, and what is being done at the moment.

pub mod clock;
pub mod config;
#[cfg(feature = "planted-faults")]
pub mod poison;
pub mod report;
pub mod session;
pub mod suspect;
pub mod ticks;
