//! A connection of whichever backend, and everything that only one of them needs.

pub(in crate::db) mod conn;
#[cfg(feature = "postgres")]
pub(in crate::db) mod postgres;
pub(in crate::db) mod sqlite;
