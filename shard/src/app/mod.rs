//! The process around the simulation: configuration, sessions, ticks, counters, and the entity in work.

pub mod clock;
pub mod config;
#[cfg(feature = "planted-faults")]
pub mod poison;
pub mod report;
pub mod session;
pub mod suspect;
pub mod ticks;
