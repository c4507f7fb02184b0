//! The drawing of space in each frame.

pub(crate) mod background;
pub(crate) mod bodies;
pub(crate) mod effects;
pub(crate) mod overlay;
pub(crate) mod tractor;

use bevy::{app::PluginGroupBuilder, prelude::*};

/// A plugin for each part.
pub(crate) struct ScenePlugins;

impl PluginGroup for ScenePlugins {
    fn build(self) -> PluginGroupBuilder {
        PluginGroupBuilder::start::<Self>()
            .add(background::sky::SkyPlugin)
            .add(background::grid::GridPlugin)
            .add(bodies::ships::BodiesPlugin)
            .add(bodies::damage_fx::DamageFxPlugin)
            .add(effects::EffectsPlugin)
            .add(tractor::TractorPlugin)
            .add(overlay::crosshair::CrosshairPlugin)
            .add(overlay::marks::MarksPlugin)
            .add(overlay::minimap::MinimapPlugin)
    }
}
