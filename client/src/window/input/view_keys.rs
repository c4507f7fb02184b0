//! The keys for zoom and overlays.

use crate::window::{
    input::devices::Devices,
    render::camera::Wheel,
    schedule::InputSteps,
    settings::{Settings, bindings::Action},
    ui::settings_menu::is_closed,
};
use bevy::{
    input::mouse::{MouseScrollUnit, MouseWheel},
    prelude::*,
};

/// Pixels of a touchpad's scroll per notch.
const PIXELS_PER_NOTCH: f32 = 40.0;

/// Zoom and overlays by keys. Their initial state is [`Overlays`], unless that is inserted before.
pub(crate) struct ViewKeysPlugin;

impl Plugin for ViewKeysPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Overlays>()
            .add_systems(PreUpdate, read_view_keys.in_set(InputSteps::Panels).run_if(is_closed));
    }
}

/// The overlays that are shown.
#[derive(Resource, Debug, Clone, Copy)]
pub(crate) struct Overlays {
    /// The overlay with the keys.
    pub(crate) help: bool,
    /// The sectors' lines.
    pub(crate) grid: bool,
    /// The map in the corner.
    pub(crate) map: bool,
    /// The connection panel.
    pub(crate) link: bool,
}

impl Default for Overlays {
    fn default() -> Self {
        Self { help: false, grid: false, map: true, link: false }
    }
}

/// Zoom and overlays.
fn read_view_keys(
    devices: Devices,
    settings: Res<Settings>,
    mut scrolls: MessageReader<MouseWheel>,
    mut wheel: ResMut<Wheel>,
    mut shown: ResMut<Overlays>,
) {
    for scroll in scrolls.read() {
        wheel.notches += match scroll.unit {
            MouseScrollUnit::Line => scroll.y,
            MouseScrollUnit::Pixel => scroll.y / PIXELS_PER_NOTCH,
        };
    }
    let hands = devices.hands(&settings.keys, &[]);
    if hands.begins(Action::ZoomIn) {
        wheel.notches += 1.0;
    }
    if hands.begins(Action::ZoomOut) {
        wheel.notches -= 1.0;
    }
    if hands.begins(Action::Help) {
        shown.help = !shown.help;
    }
    if hands.begins(Action::Link) {
        shown.link = !shown.link;
    }
    if hands.begins(Action::Grid) {
        shown.grid = !shown.grid;
    }
    if hands.begins(Action::Map) {
        shown.map = !shown.map;
    }
}
