//! Sections of the economy: where a ship is docked, its fitted weapons, ore, and the end of a crate.

use super::{EntityRecord, Presence, Section};
use crate::{
    DecodeError,
    rules::economy::Fitted,
    world::{
        ids::EntityId,
        kind::{EntityKind, Ore},
        tick::SimTick,
    },
};
use serde::{Deserialize, Serialize};

fn of_ships(kind: EntityKind) -> Presence {
    if kind == EntityKind::Ship { Presence::Optional } else { Presence::Never }
}

/// The station at which a ship is docked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DockedAt(pub EntityId);

impl Section for DockedAt {
    const ID: u16 = 10;
    const NAME: &'static str = "docked";

    fn presence(kind: EntityKind) -> Presence {
        of_ships(kind)
    }
}

impl Section for Fitted {
    const ID: u16 = 11;
    const NAME: &'static str = "fitted";

    fn presence(kind: EntityKind) -> Presence {
        of_ships(kind)
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.is_known() { Ok(()) } else { Err(DecodeError::OutOfRange(Self::NAME)) }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Units of ore in a rock, a hold or a crate, by the last value from the server's ledger. Only the ledger's amount
/// counts: the server overwrites this section in records from shards and from the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OreLoad(pub u32);

impl Section for OreLoad {
    const ID: u16 = 12;
    const NAME: &'static str = "ore";

    fn presence(kind: EntityKind) -> Presence {
        if kind.spec().ore == Ore::None { Presence::Never } else { Presence::Optional }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When a crate ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExpiresAt(pub SimTick);

impl Section for ExpiresAt {
    const ID: u16 = 13;
    const NAME: &'static str = "expires";

    fn presence(kind: EntityKind) -> Presence {
        if kind.spec().ore == Ore::Cargo { Presence::Optional } else { Presence::Never }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl EntityRecord {
    /// The station at which the ship is docked.
    pub fn docked(&self) -> Option<EntityId> {
        self.get().map(|DockedAt(station)| station)
    }

    /// The weapons that are fitted to a ship.
    pub fn fitted(&self) -> Fitted {
        self.get().unwrap_or_default()
    }

    /// Units of ore in it, by the ledger's last value.
    pub fn ore(&self) -> u32 {
        self.get::<OreLoad>().unwrap_or_default().0
    }
}
