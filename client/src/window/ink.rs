//! The one material of the window: vertex colours that cover or glow, tinted per instance.
//!
//! Owns the shader and the packing of tints. With one material and one pipeline everything that
//! shares a mesh is drawn in one call, however many colours it has.

use super::palette::{Palette, Role};
use bevy::{
    asset::{load_internal_asset, uuid_handle},
    mesh::MeshVertexBufferLayoutRef,
    prelude::*,
    render::render_resource::{AsBindGroup, BlendState, RenderPipelineDescriptor, SpecializedMeshPipelineError},
    shader::ShaderRef,
    sprite_render::{AlphaMode2d, Material2d, Material2dKey, Material2dPlugin},
};

const SHADER: Handle<Shader> = uuid_handle!("6f0b2f0e-6a55-4a0e-9a2b-54f2a1f4b1c7");

/// Registers [`Ink`] and its shader.
pub(super) struct InkPlugin;

impl Plugin for InkPlugin {
    fn build(&self, app: &mut App) {
        load_internal_asset!(app, SHADER, "ink.wgsl", Shader::from_wgsl);
        app.add_plugins(Material2dPlugin::<Ink>::default());
    }
}

/// The material. It has no settings: a mesh brings its colours, an instance its [`Tint`].
#[derive(Asset, TypePath, AsBindGroup, Debug, Clone, Default)]
pub(super) struct Ink {}

impl Material2d for Ink {
    fn vertex_shader() -> ShaderRef {
        SHADER.into()
    }

    fn fragment_shader() -> ShaderRef {
        SHADER.into()
    }

    fn alpha_mode(&self) -> AlphaMode2d {
        AlphaMode2d::Blend
    }

    fn specialize(
        descriptor: &mut RenderPipelineDescriptor,
        _layout: &MeshVertexBufferLayoutRef,
        _key: Material2dKey<Self>,
    ) -> Result<(), SpecializedMeshPipelineError> {
        if let Some(fragment) = &mut descriptor.fragment {
            for target in fragment.targets.iter_mut().flatten() {
                target.blend = Some(BlendState::PREMULTIPLIED_ALPHA_BLENDING);
            }
        }
        Ok(())
    }
}

/// A colour and an opacity: a mixture of fixed colour and of what stands for something ([`Role`]). What the roles
/// look like is the [`Palette`]'s to say, when a stroke or a text is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tint {
    /// The fixed part, sRGB, 0 to 255.
    fixed: [f32; 3],
    /// How much there is of each role. With the fixed part's they add up to one.
    shares: [f32; Role::COUNT],
    opacity: f32,
}

impl Tint {
    /// Leaves a mesh's own colours as they are.
    pub(super) const NONE: Self = Self::rgb(255, 255, 255);

    /// An opaque colour, sRGB, that is the same in every colour scheme.
    pub(super) const fn rgb(red: u8, green: u8, blue: u8) -> Self {
        Self { fixed: [red as f32, green as f32, blue as f32], shares: [0.0; Role::COUNT], opacity: 1.0 }
    }

    /// The opaque colour of what stands for `role`.
    pub(super) const fn role(role: Role) -> Self {
        let mut shares = [0.0; Role::COUNT];
        shares[role as usize] = 1.0;
        Self { fixed: [0.0; 3], shares, opacity: 1.0 }
    }

    /// The same colour at `opacity`, 0 to 1; what is outside is clamped.
    pub(super) const fn at(self, opacity: f32) -> Self {
        Self { opacity: opacity.clamp(0.0, 1.0), ..self }
    }

    /// The same colour, with `share` of its opacity.
    pub(super) const fn faded(self, share: f32) -> Self {
        self.at(self.opacity * share)
    }

    /// A colour `share` of the way to `other`; keeps its own opacity.
    pub(super) fn toward(self, other: Tint, share: f32) -> Self {
        let share = share.clamp(0.0, 1.0);
        let mix = |from: f32, to: f32| from * (1.0 - share) + to * share;
        Self {
            fixed: std::array::from_fn(|index| mix(self.fixed[index], other.fixed[index])),
            shares: std::array::from_fn(|index| mix(self.shares[index], other.shares[index])),
            opacity: self.opacity,
        }
    }

    /// As `palette` has it, sRGB.
    pub(super) fn mixed(self, palette: &Palette) -> [u8; 3] {
        let part = |index: usize| {
            let roles = self.shares.iter().zip(palette.roles()).map(|(share, rgb)| share * f32::from(rgb[index]));
            // The cast saturates.
            (self.fixed[index] + roles.sum::<f32>()).round() as u8
        };
        [part(0), part(1), part(2)]
    }

    /// As the shader's tag.
    pub(super) fn packed(self, palette: &Palette) -> u32 {
        let [red, green, blue] = self.mixed(palette);
        u32::from_le_bytes([red, green, blue, (self.opacity * 255.0).round() as u8])
    }

    /// As a colour of Bevy's in the usual scheme: for what is spawned, and what no role is part of. Text and boxes that
    /// follow the scheme ask [`Palette::color`], or carry an [`Inked`].
    ///
    /// [`Inked`]: super::palette::Inked
    pub(super) fn color(self) -> Color {
        Palette::default().color(self)
    }

    /// How opaque it is, 0 to 1.
    pub(super) const fn opacity(self) -> f32 {
        self.opacity
    }
}

#[cfg(test)]
mod tests {
    use super::{super::palette::Scheme, *};

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
