//! Bots: many players in one process, for load, for acceptance runs, and for company.
//!
//! Each bot is the whole player client without a window: it logs in, connects, flies by its own
//! inputs and is told what a player is told. So what a bot counts is what a player would have felt.
//! This crate owns their pilots ([`brain`], [`trader`]), their common life ([`fleet`]) and the account of it
//! ([`report`]).

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
