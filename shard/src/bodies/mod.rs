//! The bodies of entities on this shard: own ones and ghosts, their past states, and their registry.

pub(crate) mod authority;
pub(crate) mod body;
pub mod ghosts;
pub(crate) mod grid;
pub(crate) mod parts;
pub mod past;
pub mod registry;
pub(crate) mod spawn;

pub use authority::Authority;
pub use body::{Body, Flight, Helm, Planned, View, collider, is_clear};
pub use spawn::{owned_epoch, record, record_of, remove, set_state, spawn_owned};
