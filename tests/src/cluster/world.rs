//! The initial state of a mesh.

use super::PERFECT;
use sidereal_protocol::{
    record::EntityRecord,
    world::{
        sector::{BlockId, SectorId},
        tick::SimTick,
    },
};
use sidereal_server::{
    db::{Account, Database, Store, StoreConfig},
    persistence::storage::Storage,
};
use sidereal_transport::{Limits, network::memory::LinkConditions};
use std::time::Duration;
use uuid::Uuid;

/// The store's threads use the real clock, a test does not: here they write only on the harness's request, as often in
/// the test's time as the default would.
pub(super) const STORE: StoreConfig = StoreConfig { flush_interval_ms: 1 << 40, dirty_limit: 200_000, batch: 500 };

/// How often the harness lets the store write, ticks: half a second.
pub(super) const FLUSH_TICKS: u64 = 15;

/// Seed of the generated world: one with an empty lane along the row of sectors that tests fly.
pub(super) const WORLD_SEED: u64 = 98;

/// The initial state of a mesh.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Everything random follows from it; every failure prints it.
    pub seed: u64,
    /// Of every link.
    pub conditions: LinkConditions,
    /// How many shards there are, all of which are waited for.
    pub shards: usize,
    /// The idle timeout of links.
    pub idle_timeout: Duration,
    /// Whether a shard's session may panic (naia panics when a retransmission brings a spawn and its despawn together)
    /// and be followed by another one, as in the program; otherwise it is a violation.
    pub sessions_may_fail: bool,
    /// The entities in the blocks around the centre; `None` for those that the world's seed generates.
    pub home: Option<Vec<EntityRecord>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 0,
            conditions: PERFECT,
            shards: 2,
            idle_timeout: Limits::default().idle_timeout,
            sessions_may_fail: false,
            home: None,
        }
    }
}

impl Setup {
    pub(super) fn limits(&self) -> Limits {
        Limits { idle_timeout: self.idle_timeout, ..Limits::default() }
    }

    /// An in-memory database with the entities of `home`.
    pub(super) fn database(&self) -> Database {
        let database = Database::open(":memory:").expect("a database in memory");
        let Some(records) = &self.home else { return database };
        let mut storage = Storage::new(Store::start(database.clone(), STORE), WORLD_SEED);
        for record in records {
            assert!(storage.put(record), "the store takes everything");
        }
        for sector in home_sectors() {
            storage.mark_generated(sector, SimTick(0));
        }
        let store = storage.take().expect("it was put in above");
        store.flush_and_stop(Duration::from_secs(60)).expect("a database in memory takes everything");
        database
    }
}

/// The sectors of the four blocks around the centre.
pub fn home_sectors() -> impl Iterator<Item = SectorId> {
    [(-1, -1), (-1, 0), (0, -1), (0, 0)].into_iter().flat_map(|(x, y)| BlockId { x, y }.sectors())
}

/// The account of a player: the same in every run, so that the ship is the same as well.
pub(super) fn account(name: &str) -> Account {
    let id = name.bytes().fold(0, |id: u128, byte| id.wrapping_mul(0x0100_0000_01b3).wrapping_add(u128::from(byte)));
    Account { id: Uuid::from_u128(id), name: name.to_owned(), password_hash: "-".to_owned(), ship_id: None }
}
