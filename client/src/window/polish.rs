//! How much the picture may cost: all of it on a graphics processor, less where a processor draws; and how restless
//! it may be.

use super::{canvas::Canvas, lens::MainCamera};
use bevy::{prelude::*, render::renderer::RenderAdapterInfo};

/// How the picture is drawn.
#[derive(Resource, Debug, Clone, Copy, PartialEq, Eq, Default)]
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

/// What is hard on the pilot's eyes. May be changed at any time.
#[derive(Resource, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Comfort {
    /// The view does not shake or widen, flashes are dim, flames and lamps do not flicker, ships fade in.
    pub reduced_motion: bool,
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
pub(super) fn settle_polish(mut polish: ResMut<Polish>, adapter: Option<Res<RenderAdapterInfo>>) {
    if *polish != Polish::Adapter {
        return;
    }
    // wgpu's type of the field is not among what Bevy passes on; its name is.
    let by_processor = adapter.is_some_and(|adapter| format!("{:?}", adapter.device_type).contains("Cpu"));
    *polish = if by_processor { Polish::Plain } else { Polish::Full };
    tracing::info!(polish = ?*polish, "the window draws");
}

/// Follows a polish that is changed while the window is open.
pub(super) fn follow_polish(
    polish: Res<Polish>,
    mut canvas: ResMut<Canvas>,
    mut cameras: Query<&mut Msaa, With<MainCamera>>,
) {
    if !polish.is_changed() {
        return;
    }
    canvas.set_bare(*polish == Polish::Bare);
    for mut msaa in &mut cameras {
        msaa.set_if_neq(polish.msaa());
    }
}
