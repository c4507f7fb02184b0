//! The window's named colours: fixed ones, and those that distinguish kinds, of which there is a set for each colour
//! scheme.
//!
//! Friend and foe also differ by shape. `vision` computes that a scheme's colours are distinguishable for the eyes that
//! it is for, in hue and in lightness.

use crate::window::{
    render::colors::tint::{Palette, Role, Tint},
    schedule::WindowSystems,
    settings::Settings,
};
use bevy::prelude::*;
use sidereal_protocol::record::EntityKind;

/// The background.
pub(crate) const SPACE: Color = Color::srgb(0.012, 0.016, 0.034);

/// The own ship and its bullets.
pub(crate) const OWN: Tint = Tint::role(Role::Own);
/// Other players' ships and bullets.
pub(crate) const PLAYER: Tint = Tint::role(Role::Player);
/// Drones and their bullets.
pub(crate) const DRONE: Tint = Tint::role(Role::Drone);
/// Stations: they belong to no player, and are destinations.
pub(crate) const STATION: Tint = Tint::role(Role::Station);
/// Ore, crates with ore, and the mining laser.
pub(crate) const ORE: Tint = Tint::role(Role::Ore);
/// Tractor beams.
pub(crate) const TRACTOR: Tint = Tint::rgb(126, 226, 255);
/// Rocks on the map.
pub(crate) const ROCK: Tint = Tint::rgb(150, 144, 138);

/// Pure light.
pub(crate) const WHITE: Tint = Tint::rgb(255, 255, 255);
/// The edge of a fireball.
pub(crate) const FIRE: Tint = Tint::rgb(255, 132, 44);
/// The heart of a fireball.
pub(crate) const EMBER: Tint = Tint::rgb(255, 214, 140);
/// Smoke of a fireball.
pub(crate) const SMOKE: Tint = Tint::rgb(64, 62, 70);
/// Engine exhaust with the booster on.
pub(crate) const BOOST: Tint = Tint::rgb(176, 150, 255);

/// A full hull bar.
pub(crate) const HULL_GOOD: Tint = Tint::role(Role::HullGood);
/// A hull bar at half.
pub(crate) const HULL_WORN: Tint = Tint::role(Role::HullWorn);
/// A nearly empty hull bar.
pub(crate) const HULL_LOW: Tint = Tint::role(Role::HullLow);

/// Lines of the grid and of the map.
pub(crate) const LINE: Tint = Tint::rgb(120, 164, 214);
/// Panels behind text.
pub(crate) const PANEL: Tint = Tint::rgb(8, 14, 26);
/// Plain text.
pub(crate) const TEXT: Tint = Tint::rgb(214, 226, 240);
/// Less important text.
pub(crate) const FAINT: Tint = Tint::rgb(128, 146, 168);
/// Important text.
pub(crate) const ALERT: Tint = Tint::rgb(255, 138, 76);

/// Updates the colours when the scheme changes.
pub(crate) struct PalettePlugin;

impl Plugin for PalettePlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Palette>()
            .insert_resource(ClearColor(SPACE))
            .add_systems(PreUpdate, follow_scheme.before(WindowSystems::Input))
            .add_systems(Update, color_tinted.in_set(WindowSystems::Look));
    }
}

/// A hull bar's colour for the `share` that is left, 0 to 1. Its length shows the same.
pub(crate) fn hull(share: f32) -> Tint {
    if share > 0.5 {
        HULL_WORN.toward(HULL_GOOD, (share - 0.5) * 4.0)
    } else {
        HULL_LOW.toward(HULL_WORN, (share - 0.15) * 4.0)
    }
}

/// The colour of a text or a box that is not written anew, by the present scheme.
#[derive(Component, Debug, Clone, Copy)]
pub(crate) struct Tinted(pub(crate) Tint);

/// Applies the palette to [`Tinted`] nodes.
fn color_tinted(
    palette: Res<Palette>,
    mut tinted: Query<(&Tinted, Option<&mut TextColor>, Option<&mut BackgroundColor>)>,
) {
    if !palette.is_changed() {
        return;
    }
    for (Tinted(tint), text, back) in &mut tinted {
        let color = palette.color(*tint);
        if let Some(mut text) = text {
            text.0 = color;
        } else if let Some(mut back) = back {
            back.0 = color;
        }
    }
}

/// The tint of a kind, for entities that are not the player's own.
pub(crate) fn tint_of_kind(kind: EntityKind) -> Tint {
    match kind {
        EntityKind::Ship => PLAYER,
        EntityKind::Drone | EntityKind::Missile => DRONE,
        EntityKind::Asteroid => ROCK,
        EntityKind::Station => STATION,
        EntityKind::Crate => ORE,
    }
}

/// The share of the hull that is left; 1 while it is unknown.
pub(crate) fn hull_share(hull: u16, hull_max: u16) -> f32 {
    if hull_max == 0 { 1.0 } else { (f32::from(hull) / f32::from(hull_max)).clamp(0.0, 1.0) }
}

/// Uses the chosen scheme.
fn follow_scheme(settings: Res<Settings>, mut palette: ResMut<Palette>) {
    if settings.is_changed() {
        palette.set_if_neq(Palette::of(settings.colors));
    }
}
