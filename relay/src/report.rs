//! A relay's counts, and the report at its end.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::conditions::Conditions;
use crate::line::WayCounts;

/// Width of a bucket of [`Lateness`].
const BUCKET_US: usize = 10;

/// Buckets of [`Lateness`]: 20 ms. Beyond that the exact delay does not matter.
const BUCKETS: usize = 2_000;

/// How late datagrams left, in steps of 10 µs.
#[derive(Clone, Debug)]
pub struct Lateness {
    buckets: Vec<u64>,
    count: u64,
}

/// Percentiles of [`Lateness`], µs; 0 without samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LateUs {
    /// Half of all datagrams left at most this late.
    pub p50: u64,
    /// 99 of 100 left at most this late.
    pub p99: u64,
}

impl Default for Lateness {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0 }
    }
}

impl Lateness {
    /// One datagram left this late.
    pub fn push(&mut self, late: Duration) {
        let bucket = usize::try_from(late.as_micros()).map_or(BUCKETS, |micros| micros / BUCKET_US);
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
        self.count += 1;
    }

    /// Rounded up to the end of a bucket.
    pub fn percentiles(&self) -> LateUs {
        let percentile = |share: f64| {
            let wanted = (share * self.count as f64).ceil() as u64;
            let mut seen = 0;
            let reaches = |count: &u64| {
                seen += count;
                seen >= wanted
            };
            match self.buckets.iter().position(reaches) {
                Some(bucket) if self.count > 0 => ((bucket + 1) * BUCKET_US) as u64,
                _ => 0,
            }
        };
        LateUs { p50: percentile(0.50), p99: percentile(0.99) }
    }
}

/// The counts of a relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// From peers to the target.
    pub to_target: WayCounts,
    /// From the target to peers.
    pub to_peer: WayCounts,
    /// Datagrams that the system did not send when they were due: the receiver does not listen, or too much at once.
    pub unsent: u64,
    /// Most peers at once.
    pub peers_max: u64,
    /// Datagrams of peers beyond the limit.
    pub refused: u64,
    /// How late datagrams left.
    pub late_us: LateUs,
}

/// The content of `--report`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "docs/OPERATIONS.md has a table")]
pub struct Report {
    pub delay_ms: f64,
    pub jitter_ms: f64,
    pub loss: f64,
    pub duplication: f64,
    #[serde(flatten)]
    pub totals: Totals,
    pub cpu_ms: u64,
    pub max_rss_kb: u64,
}

impl Report {
    /// The report of this process.
    pub fn new(conditions: &Conditions, totals: Totals) -> Self {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        Self {
            delay_ms: milliseconds(conditions.delay()),
            jitter_ms: milliseconds(conditions.jitter()),
            loss: conditions.loss(),
            duplication: conditions.duplication(),
            totals,
            cpu_ms: sidereal_process::cpu_ms().unwrap_or(0),
            max_rss_kb: sidereal_process::max_rss_kb().unwrap_or(0),
        }
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_vec_pretty(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let mut late = Lateness::default();
        assert_eq!(late.percentiles(), LateUs { p50: 0, p99: 0 });
        (0..100).for_each(|number| late.push(Duration::from_micros(number * 10)));
        assert_eq!(late.percentiles(), LateUs { p50: 500, p99: 990 });
        (0..1_000).for_each(|_| late.push(Duration::from_secs(3)));
        assert_eq!(late.percentiles(), LateUs { p50: 20_000, p99: 20_000 });
    }
}
