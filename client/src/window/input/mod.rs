//! Keys, mouse and touch: the player's intent, and what the window shows.

pub(crate) mod devices;
pub(crate) mod fingers;
pub(crate) mod flight_keys;
pub(crate) mod respawn;
pub(crate) mod view_keys;

use bevy::{app::PluginGroupBuilder, prelude::*};

/// A plugin for each purpose of a key.
pub(crate) struct InputPlugins;

impl PluginGroup for InputPlugins {
    fn build(self) -> PluginGroupBuilder {
        PluginGroupBuilder::start::<Self>()
            .add(flight_keys::FlightKeysPlugin)
            .add(view_keys::ViewKeysPlugin)
            .add(respawn::RespawnPlugin)
    }
}
