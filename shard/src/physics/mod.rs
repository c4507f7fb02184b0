//! What bodies do to each other: collisions, impacts, damage.

pub(crate) mod avian;
pub(crate) mod contacts;
pub mod damage;
pub mod impacts;
pub(crate) mod rest;
