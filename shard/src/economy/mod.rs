//! Ore, crates, deals, and the replacement of destroyed drones and rocks.

pub(crate) mod cargo;
pub(crate) mod crates;
pub mod docking;
pub(crate) mod mining;
pub(crate) mod ship_locks;
pub mod spawner;
