//! The kinds of entities, with their common properties: one row of a table per kind.
//!
//! Code that draws, simulates or stores an entity reads its row instead of matching on its kind. Properties that
//! concern one capability alone (how to dock at a station, what a drone pursues) are in that capability.

use crate::{rules::flight::HullKind, world::tick::TICK_HZ};
use serde::{Deserialize, Serialize};

/// The kind of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, PartialOrd, Ord)]
#[repr(u8)]
pub enum EntityKind {
    /// A ship owned by a player's account.
    Ship = 1,
    /// A ship controlled by the shard.
    Drone = 2,
    /// A rock.
    Asteroid = 3,
    /// A homing missile in flight.
    Missile = 4,
    /// A station: it does not move and takes no damage.
    Station = 5,
    /// The cargo of a destroyed ship.
    Crate = 6,
}

/// What physics does with a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Solidity {
    /// It collides, and contacts push it.
    Movable,
    /// It collides, and nothing moves it.
    Fixed,
    /// It does not collide. Its own capability decides what happens where it meets a body.
    Passable,
}

/// The hull of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hulls {
    /// None: it has no engine.
    None,
    /// One of those that stations sell: see [`ShipHull`](crate::record::ShipHull).
    Chosen,
    /// Always this one.
    Always(HullKind),
}

/// Whether and how a kind has ore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ore {
    /// It never has any.
    None,
    /// It begins with an amount by its size, and can be mined.
    Deposit,
    /// It has a hold, as large as its hull's.
    Hold,
    /// It carries the ore of a destroyed ship, however much.
    Cargo,
}

/// The common properties of a kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KindSpec {
    /// The kind of this row.
    pub kind: EntityKind,
    /// Its hull.
    pub hulls: Hulls,
    /// Collisions.
    pub solidity: Solidity,
    /// Whether shots and beams hit it; they pass through the others.
    pub takes_hits: bool,
    /// Whether missiles home on it, and pilots aim at it.
    pub is_target: bool,
    /// Where its ore comes from.
    pub ore: Ore,
    /// The share of its speed that it keeps in a second without an engine: 1 drifts for ever.
    pub keeps_speed: f64,
    /// Whether it has a row in the database.
    pub is_stored: bool,
    /// Ticks after which a destroyed one is replaced; `None`: never.
    pub replaced_after_ticks: Option<u64>,
}

/// The table, by the kinds' numbers.
const KINDS: [KindSpec; 6] = [
    KindSpec {
        kind: EntityKind::Ship,
        hulls: Hulls::Chosen,
        solidity: Solidity::Movable,
        takes_hits: true,
        is_target: true,
        ore: Ore::Hold,
        keeps_speed: 1.0,
        is_stored: true,
        // The server gives its player another one.
        replaced_after_ticks: None,
    },
    KindSpec {
        kind: EntityKind::Drone,
        hulls: Hulls::Always(HullKind::Drone),
        solidity: Solidity::Movable,
        takes_hits: true,
        is_target: true,
        ore: Ore::None,
        keeps_speed: 1.0,
        is_stored: true,
        replaced_after_ticks: Some(20 * TICK_HZ as u64),
    },
    KindSpec {
        kind: EntityKind::Asteroid,
        hulls: Hulls::None,
        solidity: Solidity::Movable,
        takes_hits: true,
        is_target: false,
        ore: Ore::Deposit,
        keeps_speed: 1.0,
        is_stored: true,
        replaced_after_ticks: Some(60 * TICK_HZ as u64),
    },
    KindSpec {
        kind: EntityKind::Missile,
        hulls: Hulls::Always(HullKind::Missile),
        solidity: Solidity::Passable,
        takes_hits: true,
        is_target: false,
        ore: Ore::None,
        keeps_speed: 1.0,
        // It ends sooner than a server restarts.
        is_stored: false,
        replaced_after_ticks: None,
    },
    KindSpec {
        kind: EntityKind::Station,
        hulls: Hulls::None,
        solidity: Solidity::Fixed,
        takes_hits: true,
        is_target: false,
        ore: Ore::None,
        keeps_speed: 1.0,
        is_stored: true,
        replaced_after_ticks: None,
    },
    KindSpec {
        kind: EntityKind::Crate,
        hulls: Hulls::None,
        solidity: Solidity::Passable,
        takes_hits: false,
        is_target: false,
        ore: Ore::Cargo,
        keeps_speed: 0.6,
        is_stored: true,
        replaced_after_ticks: None,
    },
];

const _: () = {
    let mut number = 0;
    while number < KINDS.len() {
        assert!(KINDS[number].kind as usize == number + 1, "the rows stand in the order of the kinds' numbers");
        number += 1;
    }
};

impl EntityKind {
    /// The kind for a number from outside.
    pub fn from_u8(value: u8) -> Option<Self> {
        KINDS.get(usize::from(value).checked_sub(1)?).map(|spec| spec.kind)
    }

    /// All kinds, by their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|spec| spec.kind)
    }

    /// Its row.
    pub fn spec(self) -> &'static KindSpec {
        &KINDS[self as usize - 1]
    }
}

impl KindSpec {
    /// Whether it collides.
    pub fn is_solid(&self) -> bool {
        self.solidity != Solidity::Passable
    }

    /// Whether it is a body without an engine, to be flown around.
    pub fn is_obstacle(&self) -> bool {
        self.hulls == Hulls::None && self.is_solid()
    }

    /// Whether it has an engine and collides: a ship or a drone.
    pub fn is_craft(&self) -> bool {
        self.hulls != Hulls::None && self.is_solid()
    }

    /// Whether a tractor beam pulls it: a body without an engine that can move.
    pub fn is_loose(&self) -> bool {
        self.hulls == Hulls::None && self.solidity != Solidity::Fixed
    }

    /// Whether all observers see its amount of ore.
    pub fn shows_ore(&self) -> bool {
        matches!(self.ore, Ore::Deposit | Ore::Cargo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_rows() {
        for kind in EntityKind::all() {
            assert_eq!(EntityKind::from_u8(kind as u8), Some(kind));
            assert_eq!(kind.spec().kind, kind);
        }
        assert_eq!(EntityKind::from_u8(0), None);
        assert_eq!(EntityKind::from_u8(KINDS.len() as u8 + 1), None);
    }
}
