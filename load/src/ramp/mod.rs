//! The load test: a world, thin players in processes of their own, and what they cost the server.
//!
//! [`run`] starts (or joins) a world, lets the players join in steps, and measures each step. [`figures`] are what is
//! measured; [`crate::report`] writes them down.

pub mod figures;
pub mod run;

mod measure;

use crate::fleet::Scene;
use clap::Args;
use sidereal_client::account::AccountApi;
use std::{net::SocketAddr, path::PathBuf};

/// The options of a load test.
#[derive(Debug, Clone, Args)]
pub struct LoadOptions {
    /// What the players do
    #[arg(long, value_enum, default_value = "gather")]
    pub scene: Scene,
    /// Players; with --ramp the most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=4000))]
    pub clients: u32,
    /// How long each step is measured, seconds
    #[arg(long, default_value_t = 10.0, value_parser = crate::compare::seconds)]
    pub seconds: f64,
    /// How long the players play before each measurement, seconds
    #[arg(long, default_value_t = 3.0, value_parser = crate::compare::seconds)]
    pub warm_up: f64,
    /// Shards of the world
    #[arg(long, default_value_t = 1, conflicts_with = "attach", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub shards: u32,
    /// Network threads of the server for players, each with a UDP port of its own
    #[arg(long, default_value_t = 1, conflicts_with = "attach", value_parser = clap::value_parser!(u32).range(1..=16))]
    pub player_threads: u32,
    /// The world, the players' names and their flights follow from it; ten digits fit into a name
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=9_999_999_999))]
    pub seed: u64,
    /// Processes that the players are spread over
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub processes: u32,
    /// Raise the number of players in steps until a limit breaks
    #[arg(long)]
    pub ramp: bool,
    /// Players that each step adds
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=4000))]
    pub step: u32,
    /// Limit of the 99th percentile of the server's work in a tick, ms; a ramp ends when it is exceeded
    #[arg(long, default_value_t = 33.0, value_parser = limit)]
    pub limit_tick_ms: f64,
    /// Limit of the server's ticks in a second; a ramp ends when there are fewer
    #[arg(long, default_value_t = 29.5, value_parser = limit)]
    pub limit_ticks: f64,
    /// Join a running world with this HTTP address instead of starting one
    #[arg(long, requires = "ops", value_parser = http_address)]
    pub attach: Option<String>,
    /// The address of its /metrics (HOST:PORT)
    #[arg(long, requires = "attach")]
    pub ops: Option<SocketAddr>,
    /// Its server's process id, for the CPU time of its threads
    #[arg(long, requires = "attach")]
    pub server_pid: Option<u32>,
    /// Write the report (report.md, report.json and charts) to this folder
    #[arg(long)]
    pub report: Option<PathBuf>,
}

fn limit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(limit) if limit.is_finite() && limit >= 0.0 => Ok(limit),
        _ => Err("give a number, 0 or more".to_owned()),
    }
}

fn http_address(text: &str) -> Result<String, String> {
    AccountApi::new(text).map(|_| text.to_owned()).map_err(|error| format!("{error:#}"))
}

impl LoadOptions {
    /// The numbers of players of all steps.
    pub fn steps(&self) -> Vec<u32> {
        if !self.ramp {
            return vec![self.clients];
        }
        (1..).map(|step| step * self.step).take_while(|count| *count < self.clients).chain([self.clients]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadOptions,
    }

    fn options(line: &str) -> LoadOptions {
        Line::try_parse_from(line.split(' ')).expect("valid options").load
    }

    #[test]
    fn a_ramp_rises_in_steps_to_the_last_number() {
        assert_eq!(options("x --clients 60").steps(), [60]);
        assert_eq!(options("x --ramp --clients 60 --step 25").steps(), [25, 50, 60]);
        assert_eq!(options("x --ramp --clients 50 --step 25").steps(), [25, 50]);
        assert_eq!(options("x --ramp --clients 5 --step 25").steps(), [5]);
        assert!(Line::try_parse_from(["x", "--attach", "http://127.0.0.1:1"]).is_err(), "metrics are needed");
        for wrong in
            ["--limit-tick-ms inf", "--limit-ticks nan", "--seed 10000000000", "--attach localhost --ops 127.0.0.1:1"]
        {
            assert!(Line::try_parse_from(["x"].into_iter().chain(wrong.split(' '))).is_err(), "{wrong}");
        }
    }
}
