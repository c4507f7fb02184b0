//! The choices for the quality of the picture.

use bevy::prelude::*;
use serde::{Deserialize, Serialize};

/// The quality of the picture.
#[derive(Resource, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// Depends on the adapter: [`Quality::Plain`] if it is a CPU, else [`Quality::Full`].
    #[default]
    Adapter,
    /// Smooth edges, all clouds.
    Full,
    /// Rough edges, fewer clouds: more than twice the frame rate with software rendering.
    Plain,
    /// Rough edges, no halos, fewer sparks, and a sky of three draws: for slow phones, and for browsers without a
    /// graphics processor.
    Bare,
}

impl Quality {
    /// Whether the expensive parts are drawn.
    pub(crate) fn is_full(self) -> bool {
        matches!(self, Self::Full | Self::Adapter)
    }

    /// How edges are smoothed.
    pub(crate) fn msaa(self) -> Msaa {
        if self.is_full() { Msaa::Sample4 } else { Msaa::Off }
    }
}
