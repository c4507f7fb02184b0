//! The player's deals: the list at a station, trades with other players, and their panels.

pub(crate) mod menu;
pub(crate) mod panels;

use crate::{
    economy::deals::DealBook,
    window::{
        schedule::{InputSteps, WindowSystems},
        ui::settings_menu::is_closed,
    },
};
use bevy::prelude::*;

/// The list at a station, trades and offers.
pub(crate) struct StationPlugin;

impl Plugin for StationPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<DealBook>()
            .init_resource::<menu::StationMenu>()
            .add_systems(Startup, panels::spawn_panels)
            .add_systems(
                PreUpdate,
                (menu::read_station_keys, panels::press_rows).chain().in_set(InputSteps::Panels).run_if(is_closed),
            )
            .add_systems(
                Update,
                (
                    panels::fit_panels.in_set(WindowSystems::Layout),
                    (panels::show_station, panels::write_words).chain().in_set(WindowSystems::Write),
                ),
            );
    }
}
