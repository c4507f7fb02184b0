//! What a load test measures.

use crate::{children::threads::CpuSource, fleet::Scene};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One measured interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Connected players in it.
    pub players: u32,
    /// Its middle, seconds since the first one began.
    pub at_s: f64,
    /// Its length, seconds.
    pub seconds: f64,
    /// Ticks of the server in a second; 30 if it keeps up.
    pub ticks_per_s: f64,
    /// Half of the server's ticks took at most so long, ms.
    pub tick_p50_ms: f64,
    /// 99 of 100 took at most so long, ms.
    pub tick_p99_ms: f64,
    /// CPU time of the server's threads by name, cores. Empty if the server's process is not known.
    pub server_cores: BTreeMap<String, f64>,
    /// CPU time of the shards, cores.
    pub shard_cores: f64,
    /// CPU time of the client processes, cores.
    pub client_cores: f64,
    /// Motions that a player received in a second, on average.
    pub motions_per_player_s: f64,
    /// The server's CPU time for each motion and player, ns.
    pub ns_per_motion: f64,
    /// Payload bytes that a player received in a second, on average.
    pub bytes_per_player_s: f64,
    /// The most that one player received in one second, bytes.
    pub worst_second_bytes: f64,
    /// Handoffs between shards.
    pub handoffs: f64,
    /// Changes of sector.
    pub crossings: f64,
    /// From the first receipt of a tick's motion by a player to the last one's, within one client process, ms; of the
    /// worst process: half of the ticks...
    pub spread_p50_ms: f64,
    /// ...and 99 of 100. The client processes look every few milliseconds.
    pub spread_p99_ms: f64,
    /// Resident memory of the server, MiB.
    pub server_mib: f64,
}

impl Interval {
    /// CPU time of all of the server's threads, cores; zero if the server's process is not known.
    pub fn server_total_cores(&self) -> f64 {
        self.server_cores.values().fold(0.0, |sum, cores| sum + cores)
    }
}

/// The sums at the end of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Players wanted at the end.
    pub wanted: u32,
    /// Players that were connected at the end.
    pub connected: u32,
    /// Players that received motions.
    pub with_motions: u32,
    /// Sessions that ended, and logins that failed.
    pub failed: u32,
    /// The first reasons.
    pub failures: Vec<String>,
    /// Inputs sent.
    pub inputs_sent: u64,
    /// Inputs applied, by the shards' count.
    pub inputs_applied: u64,
    /// Inputs acknowledged but not applied.
    pub inputs_lost: u64,
    /// Inputs applied more than once.
    pub inputs_doubled: u64,
    /// Inputs sent that were neither acknowledged nor given up at the end.
    pub inputs_open: u64,
    /// Inputs whose fate is unknown: on their way when the ship was lost, or unanswered for two seconds.
    pub inputs_unknown: u64,
    /// Packets that players could not decode.
    pub malformed: u64,
    /// Ships lost.
    pub deaths: u64,
    /// Entities that the server lost.
    pub entities_lost: u64,
    /// Entities that were doubled.
    pub entities_doubled: u64,
}

impl Totals {
    /// What is wrong with the run, if anything: a run is good if nothing was lost.
    pub fn fault(&self) -> Option<String> {
        if self.failed > 0 {
            return Some(format!("{} players failed: {}", self.failed, self.failures.join("; ")));
        }
        let all = [
            (u64::from(self.wanted - self.connected.min(self.wanted)), "players are not connected"),
            (u64::from(self.wanted - self.with_motions.min(self.wanted)), "players received no motion"),
            (self.inputs_lost, "inputs were lost"),
            (self.inputs_doubled, "inputs were applied more than once"),
            (self.malformed, "packets could not be decoded"),
            (self.entities_lost, "entities were lost"),
            (self.entities_doubled, "entities were doubled"),
        ];
        all.into_iter().find(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"))
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// What the players did.
    pub scene: Scene,
    /// Shards of the world; 0 if the world was not started by this run.
    pub shards: u32,
    /// The seed.
    pub seed: u64,
    /// Client processes.
    pub processes: u32,
    /// The number of players was raised.
    pub ramp: bool,
    /// The limits: work in a tick, ms, and ticks in a second.
    pub limits: (f64, f64),
    /// The limit that broke, if one did.
    pub broken: Option<String>,
    /// The most players with which all limits held.
    pub held: u32,
    /// Where the CPU times come from.
    pub cpu_source: CpuSource,
    /// The intervals, in order. Of a ramp, each has its number of players; otherwise they follow each other.
    pub intervals: Vec<Interval>,
    /// The sums.
    pub totals: Totals,
}

/// A percentile of a histogram's difference: `buckets` are bounds with the number of values up to each. Values are
/// taken to be spread evenly between two bounds.
pub fn percentile(buckets: &[(f64, f64)], count: f64, share: f64) -> f64 {
    let wanted = share * count;
    let (mut low_bound, mut low_count) = (0.0, 0.0);
    for (bound, below) in buckets {
        if *below >= wanted && *below > low_count {
            return low_bound + (bound - low_bound) * ((wanted - low_count) / (below - low_count)).clamp(0.0, 1.0);
        }
        (low_bound, low_count) = (*bound, *below);
    }
    low_bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_lies_between_the_bounds_that_enclose_it() {
        let buckets = [(1.0, 0.0), (2.0, 50.0), (4.0, 99.0), (8.0, 100.0)];
        assert_eq!(percentile(&buckets, 100.0, 0.25), 1.5);
        assert_eq!(percentile(&buckets, 100.0, 0.5), 2.0);
        assert_eq!(percentile(&buckets, 100.0, 0.99), 4.0);
        assert!(percentile(&buckets, 100.0, 0.995) > 4.0);
        assert_eq!(percentile(&[(1.0, 0.0), (2.0, 0.0)], 10.0, 0.5), 2.0, "all are beyond the last bound");
        assert_eq!(percentile(&[], 0.0, 0.5), 0.0);
    }

    #[test]
    fn the_first_fault_of_a_run_is_named() {
        let good = Totals { wanted: 3, connected: 3, with_motions: 3, ..Totals::default() };
        assert_eq!(good.fault(), None);
        let without_motion = Totals { with_motions: 1, ..good.clone() };
        assert_eq!(without_motion.fault().as_deref(), Some("2 players received no motion"));
        let lossy = Totals { inputs_lost: 4, ..good };
        assert_eq!(lossy.fault().as_deref(), Some("4 inputs were lost"));
    }
}
