//! Marks over the picture: crosshair, names, bars and the map.

mod aim;
pub(crate) mod crosshair;
pub(crate) mod marks;
pub(crate) mod minimap;
