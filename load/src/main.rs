//! `sidereal-load`: options, and one line on failure.
//!
//! Exit status: 0 when the run was complete, 1 otherwise, 2 for invalid options.

use anyhow::Context;
use clap::{Parser, Subcommand};
use sidereal_load::{
    compare::{self, CompareOptions, table::Comparison},
    ramp::{
        LoadOptions,
        figures::Interval,
        run::{self as load, Progress},
    },
    roles::Role,
};
use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};
use tracing_subscriber::EnvFilter;

/// Load tests of Sidereal: without a command, players in a world.
#[derive(Parser, Debug)]
#[command(name = "sidereal-load", version, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    load: LoadOptions,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, at the start of the process")]
enum Command {
    /// Compare the motion plane with naia's replicated components
    Compare(CompareOptions),
    /// A part of a run: started by this program itself
    #[command(hide = true)]
    Role {
        #[command(subcommand)]
        role: Role,
    },
}

fn main() -> ExitCode {
    let options = Options::parse();
    sidereal_process::crash::end_on_panic("sidereal-load");
    let default = "warn,naia_shared=error,naia_server=error,naia_client=error";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = match options.command {
        None => run_load(&options.load),
        Some(Command::Compare(options)) => {
            if let Err(problem) = options.cases() {
                eprintln!("sidereal-load: {problem}");
                return ExitCode::from(2);
            }
            run_comparison(&options)
        }
        Some(Command::Role { role }) => role.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sidereal-load: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn run_comparison(options: &CompareOptions) -> anyhow::Result<()> {
    if let Some(path) = &options.report {
        sidereal_client::run::check_writable(path)?;
    }
    let earlier: Option<Comparison> = match &options.against {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Some(serde_json::from_str(&text).with_context(|| format!("{} is no report", path.display()))?)
        }
        None => None,
    };
    let comparison = compare::run::run(options, None, |line| eprintln!("{line}"))?;
    println!("{}", comparison.markdown());
    if let Some(path) = &options.report {
        sidereal_client::run::write_report(path, &comparison)?;
    }
    let fallen = earlier.map(|earlier| comparison.fallen(&earlier)).unwrap_or_default();
    anyhow::ensure!(fallen.is_empty(), "the motion plane has lost a third of its advantage: {}", fallen.join("; "));
    Ok(())
}

fn run_load(options: &LoadOptions) -> anyhow::Result<()> {
    if let Some(folder) = &options.report {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        sidereal_client::run::check_writable(&folder.join("report.json"))?;
    }
    let report = load::run(options, None, &mut Lines { is_terminal: std::io::stderr().is_terminal(), last: (0, 0) })?;
    println!("{}", report.markdown());
    if let Some(folder) = &options.report {
        report.write(folder)?;
    }
    match report.totals.fault() {
        None => {
            let reason = || report.broken.as_deref().unwrap_or("nothing was measured");
            anyhow::ensure!(options.ramp || !report.intervals.is_empty(), "{}", reason());
            Ok(())
        }
        Some(fault) => anyhow::bail!("{fault}"),
    }
}

/// A progress bar on a terminal; elsewhere a line for each interval.
struct Lines {
    is_terminal: bool,
    /// The last numbers shown while players join.
    last: (u32, u32),
}

impl Lines {
    /// Replaces the bar.
    fn bar(&self, share: f64, text: &str) {
        const WIDTH: usize = 30;
        if !self.is_terminal {
            return;
        }
        let full = ((share.clamp(0.0, 1.0) * WIDTH as f64) as usize).min(WIDTH);
        let mut out = std::io::stderr().lock();
        // Nothing is lost with a bar that cannot be shown.
        let _ = write!(out, "\r[{}{}] {text}\x1b[K", "#".repeat(full), ".".repeat(WIDTH - full));
        let _ = out.flush();
    }
}

impl Progress for Lines {
    fn joining(&mut self, players: u32, wanted: u32) {
        if self.last != (players, wanted) {
            self.last = (players, wanted);
            self.bar(
                f64::from(players) / f64::from(wanted.max(1)),
                &format!("{players} of {wanted} players are in space"),
            );
        }
    }

    fn measuring(&mut self, players: u32, share: f64) {
        self.bar(share, &format!("measuring {players} players"));
    }

    fn measured(&mut self, interval: &Interval) {
        let end = if self.is_terminal { "\r\x1b[K" } else { "" };
        eprintln!(
            "{end}{} players: tick p50 {:.1} ms, p99 {:.1} ms, {:.1} ticks/s, server {:.2} cores, clients {:.2} cores, {:.1} kB/s each",
            interval.players,
            interval.tick_p50_ms,
            interval.tick_p99_ms,
            interval.ticks_per_s,
            interval.server_total_cores(),
            interval.client_cores,
            interval.bytes_per_player_s / 1e3,
        );
    }
}
