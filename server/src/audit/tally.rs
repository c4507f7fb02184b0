//! What is counted in a run.

use crate::handoff::figures::Cutover;
use bevy::prelude::{Deref, DerefMut, Resource};
use serde::Serialize;
use sidereal_protocol::tick::TICK_HZ;
use std::collections::VecDeque;

/// Samples kept for percentiles; beyond it the oldest go.
const MAX_SAMPLES: usize = 100_000;

/// Ticks whose length `/metrics` tells of: ten seconds.
const RECENT_TICKS: usize = 10 * TICK_HZ as usize;

/// The last samples of something, in milliseconds.
#[derive(Debug, Default)]
pub struct Samples {
    values: Vec<f64>,
    next: usize,
}

impl Samples {
    /// Adds one.
    pub fn push(&mut self, value: f64) {
        if self.values.len() < MAX_SAMPLES {
            self.values.push(value);
        } else {
            self.values[self.next] = value;
            self.next = (self.next + 1) % MAX_SAMPLES;
        }
    }

    /// The value that `share` (0 to 1) of the samples do not exceed; zero without samples.
    pub fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(index.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

/// The counters of a run. Each stands here once: the report contains them by these names.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Counters {
    /// The most players at once.
    pub players_max: u64,
    /// Entities that entered the mirror.
    pub entered: u64,
    /// Entities that left the mirror.
    pub left: u64,
    /// Entities that came to be in this run, or were loaded.
    pub created: u64,
    /// Ships that came into the world with their players.
    pub admitted: u64,
    /// Entities that were destroyed.
    pub destroyed: u64,
    /// Ships that left the world with their players.
    pub stored: u64,
    /// Ships after the first.
    pub respawns: u64,
    /// Sessions that took the helm of a ship which was in the world.
    pub takeovers: u64,
    /// Changes of logical sector.
    pub crossings: u64,
    /// Completed handoffs between shards.
    pub handoffs: u64,
    /// Inputs that were new, of sessions that have ended.
    pub inputs_received: u64,
    /// Inputs passed on to shards.
    pub inputs_forwarded: u64,
    /// Input packets above a player's rate.
    pub inputs_over_rate: u64,
    /// Refused credentials.
    pub refused: u64,
    /// Peers that were let in and closed as they did not connect in time.
    pub admissions_overdue: u64,
    /// Peers that were let in and closed, before they connected, for another one of the same account.
    pub admissions_displaced: u64,
    /// Malformed packets of players.
    pub bad_packets: u64,
    /// Sessions that were lost: see [`EndCause::is_drop`](sidereal_transport::EndCause::is_drop).
    pub sessions_dropped: u64,
    /// Shards that ended without a goodbye.
    pub shards_lost: u64,
    /// Of these, shards whose simulation has failed.
    pub shards_crashed: u64,
    /// Messages about an epoch, a holder or an entity that is no longer.
    pub stale: u64,
    /// Blows on an entity that was between two owners or gone.
    pub impacts_lost: u64,
    /// Things that own processes must never do.
    pub violations: u64,
    /// Sectors' packets made.
    pub sector_packets: u64,
    /// Motions sent to players.
    pub motions_delivered: u64,
    /// Their bytes.
    pub motion_bytes: u64,
    /// Packets that a player's byte budget held back.
    pub thinned: u64,
    /// Times that a room had to wait before it came into a peer's view: too much is there already.
    pub rooms_delayed: u64,
    /// Entities of naia's that were renewed, see [`crate::replication::naia::renewal`].
    pub renewals: u64,
    /// Deals that were done.
    pub deals_done: u64,
    /// Deals that were refused, for whatever reason.
    pub deals_refused: u64,
    /// Of these, because the database was away.
    pub deals_refused_away: u64,
    /// Texts that players said and others could hear.
    pub said: u64,
    /// Texts that were refused for what they were.
    pub said_refused: u64,
    /// Texts above an account's rate.
    pub said_over_rate: u64,
    /// Lines that a player was not sent, for there were too many.
    pub said_unheard: u64,
}

/// Everything that is counted and measured.
#[derive(Debug, Default, Resource, Deref, DerefMut)]
pub struct Tally {
    #[deref]
    counters: Counters,
    /// From prepare to the target's first tick, as the server saw it.
    pub cutovers_ms: Samples,
    /// Of these, until the commit.
    pub cutover_commits_ms: Samples,
    /// Of these, on the way to the target and back.
    pub cutover_ways_ms: Samples,
    /// Of these, waiting for the target's tick.
    pub cutover_ticks_ms: Samples,
    /// Length of the server's work in a tick.
    pub ticks_ms: Samples,
    /// Of these the last ones.
    recent_ticks_ms: VecDeque<f64>,
}

impl Tally {
    /// All counters.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Counts a tick's work.
    pub fn record_tick(&mut self, length_ms: f64) {
        self.ticks_ms.push(length_ms);
        if self.recent_ticks_ms.len() == RECENT_TICKS {
            self.recent_ticks_ms.pop_front();
        }
        self.recent_ticks_ms.push_back(length_ms);
    }

    /// What the last ten seconds' ticks took.
    pub fn recent_ticks(&self) -> Percentiles {
        let values = self.recent_ticks_ms.iter().copied().collect();
        Percentiles::of(&Samples { values, next: 0 })
    }

    /// Samples that are kept.
    pub fn samples(&self) -> usize {
        let kept = [&self.cutovers_ms, &self.cutover_commits_ms, &self.cutover_ways_ms, &self.cutover_ticks_ms];
        kept.iter().map(|samples| samples.values.len()).sum::<usize>() + self.ticks_ms.values.len()
    }

    /// Counts a completed handoff.
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
    /// Of these samples.
    pub fn of(samples: &Samples) -> Self {
        Self { p50: samples.percentile(0.50), p95: samples.percentile(0.95), p99: samples.percentile(0.99) }
    }
}
