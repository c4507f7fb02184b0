//! How fast weapons are ready with what is fitted to the ship.

use sidereal_protocol::{
    economy::{Fitted, Weapon},
    flight::HullKind,
    shot::MISSILE_INTERVAL_TICKS,
};

/// Ticks between two shots of the gun.
pub(crate) fn fire_interval_ticks(hull: HullKind, fitted: Fitted) -> u64 {
    let plain = hull.spec().fire_interval_ticks;
    if fitted.has(Weapon::RapidGun) { (plain * 2 / 3).max(1) } else { plain }
}

/// Ticks between two missiles.
pub(crate) fn launcher_interval_ticks(fitted: Fitted) -> u64 {
    if fitted.has(Weapon::FastLauncher) { MISSILE_INTERVAL_TICKS / 2 } else { MISSILE_INTERVAL_TICKS }
}
