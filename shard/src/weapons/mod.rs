//! Weapons, one per file, and the geometry of their shots.

pub mod beams;
pub mod bullets;
pub(crate) mod field;
pub(crate) mod missiles;
pub(crate) mod shot_path;
pub(crate) mod tractor;
pub(crate) mod warhead;
