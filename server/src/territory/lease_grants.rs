//! The leases, and the number of shards to wait for.

use super::leases::Leases;
use bevy::prelude::Resource;
use sidereal_protocol::world::{
    sector::BlockId,
    tick::{SimTick, TICK_HZ},
};

/// How long the first grant waits for the expected number of shards, ticks: 5 s.
const GATHER_TICKS: u64 = 5 * TICK_HZ as u64;

/// The blocks round the world's centre: new ships start there, so they are always leased.
const HOME: [BlockId; 4] =
    [BlockId { x: -1, y: -1 }, BlockId { x: -1, y: 0 }, BlockId { x: 0, y: -1 }, BlockId { x: 0, y: 0 }];

/// The leases, and the number of shards to wait for.
#[derive(Debug, Resource)]
pub struct LeaseGrants {
    /// The state machine.
    pub table: Leases,
    /// Blocks were granted since the views were last updated.
    pub granted: bool,
    expected_shards: usize,
    gathered: bool,
}

impl LeaseGrants {
    /// No lease is granted before `expected_shards` have connected, or five seconds have passed.
    pub fn new(expected_shards: usize) -> Self {
        let mut table = Leases::default();
        for block in HOME {
            table.want(block);
        }
        Self { table, granted: false, expected_shards, gathered: false }
    }

    /// Whether all expected shards have connected or the time has passed; once true, it stays so.
    pub fn gather(&mut self, started: SimTick, now: SimTick) -> bool {
        let shards = self.table.shard_count();
        self.gathered |= shards > 0 && (shards >= self.expected_shards || now.since(started) >= GATHER_TICKS);
        self.gathered
    }

    /// Whether the blocks round the centre are simulated, so that players can start.
    pub fn home_is_live(&self) -> bool {
        HOME.iter().all(|block| self.table.blocks_live(*block))
    }
}

impl Leases {
    /// Whether the block is simulated.
    fn blocks_live(&self, block: BlockId) -> bool {
        block.sectors().next().is_some_and(|sector| self.holder(sector).is_some())
    }
}
