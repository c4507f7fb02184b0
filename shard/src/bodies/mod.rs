//! What stands for an entity on this shard: own bodies and ghosts, their past, and how they are found.

pub(crate) mod body;
pub mod ghosts;
pub mod past;
pub mod registry;
pub(crate) mod spawn;

pub use body::{Body, Flight, Hands, Helm, Owned, Planned, View, collider, is_clear};
pub use spawn::{insert_owned, own_body, owned_epoch, record, record_of, remove, set_state, spawn_owned};
