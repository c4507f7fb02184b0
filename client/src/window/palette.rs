//! The window's colours: those that are always the same, and those that tell one thing from another, of which
//! there is a [`Scheme`] for each way to see colours.
//!
//! What tells friend from foe goes with a shape of its own as well. That a scheme keeps its colours apart for those
//! whom it is for, in hue and in lightness, is computed in `vision`.

use super::ink::Tint;
use bevy::prelude::*;
use serde::{Deserialize, Serialize};

/// What is behind everything.
pub(super) const SPACE: Color = Color::srgb(0.012, 0.016, 0.034);

/// The own ship and its bullets.
pub(super) const OWN: Tint = Tint::role(Role::Own);
/// Other players' ships and bullets.
pub(super) const PLAYER: Tint = Tint::role(Role::Player);
/// Drones and their bullets.
pub(super) const DRONE: Tint = Tint::role(Role::Drone);
/// Stations: nobody's, and a place to go to.
pub(super) const STATION: Tint = Tint::role(Role::Station);
/// Ore, crates with it, and the light that digs it out.
pub(super) const ORE: Tint = Tint::role(Role::Ore);
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
pub(super) const HULL_GOOD: Tint = Tint::role(Role::HullGood);
/// A hull bar at half.
pub(super) const HULL_WORN: Tint = Tint::role(Role::HullWorn);
/// A hull bar that is nearly empty.
pub(super) const HULL_LOW: Tint = Tint::role(Role::HullLow);

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

/// What a colour stands for, where that is for the scheme to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// See [`OWN`].
    Own,
    /// See [`PLAYER`].
    Player,
    /// See [`DRONE`].
    Drone,
    /// See [`STATION`].
    Station,
    /// See [`ORE`].
    Ore,
    /// See [`HULL_GOOD`].
    HullGood,
    /// See [`HULL_WORN`].
    HullWorn,
    /// See [`HULL_LOW`].
    HullLow,
}

impl Role {
    /// How many there are.
    pub(super) const COUNT: usize = 8;
}

/// For whose eyes the colours are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// For those who see all colours.
    #[default]
    Usual,
    /// For those who take red for green (protanopia, deuteranopia).
    RedGreen,
    /// For those who take blue for yellow (tritanopia).
    BlueYellow,
}

impl Scheme {
    /// All of them, in the order in which they are chosen from.
    pub const ALL: [Self; 3] = [Self::Usual, Self::RedGreen, Self::BlueYellow];

    /// As players read it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::RedGreen => "for red-green blindness",
            Self::BlueYellow => "for blue-yellow blindness",
        }
    }
}

/// What the roles look like now.
#[derive(Resource, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Palette([[u8; 3]; Role::COUNT]);

impl Default for Palette {
    fn default() -> Self {
        Self::of(Scheme::Usual)
    }
}

impl Palette {
    /// The colours of `scheme`, in the order of [`Role`].
    pub(super) const fn of(scheme: Scheme) -> Self {
        Self(match scheme {
            Scheme::Usual => [
                [98, 206, 255],
                [255, 200, 62],
                [232, 84, 158],
                [130, 236, 176],
                [255, 168, 92],
                [96, 214, 226],
                [255, 206, 84],
                [255, 96, 52],
            ],
            Scheme::RedGreen => [
                [101, 186, 255],
                [255, 220, 88],
                [252, 86, 30],
                [237, 245, 255],
                [58, 116, 251],
                [165, 224, 255],
                [205, 188, 100],
                [217, 103, 14],
            ],
            Scheme::BlueYellow => [
                [72, 195, 221],
                [255, 197, 192],
                [226, 43, 90],
                [206, 248, 235],
                [234, 120, 71],
                [123, 238, 244],
                [255, 176, 167],
                [226, 53, 46],
            ],
        })
    }

    /// In the order of [`Role`], sRGB.
    pub(super) fn roles(&self) -> &[[u8; 3]; Role::COUNT] {
        &self.0
    }

    /// `tint` as a colour of Bevy's, for text and boxes.
    pub(super) fn color(&self, tint: Tint) -> Color {
        let [red, green, blue] = tint.mixed(self);
        Color::srgb_u8(red, green, blue).with_alpha(tint.opacity())
    }
}

/// What a text or a box that nobody writes anew is coloured with, in whatever scheme.
#[derive(Component, Debug, Clone, Copy)]
pub(super) struct Inked(pub(super) Tint);

/// Colours what is [`Inked`] as the palette has it.
pub(super) fn color_inked(
    palette: Res<Palette>,
    mut inked: Query<(&Inked, Option<&mut TextColor>, Option<&mut BackgroundColor>)>,
) {
    if !palette.is_changed() {
        return;
    }
    for (Inked(tint), text, back) in &mut inked {
        let color = palette.color(*tint);
        if let Some(mut text) = text {
            text.0 = color;
        } else if let Some(mut back) = back {
            back.0 = color;
        }
    }
}
