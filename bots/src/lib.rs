//! Bots: many players in one process, for load, for acceptance runs, and as company.
//!
//! Each bot is a complete player client without a window: it logs in, connects, flies by its own inputs and receives
//! what a player receives. So its counters are those that a player would have. This crate contains their pilots
//! ([`brain`], [`trader`]), the run of a fleet ([`fleet`]) and its report ([`report`]).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod brain;
pub mod crew;
pub mod dealer;
pub mod fleet;
mod flying;
pub mod journal;
pub mod report;
pub mod trader;

pub use fleet::{BotsConfig, Occupation, run};
pub use report::BotsReport;
