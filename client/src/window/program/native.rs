//! The window as a program: its options, signals, the log, and its exit status.

use crate::{
    run::{StopFlag, start_log_with, wait_for_close},
    session::{SessionState, player::Player},
    window::{
        program::{
            host,
            window_plugin::{WindowPlugin, default_plugins},
        },
        settings::store::Place,
    },
};
use bevy::{app::AppExit, prelude::*};
use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

/// Filters the screen drivers' messages, unless `RUST_LOG` is set.
const QUIET: &str = ",wgpu_hal=error,wgpu_core=warn,winit=error,bevy_winit=warn";

/// The configuration of the window: a player that is about to connect, and the window's own options.
pub struct WindowConfig {
    /// The player whose view is shown.
    pub player: Player,
    /// Close the window after this many seconds.
    pub seconds: Option<f64>,
    /// Save the window's picture here, then close it.
    pub screenshot: Option<PathBuf>,
    /// When to take the picture, seconds after the start.
    pub screenshot_after_s: f64,
    /// Store the player's settings here; `None`: in the user's settings folder.
    pub settings: Option<PathBuf>,
    /// Close the window when standard input ends: the parent process is gone.
    pub die_with_stdin: bool,
}

/// The exit status when the session ended by itself: 0, 1 lost, 2 refused. Outlives the app.
#[derive(Resource, Clone, Default)]
struct EndStatus(Arc<AtomicU8>);

/// Records how the session ended, and logs it once for the terminal.
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

/// Set when the process must end.
#[derive(Resource)]
struct Stop(StopFlag);

fn stop_when_told(stop: Res<Stop>, mut exits: MessageWriter<AppExit>) {
    if stop.0.is_set() {
        exits.write(AppExit::Success);
    }
}

/// Opens the window and runs until it is closed, the process is stopped, or the time is over. The status is 0, or 2
/// when the server refused the session, or 1 when it was lost.
pub fn run(config: WindowConfig) -> ExitCode {
    start_log_with(QUIET);
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
            settings: config.settings.map_or(Place::Usual, Place::File),
            ..default()
        },
    ));
    let (link, _) = host::seat(&mut app, config.player);
    let status = EndStatus::default();
    app.insert_resource(status.clone()).insert_resource(Stop(flag)).add_systems(Last, (note_end, stop_when_told));
    let exit = app.run();
    wait_for_close(&[link.close()]);
    match exit {
        AppExit::Success => ExitCode::from(status.0.load(Ordering::Relaxed)),
        AppExit::Error(code) => ExitCode::from(code.get()),
    }
}
