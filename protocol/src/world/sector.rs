//! The division of space: sectors, and the blocks in which they are leased.

use bevy::math::DVec2;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Side of a sector, units.
pub const SECTOR_SIZE: f64 = 1000.0;

/// How far beyond its sector's edge an entity may be before it counts as crossed, units. It keeps a ship on a border
/// from changing its sector with every small movement.
pub const CROSSING_MARGIN: f64 = 20.0;

/// Sectors on a side of a block: sectors are leased by whole blocks of 4 × 4, so that most crossings
/// stay inside one shard.
pub const BLOCK_SECTORS: i32 = 4;

/// A sector's address. It covers `[x·1000, (x+1)·1000) × [y·1000, (y+1)·1000)`, x to the right, y up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SectorId {
    /// Column.
    pub x: i32,
    /// Row.
    pub y: i32,
}

impl SectorId {
    /// The sector at column `x`, row `y`.
    pub const fn new(x: i32, y: i32) -> Self {
        Self { x, y }
    }

    /// The sector that holds `position` (world units). A position past the last sector, or not
    /// finite, is clamped to the last one (NaN to sector 0).
    pub fn containing(position: DVec2) -> Self {
        // Float-to-integer casts saturate, and make NaN zero.
        Self { x: (position.x / SECTOR_SIZE).floor() as i32, y: (position.y / SECTOR_SIZE).floor() as i32 }
    }

    /// The world position of the lower left corner.
    pub fn origin(self) -> DVec2 {
        DVec2::new(f64::from(self.x), f64::from(self.y)) * SECTOR_SIZE
    }

    /// The world position of the centre.
    pub fn center(self) -> DVec2 {
        self.origin() + DVec2::splat(SECTOR_SIZE / 2.0)
    }

    /// The sector `dx` columns and `dy` rows away; saturates at the ends of the address range.
    pub fn offset(self, dx: i32, dy: i32) -> Self {
        Self { x: self.x.saturating_add(dx), y: self.y.saturating_add(dy) }
    }

    /// This sector and its eight neighbours, this one first, then the four that share an edge.
    pub fn neighbourhood(self) -> [SectorId; 9] {
        const STEPS: [(i32, i32); 9] = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        STEPS.map(|(dx, dy)| self.offset(dx, dy))
    }

    /// Columns or rows to `other`, whichever is larger.
    pub fn distance(self, other: SectorId) -> u32 {
        self.x.abs_diff(other.x).max(self.y.abs_diff(other.y))
    }

    /// How far `position` is outside this sector, units; zero inside.
    pub fn overshoot(self, position: DVec2) -> f64 {
        let local = position - self.origin();
        let past = (local - DVec2::splat(SECTOR_SIZE)).max(-local).max(DVec2::ZERO);
        past.x.max(past.y)
    }

    /// The block that this sector belongs to.
    pub fn block(self) -> BlockId {
        BlockId { x: self.x.div_euclid(BLOCK_SECTORS), y: self.y.div_euclid(BLOCK_SECTORS) }
    }
}

impl fmt::Display for SectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.x, self.y)
    }
}

/// A block's address: 4 × 4 sectors that are leased together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockId {
    /// Column.
    pub x: i32,
    /// Row.
    pub y: i32,
}

impl BlockId {
    /// Its sectors, row by row.
    pub fn sectors(self) -> impl Iterator<Item = SectorId> {
        (0..BLOCK_SECTORS).flat_map(move |dy| {
            (0..BLOCK_SECTORS).map(move |dx| SectorId {
                x: self.x.saturating_mul(BLOCK_SECTORS).saturating_add(dx),
                y: self.y.saturating_mul(BLOCK_SECTORS).saturating_add(dy),
            })
        })
    }

    /// Whether the two blocks share an edge.
    pub fn touches(self, other: BlockId) -> bool {
        // Not the sum: blocks at opposite ends are too far apart for it.
        matches!((self.x.abs_diff(other.x), self.y.abs_diff(other.y)), (0, 1) | (1, 0))
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block ({}, {})", self.x, self.y)
    }
}
