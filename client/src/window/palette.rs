//! The window's colours. The three that tell friend from foe (sky, gold, magenta) stay apart in
//! hue and in lightness for every common colour blindness, and each goes with a shape of its own.

use super::ink::Tint;
use bevy::color::Color;

/// What is behind everything.
pub(super) const SPACE: Color = Color::srgb(0.012, 0.016, 0.034);

/// The own ship and its bullets.
pub(super) const OWN: Tint = Tint::rgb(98, 206, 255);
/// Other players' ships and bullets.
pub(super) const PLAYER: Tint = Tint::rgb(255, 200, 62);
/// Drones and their bullets.
pub(super) const DRONE: Tint = Tint::rgb(232, 84, 158);
/// Stations: nobody's, and a place to go to.
pub(super) const STATION: Tint = Tint::rgb(130, 236, 176);
/// Ore, crates with it, and the light that digs it out.
pub(super) const ORE: Tint = Tint::rgb(255, 168, 92);
/// Rocks on the map.
pub(super) const ROCK: Tint = Tint::rgb(150, 144, 138);

/// Pure light.
pub(super) const WHITE: Tint = Tint::rgb(255, 255, 255);
/// The edge of a fireball.
pub(super) const FIRE: Tint = Tint::rgb(255, 132, 44);
/// The heart of a fireball.
pub(super) const EMBER: Tint = Tint::rgb(255, 214, 140);
/// What a fireball leaves.
pub(super) const SMOKE: Tint = Tint::rgb(64, 62, 70);
/// Engine exhaust with the booster on.
pub(super) const BOOST: Tint = Tint::rgb(176, 150, 255);

/// A hull bar that is whole.
pub(super) const HULL_GOOD: Tint = Tint::rgb(96, 214, 226);
/// A hull bar at half.
pub(super) const HULL_WORN: Tint = Tint::rgb(255, 206, 84);
/// A hull bar that is nearly empty.
pub(super) const HULL_LOW: Tint = Tint::rgb(255, 96, 52);

/// Lines of the grid and of the map.
pub(super) const LINE: Tint = Tint::rgb(120, 164, 214);
/// Panels behind text.
pub(super) const PANEL: Tint = Tint::rgb(8, 14, 26);
/// Plain text.
pub(super) const TEXT: Tint = Tint::rgb(214, 226, 240);
/// Text that may be overlooked.
pub(super) const FAINT: Tint = Tint::rgb(128, 146, 168);
/// Text that must not be overlooked.
pub(super) const ALERT: Tint = Tint::rgb(255, 138, 76);

/// A hull bar's colour for the `share` that is left, 0 to 1. Its length says the same.
pub(super) fn hull(share: f32) -> Tint {
    if share > 0.5 {
        HULL_WORN.toward(HULL_GOOD, (share - 0.5) * 4.0)
    } else {
        HULL_LOW.toward(HULL_WORN, (share - 0.15) * 4.0)
    }
}
