//! The stored row of an entity, and the fence that decides which of two writes is newer.

use uuid::Uuid;

/// Key of the world's tick in the database.
pub const META_TICK: &str = "sim_tick";
/// Key of the world's seed in the database.
pub const META_SEED: &str = "seed";

/// Maximum size of a record: far above any real one, far below what one transaction should hold.
pub const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;

/// The address of a sector.
pub type Sector = (i32, i32);

/// The stored state of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntity {
    /// The entity.
    pub id: Uuid,
    /// Its kind, by the protocol's number.
    pub kind: i16,
    /// Its owner: an owned entity is loaded with the account, not with its sector.
    pub owner: Option<Uuid>,
    /// Its logical sector.
    pub sector: Sector,
    /// The epoch of the lease under which it was written.
    pub epoch: i64,
    /// Its version within the epoch.
    pub version: i64,
    /// The simulation tick of the state.
    pub tick: i64,
    /// The encoded `EntityRecord`: any bytes, at most [`MAX_RECORD_BYTES`].
    pub record: Vec<u8>,
}

impl StoredEntity {
    /// The fence of this state.
    pub fn fence(&self) -> Fence {
        Fence { epoch: self.epoch, version: self.version, tick: self.tick, deleted: false }
    }
}

/// The order of an entity's writes: by epoch, then version, then tick; of two equal ones the deletion is later. A
/// write is rejected if the stored fence is greater, and applied if it is equal, so that repeating a batch is
/// harmless.
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

/// An entity's state or tombstone.
#[derive(Clone, Copy, Debug)]
pub(in crate::db) enum EntityRow<'a> {
    State(&'a StoredEntity),
    Tombstone(Uuid, Fence),
}

impl<'a> EntityRow<'a> {
    pub fn id(&self) -> Uuid {
        match self {
            Self::State(entity) => entity.id,
            Self::Tombstone(id, _) => *id,
        }
    }

    pub fn fence(&self) -> Fence {
        match self {
            Self::State(entity) => entity.fence(),
            Self::Tombstone(_, fence) => *fence,
        }
    }

    /// Kind, owner, sector and record. A tombstone has none, and leaves those of the row unchanged except for the
    /// record.
    pub fn content(&self) -> (i16, Option<&'a [u8]>, Sector, &'a [u8]) {
        match self {
            Self::State(entity) => {
                let owner = entity.owner.as_ref().map(|owner| owner.as_bytes().as_slice());
                (entity.kind, owner, entity.sector, &entity.record)
            }
            Self::Tombstone(..) => (0, None, (0, 0), &[]),
        }
    }
}

/// The columns of an entity's row, as the statements of both backends bind them.
pub(in crate::db) const COLUMNS: &str =
    "id, kind, owner, sector_x, sector_y, epoch, version, tick, record, deleted, updated_at";

/// On a conflict, the row changes unless it is newer by the order of [`Fence`].
pub(in crate::db) const ON_CONFLICT: &str = "\
    ON CONFLICT (id) DO UPDATE SET \
    kind = CASE WHEN excluded.deleted THEN entities.kind ELSE excluded.kind END, \
    owner = CASE WHEN excluded.deleted THEN entities.owner ELSE excluded.owner END, \
    sector_x = CASE WHEN excluded.deleted THEN entities.sector_x ELSE excluded.sector_x END, \
    sector_y = CASE WHEN excluded.deleted THEN entities.sector_y ELSE excluded.sector_y END, \
    epoch = excluded.epoch, version = excluded.version, tick = excluded.tick, record = excluded.record, \
    deleted = excluded.deleted, updated_at = excluded.updated_at \
    WHERE (excluded.epoch, excluded.version, excluded.tick, excluded.deleted) \
    >= (entities.epoch, entities.version, entities.tick, entities.deleted)";
