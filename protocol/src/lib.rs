//! What crosses the wire between Sidereal's processes, and what both ends must compute in the same way.
//!
//! Every process uses this crate: the replication server, the shards, clients and bots. It owns the basic types
//! (sectors, ticks, ids, limits), naia's components, the packed datagrams of the lane (motion, own states, inputs), the
//! frames of shards and players, the [`record::EntityRecord`], and the pure flight model. It does no I/O and keeps no
//! state between calls. When a packet is sent is decided elsewhere.
//!
//! All decoded bytes come from another process: decoders never panic, whatever the bytes, and reject values out of
//! range with a [`DecodeError`].

pub mod components;
pub mod frames;
pub mod limits;
pub mod packets;
pub mod record;
pub mod rules;
pub mod schema;
pub mod world;

pub use bevy::math::DVec2;

/// Why bytes from another process were rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes ended before the value did.
    #[error("truncated: the bytes ended before the value did")]
    Truncated,
    /// A value is outside what its field allows.
    #[error("field `{0}` is out of range")]
    OutOfRange(&'static str),
    /// The first byte is not a kind that this build supports.
    #[error("unknown kind {0}")]
    UnknownKind(u8),
    /// A record has a section whose version this build does not support.
    #[error("version {version} of section `{section}` is not supported")]
    UnknownSectionVersion {
        /// The name of the section.
        section: &'static str,
        /// Its version.
        version: u8,
    },
    /// The bytes are longer than the limit for their kind.
    #[error("{len} bytes exceed the limit of {limit}")]
    TooLong {
        /// Length found, bytes.
        len: usize,
        /// Length allowed, bytes.
        limit: usize,
    },
    /// The serializer rejected the bytes.
    #[error("malformed: {0}")]
    Malformed(String),
}
