//! The precision of motion on the wire: range and width of each quantity.

use crate::{packets::bits::Quantiser, rules::flight::MAX_SPEED, world::sector::SECTOR_SIZE};

/// Position relative to the sector's origin, units. It reaches half a sector beyond each edge: an
/// entity keeps its sector until it has crossed by the margin and, between shards, until the handoff
/// is committed.
pub const POSITION: Quantiser = Quantiser::new(-SECTOR_SIZE * 0.5, SECTOR_SIZE * 1.5, 17);
/// A component of velocity, units/s; [`MAX_SPEED`] fits.
pub const VELOCITY: Quantiser = Quantiser::new(-1024.0, 1024.0, 14);
/// Heading, radians; a value outside (-π, π] is normalised first.
pub const ANGLE: Quantiser = Quantiser::new(-std::f64::consts::PI, std::f64::consts::PI, 11);
/// Turning rate, rad/s.
pub const ANGULAR_VELOCITY: Quantiser = Quantiser::new(-8.0, 8.0, 10);

const _: () = assert!(MAX_SPEED < 1024.0);
