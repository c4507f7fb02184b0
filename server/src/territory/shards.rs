//! Connected shards: their addresses, and when each last sent something.

use bevy::prelude::Resource;
use sidereal_protocol::{
    limits::NET_ID_BLOCK,
    world::{
        ids::{EntityId, ShardId},
        tick::SimTick,
    },
};
use std::{collections::BTreeMap, net::SocketAddr};

/// One connected shard.
#[derive(Debug)]
pub struct Shard {
    /// Its own name.
    pub name: String,
    /// It has sent its last records.
    pub drained: bool,
    /// The crash report: its simulation has failed, at this entity if known.
    pub crashed: Option<Option<EntityId>>,
    /// Number of entities that it has spawned: it gets more net ids before they are used up.
    created: u32,
    /// When a frame or a datagram was last received from it.
    heard_at: SimTick,
}

/// A shard that sent something within this time, ticks, counts as alive: 0.2 s. It sends datagrams every tick, so a
/// longer silence means several lost in a row, or a process that hangs.
pub const LIVE_TICKS: u64 = 6;

/// Connected shards.
#[derive(Debug, Default, Resource)]
pub struct Shards {
    by_id: BTreeMap<ShardId, Shard>,
    by_address: BTreeMap<SocketAddr, ShardId>,
    last_id: u32,
}

impl Shards {
    /// The shard at an address.
    pub fn at(&self, address: &SocketAddr) -> Option<ShardId> {
        self.by_address.get(address).copied()
    }

    /// Whether a shard has sent something within [`LIVE_TICKS`] and is not being drained.
    pub fn is_live(&self, shard: ShardId, now: SimTick) -> bool {
        self.by_id.get(&shard).is_some_and(|shard| !shard.drained && now.since(shard.heard_at) <= LIVE_TICKS)
    }

    /// Something was received from a shard.
    pub fn note_activity(&mut self, shard: ShardId, now: SimTick) {
        if let Some(shard) = self.by_id.get_mut(&shard) {
            shard.heard_at = now;
        }
    }

    /// A shard has connected; returns its id.
    pub fn connected(&mut self, address: SocketAddr, name: String, now: SimTick) -> ShardId {
        self.last_id += 1;
        let shard = ShardId(self.last_id);
        self.by_address.insert(address, shard);
        self.by_id.insert(shard, Shard { name, drained: false, crashed: None, created: 0, heard_at: now });
        shard
    }

    /// A shard has gone; returns its entry.
    pub fn gone(&mut self, address: &SocketAddr) -> Option<(ShardId, Shard)> {
        let shard = self.by_address.remove(address)?;
        self.by_id.remove(&shard).map(|gone| (shard, gone))
    }

    /// Its simulation has failed, at this entity if known.
    pub fn crashed(&mut self, shard: ShardId, at: Option<EntityId>) {
        if let Some(shard) = self.by_id.get_mut(&shard) {
            shard.crashed = Some(at);
        }
    }

    /// It has sent its last records.
    pub fn drained(&mut self, shard: ShardId) {
        if let Some(shard) = self.by_id.get_mut(&shard) {
            shard.drained = true;
        }
    }

    /// It has spawned an entity. Returns whether it needs another block of net ids: when half of one is used.
    pub fn created(&mut self, shard: ShardId) -> bool {
        let Some(known) = self.by_id.get_mut(&shard) else { return false };
        known.created += 1;
        known.created.is_multiple_of(NET_ID_BLOCK / 2)
    }

    /// The ids of all connected shards.
    pub fn ids(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.by_id.keys().copied()
    }

    /// Whether every shard has sent its last records.
    pub fn all_drained(&self) -> bool {
        self.by_id.values().all(|shard| shard.drained)
    }
}
