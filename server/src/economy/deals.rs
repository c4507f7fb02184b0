//! Deals: from a pilot's request over the shard's word to the ledger's, and back.
//!
//! Each has a key that its asker chose and goes through three stages: its key is looked up (what was done once is only
//! answered again), the shard of the ship says whether the ship may, the ledger writes it together with the ship's new
//! state. What is refused has changed nothing; what is done is in the database before anybody hears of it. The offers of
//! trades, which only wait, are in [`crate::economy::trades`].

use crate::db::{Commodity, Holder, Posting, Room};
use bevy::prelude::Resource;
use sidereal_protocol::{
    economy::{Bargain, DealKey},
    flight::HullKind,
    ids::{AccountId, EntityId},
    record::EntityRecord,
    tick::SimTick,
};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

/// What is told who uses a key again for something else.
pub(crate) const OTHER_DEAL: &str = "this key names another deal: choose another one";

/// What is told who takes up or turns down what is not offered.
pub(crate) const NO_OFFER: &str = "there is no such offer (any more)";

/// Where a deal is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Its key is looked up under this token.
    LookingUp(u64),
    /// These ships' shards are asked.
    Judging { asked: Vec<EntityId>, after: Option<Box<EntityRecord>> },
    /// On its way into the database, with the ship's state after it.
    Settling { after: Option<Box<EntityRecord>> },
}

/// A deal that has not ended.
pub(super) struct Open {
    pub(super) account: AccountId,
    pub(super) ship: EntityId,
    pub(super) bargain: Bargain,
    /// It was asked for before: until it is looked up nobody knows whether it is done.
    pub(super) again: bool,
    /// The session that asked last, until it was told: a deal may be asked for again, in another session too.
    pub(super) asker: Option<SocketAddr>,
    pub(super) stage: Stage,
    pub(super) since: SimTick,
    /// What the pilot is told when it is done.
    pub(super) answer: String,
}

/// Deals that have not ended.
#[derive(Default, Resource)]
pub struct Deals {
    pub(super) open: BTreeMap<DealKey, Open>,
    /// Requests in this second.
    pub(super) asked: HashMap<AccountId, u32>,
}

impl Deals {
    /// Whether a deal of this ship has not ended: it stays with its shard, or with the server, until then.
    pub fn concern(&self, ship: EntityId) -> bool {
        self.open.values().any(|open| open.ship == ship && !matches!(open.stage, Stage::LookingUp(_)))
    }

    /// Whether a deal of this account has not ended.
    pub fn concern_account(&self, account: AccountId) -> bool {
        self.open.values().any(|open| open.account == account)
    }

    /// How many have not ended.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether this one has not ended.
    pub(super) fn is_open(&self, key: DealKey) -> bool {
        self.open.contains_key(&key)
    }
}

/// What the ledger is told of a deal.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// What it moves.
    pub(crate) lines: Vec<Posting>,
    /// What fits into whom once it is done; the ledger judges it there.
    pub(crate) rooms: Vec<Room>,
    /// What the pilot is told when it is done.
    pub(crate) answer: String,
}

impl Terms {
    pub(crate) fn new(lines: Vec<Posting>, answer: String) -> Self {
        Self { lines, rooms: Vec::new(), answer }
    }
}

/// Ore that fits into a ship's hold.
pub(crate) fn room_of(ship: EntityId, hull: HullKind) -> Room {
    Room { holder: Holder::entity(ship.0), commodity: Commodity::Ore, amount: i64::from(hull.hold()) }
}
