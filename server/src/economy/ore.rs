//! What the ledger says of an entity's or an account's holdings, for whoever reads it.

use crate::{
    db::{Commodity, Holder},
    persistence::storage::Storage,
};
use sidereal_protocol::{
    economy::ore_of_rock,
    kind::Ore,
    record::{EntityRecord, OreLoad},
};

/// Amounts of ore in the protocol end here; the ledger's do not.
pub fn units(amount: i64) -> u32 {
    u32::try_from(amount.max(0)).unwrap_or(u32::MAX)
}

impl Storage {
    /// What somebody has; nothing when the ledger never heard of it.
    pub fn balance(&self, holder: Holder, commodity: Commodity) -> i64 {
        self.store().and_then(|store| store.balance(holder, commodity)).unwrap_or(0)
    }

    /// Units of ore in an entity: of a rock that nobody has mined, what it was born with.
    pub fn ore_in(&self, record: &EntityRecord) -> u32 {
        let known = self.store().and_then(|store| store.balance(Holder::entity(record.id.0), Commodity::Ore));
        match (record.kind.spec().ore, known) {
            (Ore::None, _) => 0,
            (Ore::Deposit, None) => ore_of_rock(record.radius()),
            (Ore::Deposit | Ore::Hold | Ore::Cargo, known) => units(known.unwrap_or(0)),
        }
    }

    /// The record as a shard is told it: with what the ledger says is in it.
    pub fn with_ore(&self, mut record: EntityRecord) -> EntityRecord {
        record.set(OreLoad(self.ore_in(&record)));
        record
    }
}
