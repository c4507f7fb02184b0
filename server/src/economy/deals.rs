//! Deals: from a pilot's request through the shard's verdict to the ledger's result.
//!
//! Each has a key that the client chose, and three stages: the key is looked up (a completed deal is only answered
//! again), the ship's shard decides whether the ship may, and the ledger stores the deal together with the ship's new
//! state. A rejected deal has changed nothing; a completed one is in the database before its result is sent. Offers of
//! trades, which only wait, are in [`crate::economy::trades`].

use crate::db::{Commodity, Holder, Posting, Room};
use bevy::prelude::Resource;
use sidereal_protocol::{
    record::EntityRecord,
    rules::{
        economy::{Bargain, DealKey},
        flight::HullKind,
    },
    world::{
        ids::{AccountId, EntityId},
        tick::SimTick,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

/// The answer when a key is used again for another deal.
pub(crate) const OTHER_DEAL: &str = "this key names another deal: choose another one";

/// The answer when an offer that does not exist is accepted or declined.
pub(crate) const NO_OFFER: &str = "there is no such offer (any more)";

/// The stage of a deal.
#[derive(Debug)]
pub(super) enum Stage {
    /// Its key is looked up under this token.
    LookingUp(u64),
    /// Verdicts are requested from these ships' shards.
    Judging { asked: Vec<EntityId>, after: Option<Box<EntityRecord>> },
    /// On its way to the database, with the ship's state after it.
    Settling { after: Option<Box<EntityRecord>> },
}

/// A deal that has not ended.
pub(super) struct Open {
    pub(super) account: AccountId,
    pub(super) ship: EntityId,
    pub(super) bargain: Bargain,
    /// It is a repeated request: until the lookup it is unknown whether it was completed.
    pub(super) again: bool,
    /// The session that last requested it, until it got the result: a deal may be requested again, also from another
    /// session.
    pub(super) asker: Option<SocketAddr>,
    pub(super) stage: Stage,
    pub(super) since: SimTick,
    /// The answer to the pilot if it is completed.
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
    /// Whether this ship has an open deal: its authority does not move until the deal has ended.
    pub fn concern(&self, ship: EntityId) -> bool {
        self.open.values().any(|open| open.ship == ship && !matches!(open.stage, Stage::LookingUp(_)))
    }

    /// Whether this account has an open deal.
    pub fn concern_account(&self, account: AccountId) -> bool {
        self.open.values().any(|open| open.account == account)
    }

    /// The number of open deals.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether this deal is open.
    pub(super) fn is_open(&self, key: DealKey) -> bool {
        self.open.contains_key(&key)
    }
}

/// The ledger's part of a deal.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// Its postings.
    pub(crate) lines: Vec<Posting>,
    /// The limits after it, which the ledger checks.
    pub(crate) rooms: Vec<Room>,
    /// The answer to the pilot if it is completed.
    pub(crate) answer: String,
}

impl Terms {
    pub(crate) fn new(lines: Vec<Posting>, answer: String) -> Self {
        Self { lines, rooms: Vec::new(), answer }
    }
}

/// The limit of ore in a ship's hold.
pub(crate) fn room_of(ship: EntityId, hull: HullKind) -> Room {
    Room { holder: Holder::entity(ship.0), commodity: Commodity::Ore, amount: i64::from(hull.hold()) }
}
