//! The ECS side of persistence: passes changes to the write-behind store and requests reads. It never waits.

use crate::db::{Admission, Change, Store, StoreReply, StoredEntity};
use bevy::prelude::Resource;
use sidereal_process::log_limited;
use sidereal_protocol::{
    record::{EntityKind, EntityRecord, OreLoad, Pilot},
    rules::economy::DealKey,
    world::{
        ids::{AccountId, EntityId, NetId},
        sector::{BlockId, SectorId},
        tick::SimTick,
    },
};
use std::collections::HashMap;

/// Access to the database.
#[derive(Resource)]
pub struct Storage {
    store: Option<Store>,
    /// The seed of unvisited sectors. It leaves this process only in the form that [`crate::territory::seeds`] makes.
    pub world_seed: u64,
    next_token: u64,
    pub(super) blocks: HashMap<u64, BlockId>,
    /// The accounts whose ships were requested, until the reply.
    pub(super) ships: HashMap<u64, AccountId>,
    /// Rows that this build cannot read; they stay unchanged in the database.
    pub unreadable: u64,
}

impl Storage {
    /// Wraps a running store.
    pub fn new(store: Store, world_seed: u64) -> Self {
        Self {
            store: Some(store),
            world_seed,
            next_token: 0,
            blocks: HashMap::new(),
            ships: HashMap::new(),
            unreadable: 0,
        }
    }

    pub(super) fn poll(&mut self) -> Option<StoreReply> {
        self.store.as_ref()?.poll()
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// Removes the store, for the final flush.
    pub fn take(&mut self) -> Option<Store> {
        self.store.take()
    }

    /// The running store.
    pub fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Requests a block's entities.
    pub fn request_block(&mut self, block: BlockId) {
        let token = self.token();
        self.blocks.insert(token, block);
        if let Some(store) = &self.store {
            store.request_sectors(token, block.sectors().map(|s| (s.x, s.y)).collect());
        }
    }

    /// Requests an account's ship; the reply contains the returned token.
    pub fn request_ship(&mut self, account: AccountId) -> u64 {
        let token = self.token();
        self.ships.insert(token, account);
        if let Some(store) = &self.store {
            store.request_ship(token, account.0);
        }
        token
    }

    /// The number of unanswered reads.
    pub fn reads(&self) -> usize {
        self.blocks.len() + self.ships.len()
    }

    /// Passes a record to the store; false while too much waits for the database.
    pub fn put(&self, record: &EntityRecord) -> bool {
        let Some(store) = &self.store else { return false };
        match row_of(record) {
            Some(row) => store.put(row) != Admission::Full,
            None => true,
        }
    }

    /// Looks up a deal by its key; the reply contains the returned token.
    pub fn request_deal(&mut self, key: DealKey) -> u64 {
        let token = self.token();
        if let Some(store) = &self.store {
            store.request_deal(token, key.0);
        }
        token
    }

    /// Stores the newest record of an owned entity now, not with the next flush.
    pub fn put_now(&self, record: &EntityRecord) {
        if let (Some(store), Some(row)) = (&self.store, row_of(record)) {
            store.link(Change::Put(row), true);
        }
    }

    /// Stores a tombstone.
    pub fn tombstone(&self, gone: &EntityRecord, (epoch, version): (u64, u64), tick: SimTick) {
        if let Some(store) = self.store.as_ref().filter(|_| is_stored(gone)) {
            store.tombstone(gone.id.0, signed(epoch), signed(version), signed(tick.0));
        }
    }

    /// Marks a sector as generated after all its entities were put: the store keeps the order, so that a process
    /// killed in between leaves no sector empty for good.
    pub fn mark_generated(&self, sector: SectorId, tick: SimTick) {
        if let Some(store) = &self.store {
            store.mark_generated((sector.x, sector.y), signed(tick.0));
        }
    }

    /// Links a ship to an account.
    pub fn set_ship(&self, account: AccountId, ship: EntityId) {
        if let Some(store) = &self.store {
            store.set_ship(account.0, ship.0);
        }
    }
}

impl Storage {
    /// The record of a row; `None` if this build cannot read it.
    pub(super) fn readable(&mut self, row: &StoredEntity) -> Option<EntityRecord> {
        match EntityRecord::decode(&row.record) {
            Ok(record) if record.id.0 == row.id => Some(record),
            Ok(_) => {
                self.unreadable_row(row, "it names another entity");
                None
            }
            Err(problem) => {
                self.unreadable_row(row, &problem.to_string());
                None
            }
        }
    }

    /// The record of a player's ship; `None` if this build cannot read it, or if it is not one of a ship.
    pub(super) fn readable_ship(&mut self, row: &StoredEntity) -> Option<EntityRecord> {
        let record = self.readable(row)?;
        if record.kind == EntityKind::Ship {
            return Some(record);
        }
        self.unreadable_row(row, "an account's ship is of another kind");
        None
    }

    fn unreadable_row(&mut self, row: &StoredEntity, problem: &str) {
        log_limited!(warn, id = %row.id, %problem, "a stored record cannot be read; it stays in the database");
        self.unreadable += 1;
    }
}

/// The row of a record, without the fields that are stored elsewhere or not at all: its pilot, its compact id, its
/// ore.
pub fn row_of(record: &EntityRecord) -> Option<StoredEntity> {
    let mut stored = EntityRecord { net_id: NetId(0), ..record.clone() };
    stored.remove::<Pilot>();
    stored.remove::<OreLoad>();
    match stored.encode() {
        Ok(bytes) => Some(StoredEntity {
            id: record.id.0,
            kind: i16::from(record.kind as u8),
            owner: record.owner.map(|owner| owner.0),
            sector: (record.sector.x, record.sector.y),
            epoch: signed(record.epoch),
            version: signed(record.version),
            tick: signed(record.tick.0),
            record: bytes,
        }),
        Err(problem) => {
            log_limited!(error, id = %record.id, %problem, "record is not stored");
            None
        }
    }
}

/// Whether an entity is stored.
pub fn is_stored(record: &EntityRecord) -> bool {
    record.kind.spec().is_stored
}

/// Counters fit: 2^63 ticks are 10^10 years.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
