//! How much of the picture is drawn, as the player can choose it.

use bevy::prelude::*;
use serde::{Deserialize, Serialize};

/// How the picture is drawn.
#[derive(Resource, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// As the adapter says: [`Quality::Plain`] where it is a processor, else [`Quality::Full`].
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

impl Quality {
    /// Whether the costly parts are drawn.
    pub(crate) fn is_full(self) -> bool {
        matches!(self, Self::Full | Self::Adapter)
    }

    /// How edges are smoothed.
    pub(crate) fn msaa(self) -> Msaa {
        if self.is_full() { Msaa::Sample4 } else { Msaa::Off }
    }
}
