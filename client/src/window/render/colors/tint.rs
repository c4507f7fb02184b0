//! Colours as mixtures: of fixed parts, and of roles that each colour scheme defines.
//!
//! Owns the [`Palette`] of the present scheme and its packing for the shader. Named colours are in `palette`.

use crate::window::settings::scheme::Scheme;
use bevy::prelude::*;

/// The meaning of a colour that the scheme defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `OWN` in `palette`.
    Own,
    /// `PLAYER` in `palette`.
    Player,
    /// `DRONE` in `palette`.
    Drone,
    /// `STATION` in `palette`.
    Station,
    /// `ORE` in `palette`.
    Ore,
    /// `HULL_GOOD` in `palette`.
    HullGood,
    /// `HULL_WORN` in `palette`.
    HullWorn,
    /// `HULL_LOW` in `palette`.
    HullLow,
}

impl Role {
    /// Their number.
    pub(crate) const COUNT: usize = 8;
}

/// The present colours of the roles.
#[derive(Resource, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Palette([[u8; 3]; Role::COUNT]);

impl Default for Palette {
    fn default() -> Self {
        Self::of(Scheme::Usual)
    }
}

impl Palette {
    /// The colours of `scheme`, in the order of [`Role`].
    pub(crate) const fn of(scheme: Scheme) -> Self {
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
    pub(crate) fn roles(&self) -> &[[u8; 3]; Role::COUNT] {
        &self.0
    }

    /// `tint` as a colour of Bevy's, for text and boxes.
    pub(crate) fn color(&self, tint: Tint) -> Color {
        let [red, green, blue] = tint.mixed(self);
        Color::srgb_u8(red, green, blue).with_alpha(tint.opacity())
    }
}

/// A colour and an opacity: a mixture of a fixed colour and of [`Role`]s. The [`Palette`] defines the colours of the
/// roles when a stroke or a text is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tint {
    /// The fixed part, sRGB, 0 to 255.
    fixed: [f32; 3],
    /// The share of each role. Together with the fixed part's they add up to one.
    shares: [f32; Role::COUNT],
    opacity: f32,
}

impl Tint {
    /// Leaves a mesh's own colours as they are.
    pub(crate) const NONE: Self = Self::rgb(255, 255, 255);

    /// An opaque colour, sRGB, that is the same in every colour scheme.
    pub(crate) const fn rgb(red: u8, green: u8, blue: u8) -> Self {
        Self { fixed: [red as f32, green as f32, blue as f32], shares: [0.0; Role::COUNT], opacity: 1.0 }
    }

    /// The opaque colour of `role`.
    pub(crate) const fn role(role: Role) -> Self {
        let mut shares = [0.0; Role::COUNT];
        shares[role as usize] = 1.0;
        Self { fixed: [0.0; 3], shares, opacity: 1.0 }
    }

    /// The same colour at `opacity`, 0 to 1; other values are clamped.
    pub(crate) const fn at(self, opacity: f32) -> Self {
        Self { opacity: opacity.clamp(0.0, 1.0), ..self }
    }

    /// The same colour, with `share` of its opacity.
    pub(crate) const fn faded(self, share: f32) -> Self {
        self.at(self.opacity * share)
    }

    /// The mixture with the share `share` of `other`; keeps its own opacity.
    pub(crate) fn toward(self, other: Tint, share: f32) -> Self {
        let share = share.clamp(0.0, 1.0);
        let mix = |from: f32, to: f32| from * (1.0 - share) + to * share;
        Self {
            fixed: std::array::from_fn(|index| mix(self.fixed[index], other.fixed[index])),
            shares: std::array::from_fn(|index| mix(self.shares[index], other.shares[index])),
            opacity: self.opacity,
        }
    }

    /// Mixed with the colours of `palette`, sRGB.
    pub(crate) fn mixed(self, palette: &Palette) -> [u8; 3] {
        let part = |index: usize| {
            let roles = self.shares.iter().zip(palette.roles()).map(|(share, rgb)| share * f32::from(rgb[index]));
            // The cast saturates.
            (self.fixed[index] + roles.sum::<f32>()).round() as u8
        };
        [part(0), part(1), part(2)]
    }

    /// As the shader's tag.
    pub(crate) fn packed(self, palette: &Palette) -> u32 {
        let [red, green, blue] = self.mixed(palette);
        u32::from_le_bytes([red, green, blue, (self.opacity * 255.0).round() as u8])
    }

    /// As a colour of Bevy's in the default scheme: for newly spawned nodes, and for colours without a role. Text and
    /// boxes that follow the scheme use [`Palette::color`], or have a [`Tinted`].
    ///
    /// [`Tinted`]: crate::window::render::colors::palette::Tinted
    pub(crate) fn color(self) -> Color {
        Palette::default().color(self)
    }

    /// Its opacity, 0 to 1.
    pub(crate) const fn opacity(self) -> f32 {
        self.opacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tint_packs_red_lowest_and_opacity_highest() {
        let palette = Palette::default();
        assert_eq!(Tint::rgb(1, 2, 3).packed(&palette), 0xff_03_02_01);
        assert_eq!(Tint::rgb(1, 2, 3).at(0.0).packed(&palette), 0x00_03_02_01);
        assert_eq!(Tint::rgb(1, 2, 3).at(7.0), Tint::rgb(1, 2, 3));
    }

    #[test]
    fn mixing_ends_at_the_other_colour() {
        let blue = Tint::rgb(0, 0, 255);
        assert_eq!(Tint::rgb(255, 9, 0).toward(blue, 1.0), blue);
        assert_eq!(Tint::rgb(255, 9, 0).toward(blue, -3.0), Tint::rgb(255, 9, 0));
    }

    #[test]
    fn a_mixture_of_roles_follows_the_palette() {
        let half = Tint::role(Role::Own).toward(Tint::rgb(255, 255, 255), 0.5);
        for scheme in Scheme::ALL {
            let palette = Palette::of(scheme);
            let own = palette.roles()[Role::Own as usize];
            assert_eq!(Tint::role(Role::Own).mixed(&palette), own);
            let expected = own.map(|part| ((f32::from(part) + 255.0) / 2.0).round() as u8);
            assert_eq!(half.mixed(&palette), expected);
        }
    }
}
