//! The ledger's amounts of an entity's or an account's holdings.

use crate::{
    db::{Commodity, Holder},
    persistence::storage::Storage,
};
use sidereal_protocol::{
    record::{EntityRecord, OreLoad},
    rules::economy::ore_of_rock,
    world::kind::Ore,
};

/// Converts an amount of ore for the protocol, and clamps it to the range of `u32`.
pub fn units(amount: i64) -> u32 {
    u32::try_from(amount.max(0)).unwrap_or(u32::MAX)
}

impl Storage {
    /// A holder's balance; zero if none is known.
    pub fn balance(&self, holder: Holder, commodity: Commodity) -> i64 {
        self.store().and_then(|store| store.balance(holder, commodity)).unwrap_or(0)
    }

    /// Units of ore in an entity; of a rock that was never mined, its initial ore.
    pub fn ore_in(&self, record: &EntityRecord) -> u32 {
        let known = self.store().and_then(|store| store.balance(Holder::entity(record.id.0), Commodity::Ore));
        match (record.kind.spec().ore, known) {
            (Ore::None, _) => 0,
            (Ore::Deposit, None) => ore_of_rock(record.radius()),
            (Ore::Deposit | Ore::Hold | Ore::Cargo, known) => units(known.unwrap_or(0)),
        }
    }

    /// The record as it is sent to a shard: with the ledger's amount of ore.
    pub fn with_ore(&self, mut record: EntityRecord) -> EntityRecord {
        record.set(OreLoad(self.ore_in(&record)));
        record
    }
}
