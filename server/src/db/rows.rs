//! What is stored of an entity, and the fence that decides which of two writes is the newer one.

use uuid::Uuid;

/// The address of a sector.
pub type Sector = (i32, i32);

/// The stored state of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntity {
    /// The entity.
    pub id: Uuid,
    /// What it is, by the protocol's number.
    pub kind: i16,
    /// The account that it belongs to: it is loaded with that account, not with its sector.
    pub owner: Option<Uuid>,
    /// Its logical sector.
    pub sector: Sector,
    /// The epoch of the lease under which it was written.
    pub epoch: i64,
    /// Its version within the epoch.
    pub version: i64,
    /// The simulation tick of the state.
    pub tick: i64,
    /// The encoded `EntityRecord`: any bytes, at most [`MAX_RECORD_BYTES`](super::MAX_RECORD_BYTES).
    pub record: Vec<u8>,
}

impl StoredEntity {
    /// The fence of this state.
    pub fn fence(&self) -> Fence {
        Fence { epoch: self.epoch, version: self.version, tick: self.tick, deleted: false }
    }
}

/// Orders the writes of one entity: by epoch, then version, then tick; of two that are equal in these, the deletion
/// is the later one. A write loses against a stored fence that is greater, and wins against an equal one, so that
/// writing the same batch twice is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence {
    /// The epoch of the lease under which it was written.
    pub epoch: i64,
    /// The version within the epoch.
    pub version: i64,
    /// The simulation tick.
    pub tick: i64,
    /// Whether the entity is gone.
    pub deleted: bool,
}
