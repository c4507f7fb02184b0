//! A connection of either backend, and the code of one backend only.

pub(in crate::db) mod conn;
#[cfg(feature = "postgres")]
pub(in crate::db) mod postgres;
pub(in crate::db) mod sqlite;
