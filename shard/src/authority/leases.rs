//! This shard's leases, its id, and its supply of net ids.
//!
//! Runs in the shard. All of it comes from the server in `Welcome`, `Grant` and `NetIds`; nothing survives a
//! connection.

use bevy::prelude::*;
use sidereal_protocol::{
    frames::control::Lease,
    world::{
        ids::{NetId, NetIdBlock, ShardId},
        sector::SectorId,
    },
};
use std::collections::{BTreeMap, VecDeque};

/// Adds leases and net ids.
pub(crate) struct LeasesPlugin;

impl Plugin for LeasesPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Leases>().init_resource::<NetIds>();
    }
}

/// The sectors that are leased to this shard, with the epochs of the leases.
#[derive(Resource, Debug, Default)]
pub struct Leases(BTreeMap<SectorId, u64>);

impl Leases {
    /// Adds a lease; one of an older epoch changes nothing.
    pub fn take(&mut self, lease: Lease) {
        let epoch = self.0.entry(lease.sector).or_insert(lease.epoch);
        *epoch = (*epoch).max(lease.epoch);
    }

    /// Whether `sector` is leased to this shard.
    pub fn holds(&self, sector: SectorId) -> bool {
        self.0.contains_key(&sector)
    }

    /// The number of leased sectors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no sector is leased.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the server's welcome contained.
#[derive(Resource, Debug, Clone, Copy)]
pub struct Welcomed {
    /// This shard's id.
    pub shard: ShardId,
    /// The seed for ids and positions of new entities.
    pub id_seed: u64,
}

/// Net ids for new entities.
#[derive(Resource, Debug, Default)]
pub struct NetIds(VecDeque<NetIdBlock>);

/// Limit of kept blocks. The server sends one when the last is nearly used up.
const MAX_BLOCKS: usize = 16;

impl NetIds {
    /// Adds a block; beyond 16 it is dropped.
    pub fn add(&mut self, block: NetIdBlock) {
        if self.0.len() < MAX_BLOCKS && block.next < block.end {
            self.0.push_back(block);
        }
    }

    /// Takes a net id; `None` when all are used up.
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
