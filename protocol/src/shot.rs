//! Shots: events, not entities. Where a bullet is follows from where, when and how it was fired.

use crate::{
    ids::NetId,
    precision::{POSITION, VELOCITY},
    sector::SectorId,
    tick::{SimTick, TICK_SECONDS},
};
use bevy::math::DVec2;
use serde::{Deserialize, Serialize};

/// Speed of a bullet relative to its ship, units/s.
pub const BULLET_SPEED: f64 = 480.0;

/// How long a bullet flies, ticks: 1.5 s, some 700 units, inside what a player sees.
pub const BULLET_LIFE_TICKS: u64 = 45;

/// What a bullet takes from a hull, points.
pub const BULLET_DAMAGE: u16 = 10;

/// Ticks during which a shard repeats a shot in its sector's updates, so that a lost datagram does
/// not lose it and a subscriber at a third of the rate still hears of it. Receivers know it by its id.
pub const SHOT_REPEATS: u64 = 3;

/// How far ahead of its packet's tick a shot may have been fired, ticks: 2 s. Shards' clocks differ, and
/// one that is behind tells of shots that a neighbour passed on to it. A packet that claims more is refused.
pub const MAX_SHOT_LEAD_TICKS: u64 = 60;

/// How far a beam reaches, units: inside what a player sees, and less than half a sector, so that all
/// whom it may hit are in sectors that touch the shooter's.
pub const BEAM_RANGE: f64 = 400.0;

/// What a beam takes from a hull, points.
pub const BEAM_DAMAGE: u16 = 15;

/// Ticks between two beams of one ship: 1 s.
pub const BEAM_INTERVAL_TICKS: u64 = 30;

/// How far back a beam is judged at most, ticks of 1/30 s: 250 ms. Beyond it nobody is hit where he no longer is for the
/// sake of a shooter's link. On a good link the bound is lower: see [`Pilot::rewind`](crate::record::Pilot::rewind).
pub const MAX_REWIND_TICKS: f64 = 7.5;

/// How long a missile flies, ticks: 6 s.
pub const MISSILE_LIFE_TICKS: u64 = 180;

/// Ticks between two missiles of one ship: 3 s.
pub const MISSILE_INTERVAL_TICKS: u64 = 90;

/// What a missile takes from a hull, points.
pub const MISSILE_DAMAGE: u16 = 40;

/// How far a launcher looks for a target, units, and how far to each side of its heading, radians.
pub const MISSILE_SIGHT: f64 = 600.0;
/// Half the angle in which a launcher finds a target, radians.
pub const MISSILE_CONE: f64 = 0.6;

/// Names a shot: its shooter, and the tick of the world in which it was fired (one a tick at most).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShotId {
    /// The ship that fired.
    pub shooter: NetId,
    /// When.
    pub tick: SimTick,
}

/// A bullet's whole path.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shot {
    /// Its name.
    pub id: ShotId,
    /// The sector to which it was told.
    pub sector: SectorId,
    /// World position at the tick of its id.
    pub origin: DVec2,
    /// Velocity, units/s.
    pub velocity: DVec2,
}

impl Shot {
    /// A shot with the numbers that its packet holds, so that the shard that judges it and the
    /// clients that draw it compute the same path.
    pub fn new(id: ShotId, sector: SectorId, origin: DVec2, velocity: DVec2) -> Self {
        let base = sector.origin();
        let local = origin - base;
        Self {
            id,
            sector,
            origin: base + DVec2::new(POSITION.unpack(POSITION.pack(local.x)), POSITION.unpack(POSITION.pack(local.y))),
            velocity: DVec2::new(
                VELOCITY.unpack(VELOCITY.pack(velocity.x)),
                VELOCITY.unpack(VELOCITY.pack(velocity.y)),
            ),
        }
    }

    /// Where the bullet is at `tick` (fractions between ticks allowed), world units.
    pub fn position_at(&self, tick: f64) -> DVec2 {
        self.origin + self.velocity * ((tick - self.id.tick.0 as f64) * TICK_SECONDS)
    }

    /// Whether its time is over at `tick`.
    pub fn is_spent(&self, tick: SimTick) -> bool {
        tick.since(self.id.tick) > BULLET_LIFE_TICKS
    }
}

/// The end of a shot that hit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShotHit {
    /// The shot.
    pub id: ShotId,
    /// What it hit.
    pub target: NetId,
    /// Where, world units.
    pub position: DVec2,
}

/// A beam that was fired: everything about it happened at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beam {
    /// Its name: its shooter, and the tick in which it was judged. Beams and bullets count apart.
    pub id: ShotId,
    /// Where it began, world units.
    pub origin: DVec2,
    /// Where it ended, world units; at most [`BEAM_RANGE`] away.
    pub end: DVec2,
    /// What it hit.
    pub target: Option<NetId>,
}
