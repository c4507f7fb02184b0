//! Panels and texts over the picture.

pub(crate) mod connection;
pub(crate) mod hud;
pub(crate) mod layout;
pub(crate) mod messages;
pub(crate) mod settings_menu;
pub(crate) mod station;
pub(crate) mod touch_controls;
pub(crate) mod widgets;

use bevy::{app::PluginGroupBuilder, prelude::*};

/// A plugin for each part, in the order in which their nodes are spawned: of two with the same depth the later one
/// covers the earlier one.
pub(crate) struct UiPlugins;

impl PluginGroup for UiPlugins {
    fn build(self) -> PluginGroupBuilder {
        PluginGroupBuilder::start::<Self>()
            .add(layout::LayoutPlugin)
            .add(settings_menu::SettingsMenuPlugin)
            .add(hud::HudPlugin)
            .add(station::StationPlugin)
            .add(connection::ConnectionPlugin)
            .add(messages::chat::ChatPlugin)
            .add(messages::kill_feed::KillFeedPlugin)
            .add(touch_controls::TouchPlugin)
    }
}
