//! What ships fire: when each weapon is ready, the bullets and beams to draw, and the target of the tractor beam.

pub mod arms;
pub mod beams;
pub mod shots;
pub mod tractor;
