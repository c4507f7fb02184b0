//! The base of all drawing: colours, meshes, one material, the canvas, the camera, and the quality.

pub(crate) mod camera;
pub(crate) mod canvas;
pub(crate) mod colors;
pub(crate) mod material;
pub(crate) mod meshes;
pub(crate) mod quality;

use bevy::{app::PluginGroupBuilder, prelude::*};

/// A plugin for each of them.
pub(crate) struct RenderPlugins;

impl PluginGroup for RenderPlugins {
    fn build(self) -> PluginGroupBuilder {
        PluginGroupBuilder::start::<Self>()
            .add(material::ShapeMaterialPlugin)
            .add(meshes::shapes::ShapesPlugin)
            .add(colors::palette::PalettePlugin)
            .add(quality::QualityPlugin)
            .add(camera::CameraPlugin)
            .add(canvas::CanvasPlugin)
    }
}
