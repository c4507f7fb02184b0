//! The reports of server, shards and bots, as far as the joint report needs them.
//!
//! No field has a default: a missing report, or a missing figure in it, is an error that names it. Other fields are
//! kept as they were written.

use std::io;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Two percentiles of one measure.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, serde::Serialize)]
pub struct P50P99 {
    /// Half of all samples are at or below this.
    pub p50: f64,
    /// 99 of 100 are.
    pub p99: f64,
}

/// Three percentiles of one measure.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, serde::Serialize)]
pub struct P50P95P99 {
    /// Half of all samples are at or below this.
    pub p50: f64,
    /// 95 of 100 are.
    pub p95: f64,
    /// 99 of 100 are.
    pub p99: f64,
}

/// Mean and maximum of one measure.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, serde::Serialize)]
pub struct MeanMax {
    /// The mean.
    pub mean: f64,
    /// The largest.
    pub max: f64,
}

/// The server's. Meanings: docs/REPORT.md, as for all of these.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "docs/REPORT.md explains each key once")]
pub struct ServerReport {
    pub players_max: u64,
    pub entities: u64,
    pub crossings: u64,
    pub handoffs: u64,
    pub handoffs_aborted: u64,
    pub handoff_cutover_ms: P50P95P99,
    pub handoff_commit_ms: P50P95P99,
    pub handoff_ways_ms: P50P95P99,
    pub handoff_tick_ms: P50P95P99,
    pub lost: u64,
    pub doubled: u64,
    pub sessions_dropped: u64,
    pub violations: u64,
    pub tick_ms: P50P99,
    pub motions_delivered: u64,
    pub cpu_ms: f64,
    pub max_rss_kb: u64,
}

/// A shard's.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "docs/REPORT.md explains each key once")]
pub struct ShardReport {
    pub name: String,
    pub tick_ms: P50P99,
    pub inputs_applied: u64,
    pub inputs_doubled: u64,
    pub cpu_ms: f64,
    pub max_rss_kb: u64,
}

/// The bots', all of them together.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "docs/REPORT.md explains each key once")]
pub struct BotsReport {
    pub bots_wanted: u64,
    pub bots_played: u64,
    pub inputs_sent: u64,
    pub inputs_applied: u64,
    pub inputs_doubled: u64,
    pub inputs_lost: u64,
    pub inputs_void: u64,
    pub inputs_given_up: u64,
    pub inputs_unacknowledged: u64,
    pub corrections_per_min: f64,
    pub correction_units: P50P99,
    pub bytes_per_s_per_player: MeanMax,
    pub sessions_dropped: u64,
    pub jumps: u64,
    pub teleports: u64,
    pub violations: u64,
    pub cpu_ms: f64,
    pub max_rss_kb: u64,
}

/// A relay's.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "docs/OPERATIONS.md explains each key once")]
pub struct RelayReport {
    pub cpu_ms: f64,
    pub max_rss_kb: u64,
}

/// A report, parsed and as it was written.
#[derive(Clone, Debug)]
pub struct Written<T> {
    /// The part that the joint report uses.
    pub known: T,
    /// All of it.
    pub whole: Value,
}

/// A process's report that is missing or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProcessReportError {
    /// There is no report.
    #[error("{process} ended without writing its report ({source})")]
    Missing {
        /// The process's name.
        process: String,
        /// The system's error.
        source: io::Error,
    },
    /// It is not a valid report of this process.
    #[error("the report of {process} cannot be used: {source}")]
    Malformed {
        /// The process's name.
        process: String,
        /// The parser's error.
        source: serde_json::Error,
    },
}

/// The report of `process` in `file`.
///
/// # Errors
/// It is missing, not JSON, or lacks a figure.
pub fn read<T: DeserializeOwned>(process: &str, file: &Path) -> Result<Written<T>, ProcessReportError> {
    let process = || process.to_owned();
    let text = std::fs::read(file).map_err(|source| ProcessReportError::Missing { process: process(), source })?;
    let malformed = |source| ProcessReportError::Malformed { process: process(), source };
    Ok(Written {
        known: serde_json::from_slice(&text).map_err(malformed)?,
        whole: serde_json::from_slice(&text).map_err(malformed)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: &str = r#"{"name": "shard-1", "tick_ms": {"p50": 1, "p99": 2.5}, "inputs_applied": 3, "inputs_doubled": 0,
        "cpu_ms": 7, "max_rss_kb": 8, "shots": 9}"#;

    fn read_text(text: &str) -> Result<Written<ShardReport>, ProcessReportError> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("written");
        read("shard-1", file.path())
    }

    #[test]
    fn what_is_not_known_is_kept() {
        let report = read_text(SHARD).expect("it is whole");
        assert_eq!(report.known.inputs_applied, 3);
        assert_eq!(report.whole["shots"], 9);
    }

    #[test]
    fn a_missing_report_and_a_missing_figure_are_named() {
        let nowhere = Path::new("/nowhere/shard-1.json");
        let error = read::<ShardReport>("shard-1", nowhere).expect_err("nothing there").to_string();
        assert!(error.contains("shard-1"), "{error}");
        // A float that is not a number is written as null.
        for (there, instead, named) in
            [("\"cpu_ms\": 7,", "", "cpu_ms"), ("\"p99\": 2.5", "\"p99\": null", "null"), ("}", "", "EOF")]
        {
            let error = read_text(&SHARD.replace(there, instead)).expect_err(named).to_string();
            assert!(error.contains("shard-1") && error.contains(named), "{error}");
        }
    }
}
