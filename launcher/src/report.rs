//! The joint report of a run: the measurements of its processes, by the keys that `docs/REPORT.md` explains.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::network::AddedNetwork;
use crate::process_reports::{BotsReport, MeanMax, P50P95P99, P50P99, RelayReport, ServerReport, ShardReport, Written};

/// All processes' reports of one run.
#[derive(Clone, Debug)]
pub struct ProcessReports {
    /// The server's.
    pub server: Written<ServerReport>,
    /// The shards', by number.
    pub shards: Vec<Written<ShardReport>>,
    /// The bots', if there were any.
    pub bots: Option<Written<BotsReport>>,
    /// The relays', by name, if there were any.
    pub relays: Vec<(&'static str, Written<RelayReport>)>,
    /// The network that these relays simulated.
    pub added_network: AddedNetwork,
}

/// The content of the joint report. Each key's unit and meaning: `docs/REPORT.md`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "docs/REPORT.md explains each key once")]
pub struct Report {
    pub seconds: f64,
    pub first_bot_in_space_ms: u64,
    pub added_network: AddedNetwork,
    pub players: u64,
    pub bots_wanted: u64,
    pub bots_played: u64,
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
    pub inputs_sent: u64,
    pub inputs_applied: u64,
    pub inputs_confirmed: u64,
    pub inputs_lost: u64,
    pub inputs_void: u64,
    pub inputs_given_up: u64,
    pub inputs_unacknowledged: u64,
    pub inputs_doubled: u64,
    pub tick_ms: BTreeMap<String, P50P99>,
    pub bytes_per_s_per_player: MeanMax,
    pub corrections_per_min: f64,
    pub correction_units: P50P99,
    pub jumps: u64,
    pub teleports: u64,
    pub sessions_dropped: u64,
    pub bot_sessions_dropped: u64,
    pub violations: u64,
    pub motions_delivered: u64,
    pub server_cpu_ns_per_entity_client: f64,
    pub cpu_ms: BTreeMap<String, f64>,
    pub max_rss_kb: BTreeMap<String, u64>,
    pub processes: BTreeMap<String, Value>,
}

impl Report {
    /// Combines `reports`. `seconds` is the whole run from the launcher's start, `first_bot_in_space_ms` is 0 without
    /// bots.
    pub fn join(reports: &ProcessReports, seconds: f64, first_bot_in_space_ms: u64) -> Self {
        let ProcessReports { server, shards, bots, relays, added_network } = reports;
        let (server_report, bots_report) = (&server.known, bots.as_ref().map(|bots| &bots.known));
        let from_bots = |figure: fn(&BotsReport) -> u64| bots_report.map_or(0, figure);
        let from_shards =
            |figure: fn(&ShardReport) -> u64| shards.iter().map(|shard| figure(&shard.known)).sum::<u64>();

        let mut tick_ms = BTreeMap::from([("server".to_owned(), server_report.tick_ms)]);
        let mut cpu_ms = BTreeMap::from([("server".to_owned(), server_report.cpu_ms)]);
        let mut max_rss_kb = BTreeMap::from([("server".to_owned(), server_report.max_rss_kb)]);
        let mut processes = BTreeMap::from([("server".to_owned(), server.whole.clone())]);
        for Written { known, whole } in shards {
            tick_ms.insert(known.name.clone(), known.tick_ms);
            cpu_ms.insert(known.name.clone(), known.cpu_ms);
            max_rss_kb.insert(known.name.clone(), known.max_rss_kb);
            processes.insert(known.name.clone(), whole.clone());
        }
        if let Some(Written { known, whole }) = bots {
            cpu_ms.insert("bots".to_owned(), known.cpu_ms);
            max_rss_kb.insert("bots".to_owned(), known.max_rss_kb);
            processes.insert("bots".to_owned(), whole.clone());
        }
        for (name, Written { known, whole }) in relays {
            cpu_ms.insert((*name).to_owned(), known.cpu_ms);
            max_rss_kb.insert((*name).to_owned(), known.max_rss_kb);
            processes.insert((*name).to_owned(), whole.clone());
        }

        Self {
            seconds,
            first_bot_in_space_ms,
            added_network: *added_network,
            players: server_report.players_max,
            bots_wanted: from_bots(|bots| bots.bots_wanted),
            bots_played: from_bots(|bots| bots.bots_played),
            entities: server_report.entities,
            crossings: server_report.crossings,
            handoffs: server_report.handoffs,
            handoffs_aborted: server_report.handoffs_aborted,
            handoff_cutover_ms: server_report.handoff_cutover_ms,
            handoff_commit_ms: server_report.handoff_commit_ms,
            handoff_ways_ms: server_report.handoff_ways_ms,
            handoff_tick_ms: server_report.handoff_tick_ms,
            lost: server_report.lost,
            doubled: server_report.doubled,
            inputs_sent: from_bots(|bots| bots.inputs_sent),
            inputs_applied: from_shards(|shard| shard.inputs_applied),
            inputs_confirmed: from_bots(|bots| bots.inputs_applied),
            inputs_lost: from_bots(|bots| bots.inputs_lost),
            inputs_void: from_bots(|bots| bots.inputs_void),
            inputs_given_up: from_bots(|bots| bots.inputs_given_up),
            inputs_unacknowledged: from_bots(|bots| bots.inputs_unacknowledged),
            inputs_doubled: from_shards(|shard| shard.inputs_doubled) + from_bots(|bots| bots.inputs_doubled),
            tick_ms,
            bytes_per_s_per_player: bots_report
                .map_or(MeanMax { mean: 0.0, max: 0.0 }, |bots| bots.bytes_per_s_per_player),
            corrections_per_min: bots_report.map_or(0.0, |bots| bots.corrections_per_min),
            correction_units: bots_report.map_or(P50P99 { p50: 0.0, p99: 0.0 }, |bots| bots.correction_units),
            jumps: from_bots(|bots| bots.jumps),
            teleports: from_bots(|bots| bots.teleports),
            sessions_dropped: server_report.sessions_dropped,
            bot_sessions_dropped: from_bots(|bots| bots.sessions_dropped),
            violations: server_report.violations + from_bots(|bots| bots.violations),
            motions_delivered: server_report.motions_delivered,
            server_cpu_ns_per_entity_client: match server_report.motions_delivered {
                0 => 0.0,
                delivered => server_report.cpu_ms * 1e6 / delivered as f64,
            },
            cpu_ms,
            max_rss_kb,
            processes,
        }
    }

    /// Writes it as JSON: completely or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let mut whole = tempfile::NamedTempFile::new_in(folder_of(file))?;
        whole.write_all(&text)?;
        // A temporary file is private to its owner; a report is for all who may read the folder.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            whole.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        whole.persist(file).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Checks before a run that its report can be written at the end.
///
/// # Errors
/// No file can be created in the folder, or the name is a folder's.
pub fn check_writable(file: &Path) -> io::Result<()> {
    if file.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    tempfile::NamedTempFile::new_in(folder_of(file)).map(drop)
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    fn written<T: serde::de::DeserializeOwned>(whole: Value) -> Written<T> {
        Written { known: serde_json::from_value(whole.clone()).expect("the figures are there"), whole }
    }

    /// Reports of a run without errors.
    pub(crate) fn good_reports() -> ProcessReports {
        let shard = |number: u32| {
            written(json!({
                "name": format!("shard-{number}"), "tick_ms": {"p50": 1.0, "p99": number}, "entities": 40,
                "inputs_applied": 50, "inputs_doubled": 0, "cpu_ms": 900.0, "max_rss_kb": 30_000 + number
            }))
        };
        let server = json!({
            "players_max": 2, "entities": 80, "crossings": 9, "handoffs": 4, "handoffs_aborted": 1,
            "handoff_cutover_ms": {"p50": 10.0, "p95": 20.0, "p99": 30.0}, "lost": 0, "doubled": 0,
            "handoff_commit_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0}, "handoff_ways_ms": {"p50": 4.0, "p95": 5.0, "p99": 6.0},
            "handoff_tick_ms": {"p50": 5.0, "p95": 13.0, "p99": 21.0},
            "inputs_forwarded": 100, "sessions_dropped": 0, "violations": 0, "tick_ms": {"p50": 0.5, "p99": 0.9},
            "motions_delivered": 4_000, "cpu_ms": 2.0, "max_rss_kb": 50_000
        });
        let bots = json!({
            "bots_wanted": 2, "bots_played": 2, "inputs_sent": 100, "inputs_applied": 100, "inputs_doubled": 0,
            "inputs_lost": 0, "inputs_void": 0, "inputs_given_up": 0, "inputs_unacknowledged": 0, "corrections_per_min": 1.5, "correction_units": {"p50": 0.1, "p99": 0.4},
            "bytes_per_s_per_player": {"mean": 9_000.5, "max": 12_000.0}, "sessions_dropped": 0, "jumps": 0,
            "teleports": 0, "violations": 0, "cpu_ms": 300.0, "max_rss_kb": 40_000
        });
        ProcessReports {
            server: written(server),
            shards: vec![shard(1), shard(2)],
            bots: Some(written(bots)),
            relays: Vec::new(),
            added_network: AddedNetwork::default(),
        }
    }

    #[test]
    fn every_process_adds_its_part() {
        let report = Report::join(&good_reports(), 12.5, 1_800);
        assert_eq!((report.players, report.bots_played, report.inputs_applied), (2, 2, 100));
        assert_eq!(report.server_cpu_ns_per_entity_client, 500.0);
        assert_eq!(report.tick_ms.keys().collect::<Vec<_>>(), ["server", "shard-1", "shard-2"]);
        assert_eq!(report.max_rss_kb["shard-2"], 30_002);
        assert_eq!(report.cpu_ms.keys().collect::<Vec<_>>(), ["bots", "server", "shard-1", "shard-2"]);
        assert_eq!(report.processes["server"]["inputs_forwarded"], 100);
    }

    #[test]
    fn an_added_network_is_told_with_what_it_took() {
        let mut reports = good_reports();
        let relay = json!({ "cpu_ms": 70, "max_rss_kb": 5_000, "unsent": 3 });
        reports.relays = vec![("relay-players", written(relay.clone())), ("relay-shards", written(relay))];
        reports.added_network = AddedNetwork { latency_ms: 20.0, jitter_ms: 5.0, loss: 0.01 };
        let report = serde_json::to_value(Report::join(&reports, 1.0, 1)).expect("it is JSON");
        assert_eq!(report["added_network"], json!({ "latency_ms": 20.0, "jitter_ms": 5.0, "loss": 0.01 }));
        assert_eq!(report["cpu_ms"]["relay-shards"], 70.0);
        assert_eq!(report["processes"]["relay-players"]["unsent"], 3);
    }

    #[test]
    fn without_bots_their_figures_are_nought_and_nothing_is_divided_by_it() {
        let mut reports = good_reports();
        reports.bots = None;
        reports.server.known.motions_delivered = 0;
        let report = Report::join(&reports, 12.5, 0);
        assert_eq!((report.bots_wanted, report.inputs_sent), (0, 0));
        assert_eq!(report.server_cpu_ns_per_entity_client, 0.0);
    }

    #[test]
    fn every_key_is_explained_in_the_documentation() {
        let explained = include_str!("../../docs/REPORT.md");
        let report = serde_json::to_value(Report::join(&good_reports(), 1.0, 1)).expect("it is JSON");
        for key in report.as_object().expect("an object").keys() {
            assert!(explained.contains(&format!("| `{key}")), "docs/REPORT.md does not explain {key}");
        }
    }

    #[test]
    fn it_is_written_whole_into_a_folder_that_is_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("report.json");
        check_writable(&file).expect("the folder is there");
        assert!(!file.exists());
        let report = Report::join(&good_reports(), 1.0, 1);
        report.write(&file).expect("written");
        report.write(&file).expect("written over");
        let read: Value = serde_json::from_slice(&std::fs::read(&file).expect("there")).expect("JSON");
        assert_eq!(read["handoff_cutover_ms"]["p95"], 20.0);
        assert!(check_writable(&folder.path().join("missing/report.json")).is_err());
        assert!(check_writable(folder.path()).is_err());
    }
}
