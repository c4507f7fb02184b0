//! `sidereal-relay`: configuration, signals, the wait for the target's address, the report.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Parser;
use sidereal_relay::conditions::Conditions;
use sidereal_relay::options::Options;
use sidereal_relay::relay::{Door, Relay};
use sidereal_relay::report::{Report, Totals};
use tracing_subscriber::EnvFilter;

/// How often the stop flag and the file with the target's address are checked.
const POLL: Duration = Duration::from_millis(10);

/// Why it failed.
enum Failure {
    /// It cannot start with these options.
    Start(anyhow::Error),
    /// It failed later, while it ran.
    Later(anyhow::Error),
}

fn main() -> ExitCode {
    let options = Options::parse();
    sidereal_process::crash::end_on_panic("sidereal-relay");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let (error, code) = match run(&options) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Start(error)) => (error, 2),
        Err(Failure::Later(error)) => (error, 1),
    };
    eprintln!("sidereal-relay: {error:#}");
    ExitCode::from(code)
}

fn run(options: &Options) -> Result<(), Failure> {
    let start = |error| Failure::Start(error);
    let conditions = options.conditions().map_err(|error| start(error.into()))?;
    options.allow("--listen", options.listen).map_err(|error| start(error.into()))?;
    if let Some(path) = &options.report {
        check_writable(path).map_err(start)?;
    }
    let stop = sidereal_process::stop_flag(options.die_with_stdin).map_err(start)?;
    let door = Door::open(options.listen).map_err(|error| start(cannot_listen(options.listen, &error)))?;
    let listen_addr = door.local_addr();
    if let Some(path) = &options.ready_file {
        let ready = serde_json::json!({ "listen_addr": listen_addr.to_string() });
        write_whole(path, &ready.to_string()).map_err(start)?;
    }
    let Some(target) = wait_for_target(options, &stop).map_err(start)? else {
        // Stopped before the target's address was known.
        return report(options, &conditions, Totals::default());
    };
    options.allow("--to", target).map_err(|error| start(error.into()))?;
    let relay = Relay::start(door, target, conditions, options.seed)
        .map_err(|error| start(anyhow!("cannot start the relay: {error}")))?;
    tracing::info!(
        %listen_addr, to = %target, delay = ?conditions.delay(), jitter = ?conditions.jitter(),
        loss = conditions.loss(), duplication = conditions.duplication(), "relay is up"
    );
    while !stop.load(Ordering::Relaxed) && relay.is_running() {
        std::thread::sleep(POLL);
    }
    let totals = relay.stop().context("the relay ended").map_err(Failure::Later)?;
    tracing::info!(to_target = totals.to_target.left, to_peers = totals.to_peer.left, "ended");
    report(options, &conditions, totals)
}

fn report(options: &Options, conditions: &Conditions, totals: Totals) -> Result<(), Failure> {
    let Some(path) = &options.report else { return Ok(()) };
    Report::new(conditions, totals).write(path).with_context(|| cannot_write(path)).map_err(Failure::Later)
}

fn wait_for_target(options: &Options, stop: &AtomicBool) -> anyhow::Result<Option<SocketAddr>> {
    let Some(path) = &options.to_file else { return Ok(options.to) };
    while !stop.load(Ordering::Relaxed) {
        // A line that is still being written does not end with a line break.
        if let Some(line) = std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n')) {
            let address =
                line.trim().parse().map_err(|_| anyhow!("--to-file: {:?} is no address and port", line.trim()));
            return address.map(Some);
        }
        std::thread::sleep(POLL);
    }
    Ok(None)
}

fn cannot_listen(address: SocketAddr, error: &dyn Display) -> anyhow::Error {
    anyhow!("cannot listen on UDP {address} ({error}): choose another address with --listen (port 0: any free one)")
}

/// Checks at the start, not after hours, that [`Report::write`] can write the file. An existing file stays.
fn check_writable(path: &Path) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, "").and_then(|()| std::fs::remove_file(&partial)).with_context(|| cannot_write(path))
}

/// Writes a file so that readers see all of it or nothing.
fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text).and_then(|()| std::fs::rename(&partial, path)).with_context(|| cannot_write(path))
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {} (is its folder there and writable? else name another file)", path.display())
}
