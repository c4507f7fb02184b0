//! The world as the server sends it: the entities in view, where and at which moment each is drawn, and the view
//! that is composed of all this.

pub mod clock;
pub(crate) mod compose;
pub mod interpolation;
pub mod remote_entities;
pub mod smoothing;
