//! The player client: with a window, or without one (`--headless`) for checks and servers without a
//! screen.
//!
//! Exit status: 0 clean, 2 for invalid input (name, password, certificate, version), 1 for a later failure.

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;
use sidereal_client::{
    account::AccountApi,
    flight::controls::PilotIntent,
    run::{self, StopFlag},
    session::{SessionState, player::Player, reconnect::Patience, stats::CorrectionUnits},
    view::WorldView,
};
use sidereal_protocol::rules::flight::Controls;
use sidereal_transport::ClientNetwork;
use std::{path::PathBuf, process::ExitCode, sync::Arc};

/// Play in a Sidereal world.
#[derive(Parser, Debug)]
#[command(name = "sidereal-client", version)]
struct Options {
    /// The server's HTTP address
    #[arg(long, env = "SIDEREAL_HTTP", default_value = "http://127.0.0.1:7779")]
    http: String,
    /// Your name
    #[arg(long, env = "SIDEREAL_USER")]
    user: String,
    /// Your password
    #[arg(long, env = "SIDEREAL_PASSWORD", hide_env_values = true)]
    password: String,
    /// Create the account first, if it does not exist
    #[arg(long, env = "SIDEREAL_REGISTER")]
    register: bool,
    /// No window: fly a gentle course automatically and print a line a second
    #[arg(long, env = "SIDEREAL_HEADLESS")]
    headless: bool,
    /// End after this many seconds
    #[arg(long, env = "SIDEREAL_SECONDS", value_parser = run::parse_seconds)]
    seconds: Option<f64>,
    /// Write a report here (JSON, headless only)
    #[arg(long, env = "SIDEREAL_REPORT")]
    report: Option<PathBuf>,
    /// Save a picture of the window here and end
    #[arg(long, env = "SIDEREAL_SCREENSHOT")]
    screenshot: Option<PathBuf>,
    /// When to take the picture, seconds after the start
    #[arg(long, env = "SIDEREAL_SCREENSHOT_AFTER", default_value_t = 5.0, value_parser = run::parse_seconds)]
    screenshot_after: f64,
    /// Store the window's settings here instead of in the user's settings folder
    #[arg(long, env = "SIDEREAL_SETTINGS")]
    settings: Option<PathBuf>,
    /// When the session is lost, try to reconnect for this many seconds; 0: end at once
    #[arg(long, env = "SIDEREAL_RECONNECT_SECONDS", default_value_t = Patience::default().in_all_s,
        value_parser = run::parse_seconds)]
    reconnect_seconds: f64,
    /// End when standard input ends
    #[arg(long, env = "SIDEREAL_DIE_WITH_STDIN")]
    die_with_stdin: bool,
}

/// The report of a headless run. Units are in the names; `null` on systems without the figure.
#[derive(Serialize)]
struct Report {
    failure: Option<String>,
    seconds_in_space: f64,
    distance_flown: f64,
    sectors_visited: usize,
    inputs_sent: u64,
    inputs_applied: u64,
    inputs_lost: u64,
    inputs_doubled: u64,
    inputs_given_up: u64,
    corrections_per_min: f64,
    correction_units: CorrectionUnits,
    teleports: u64,
    jumps: u64,
    violations: u64,
    motions_delivered: u64,
    bytes_received: u64,
    ping_ms: f64,
    players_near: usize,
    deaths: u64,
    sessions_lost: u64,
    reconnects: u64,
    cpu_ms: Option<u64>,
    max_rss_kb: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match start(options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sidereal-client: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn start(options: Options) -> Result<ExitCode> {
    #[cfg(not(feature = "window"))]
    if !options.headless {
        eprintln!("sidereal-client: this build has no window: add --headless, or build it with its default features");
        return Ok(ExitCode::from(2));
    }
    for path in options.report.iter().chain(&options.screenshot) {
        if let Err(error) = run::check_writable(path) {
            eprintln!("sidereal-client: {error:#}");
            return Ok(ExitCode::from(2));
        }
    }
    let entered = AccountApi::new(&options.http)
        .and_then(|api| Ok((api.enter(&options.user, &options.password, options.register)?, api)));
    let (login, api) = match entered {
        Ok(entered) => entered,
        Err(error) => {
            eprintln!("sidereal-client: {error}");
            return Ok(ExitCode::from(if error.is_permanent() { 2 } else { 1 }));
        }
    };
    let network = ClientNetwork::new().context("cannot start the network")?;
    let patience = Patience { in_all_s: options.reconnect_seconds, ..Patience::default() };
    let patience = (options.reconnect_seconds > 0.0).then_some(patience);
    let mut player = Player::new(Arc::new(network), api, login, patience, u64::from(std::process::id()));
    if options.headless {
        run::start_log();
        sidereal_process::crash::end_on_panic("sidereal-client");
        let stop = StopFlag::on_signals()?;
        if options.die_with_stdin {
            stop.on_stdin_end();
        }
        return fly_headless(&mut player, &options, &stop);
    }
    #[cfg(feature = "window")]
    {
        let code = sidereal_client::window::run(sidereal_client::window::WindowConfig {
            player,
            seconds: options.seconds,
            screenshot: options.screenshot,
            screenshot_after_s: options.screenshot_after,
            settings: options.settings,
            die_with_stdin: options.die_with_stdin,
        });
        Ok(code)
    }
    #[cfg(not(feature = "window"))]
    unreachable!("refused above")
}

fn fly_headless(player: &mut Player, options: &Options, stop: &StopFlag) -> Result<ExitCode> {
    let mut pace = run::Pace::new(60.0);
    let mut next_line_s = 1.0;
    loop {
        let delta = pace.wait();
        let now = player.now_s();
        let mut intent = player.app_mut().world_mut().resource_mut::<PilotIntent>();
        intent.controls = gentle_course(now);
        intent.respawn = true;
        player.update(delta);
        if now >= next_line_s {
            next_line_s += 1.0;
            print_line(player);
        }
        let over = player.state().is_over();
        if over || stop.is_set() || options.seconds.is_some_and(|seconds| now >= seconds) {
            break;
        }
    }
    let state = player.state();
    player.close();
    player.update(0.0);
    run::wait_for_close(&[player.handle()]);
    if let Some(path) = &options.report {
        run::write_report(path, &report(player, &state))?;
    }
    Ok(exit_code(&state))
}

/// Ahead at half power, in long bends to both sides.
fn gentle_course(now_s: f64) -> Controls {
    let turn = ((now_s * 0.25).sin() * 30.0) as i8;
    Controls { thrust: 64, turn, buttons: 0 }
}

fn print_line(player: &Player) {
    let view = player.resource::<WorldView>();
    match &view.own {
        Some(own) => println!(
            "{:6.0} s  ship {}  sector {}  position ({:.0}, {:.0})  speed {:.0}  hull {}/{}  in sight {} ({} players)  ping {:.0} ms  loss {:.0} %  delay {:.1} ticks",
            player.now_s(),
            own.id,
            view.sector,
            own.state.position.x,
            own.state.position.y,
            own.state.velocity.length(),
            own.hull,
            own.hull_max,
            view.others.len(),
            view.players_near,
            view.link.ping_ms,
            view.link.loss * 100.0,
            view.link.interpolation_delay_ticks,
        ),
        None => println!("{:6.0} s  {:?}", player.now_s(), player.state()),
    }
}

/// Of all sessions; the view's figures are those of the last one.
fn report(player: &Player, state: &SessionState) -> Report {
    let view = player.resource::<WorldView>();
    let stats = player.stats();
    let (inputs, _) = player.inputs();
    Report {
        failure: state.failure().map(str::to_owned),
        seconds_in_space: stats.seconds_in_space,
        distance_flown: stats.distance_flown,
        sectors_visited: stats.sectors.len(),
        inputs_sent: inputs.sent,
        inputs_applied: inputs.applied,
        inputs_lost: inputs.lost,
        inputs_doubled: inputs.doubled,
        inputs_given_up: inputs.given_up,
        corrections_per_min: stats.corrections_per_min(),
        correction_units: CorrectionUnits::of(stats.correction_sizes().to_vec()),
        teleports: stats.teleports,
        jumps: stats.jumps,
        violations: stats.violations(),
        motions_delivered: stats.motions_delivered,
        bytes_received: stats.bytes_received(),
        ping_ms: view.link.ping_ms,
        players_near: view.players_near,
        deaths: stats.deaths,
        sessions_lost: player.losses(),
        reconnects: player.returns(),
        cpu_ms: sidereal_process::cpu_ms(),
        max_rss_kb: sidereal_process::max_rss_kb(),
    }
}

fn exit_code(state: &SessionState) -> ExitCode {
    if let Some(reason) = state.failure() {
        eprintln!("sidereal-client: {reason}");
    }
    match state {
        SessionState::Rejected(_) => ExitCode::from(2),
        SessionState::Lost(_) | SessionState::Returning(_) => ExitCode::from(1),
        _ => ExitCode::SUCCESS,
    }
}
