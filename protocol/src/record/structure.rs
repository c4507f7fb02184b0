//! Sections of bodies: size and hull points, the hull that a ship has, and when a body may change shards again.

use super::{EntityRecord, Presence, Section};
use crate::{
    DecodeError,
    rules::flight::HullKind,
    world::{
        kind::{EntityKind, Hulls},
        tick::SimTick,
    },
};
use serde::{Deserialize, Serialize};

/// The largest radius of a body, units: half a sector.
const MAX_RADIUS: f64 = 500.0;

/// Size and hull points of a body.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Structure {
    /// Radius of its circle, units, above 0 and at most 500.
    pub radius: f64,
    /// Hull points left, at most `hull_max`.
    pub hull: u16,
    /// Hull points when undamaged.
    pub hull_max: u16,
}

impl Structure {
    /// Undamaged, with a radius in units.
    pub fn whole(radius: f64, hull: u16) -> Self {
        Self { radius, hull, hull_max: hull }
    }
}

impl Default for Structure {
    /// A body of one unit and one hull point.
    fn default() -> Self {
        Self::whole(1.0, 1)
    }
}

impl Section for Structure {
    const ID: u16 = 1;
    const NAME: &'static str = "structure";

    fn presence(_: EntityKind) -> Presence {
        Presence::Optional
    }

    fn check(&self) -> Result<(), DecodeError> {
        if !(self.radius.is_finite() && self.radius > 0.0 && self.radius <= MAX_RADIUS) {
            return Err(DecodeError::OutOfRange("radius"));
        }
        if self.hull > self.hull_max {
            return Err(DecodeError::OutOfRange("hull"));
        }
        Ok(())
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The hull that a ship has: one of those that stations sell. Other kinds have none, or always the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipHull(pub HullKind);

impl Section for ShipHull {
    const ID: u16 = 2;
    const NAME: &'static str = "hull_kind";

    fn presence(kind: EntityKind) -> Presence {
        if kind.spec().hulls == Hulls::Chosen { Presence::Required } else { Presence::Never }
    }

    fn check(&self) -> Result<(), DecodeError> {
        self.0.price().map(drop).ok_or(DecodeError::OutOfRange(Self::NAME))
    }
}

/// No handoff before this tick: a body that oscillates on a border changes shards at most once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SettledAt(pub SimTick);

impl Section for SettledAt {
    const ID: u16 = 3;
    const NAME: &'static str = "settled_at";

    fn presence(_: EntityKind) -> Presence {
        Presence::Optional
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl EntityRecord {
    /// Its size and hull points.
    pub fn structure(&self) -> Structure {
        self.get().unwrap_or_default()
    }

    /// Radius of its circle, units.
    pub fn radius(&self) -> f64 {
        self.structure().radius
    }

    /// Hull points left.
    pub fn hull(&self) -> u16 {
        self.structure().hull
    }

    /// Its hull, if it flies.
    pub fn hull_kind(&self) -> Option<HullKind> {
        match self.kind.spec().hulls {
            Hulls::None => None,
            Hulls::Chosen => self.get().map(|ShipHull(hull)| hull),
            Hulls::Always(hull) => Some(hull),
        }
    }

    /// The number of its hull in naia's components and players' frames; 255 if it does not fly.
    pub fn hull_number(&self) -> u8 {
        self.hull_kind().map_or(u8::MAX, |hull| hull as u8)
    }
}
