//! This shard's counters, and the JSON report at its end.
//!
//! Runs in the shard. Counters never influence the simulation.

use bevy::prelude::*;
use serde::Serialize;
use std::{collections::VecDeque, fs, io, path::Path, time::Duration};

/// Tick times that are kept: the last 10 minutes. Older ones are forgotten.
const MAX_SAMPLES: usize = 18_000;

/// The counters.
pub(crate) struct TotalsPlugin;

impl Plugin for TotalsPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Totals>();
    }
}

/// Counters since the process started. The report contains each by its name here.
#[derive(Debug, Default, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "the names say it, and docs/OPERATIONS has a table")]
pub struct Counters {
    pub ticks: u64,
    pub ticks_skipped: u64,
    pub entities: u64,
    pub ghosts: u64,
    pub inputs_applied: u64,
    pub inputs_merged: u64,
    pub inputs_late: u64,
    pub inputs_doubled: u64,
    pub inputs_refused: u64,
    pub inputs_unrouted: u64,
    pub handoffs_out: u64,
    pub handoffs_in: u64,
    pub handoffs_aborted: u64,
    pub shots: u64,
    pub missiles: u64,
    pub beams: u64,
    pub tractor_pulls: u64,
    pub ore_moves: u64,
    pub crates: u64,
    pub deals: u64,
    pub shots_passed_on: u64,
    pub shots_refused: u64,
    pub hits: u64,
    pub ghost_impacts: u64,
    pub contacts_told: u64,
    pub impacts_doubled: u64,
    pub impacts_lost: u64,
    pub destroyed: u64,
    pub respawned: u64,
    pub updates_out_of_time: u64,
    pub frames_refused: u64,
    pub datagrams_refused: u64,
    pub bodies_not_finite: u64,
    pub connections_lost: u64,
}

/// The counters, and how long the last ticks took.
#[derive(Resource, Debug, Default, Clone, Deref, DerefMut)]
pub struct Totals {
    #[deref]
    counters: Counters,
    tick_us: VecDeque<u32>,
}

impl Totals {
    /// Counts a tick that took `time`.
    pub fn tick_took(&mut self, time: Duration) {
        self.ticks += 1;
        if self.tick_us.len() >= MAX_SAMPLES {
            self.tick_us.pop_front();
        }
        self.tick_us.push_back(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// The tick time, in ms, that the given share (0 to 1) of the last ticks stayed under; 0 without ticks.
    pub fn tick_ms(&self, share: f64) -> f64 {
        let mut sorted: Vec<u32> = self.tick_us.iter().copied().collect();
        sorted.sort_unstable();
        let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(index).map_or(0.0, |&us| f64::from(us) / 1000.0)
    }

    /// The report of the shard `name`.
    pub fn report(&self, name: &str) -> Report {
        Report {
            name: name.to_owned(),
            tick_ms: TickMs { p50: self.tick_ms(0.5), p99: self.tick_ms(0.99) },
            counters: self.counters,
            cpu_ms: sidereal_process::cpu_ms().unwrap_or(0),
            max_rss_kb: sidereal_process::max_rss_kb().unwrap_or(0),
        }
    }
}

/// How long a tick's simulation took, milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct TickMs {
    /// Half of the ticks took less.
    pub p50: f64,
    /// 99 of 100 ticks took less.
    pub p99: f64,
}

/// What is written to `--report`.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the names say it, and docs/OPERATIONS has a table")]
pub struct Report {
    pub name: String,
    pub tick_ms: TickMs,
    #[serde(flatten)]
    pub counters: Counters,
    pub cpu_ms: u64,
    pub max_rss_kb: u64,
}

impl Report {
    /// Writes it as JSON.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_vec_pretty(self)?)
    }
}
