//! Writes changes to the database without blocking the ECS thread, and removes expired rows.

pub(in crate::db) mod batch;
#[cfg(test)]
mod batch_tests;
pub(in crate::db) mod prune;
pub(in crate::db) mod store;
pub(in crate::db) mod write_behind;
