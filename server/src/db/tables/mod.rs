//! The tables, their rows, and what texts in them may be.

pub(in crate::db) mod rows;
pub(in crate::db) mod schema;
pub(in crate::db) mod text;
