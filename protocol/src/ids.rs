//! Identities: what names an entity, a player and a shard, and for how long.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Names an entity for ever, in every process and in the database. Version 7: sorted by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntityId(pub Uuid);

impl EntityId {
    /// A new identity from the system's clock and random numbers.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The two halves, as they cross the wire in naia's components.
    pub fn to_halves(self) -> (u64, u64) {
        self.0.as_u64_pair()
    }

    /// The inverse of [`EntityId::to_halves`].
    pub fn from_halves(high: u64, low: u64) -> Self {
        Self(Uuid::from_u64_pair(high, low))
    }
}

impl Default for EntityId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a player's account for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AccountId(pub Uuid);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names an entity in motion packets: compact, unique and never reused while the server runs,
/// another one after a restart. The server hands out blocks of them to shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetId(pub u32);

impl fmt::Display for NetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Names a shard's connection while the server runs; a shard that comes back has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}", self.0)
    }
}

/// A range of [`NetId`]s that one process may give out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetIdBlock {
    /// The next one to give out.
    pub next: u32,
    /// One past the last.
    pub end: u32,
}

impl NetIdBlock {
    /// An empty block.
    pub const EMPTY: Self = Self { next: 0, end: 0 };

    /// Takes one; `None` when the block is used up.
    pub fn take(&mut self) -> Option<NetId> {
        (self.next < self.end).then(|| {
            let id = NetId(self.next);
            self.next += 1;
            id
        })
    }

    /// How many are left.
    pub fn remaining(&self) -> u32 {
        // A block comes from another process, and may be anything.
        self.end.saturating_sub(self.next)
    }
}
