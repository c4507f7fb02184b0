//! Holders that have left the world, until their balances can leave the ledger's memory.

use sidereal_protocol::world::ids::{AccountId, EntityId};
use std::collections::BTreeSet;

/// Holders that have left and whose balances may still be needed in memory.
#[derive(Debug, Default)]
pub struct Leaving {
    /// Destroyed: they never return.
    pub(crate) entities: BTreeSet<EntityId>,
    /// Players that have left, with the ship that was stored.
    pub(crate) accounts: BTreeSet<(AccountId, Option<EntityId>)>,
}

impl Leaving {
    /// The number of holders.
    pub fn len(&self) -> usize {
        self.entities.len() + self.accounts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Leaving {
    /// An entity was destroyed.
    pub fn entity_left(&mut self, id: EntityId) {
        self.entities.insert(id);
    }

    /// A player's session or ship has left the world. Calling it for a player that is still there is harmless.
    pub fn account_left(&mut self, account: AccountId, ship: Option<EntityId>) {
        self.accounts.insert((account, ship));
    }
}
