//! How much the picture may cost: all of it on a graphics processor, less where a processor draws.

use super::{canvas::Canvas, lens::MainCamera, settings::Settings};
use bevy::{prelude::*, render::renderer::RenderAdapterInfo};
use serde::{Deserialize, Serialize};

/// How the picture is drawn.
#[derive(Resource, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Polish {
    /// As the adapter says: [`Polish::Plain`] where it is a processor, else [`Polish::Full`].
    #[default]
    Adapter,
    /// Smooth edges, all clouds.
    Full,
    /// Rough edges, fewer clouds: more than twice the frames where a processor draws.
    Plain,
    /// Rough edges, no halos, fewer sparks, and a sky of three draws: for slow phones, and where a browser has no
    /// graphics processor.
    Bare,
}

impl Polish {
    /// Whether the costly parts are drawn.
    pub(super) fn is_full(self) -> bool {
        matches!(self, Self::Full | Self::Adapter)
    }

    /// How edges are smoothed.
    pub(super) fn msaa(self) -> Msaa {
        if self.is_full() { Msaa::Sample4 } else { Msaa::Off }
    }
}

/// Settles the polish, once the adapter is known.
pub(super) fn settle_polish(
    mut polish: ResMut<Polish>,
    settings: Res<Settings>,
    adapter: Option<Res<RenderAdapterInfo>>,
) {
    if *polish == Polish::Adapter {
        *polish = as_set(&settings, adapter.as_deref());
    }
    tracing::info!(polish = ?*polish, "the window draws");
}

/// Follows a polish that is changed in the settings while the window is open.
pub(super) fn follow_polish(
    mut polish: ResMut<Polish>,
    settings: Res<Settings>,
    adapter: Option<Res<RenderAdapterInfo>>,
    mut set: Local<Option<Polish>>,
    mut canvas: ResMut<Canvas>,
    mut cameras: Query<&mut Msaa, With<MainCamera>>,
) {
    if set.replace(settings.polish).is_some_and(|before| before != settings.polish) {
        *polish = as_set(&settings, adapter.as_deref());
    }
    if !polish.is_changed() {
        return;
    }
    canvas.set_bare(*polish == Polish::Bare);
    for mut msaa in &mut cameras {
        msaa.set_if_neq(polish.msaa());
    }
}

fn as_set(settings: &Settings, adapter: Option<&RenderAdapterInfo>) -> Polish {
    match settings.polish {
        Polish::Adapter => of_adapter(adapter),
        chosen => chosen,
    }
}

/// In a browser nobody tells what draws: smooth edges cost more there than elsewhere.
fn of_adapter(adapter: Option<&RenderAdapterInfo>) -> Polish {
    // wgpu's type of the fields is not among what Bevy passes on; their names are.
    let says = |word: &str| {
        adapter.is_some_and(|adapter| format!("{:?} {}", adapter.device_type, adapter.name).contains(word))
    };
    if says("SwiftShader") {
        Polish::Bare
    } else if says("Cpu") || cfg!(target_family = "wasm") {
        Polish::Plain
    } else {
        Polish::Full
    }
}
