//! The tables, their rows, and the limits of texts in them.

pub(in crate::db) mod rows;
pub(in crate::db) mod schema;
pub(in crate::db) mod text;
