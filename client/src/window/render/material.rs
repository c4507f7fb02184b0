//! The one material of the window: vertex colours that cover or glow, tinted per instance.
//!
//! Owns the shader; tints are packed in `colors/tint`. With one material and one pipeline all instances of a mesh are
//! drawn in one call, however many colours they have.

use bevy::{
    asset::{load_internal_asset, uuid_handle},
    mesh::MeshVertexBufferLayoutRef,
    prelude::*,
    render::render_resource::{AsBindGroup, BlendState, RenderPipelineDescriptor, SpecializedMeshPipelineError},
    shader::ShaderRef,
    sprite_render::{AlphaMode2d, Material2d, Material2dKey, Material2dPlugin},
};

const SHADER: Handle<Shader> = uuid_handle!("6f0b2f0e-6a55-4a0e-9a2b-54f2a1f4b1c7");

/// Registers [`ShapeMaterial`] and its shader.
pub(crate) struct ShapeMaterialPlugin;

impl Plugin for ShapeMaterialPlugin {
    fn build(&self, app: &mut App) {
        load_internal_asset!(app, SHADER, "shape_material.wgsl", Shader::from_wgsl);
        app.add_plugins(Material2dPlugin::<ShapeMaterial>::default());
    }
}

/// The material. It has no settings: the mesh has the colours, the instance has the tint.
#[derive(Asset, TypePath, AsBindGroup, Debug, Clone, Default)]
pub(crate) struct ShapeMaterial {}

impl Material2d for ShapeMaterial {
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
