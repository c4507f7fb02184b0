//! Counters at two moments, and the figures of the interval between them.

use super::figures::{Interval, percentile};
use crate::{
    children::{
        spawned::Spawned,
        threads::{CpuSource, ThreadTimes},
    },
    fleet::FleetSample,
    world::Metrics,
};
use anyhow::Result;
use std::time::Instant;

/// The processes of a run.
pub(super) struct Measured<'a> {
    pub server_pid: Option<u32>,
    pub shards: &'a [Spawned],
    pub fleets: &'a [Spawned],
}

/// All counters at one moment.
pub(super) struct Moment {
    pub at: Instant,
    pub fleet: FleetSample,
    metrics: Metrics,
    server: Option<ThreadTimes>,
    shards_ns: u64,
    fleets_ns: u64,
}

impl Moment {
    /// Reads them.
    pub fn take(fleet: FleetSample, metrics: Metrics, measured: &Measured<'_>) -> Result<Self> {
        let at = Instant::now();
        let all = |children: &[Spawned]| -> Result<u64> {
            let mut sum = 0;
            for child in children {
                sum += ThreadTimes::of(child.pid())?.by_name.values().sum::<u64>();
            }
            Ok(sum)
        };
        Ok(Self {
            at,
            fleet,
            metrics,
            server: measured.server_pid.map(ThreadTimes::of).transpose()?,
            shards_ns: all(measured.shards)?,
            fleets_ns: all(measured.fleets)?,
        })
    }

    /// Where the CPU times come from.
    pub fn cpu_source(&self) -> CpuSource {
        self.server.as_ref().map_or(CpuSource::Schedstat, |times| times.source)
    }

    /// A counter of the server's; an error if there is none of this name.
    fn counter(&self, name: &str) -> Result<f64> {
        self.metrics.value(name)
    }

    /// The figures since `earlier`. `ticks_per_s` is measured apart; `start` is when the first interval began.
    pub fn since(&self, earlier: &Self, ticks_per_s: f64, start: Instant) -> Result<Interval> {
        let seconds = (self.at - earlier.at).as_secs_f64();
        // In a fight some are without a ship for a moment: they receive what the others do.
        let players = self.fleet.connected;
        let each = f64::from(players.max(1));
        let cores = |ns: u64| ns as f64 / 1e9 / seconds;
        let server_ns = match (&self.server, &earlier.server) {
            (Some(now), Some(before)) => now.since(before),
            _ => Default::default(),
        };
        let total_ns: u64 = server_ns.values().sum();
        let motions = self.fleet.motions.saturating_sub(earlier.fleet.motions) as f64;
        let counted = |name: &str| -> Result<f64> { Ok(self.counter(name)? - earlier.counter(name)?) };
        let before = earlier.metrics.labelled("sidereal_tick_ms_bucket", "le");
        let buckets: Vec<(f64, f64)> = self
            .metrics
            .labelled("sidereal_tick_ms_bucket", "le")
            .into_iter()
            .zip(before)
            .filter_map(|((bound, now), (_, before))| {
                Some((bound.parse().ok().filter(|b: &f64| b.is_finite())?, now - before))
            })
            .collect();
        let ticks = counted("sidereal_tick_ms_count")?;
        Ok(Interval {
            players,
            at_s: (earlier.at - start).as_secs_f64() + seconds / 2.0,
            seconds,
            ticks_per_s,
            tick_p50_ms: percentile(&buckets, ticks, 0.50),
            tick_p99_ms: percentile(&buckets, ticks, 0.99),
            server_cores: server_ns.iter().map(|(name, ns)| (name.clone(), cores(*ns))).collect(),
            shard_cores: cores(self.shards_ns.saturating_sub(earlier.shards_ns)),
            client_cores: cores(self.fleets_ns.saturating_sub(earlier.fleets_ns)),
            motions_per_player_s: motions / seconds / each,
            ns_per_motion: if motions > 0.0 { total_ns as f64 / motions } else { 0.0 },
            bytes_per_player_s: self.fleet.bytes.saturating_sub(earlier.fleet.bytes) as f64 / seconds / each,
            worst_second_bytes: self.fleet.worst_second_bytes as f64,
            handoffs: counted("sidereal_handoffs_total")?,
            crossings: counted("sidereal_crossings_total")?,
            spread_p50_ms: self.fleet.spread_p50_ms,
            spread_p99_ms: self.fleet.spread_p99_ms,
            server_mib: self.counter("sidereal_resident_kib")? / 1024.0,
        })
    }
}
