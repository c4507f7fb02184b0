//! Runs bots against a server.
//!
//! Exit status: 0 when all bots could play without faults, 1 otherwise, 2 for invalid options.

use clap::Parser;
use sidereal_bots::{BotsConfig, Occupation};
use sidereal_client::run::{self, StopFlag};
use std::{path::PathBuf, process::ExitCode};

/// Fills a Sidereal world with bots and reports what they measured.
#[derive(Parser, Debug)]
#[command(name = "sidereal-bots", version)]
struct Options {
    /// The server's HTTP address
    #[arg(long, env = "SIDEREAL_HTTP", default_value = "http://127.0.0.1:7779")]
    http: String,
    /// How many bots
    #[arg(long, env = "SIDEREAL_COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=500))]
    count: u32,
    /// How long they play once all are in space; without it until stopped
    #[arg(long, env = "SIDEREAL_SECONDS", value_parser = run::parse_seconds)]
    seconds: Option<f64>,
    /// Names, passwords and flights follow from it
    #[arg(long, env = "SIDEREAL_SEED", default_value_t = 1)]
    seed: u64,
    /// Their mission
    #[arg(long, env = "SIDEREAL_MISSION", value_enum, default_value_t)]
    mission: Occupation,
    /// The same as --mission gather
    #[arg(long, env = "SIDEREAL_GATHER", conflicts_with = "mission")]
    gather: bool,
    /// A bot that lost its session reconnects by its session token; it counts as dropped all the same
    #[arg(long, env = "SIDEREAL_RECONNECT", default_value_t = true, action = clap::ArgAction::Set)]
    reconnect: bool,
    /// Append every requested deal and every answer to this file, a line of JSON each
    #[arg(long, env = "SIDEREAL_JOURNAL")]
    journal: Option<PathBuf>,
    /// Write the report here (JSON)
    #[arg(long, env = "SIDEREAL_REPORT")]
    report: Option<PathBuf>,
    /// Written when the first bot is in space
    #[arg(long, env = "SIDEREAL_READY_FILE")]
    ready_file: Option<PathBuf>,
    /// End when standard input ends
    #[arg(long, env = "SIDEREAL_DIE_WITH_STDIN")]
    die_with_stdin: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    sidereal_process::crash::end_on_panic("sidereal-bots");
    run::start_log();
    match start(options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sidereal-bots: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn start(options: Options) -> anyhow::Result<ExitCode> {
    if let Err(error) = sidereal_client::account::AccountApi::new(&options.http) {
        eprintln!("sidereal-bots: --http: {error}");
        return Ok(ExitCode::from(2));
    }
    for path in options.report.iter().chain(&options.ready_file).chain(&options.journal) {
        if let Err(error) = run::check_writable(path) {
            eprintln!("sidereal-bots: {error:#}");
            return Ok(ExitCode::from(2));
        }
    }
    let stop = StopFlag::on_signals()?;
    if options.die_with_stdin {
        stop.on_stdin_end();
    }
    let config = BotsConfig {
        http: options.http,
        count: options.count,
        seconds: options.seconds,
        seed: options.seed,
        reconnect: options.reconnect,
        occupation: if options.gather { Occupation::Gather } else { options.mission },
        journal: options.journal,
        ready_file: options.ready_file,
    };
    let report = sidereal_bots::run(&config, &stop)?;
    if let Some(path) = &options.report {
        run::write_report(path, &report)?;
    }
    println!(
        "{} of {} bots played {:.0} s: {:.0} units flown in {} sectors, {} inputs sent, {} applied, {:.1} corrections/min, {:.0} B/s each",
        report.bots_played,
        report.bots_wanted,
        report.seconds,
        report.distance_flown,
        report.sectors_visited,
        report.inputs_sent,
        report.inputs_applied,
        report.corrections_per_min,
        report.bytes_per_s_per_player.mean,
    );
    match report.fault() {
        None => Ok(ExitCode::SUCCESS),
        Some(fault) => {
            eprintln!("sidereal-bots: {fault}");
            Ok(ExitCode::from(1))
        }
    }
}
