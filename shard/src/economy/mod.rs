//! Ore, crates, deals at stations, and what replaces the lost.

pub(crate) mod cargo;
pub(crate) mod crates;
pub mod docking;
pub(crate) mod mining;
pub(crate) mod shelter;
pub mod spawner;
