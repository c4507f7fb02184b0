//! The shapes, each a mesh that is built with code once.

pub(crate) mod asteroid_meshes;
pub(crate) mod dice;
mod glyphs;
pub(crate) mod hulls;
mod shape_builder;
pub(crate) mod shapes;
mod structures;
