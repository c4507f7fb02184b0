//! The counters and measurements of a run.

use crate::handoff::figures::Cutover;
use bevy::prelude::{Deref, DerefMut, Resource};
use serde::Serialize;
use sidereal_protocol::world::tick::TICK_HZ;
use std::collections::VecDeque;

/// Samples kept for percentiles; beyond that the oldest are dropped.
const MAX_SAMPLES: usize = 100_000;

/// Number of ticks in `/metrics`' tick times: ten seconds.
const RECENT_TICKS: usize = 10 * TICK_HZ as usize;

/// The latest samples of one quantity, milliseconds.
#[derive(Debug, Default)]
pub struct Samples {
    values: Vec<f64>,
    next: usize,
}

impl Samples {
    /// Adds a sample.
    pub fn push(&mut self, value: f64) {
        if self.values.len() < MAX_SAMPLES {
            self.values.push(value);
        } else {
            self.values[self.next] = value;
            self.next = (self.next + 1) % MAX_SAMPLES;
        }
    }

    /// The percentile at `share` (0 to 1); zero without samples.
    pub fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(index.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

/// Number of finite bounds of [`Lengths`].
const LENGTH_BOUNDS: usize = 48;

/// The first bound, ms, and the factor from each to the next: up to 214 ms, in steps of a sixth.
const FIRST_BOUND_MS: f64 = 0.2;
const BOUND_FACTOR: f64 = 1.16;

/// How many durations of a run were at most how long: a histogram, from whose differences the percentiles of any
/// interval follow.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    /// By bound; the last one counts longer ones.
    counts: [u64; LENGTH_BOUNDS + 1],
    sum_ms: f64,
}

impl Default for Lengths {
    fn default() -> Self {
        Self { counts: [0; LENGTH_BOUNDS + 1], sum_ms: 0.0 }
    }
}

impl Lengths {
    /// The bound `index`, ms.
    fn bound_ms(index: usize) -> f64 {
        FIRST_BOUND_MS * BOUND_FACTOR.powi(index as i32)
    }

    fn record(&mut self, length_ms: f64) {
        let index = (0..LENGTH_BOUNDS).find(|index| length_ms <= Self::bound_ms(*index)).unwrap_or(LENGTH_BOUNDS);
        self.counts[index] += 1;
        self.sum_ms += length_ms;
    }

    /// Each bound, ms, with the number of durations up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.counts[..LENGTH_BOUNDS].iter().enumerate().scan(0, |total, (index, count)| {
            *total += count;
            Some((Self::bound_ms(index), *total))
        })
    }

    /// The number of all durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum, ms.
    pub fn sum_ms(&self) -> f64 {
        self.sum_ms
    }
}

/// The counters of a run. The report contains them by these names.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Counters {
    /// Maximum number of concurrent players.
    pub players_max: u64,
    /// Entities that entered the mirror.
    pub entered: u64,
    /// Entities that left the mirror.
    pub left: u64,
    /// Entities that were spawned or loaded in this run.
    pub created: u64,
    /// Ships that entered the world with their players.
    pub admitted: u64,
    /// Entities that were destroyed.
    pub destroyed: u64,
    /// Ships that left the world with their players.
    pub stored: u64,
    /// Respawns: ships after a player's first.
    pub respawns: u64,
    /// Sessions that took control of a ship that was already in the world.
    pub takeovers: u64,
    /// Changes of logical sector.
    pub crossings: u64,
    /// Completed handoffs between shards.
    pub handoffs: u64,
    /// New inputs received, of sessions that have ended.
    pub inputs_received: u64,
    /// Inputs forwarded to shards.
    pub inputs_forwarded: u64,
    /// Input packets above a player's rate.
    pub inputs_over_rate: u64,
    /// Rejected credentials.
    pub refused: u64,
    /// Peers that were admitted and closed because they did not connect in time.
    pub admissions_overdue: u64,
    /// Peers that were admitted and closed before they connected, because another one of the same account came.
    pub admissions_displaced: u64,
    /// Malformed packets from players.
    pub bad_packets: u64,
    /// Lost sessions: see [`EndCause::is_drop`](sidereal_transport::EndCause::is_drop).
    pub sessions_dropped: u64,
    /// Shards that ended without a goodbye.
    pub shards_lost: u64,
    /// Lost shards whose simulation has failed.
    pub shards_crashed: u64,
    /// Messages with an outdated epoch, holder or entity.
    pub stale: u64,
    /// Impacts on an entity that was in a handoff or gone.
    pub impacts_lost: u64,
    /// Protocol violations by the mesh's own processes.
    pub violations: u64,
    /// Motion packets built, one per sector.
    pub sector_packets: u64,
    /// Motions sent to players.
    pub motions_delivered: u64,
    /// Bytes of the motions sent.
    pub motion_bytes: u64,
    /// Datagrams held back by a player's byte budget.
    pub thinned: u64,
    /// Delays before a room entered a peer's view because too much was entering already.
    pub rooms_delayed: u64,
    /// Ticks that were left out because the server was more than two seconds behind the wall's time.
    pub ticks_skipped: u64,
    /// Renewals of naia entities, see [`crate::replication::naia::renewal`].
    pub renewals: u64,
    /// Completed deals.
    pub deals_done: u64,
    /// Rejected deals, for any reason.
    pub deals_refused: u64,
    /// Deals rejected because the database was unavailable.
    pub deals_refused_away: u64,
    /// Chat texts that were sent on.
    pub said: u64,
    /// Chat texts rejected for their content.
    pub said_refused: u64,
    /// Chat texts above an account's rate.
    pub said_over_rate: u64,
    /// Chat lines not sent to a player because there were too many.
    pub said_unheard: u64,
}

/// All counters and measurements.
#[derive(Debug, Default, Resource, Deref, DerefMut)]
pub struct Tally {
    #[deref]
    counters: Counters,
    /// Handoff time from prepare to the target's first tick, as measured by the server.
    pub cutovers_ms: Samples,
    /// The part of it until the commit.
    pub cutover_commits_ms: Samples,
    /// The part of it for the way to the target and back.
    pub cutover_ways_ms: Samples,
    /// The part of it that waits for the target's tick.
    pub cutover_ticks_ms: Samples,
    /// Duration of the server's work in a tick.
    pub ticks_ms: Samples,
    /// The latest of them.
    recent_ticks_ms: VecDeque<f64>,
    /// All of them.
    pub tick_lengths: Lengths,
}

impl Tally {
    /// All counters.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Records the duration of a tick's work.
    pub fn record_tick(&mut self, length_ms: f64) {
        self.ticks_ms.push(length_ms);
        self.tick_lengths.record(length_ms);
        if self.recent_ticks_ms.len() == RECENT_TICKS {
            self.recent_ticks_ms.pop_front();
        }
        self.recent_ticks_ms.push_back(length_ms);
    }

    /// Tick durations of the last ten seconds.
    pub fn recent_ticks(&self) -> Percentiles {
        let values = self.recent_ticks_ms.iter().copied().collect();
        Percentiles::of(&Samples { values, next: 0 })
    }

    /// The number of samples kept.
    pub fn samples(&self) -> usize {
        let kept = [&self.cutovers_ms, &self.cutover_commits_ms, &self.cutover_ways_ms, &self.cutover_ticks_ms];
        kept.iter().map(|samples| samples.values.len()).sum::<usize>() + self.ticks_ms.values.len()
    }

    /// Records a completed handoff.
    pub fn record_cutover(&mut self, cutover: Cutover) {
        self.cutovers_ms.push(cutover.total_ms());
        self.cutover_commits_ms.push(cutover.commit_ms);
        self.cutover_ways_ms.push(cutover.ways_ms);
        self.cutover_ticks_ms.push(cutover.tick_ms);
    }
}

/// Percentiles, milliseconds.
#[derive(Debug, Serialize)]
pub struct Percentiles {
    /// Half of the samples.
    pub p50: f64,
    /// 95 of 100.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
}

impl Percentiles {
    /// The percentiles of `samples`.
    pub fn of(samples: &Samples) -> Self {
        Self { p50: samples.percentile(0.50), p95: samples.percentile(0.95), p99: samples.percentile(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_duration_up_to_every_bound_above_it() {
        let mut lengths = Lengths::default();
        [0.1, 0.2, 1.0, 33.0, 10_000.0].into_iter().for_each(|ms| lengths.record(ms));
        let up_to =
            |ms: f64| lengths.cumulative().filter(|(bound, _)| *bound <= ms).last().map_or(0, |(_, count)| count);
        assert_eq!((up_to(0.2), up_to(0.9), up_to(2.0), up_to(50.0), up_to(1e9)), (2, 2, 3, 4, 4));
        assert_eq!(lengths.count(), 5);
        assert!((lengths.sum_ms() - 10_034.3).abs() < 1e-9);
        assert_eq!(lengths.cumulative().count(), LENGTH_BOUNDS);
    }
}
