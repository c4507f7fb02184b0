//! What bodies do to each other: collisions, what was felt of them, what hits cost.

pub(crate) mod avian;
pub(crate) mod contacts;
pub mod damage;
pub mod impacts;
