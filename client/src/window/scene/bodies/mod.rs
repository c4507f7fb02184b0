//! Ships, drones, missiles, rocks, stations and crates.

pub(crate) mod damage_fx;
pub(crate) mod looks;
pub(crate) mod rocks;
pub(crate) mod ships;
mod stations;
mod warp;
