//! What this shard is: its sectors, its id, its numbers to give out.
//!
//! Runs in the shard. Told by the server in `Welcome` and `Grant`; nothing here survives a connection.

use bevy::prelude::*;
use sidereal_protocol::{
    control::Lease,
    ids::{NetId, NetIdBlock, ShardId},
    sector::SectorId,
};
use std::collections::{BTreeMap, VecDeque};

/// Leases and numbers.
pub(crate) struct LeasesPlugin;

impl Plugin for LeasesPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Leases>().init_resource::<NetIds>();
    }
}

/// The sectors that are this shard's.
#[derive(Resource, Debug, Default)]
pub struct Leases(BTreeMap<SectorId, u64>);

impl Leases {
    /// Takes a lease; one of an older epoch changes nothing.
    pub fn take(&mut self, lease: Lease) {
        let epoch = self.0.entry(lease.sector).or_insert(lease.epoch);
        *epoch = (*epoch).max(lease.epoch);
    }

    /// Whether `sector` is this shard's.
    pub fn holds(&self, sector: SectorId) -> bool {
        self.0.contains_key(&sector)
    }

    /// How many sectors there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the server said in its welcome.
#[derive(Resource, Debug, Clone, Copy)]
pub struct Welcomed {
    /// This shard.
    pub shard: ShardId,
    /// What ids and places of new things are made from.
    pub id_seed: u64,
}

/// Net ids to give to what comes to be here.
#[derive(Resource, Debug, Default)]
pub struct NetIds(VecDeque<NetIdBlock>);

/// Blocks that are kept at most. The server sends one when the last is nearly used up.
const MAX_BLOCKS: usize = 16;

impl NetIds {
    /// Adds a block; past 16 blocks it is dropped.
    pub fn add(&mut self, block: NetIdBlock) {
        if self.0.len() < MAX_BLOCKS && block.next < block.end {
            self.0.push_back(block);
        }
    }

    /// Takes one; `None` when all are used up.
    pub fn take(&mut self) -> Option<NetId> {
        loop {
            let block = self.0.front_mut()?;
            if let Some(id) = block.take() {
                return Some(id);
            }
            self.0.pop_front();
        }
    }
}
