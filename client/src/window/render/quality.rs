//! The quality of the picture: full on a graphics processor, reduced with software rendering.

use crate::window::{
    render::canvas::Canvas,
    schedule::WindowSystems,
    settings::{Settings, quality::Quality},
};
use bevy::{prelude::*, render::renderer::RenderAdapterInfo};

/// Sets the quality when the adapter is known, and follows the settings.
pub(crate) struct QualityPlugin;

impl Plugin for QualityPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Startup, settle_quality).add_systems(Update, follow_quality.in_set(WindowSystems::Measure));
    }
}

/// Sets the quality, once the adapter is known.
pub(crate) fn settle_quality(
    mut quality: ResMut<Quality>,
    settings: Res<Settings>,
    adapter: Option<Res<RenderAdapterInfo>>,
) {
    if *quality == Quality::Adapter {
        *quality = as_set(&settings, adapter.as_deref());
    }
    tracing::info!(polish = ?*quality, "the window draws");
}

/// Follows a change of the quality in the settings while the window is open.
fn follow_quality(
    mut quality: ResMut<Quality>,
    settings: Res<Settings>,
    adapter: Option<Res<RenderAdapterInfo>>,
    mut set: Local<Option<Quality>>,
    mut canvas: ResMut<Canvas>,
) {
    if set.replace(settings.quality).is_some_and(|before| before != settings.quality) {
        *quality = as_set(&settings, adapter.as_deref());
    }
    if quality.is_changed() {
        canvas.set_bare(*quality == Quality::Bare);
    }
}

fn as_set(settings: &Settings, adapter: Option<&RenderAdapterInfo>) -> Quality {
    match settings.quality {
        Quality::Adapter => of_adapter(adapter),
        chosen => chosen,
    }
}

/// A browser does not reveal the adapter; smooth edges cost more there than elsewhere.
fn of_adapter(adapter: Option<&RenderAdapterInfo>) -> Quality {
    // Bevy does not re-export wgpu's type of these fields, so their names are compared.
    let says = |word: &str| {
        adapter.is_some_and(|adapter| format!("{:?} {}", adapter.device_type, adapter.name).contains(word))
    };
    if says("SwiftShader") {
        Quality::Bare
    } else if says("Cpu") || cfg!(target_family = "wasm") {
        Quality::Plain
    } else {
        Quality::Full
    }
}
