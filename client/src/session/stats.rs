//! The figures of a session: for reports, for tests, and for the HUD.
//!
//! Runs in the player client and in bots. It only counts; readers judge the figures. Everything in it is bounded.

use crate::flight::prediction::Outcome;
use bevy::prelude::Resource;
use serde::Serialize;
use std::collections::{BTreeSet, VecDeque};

/// The most sizes of corrections kept for the percentiles: the first ones of a session. A session with more is bad in
/// any case.
const MAX_CORRECTIONS: usize = 4096;

/// Own-ship ticks over which loss is measured: three seconds.
const LOSS_WINDOW_TICKS: u64 = 90;

/// The most visited sectors remembered.
const MAX_SECTORS: usize = 4096;

/// Counters of one session.
#[derive(Resource, Debug, Clone, Default)]
pub struct PlayStats {
    /// Received motions of single entities.
    pub motions_delivered: u64,
    /// Received states of the own ship.
    pub own_states: u64,
    /// Corrections of the own ship, blended ones and snaps.
    pub corrections: u64,
    /// Corrections by more than [`crate::flight::prediction::SNAP_UNITS`], which move the own ship at once.
    pub teleports: u64,
    /// Other entities that moved impossibly far between two samples.
    pub jumps: u64,
    /// Lane datagrams that could not be decoded.
    pub malformed: u64,
    /// Entities whose motion was received for seconds without an announcement.
    pub orphans: u64,
    /// Motions dropped because too many entities were in view.
    pub motions_dropped: u64,
    /// Bullets of the own ship that shards confirmed.
    pub shots_fired: u64,
    /// Beams of the own ship that shards confirmed.
    pub beams_fired: u64,
    /// Missiles that the controls launched with a launcher that should have been ready.
    pub missiles_launched: u64,
    /// How often the own ship was destroyed.
    pub deaths: u64,
    /// New ships after that.
    pub respawns: u64,
    /// Confirmed distance flown by the own ship, units.
    pub distance_flown: f64,
    /// Sectors that the own ship was in.
    pub sectors: BTreeSet<(i32, i32)>,
    /// Seconds with a ship.
    pub seconds_in_space: f64,
    correction_units: Vec<f64>,
    /// Time and size, of the last minute.
    recent_corrections: VecDeque<(f64, f64)>,
    recent_units: CorrectionUnits,
    extrapolated: f64,
    recent_own_ticks: VecDeque<u64>,
    bytes: ByteRate,
    sent: ByteRate,
}

/// Bytes per second, over whole seconds.
#[derive(Debug, Clone, Default)]
struct ByteRate {
    total: u64,
    since_s: f64,
    at_since: u64,
    per_s: f64,
}

impl ByteRate {
    /// There were `total` bytes until `now_s`. True when a whole second has passed.
    fn record(&mut self, total: u64, now_s: f64) -> bool {
        self.total = total;
        let span = now_s - self.since_s;
        if span < 1.0 {
            return false;
        }
        self.per_s = total.saturating_sub(self.at_since) as f64 / span;
        (self.since_s, self.at_since) = (now_s, total);
        true
    }
}

/// Percentiles of corrections, units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct CorrectionUnits {
    /// Half of the corrections were smaller.
    pub p50: f64,
    /// 99 of 100 were smaller.
    pub p99: f64,
}

impl CorrectionUnits {
    /// The percentiles of these sizes, in any order; zeros without any.
    pub fn of(mut sizes: Vec<f64>) -> Self {
        sizes.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (sizes.len().saturating_sub(1) as f64 * share).round() as usize;
            sizes.get(index).copied().unwrap_or(0.0)
        };
        Self { p50: at(0.5), p99: at(0.99) }
    }
}

impl PlayStats {
    /// Adds the counters of another session of the same player. Figures of the last seconds are not added.
    pub fn absorb(&mut self, other: &Self) {
        self.motions_delivered += other.motions_delivered;
        self.own_states += other.own_states;
        self.corrections += other.corrections;
        self.teleports += other.teleports;
        self.jumps += other.jumps;
        self.malformed += other.malformed;
        self.orphans += other.orphans;
        self.motions_dropped += other.motions_dropped;
        self.shots_fired += other.shots_fired;
        self.beams_fired += other.beams_fired;
        self.missiles_launched += other.missiles_launched;
        self.deaths += other.deaths;
        self.respawns += other.respawns;
        self.distance_flown += other.distance_flown;
        self.seconds_in_space += other.seconds_in_space;
        for (x, y) in &other.sectors {
            self.visit(*x, *y);
        }
        let room = MAX_CORRECTIONS.saturating_sub(self.correction_units.len());
        self.correction_units.extend(other.correction_units.iter().take(room));
        self.bytes.total += other.bytes.total;
    }

    /// Counts the effect of a confirmed state on the prediction.
    pub fn record_outcome(&mut self, outcome: Outcome, now_s: f64) {
        let units = match outcome {
            Outcome::Stale | Outcome::Right => return,
            Outcome::Corrected(units) => units,
            Outcome::Snapped(units) => {
                self.teleports += 1;
                units
            }
        };
        self.corrections += 1;
        if self.correction_units.len() < MAX_CORRECTIONS {
            self.correction_units.push(units);
        }
        if self.recent_corrections.len() >= MAX_CORRECTIONS {
            self.recent_corrections.pop_front();
        }
        self.recent_corrections.push_back((now_s, units));
    }

    /// A state of the own ship for `tick` was received.
    pub fn record_own_tick(&mut self, tick: u64) {
        self.own_states += 1;
        if let Some(newest) = self.recent_own_ticks.back()
            && tick <= *newest
        {
            return;
        }
        self.recent_own_ticks.push_back(tick);
        while self.recent_own_ticks.front().is_some_and(|first| tick - first >= LOSS_WINDOW_TICKS) {
            self.recent_own_ticks.pop_front();
        }
    }

    /// Share of the own ship's states of the last three seconds that were not received, 0 to 1.
    pub fn loss(&self) -> f64 {
        match (self.recent_own_ticks.front(), self.recent_own_ticks.back()) {
            (Some(first), Some(last)) if last > first => {
                1.0 - self.recent_own_ticks.len() as f64 / (last - first + 1) as f64
            }
            _ => 0.0,
        }
    }

    /// The own ship is another one, or none: its received states say nothing about the next one.
    pub fn forget_own_ticks(&mut self) {
        self.recent_own_ticks.clear();
    }

    /// The own ship was in this sector.
    pub fn visit(&mut self, x: i32, y: i32) {
        if self.sectors.len() < MAX_SECTORS {
            self.sectors.insert((x, y));
        }
    }

    /// `received` bytes were received and `sent` were sent until `now_s`.
    pub fn record_bytes(&mut self, received: u64, sent: u64, now_s: f64) {
        while self.recent_corrections.front().is_some_and(|(then, _)| now_s - then > 60.0) {
            self.recent_corrections.pop_front();
        }
        self.sent.record(sent, now_s);
        if self.bytes.record(received, now_s) {
            self.recent_units = CorrectionUnits::of(self.recent_corrections.iter().map(|(_, units)| *units).collect());
        }
    }

    /// `share` of the moving entities was extrapolated, for `delta_s`.
    pub fn record_extrapolation(&mut self, share: f64, delta_s: f64) {
        self.extrapolated += (share - self.extrapolated) * (1.0 - (-delta_s).exp());
    }

    /// The share of moving entities that are extrapolated, smoothed over about a second.
    pub fn extrapolated(&self) -> f64 {
        self.extrapolated
    }

    /// Bytes sent in the last whole second.
    pub fn bytes_sent_per_s(&self) -> f64 {
        self.sent.per_s
    }

    /// Sizes of the corrections of the last minute, as of the last whole second.
    pub fn recent_correction_units(&self) -> CorrectionUnits {
        self.recent_units
    }

    /// Bytes received so far.
    pub fn bytes_received(&self) -> u64 {
        self.bytes.total
    }

    /// Bytes received in the last whole second.
    pub fn bytes_per_s(&self) -> f64 {
        self.bytes.per_s
    }

    /// Corrections in the last minute.
    pub fn recent_corrections(&self) -> usize {
        self.recent_corrections.len()
    }

    /// Corrections per minute with a ship.
    pub fn corrections_per_min(&self) -> f64 {
        if self.seconds_in_space > 0.0 { self.corrections as f64 * 60.0 / self.seconds_in_space } else { 0.0 }
    }

    /// Sizes of corrections, units.
    pub fn correction_sizes(&self) -> &[f64] {
        &self.correction_units
    }

    /// Everything that must not happen, whatever the link: malformed packets, impossible steps, motion of unannounced
    /// entities. Losses and corrections are not included.
    pub fn violations(&self) -> u64 {
        self.malformed + self.jumps + self.orphans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_the_share_of_missing_ticks() {
        let mut stats = PlayStats::default();
        for tick in (1..=60).filter(|tick| tick % 4 != 0) {
            stats.record_own_tick(tick);
        }
        assert!((stats.loss() - 0.25).abs() < 0.02, "{}", stats.loss());
    }

    #[test]
    fn two_sessions_count_as_one() {
        let session = || {
            let mut stats = PlayStats { motions_delivered: 2, distance_flown: 1.5, deaths: 1, ..PlayStats::default() };
            stats.record_outcome(Outcome::Corrected(0.5), 0.0);
            stats.record_outcome(Outcome::Snapped(300.0), 0.0);
            stats.record_bytes(100, 0, 0.1);
            stats.visit(1, 2);
            stats
        };
        let mut both = session();
        both.absorb(&session());
        both.visit(3, 4);
        assert_eq!((both.motions_delivered, both.distance_flown, both.deaths, both.teleports), (4, 3.0, 2, 2));
        assert_eq!((both.corrections, both.correction_sizes()), (4, &[0.5, 300.0, 0.5, 300.0][..]));
        assert_eq!((both.bytes_received(), both.sectors.len()), (200, 2));
    }

    #[test]
    fn percentiles_are_of_the_sorted_sizes() {
        let sizes: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let units = CorrectionUnits::of(sizes);
        assert!((units.p50 - 50.0).abs() <= 1.0 && (units.p99 - 99.0).abs() <= 1.0);
        assert_eq!(CorrectionUnits::of(Vec::new()), CorrectionUnits::default());
    }

    #[test]
    fn bytes_are_counted_by_whole_seconds() {
        let mut stats = PlayStats::default();
        for step in 1..=40u64 {
            stats.record_bytes(step * 100, step * 10, step as f64 * 0.1);
        }
        assert!((stats.bytes_per_s() - 1000.0).abs() < 1.0, "{}", stats.bytes_per_s());
        assert!((stats.bytes_sent_per_s() - 100.0).abs() < 0.1, "{}", stats.bytes_sent_per_s());
    }

    #[test]
    fn corrections_are_of_the_last_minute() {
        let mut stats = PlayStats::default();
        stats.record_outcome(Outcome::Corrected(9.0), 1.0);
        stats.record_outcome(Outcome::Corrected(0.5), 50.0);
        stats.record_bytes(0, 0, 60.5);
        assert_eq!((stats.recent_corrections(), stats.recent_correction_units().p99), (2, 9.0));
        stats.record_bytes(0, 0, 62.0);
        assert_eq!((stats.recent_corrections(), stats.recent_correction_units().p99), (1, 0.5));
    }
}
