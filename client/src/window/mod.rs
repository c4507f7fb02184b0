//! The native window: draws [`WorldView`] and turns keys into [`PilotIntent`] and deals.
//!
//! Runs in the player client (feature `window`). It reads the view and the session's state and
//! writes the pilot's intent and what the pilot asks for; it never writes what the library computes, and holds nothing that the
//! game needs. Everything is drawn with code: meshes that are made once (`shapes`), one material
//! (`ink`), and a `canvas` that each frame is painted anew.

mod aim;
mod bodies;
mod canvas;
mod desk;
mod dice;
mod effects;
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
mod palette;
mod panels;
mod picture;
mod places;
mod polish;
mod rocks;
mod shapes;
mod sights;
mod sketch;
mod sky;
mod stones;
mod structures;
mod warp;
mod wounds;

use crate::{
    FrameDelta, WindowConfig,
    controls::PilotIntent,
    deals::DealBook,
    run::{self, StopFlag},
    session::SessionState,
    view::WorldView,
};
pub use polish::{Comfort, Polish};

use bevy::{
    app::{AppExit, TerminalCtrlCHandlerPlugin},
    input::InputSystems,
    prelude::*,
    window::{PresentMode, WindowResolution},
    winit::WinitSettings,
};
use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

/// The smallest window that everything fits in, logical pixels.
const MIN_SIZE: Vec2 = Vec2::new(640.0, 400.0);

/// What the drivers of the screen tell is for those who ask.
const QUIET: &str = ",wgpu_hal=error,wgpu_core=warn,winit=error,bevy_winit=warn";

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
    /// How the picture is drawn.
    pub polish: Polish,
}

impl Plugin for WindowPlugin {
    fn build(&self, app: &mut App) {
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
            .init_resource::<SessionState>()
            .init_resource::<StopWhen>()
            .init_resource::<keys::Taps>()
            .init_resource::<keys::Wheel>()
            .init_resource::<keys::Downtime>()
            .init_resource::<canvas::Canvas>()
            .init_resource::<bodies::Looks>()
            .init_resource::<Comfort>()
            .init_resource::<effects::Shaken>()
            .init_resource::<grid::SectorLabels>()
            .init_resource::<sights::Target>()
            .init_resource::<wounds::Wounds>()
            .init_resource::<marks::NameTags>()
            .init_resource::<hud::Gauges>();
        app.world_mut().resource_mut::<StopWhen>().seconds = self.seconds;
        app.configure_sets(PreUpdate, WindowSystems::Hands.after(InputSystems))
            .configure_sets(Update, (WindowSystems::Look, WindowSystems::Paint, WindowSystems::Show).chain());
        app.add_systems(
            Startup,
            (
                shapes::make_shapes,
                (polish::settle_polish, lens::spawn_camera).chain(),
                hud::spawn_hud,
                panels::spawn_panels,
            ),
        )
        .add_systems(First, pass_frame.after(bevy::time::TimeSystems))
        .add_systems(
            PreUpdate,
            (desk::read_desk_keys, keys::read_hands, keys::ask_for_ship, keys::read_view_keys)
                .chain()
                .in_set(WindowSystems::Hands),
        )
        .add_systems(
            Update,
            (
                (polish::follow_polish, lens::follow_ship).chain().in_set(WindowSystems::Look),
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
                    hud::write_lines,
                    hud::show_panels,
                    hud::fill_arms,
                    hud::fill_hold,
                    panels::show_desk,
                    panels::write_words,
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

/// The process's status when the session ended by itself: 0, 1 lost, 2 refused. Outlives the app.
#[derive(Resource, Clone, Default)]
struct EndStatus(Arc<AtomicU8>);

/// Notes how the session ended, and says it once where a terminal shows it.
fn note_end(state: Res<SessionState>, status: Res<EndStatus>) {
    let code = match *state {
        SessionState::Rejected(_) => 2,
        SessionState::Lost(_) => 1,
        _ => 0,
    };
    if status.0.swap(code, Ordering::Relaxed) != code
        && let Some(reason) = state.failure()
    {
        eprintln!("sidereal-client: {reason}");
    }
}

/// When to end without the pilot's doing.
#[derive(Resource, Default)]
struct StopWhen {
    seconds: Option<f64>,
    flag: StopFlag,
}

/// Tells the library how long the last frame took.
fn pass_frame(time: Res<Time<Real>>, mut delta: ResMut<FrameDelta>) {
    delta.0 = time.delta_secs_f64();
}

fn stop_in_time(stop: Res<StopWhen>, time: Res<Time<Real>>, mut exits: MessageWriter<AppExit>) {
    let over = stop.seconds.is_some_and(|seconds| time.elapsed_secs_f64() >= seconds);
    if over || stop.flag.is_set() {
        exits.write(AppExit::Success);
    }
}

/// Bevy's default plugins with the window as it opens: without a handler of signals or a log of
/// their own.
pub fn default_plugins() -> impl PluginGroup {
    let window = Window {
        title: "Sidereal".to_owned(),
        name: Some("sidereal".to_owned()),
        resolution: WindowResolution::new(1280, 720),
        resize_constraints: WindowResizeConstraints { min_width: MIN_SIZE.x, min_height: MIN_SIZE.y, ..default() },
        present_mode: PresentMode::AutoVsync,
        ..default()
    };
    DefaultPlugins
        .set(bevy::window::WindowPlugin { primary_window: Some(window), ..default() })
        .disable::<TerminalCtrlCHandlerPlugin>()
}

/// Opens the window and flies until it is closed, the process is told to end, or the time is over.
/// The status is 0, or 2 when the server refused the session, or 1 when it was lost.
pub fn run(config: WindowConfig) -> ExitCode {
    run::start_log_with(QUIET);
    let flag = StopFlag::on_signals().unwrap_or_else(|error| {
        tracing::warn!("{error:#}");
        StopFlag::default()
    });
    if config.die_with_stdin {
        flag.on_stdin_end();
    }
    let mut app = App::new();
    app.add_plugins((
        default_plugins(),
        WindowPlugin {
            screenshot: config.screenshot,
            screenshot_after_s: config.screenshot_after_s,
            seconds: config.seconds,
            ..default()
        },
    ));
    app.world_mut().resource_mut::<StopWhen>().flag = flag;
    let link = host::seat(&mut app, config.player);
    let status = EndStatus::default();
    app.insert_resource(status.clone()).add_systems(Last, note_end);
    let exit = app.run();
    run::wait_for_close(&[link.close()]);
    match exit {
        AppExit::Success => ExitCode::from(status.0.load(Ordering::Relaxed)),
        AppExit::Error(code) => ExitCode::from(code.get()),
    }
}
