//! The window, native or in the browser's page: draws [`WorldView`] and turns keys into [`PilotIntent`] and deals.
//!
//! Runs in the player client (feature `window`). It reads the view and the session's state and
//! writes the pilot's intent and what the pilot asks for; it never writes what the library computes, and holds nothing that the
//! game needs. Everything is drawn with code: meshes that are made once (`shapes`), one material
//! (`ink`), and a `canvas` that each frame is painted anew.

mod aim;
mod bodies;
mod canvas;
mod chat;
mod connection;
mod desk;
mod dice;
mod effects;
mod feed;
mod fit;
mod glyphs;
mod grid;
mod host;
mod hud;
mod hulls;
mod ink;
mod keys;
mod lens;
mod map;
mod marks;
#[cfg(not(target_family = "wasm"))]
mod native;
mod palette;
mod panels;
mod picture;
mod places;
mod polish;
mod rocks;
mod settings;
mod shapes;
mod sights;
mod sketch;
mod sky;
mod stones;
mod structures;
mod touch;
#[cfg(test)]
mod vision;
mod warp;
#[cfg(target_family = "wasm")]
pub mod web;
mod wounds;

use crate::{
    FrameDelta, chat::ChatBook, controls::PilotIntent, deals::DealBook, session::SessionState, view::WorldView,
};
#[cfg(not(target_family = "wasm"))]
pub use native::{WindowConfig, run};
pub use palette::Scheme;
pub use polish::Polish;
pub use settings::{Place, Settings};

use bevy::{
    app::AppExit,
    input::InputSystems,
    prelude::*,
    ui::UiSystems,
    window::{PresentMode, WindowResolution},
    winit::WinitSettings,
};
use std::path::PathBuf;

/// The smallest window that everything fits in, logical pixels.
const MIN_SIZE: Vec2 = Vec2::new(320.0, 320.0);

/// The window as it opens at first, logical pixels.
const START_SIZE: [u32; 2] = [1280, 720];

/// The order in which the window does its part of a frame.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum WindowSystems {
    /// Keys become intent, before the session samples it. In `PreUpdate`.
    Hands,
    /// The lens follows the view, which the session has just put together. In `Update`.
    Look,
    /// Systems paint on the canvas, relative to the lens. In `Update`.
    Paint,
    /// The canvas is shown, before transforms are propagated. In `Update`.
    Show,
}

/// Draws the view in a window. Needs Bevy's `DefaultPlugins` ([`default_plugins`]); whoever adds it
/// sees to it that there is a [`WorldView`].
#[derive(Debug, Clone, Default)]
pub struct WindowPlugin {
    /// Save a picture of the window here, then end.
    pub screenshot: Option<PathBuf>,
    /// When to take the picture, seconds after the start.
    pub screenshot_after_s: f64,
    /// End after so many seconds.
    pub seconds: Option<f64>,
    /// Look from so many units per pixel at the start; `None` for the usual.
    pub scale: Option<f32>,
    /// Show the sector grid from the start.
    pub grid: bool,
    /// How the picture is drawn; [`Polish::Adapter`]: as the settings say.
    pub polish: Polish,
    /// Where the player's settings are kept.
    pub settings: Place,
}

impl Plugin for WindowPlugin {
    fn build(&self, app: &mut App) {
        settings::add(app, self.settings.clone());
        let mut lens = lens::Lens::default();
        if let Some(scale) = self.scale {
            lens.set_scale(scale);
        }
        app.add_plugins(ink::InkPlugin)
            .insert_resource(ClearColor(palette::SPACE))
            // A window that is covered goes on flying.
            .insert_resource(WinitSettings::continuous())
            .insert_resource(lens)
            .insert_resource(self.polish)
            .insert_resource(keys::Shown { grid: self.grid, ..default() })
            .init_resource::<FrameDelta>()
            .init_resource::<WorldView>()
            .init_resource::<PilotIntent>()
            .init_resource::<DealBook>()
            .init_resource::<desk::Desk>()
            .init_resource::<ChatBook>()
            .init_resource::<chat::Typing>()
            .init_resource::<SessionState>()
            .init_resource::<StopWhen>()
            .init_resource::<touch::Fingers>()
            .init_resource::<keys::Taps>()
            .init_resource::<keys::Wheel>()
            .init_resource::<keys::Downtime>()
            .init_resource::<fit::Fit>()
            .init_resource::<palette::Palette>()
            .init_resource::<canvas::Canvas>()
            .init_resource::<bodies::Looks>()
            .init_resource::<effects::Shaken>()
            .init_resource::<grid::SectorLabels>()
            .init_resource::<sights::Target>()
            .init_resource::<wounds::Wounds>()
            .init_resource::<marks::NameTags>()
            .init_resource::<hud::Gauges>();
        app.world_mut().resource_mut::<StopWhen>().seconds = self.seconds;
        app.configure_sets(PreUpdate, WindowSystems::Hands.after(InputSystems).after(UiSystems::Focus))
            .configure_sets(Update, (WindowSystems::Look, WindowSystems::Paint, WindowSystems::Show).chain());
        app.add_systems(
            Startup,
            (
                shapes::make_shapes,
                (polish::settle_polish, lens::spawn_camera).chain(),
                hud::spawn_hud,
                panels::spawn_panels,
                connection::spawn_connection,
                chat::spawn_chat,
                feed::spawn_feed,
                touch::spawn_touch,
            ),
        )
        .add_systems(First, pass_frame.after(bevy::time::TimeSystems))
        .add_systems(
            PreUpdate,
            (
                keys::let_go,
                chat::read_typing,
                touch::read_fingers,
                settings::menu::read_menu_keys,
                settings::menu::press_lines,
                (desk::read_desk_keys, keys::read_view_keys).chain().run_if(settings::menu::is_closed),
                panels::press_rows.run_if(settings::menu::is_closed),
                keys::read_hands,
                keys::ask_for_ship,
            )
                .chain()
                .in_set(WindowSystems::Hands),
        )
        .add_systems(
            Update,
            (
                (
                    polish::follow_polish,
                    fit::measure_window,
                    lens::follow_ship,
                    canvas::take_palette,
                    palette::color_inked,
                )
                    .chain()
                    .in_set(WindowSystems::Look),
                (
                    (sky::paint_stars, sky::paint_dust, grid::paint_grid, grid::write_addresses).chain(),
                    bodies::paint_bodies,
                    effects::paint_shots,
                    effects::paint_beams,
                    effects::paint_mining,
                    effects::paint_effects,
                    (wounds::paint_wounds, wounds::paint_veil, sights::paint_sights).chain(),
                    marks::paint_marks,
                    marks::place_names,
                    map::paint_map,
                    fit::lay_out,
                    panels::fit_panels,
                    (hud::write_lines, connection::show_connection, settings::menu::show_menu).chain(),
                    (feed::show_feed, chat::show_chat, hud::give_way).chain(),
                    hud::show_panels,
                    hud::fill_arms,
                    hud::fill_hold,
                    panels::show_desk,
                    panels::write_words,
                    touch::show_touch,
                )
                    .chain()
                    .in_set(WindowSystems::Paint),
                canvas::flush.in_set(WindowSystems::Show),
            ),
        )
        .add_systems(Last, stop_in_time);
        if let Some(path) = &self.screenshot {
            app.insert_resource(picture::PictureOrder::new(path.clone(), self.screenshot_after_s))
                .add_systems(Last, picture::take_picture);
        }
    }
}

/// When to end without the pilot's doing.
#[derive(Resource, Default)]
struct StopWhen {
    seconds: Option<f64>,
}

/// Tells the library how long the last frame took.
fn pass_frame(time: Res<Time<Real>>, mut delta: ResMut<FrameDelta>) {
    delta.0 = time.delta_secs_f64();
}

fn stop_in_time(stop: Res<StopWhen>, time: Res<Time<Real>>, mut exits: MessageWriter<AppExit>) {
    if stop.seconds.is_some_and(|seconds| time.elapsed_secs_f64() >= seconds) {
        exits.write(AppExit::Success);
    }
}

/// Bevy's default plugins with this window, and without a handler of signals of their own.
fn plugins_with(window: Window) -> impl PluginGroup {
    let plugins = DefaultPlugins.set(bevy::window::WindowPlugin { primary_window: Some(window), ..default() });
    #[cfg(not(target_family = "wasm"))]
    let plugins = plugins.disable::<bevy::app::TerminalCtrlCHandlerPlugin>();
    plugins
}

/// Bevy's default plugins with the window as it opens: without a handler of signals or a log of
/// their own.
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
