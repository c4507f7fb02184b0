//! Who has left the world, until the ledger may forget what they have.

use sidereal_protocol::ids::{AccountId, EntityId};
use std::collections::BTreeSet;

/// Who has left, until it is sure that nothing needs what they have in memory.
#[derive(Debug, Default)]
pub struct Leaving {
    /// Destroyed: they never come back.
    pub(crate) entities: BTreeSet<EntityId>,
    /// Players who have gone, with the ship that was stored.
    pub(crate) accounts: BTreeSet<(AccountId, Option<EntityId>)>,
}

impl Leaving {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entities.len() + self.accounts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Leaving {
    /// An entity was destroyed.
    pub fn entity_left(&mut self, id: EntityId) {
        self.entities.insert(id);
    }

    /// A player's session or ship has left the world. It does no harm to say so of one who is still there.
    pub fn account_left(&mut self, account: AccountId, ship: Option<EntityId>) {
        self.accounts.insert((account, ship));
    }
}
