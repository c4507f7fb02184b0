//! How much the picture may cost: all of it on a graphics processor, less where a processor draws.

use super::settings::Settings;
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
}

impl Polish {
    /// Whether the costly parts are drawn.
    pub(super) fn is_full(self) -> bool {
        self != Self::Plain
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
        *polish = settings.polish;
    }
    if *polish != Polish::Adapter {
        return;
    }
    // wgpu's type of the field is not among what Bevy passes on; its name is.
    let by_processor = adapter.is_some_and(|adapter| format!("{:?}", adapter.device_type).contains("Cpu"));
    *polish = if by_processor { Polish::Plain } else { Polish::Full };
    tracing::info!(polish = ?*polish, "the window draws");
}
