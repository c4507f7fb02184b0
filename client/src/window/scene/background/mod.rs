//! The background: the sky and the sector grid.

pub(crate) mod grid;
pub(crate) mod sky;
