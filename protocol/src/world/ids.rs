//! Identities: the ids of entities, players and shards, and how long each is valid.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Permanent id of an entity, in every process and in the database. UUID version 7: sorted by creation.
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

/// Permanent id of a player's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AccountId(pub Uuid);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Id of an entity in motion packets: compact, unique, and never reused while the server runs. It is another one after
/// a restart. The server assigns blocks of them to shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetId(pub u32);

impl fmt::Display for NetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Id of a shard's connection while the server runs. A shard that reconnects gets another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}", self.0)
    }
}

/// A range of [`NetId`]s that one process may assign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetIdBlock {
    /// The next one to assign.
    pub next: u32,
    /// One past the last.
    pub end: u32,
}

impl NetIdBlock {
    /// An empty block.
    pub const EMPTY: Self = Self { next: 0, end: 0 };

    /// Takes one; `None` when the block is empty.
    pub fn take(&mut self) -> Option<NetId> {
        (self.next < self.end).then(|| {
            let id = NetId(self.next);
            self.next += 1;
            id
        })
    }

    /// How many are left.
    pub fn remaining(&self) -> u32 {
        // A block comes from another process, and may contain any numbers.
        self.end.saturating_sub(self.next)
    }
}
