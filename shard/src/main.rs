//! `sidereal-shard`: configuration, signals, the run loop, the report.

use anyhow::Context;
use clap::Parser;
use sidereal_protocol::{frames::secret::check_shard_secret, limits::PROTOCOL_VERSION};
use sidereal_shard::{
    config::{Arguments, ShardConfig},
    session::{self, Ended},
};
use sidereal_transport::{ClientNetwork, ConnectOptions, PeerKind};
use std::{path::Path, process::ExitCode};
use tracing_subscriber::EnvFilter;

const DEFAULT_LOG: &str = "info,naia_shared=warn,naia_server=warn,naia_client=error";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    sidereal_process::crash::end_on_panic("sidereal-shard");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sidereal-shard: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(path) = &arguments.report
        && let Err(error) = check_writable(path)
    {
        eprintln!(
            "sidereal-shard: cannot write {} ({error}): is its folder there and writable? else name another file",
            path.display()
        );
        return Ok(ExitCode::from(2));
    }
    if let Err(error) = check_shard_secret(&arguments.shard_secret.0) {
        eprintln!("sidereal-shard: {error}");
        return Ok(ExitCode::from(2));
    }
    let stop = sidereal_process::stop_flag(arguments.die_with_stdin)?;
    let network = ClientNetwork::new().context("cannot start the network")?;
    let options =
        ConnectOptions::new(arguments.server, PeerKind::Shard, arguments.certificate_hash.0, PROTOCOL_VERSION);
    let config = ShardConfig::from(arguments);
    tracing::info!(name = %config.name, server = %arguments.server, "starting");
    let (ended, totals) = session::run(&config, || network.connector(options.clone()), &stop);
    if let Some(path) = &arguments.report {
        totals
            .report(&config.name)
            .write(path)
            .with_context(|| format!("cannot write the report {}", path.display()))?;
    }
    Ok(match ended {
        Ended::Cleanly => {
            tracing::info!(ticks = totals.ticks, "ended");
            ExitCode::SUCCESS
        }
        Ended::Refused(reason) => {
            eprintln!("sidereal-shard: refused: {reason}");
            ExitCode::from(2)
        }
        Ended::Alone(reason) => {
            eprintln!(
                "sidereal-shard: no connection to the server at {} for {} s: {reason}",
                arguments.server,
                session::GIVE_UP_AFTER.as_secs()
            );
            ExitCode::from(1)
        }
    })
}

/// Checks that the report can be written, at the start, not after hours. An existing file is not changed.
fn check_writable(path: &Path) -> std::io::Result<()> {
    let probe = path.with_extension("part");
    std::fs::write(&probe, "").and_then(|()| std::fs::remove_file(&probe))
}
