//! Shots: events, not entities. The position of a bullet follows from where, when and how it was fired.

use crate::{
    packets::precision::{POSITION, VELOCITY},
    world::{
        ids::NetId,
        sector::SectorId,
        tick::{SimTick, TICK_SECONDS},
    },
};
use bevy::math::DVec2;
use serde::{Deserialize, Serialize};

/// Speed of a bullet relative to its ship, units/s.
pub const BULLET_SPEED: f64 = 480.0;

/// How long a bullet flies, ticks: 1.5 s, some 700 units, within a player's view.
pub const BULLET_LIFE_TICKS: u64 = 45;

/// Damage of a bullet, hull points.
pub const BULLET_DAMAGE: u16 = 10;

/// Ticks during which a shard repeats a shot in its sector's updates, so that a lost datagram does not lose it, and a
/// subscriber at a third of the rate still receives it. Receivers recognise it by its id.
pub const SHOT_REPEATS: u64 = 3;

/// How far ahead of its packet's tick a shot may have been fired, ticks: 2 s. Shards' clocks differ, and one that is
/// behind sends shots that a neighbour forwarded to it. A packet that exceeds this is rejected.
pub const MAX_SHOT_LEAD_TICKS: u64 = 60;

/// Range of a beam, units: within a player's view, and less than half a sector, so that all possible targets are in
/// sectors that touch the shooter's.
pub const BEAM_RANGE: f64 = 400.0;

/// Damage of a beam, hull points.
pub const BEAM_DAMAGE: u16 = 15;

/// Ticks between two beams of one ship: 1 s.
pub const BEAM_INTERVAL_TICKS: u64 = 30;

/// The maximal rewind of a beam, ticks of 1/30 s: 250 ms. It limits how long after leaving a position a target can
/// still be hit there. On a good link the limit is lower: see [`Pilot::rewind`](crate::record::Pilot::rewind).
pub const MAX_REWIND_TICKS: f64 = 7.5;

/// How long a missile flies, ticks: 6 s.
pub const MISSILE_LIFE_TICKS: u64 = 180;

/// Ticks between two missiles of one ship: 3 s.
pub const MISSILE_INTERVAL_TICKS: u64 = 90;

/// Damage of a missile, hull points.
pub const MISSILE_DAMAGE: u16 = 40;

/// How far a launcher looks for a target, units.
pub const MISSILE_SIGHT: f64 = 600.0;
/// Half the angle in which a launcher finds a target, radians.
pub const MISSILE_CONE: f64 = 0.6;

/// Id of a shot: its shooter, and the tick of the world in which it was fired (at most one per tick).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShotId {
    /// The ship that fired.
    pub shooter: NetId,
    /// The tick in which it was fired.
    pub tick: SimTick,
}

/// A bullet's whole path.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shot {
    /// Its id.
    pub id: ShotId,
    /// The sector in whose updates it is sent.
    pub sector: SectorId,
    /// World position at the tick of its id.
    pub origin: DVec2,
    /// Velocity, units/s.
    pub velocity: DVec2,
}

impl Shot {
    /// A shot with the precision of its packet, so that the shard that judges it and the clients that draw it compute
    /// the same path.
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

    /// Position of the bullet at `tick` (fractions between ticks allowed), world units.
    pub fn position_at(&self, tick: f64) -> DVec2 {
        self.origin + self.velocity * ((tick - self.id.tick.0 as f64) * TICK_SECONDS)
    }

    /// Whether its life has ended at `tick`.
    pub fn is_spent(&self, tick: SimTick) -> bool {
        tick.since(self.id.tick) > BULLET_LIFE_TICKS
    }
}

/// The end of a shot that hit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShotHit {
    /// The id of the shot.
    pub id: ShotId,
    /// The entity that it hit.
    pub target: NetId,
    /// Position of the hit, world units.
    pub position: DVec2,
}

/// A beam: fired, judged and ended in one tick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beam {
    /// Its id: its shooter, and the tick in which it was judged. Beams and bullets count separately.
    pub id: ShotId,
    /// Its start, world units.
    pub origin: DVec2,
    /// Its end, world units; at most [`BEAM_RANGE`] away.
    pub end: DVec2,
    /// The entity that it hit.
    pub target: Option<NetId>,
}
