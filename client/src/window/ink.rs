//! The one material of the window: vertex colours that cover or glow, tinted per instance.
//!
//! Owns the shader and the packing of tints. With one material and one pipeline everything that
//! shares a mesh is drawn in one call, however many colours it has.

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

/// An instance's colour and opacity, as the shader unpacks it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tint {
    rgb: [u8; 3],
    opacity: f32,
}

impl Tint {
    /// Leaves a mesh's own colours as they are.
    pub(super) const NONE: Self = Self::rgb(255, 255, 255);

    /// An opaque colour, sRGB.
    pub(super) const fn rgb(red: u8, green: u8, blue: u8) -> Self {
        Self { rgb: [red, green, blue], opacity: 1.0 }
    }

    /// The same colour at `opacity`, 0 to 1; what is outside is clamped.
    pub(super) const fn at(self, opacity: f32) -> Self {
        Self { rgb: self.rgb, opacity: opacity.clamp(0.0, 1.0) }
    }

    /// The same colour, with `share` of its opacity.
    pub(super) const fn faded(self, share: f32) -> Self {
        self.at(self.opacity * share)
    }

    /// A colour `share` of the way to `other`; keeps its own opacity.
    pub(super) fn toward(self, other: Tint, share: f32) -> Self {
        let share = share.clamp(0.0, 1.0);
        let mix = |index: usize| {
            let from = f32::from(self.rgb[index]);
            (from + (f32::from(other.rgb[index]) - from) * share).round() as u8
        };
        Self { rgb: [mix(0), mix(1), mix(2)], opacity: self.opacity }
    }

    /// As the shader's tag.
    pub(super) fn packed(self) -> u32 {
        let opacity = (self.opacity * 255.0).round() as u8;
        u32::from_le_bytes([self.rgb[0], self.rgb[1], self.rgb[2], opacity])
    }

    /// As a colour of Bevy's, for text.
    pub(super) fn color(self) -> Color {
        let [red, green, blue] = self.rgb;
        Color::srgb_u8(red, green, blue).with_alpha(self.opacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tint_packs_red_lowest_and_opacity_highest() {
        assert_eq!(Tint::rgb(1, 2, 3).packed(), 0xff_03_02_01);
        assert_eq!(Tint::rgb(1, 2, 3).at(0.0).packed(), 0x00_03_02_01);
        assert_eq!(Tint::rgb(1, 2, 3).at(7.0), Tint::rgb(1, 2, 3));
    }

    #[test]
    fn mixing_ends_at_the_other_colour() {
        let blue = Tint::rgb(0, 0, 255);
        assert_eq!(Tint::rgb(255, 9, 0).toward(blue, 1.0), blue);
        assert_eq!(Tint::rgb(255, 9, 0).toward(blue, -3.0), Tint::rgb(255, 9, 0));
    }
}
