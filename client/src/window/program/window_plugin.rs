//! The window as a plugin: the plugins of its capabilities, and its own clock.
//!
//! Runs in the player client and in the browser client (feature `window`).

use crate::{
    FrameDelta,
    flight::controls::PilotIntent,
    session::SessionState,
    view::WorldView,
    window::{
        input::{InputPlugins, view_keys::Overlays},
        program::screenshot::ScreenshotPlugin,
        render::{RenderPlugins, camera::CameraView},
        scene::ScenePlugins,
        schedule::SchedulePlugin,
        settings::{START_SIZE, SettingsPlugin, quality::Quality, store::Place},
        ui::UiPlugins,
    },
};
use bevy::{
    app::AppExit,
    prelude::*,
    window::{PresentMode, WindowResolution},
    winit::WinitSettings,
};
use std::path::PathBuf;

/// The smallest window in which everything fits, logical pixels.
const MIN_SIZE: Vec2 = Vec2::new(320.0, 320.0);

/// Draws the view in a window. Needs Bevy's `DefaultPlugins` ([`default_plugins`]), and something that writes the
/// [`WorldView`].
#[derive(Debug, Clone, Default)]
pub struct WindowPlugin {
    /// Save a picture of the window here, then end.
    pub screenshot: Option<PathBuf>,
    /// When to take the picture, seconds after the start.
    pub screenshot_after_s: f64,
    /// End after this many seconds.
    pub seconds: Option<f64>,
    /// Units per pixel at the start; `None` for the default.
    pub scale: Option<f32>,
    /// Show the sector grid from the start.
    pub grid: bool,
    /// The quality of the picture; [`Quality::Adapter`]: by the settings.
    pub quality: Quality,
    /// Where the player's settings are stored.
    pub settings: Place,
}

impl Plugin for WindowPlugin {
    fn build(&self, app: &mut App) {
        let mut camera = CameraView::default();
        if let Some(scale) = self.scale {
            camera.set_scale(scale);
        }
        // A covered window continues to run.
        app.insert_resource(WinitSettings::continuous())
            .insert_resource(camera)
            .insert_resource(self.quality)
            .insert_resource(Overlays { grid: self.grid, ..default() })
            .insert_resource(StopWhen { seconds: self.seconds })
            .init_resource::<FrameDelta>()
            .init_resource::<WorldView>()
            .init_resource::<PilotIntent>()
            .init_resource::<SessionState>()
            .add_systems(First, pass_frame.after(bevy::time::TimeSystems))
            .add_systems(Last, stop_in_time)
            .add_plugins((SchedulePlugin, SettingsPlugin { place: self.settings.clone() }))
            .add_plugins((UiPlugins, InputPlugins, RenderPlugins, ScenePlugins));
        if let Some(path) = &self.screenshot {
            app.add_plugins(ScreenshotPlugin { path: path.clone(), after_s: self.screenshot_after_s });
        }
    }
}

/// When to end without the player's action.
#[derive(Resource, Default)]
struct StopWhen {
    seconds: Option<f64>,
}

/// Passes the duration of the last frame to the library.
fn pass_frame(time: Res<Time<Real>>, mut delta: ResMut<FrameDelta>) {
    delta.0 = time.delta_secs_f64();
}

fn stop_in_time(stop: Res<StopWhen>, time: Res<Time<Real>>, mut exits: MessageWriter<AppExit>) {
    if stop.seconds.is_some_and(|seconds| time.elapsed_secs_f64() >= seconds) {
        exits.write(AppExit::Success);
    }
}

/// Bevy's default plugins with this window, and without their own signal handler.
pub(crate) fn plugins_with(window: Window) -> impl PluginGroup {
    let plugins = DefaultPlugins.set(bevy::window::WindowPlugin { primary_window: Some(window), ..default() });
    #[cfg(not(target_family = "wasm"))]
    let plugins = plugins.disable::<bevy::app::TerminalCtrlCHandlerPlugin>();
    plugins
}

/// Bevy's default plugins with the initial window, without a signal handler and a log of their own.
pub fn default_plugins() -> impl PluginGroup {
    let window = Window {
        title: "Sidereal".to_owned(),
        name: Some("sidereal".to_owned()),
        resolution: WindowResolution::new(START_SIZE[0], START_SIZE[1]),
        resize_constraints: WindowResizeConstraints { min_width: MIN_SIZE.x, min_height: MIN_SIZE.y, ..default() },
        present_mode: PresentMode::AutoVsync,
        ..default()
    };
    plugins_with(window)
}
