//! How much the picture may cost: all of it on a graphics processor, less where a processor draws.

use crate::window::{
    render::canvas::Canvas,
    schedule::WindowSystems,
    settings::{Settings, quality::Quality},
};
use bevy::{prelude::*, render::renderer::RenderAdapterInfo};

/// Settles the quality when the adapter is known, and follows the settings.
pub(crate) struct QualityPlugin;

impl Plugin for QualityPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Startup, settle_quality).add_systems(Update, follow_quality.in_set(WindowSystems::Measure));
    }
}

/// Settles the quality, once the adapter is known.
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

/// Follows a quality that is changed in the settings while the window is open.
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

/// In a browser nobody tells what draws: smooth edges cost more there than elsewhere.
fn of_adapter(adapter: Option<&RenderAdapterInfo>) -> Quality {
    // wgpu's type of the fields is not among what Bevy passes on; their names are.
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
