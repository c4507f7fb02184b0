//! What changes goes into the database without anybody waiting for it, and what is over goes.

pub(in crate::db) mod batch;
#[cfg(test)]
mod batch_tests;
pub(in crate::db) mod prune;
pub(in crate::db) mod store;
pub(in crate::db) mod write_behind;
