//! A small load test from end to end: all players connect, see motion, and each of their inputs is applied once.

use sidereal_load::{
    children::threads::is_player_net,
    fleet::Scene,
    ramp::{
        LoadOptions,
        figures::{Interval, LoadReport},
        run::{self, Progress},
    },
    report::check_svg,
};
use std::path::Path;

struct Silent;

impl Progress for Silent {
    fn joining(&mut self, _players: u32, _wanted: u32) {}
    fn measuring(&mut self, _players: u32, _share: f64) {}
    fn measured(&mut self, _interval: &Interval) {}
}

/// No limit of time breaks: the machine may be busy.
fn options(scene: Scene) -> LoadOptions {
    LoadOptions {
        scene,
        clients: 6,
        seconds: 2.0,
        warm_up: 0.5,
        shards: 1,
        player_threads: 3,
        seed: 3,
        processes: 2,
        ramp: true,
        step: 3,
        limit_tick_ms: 1e9,
        limit_ticks: 0.0,
        attach: None,
        ops: None,
        server_pid: None,
        report: None,
    }
}

fn run(scene: Scene) -> LoadReport {
    let program = Path::new(env!("CARGO_BIN_EXE_sidereal-load"));
    run::run(&options(scene), Some(program), &mut Silent).expect("the load test runs")
}

#[test]
fn all_players_see_motion_and_every_input_is_applied_once() {
    let report = run(Scene::Gather);
    assert_eq!(report.totals.fault(), None, "{:?}", report.totals);
    assert_eq!((report.held, &report.broken), (6, &None));
    let players: Vec<u32> = report.intervals.iter().map(|interval| interval.players).collect();
    assert_eq!(players, [3, 6], "a ramp of two steps");
    let totals = &report.totals;
    assert_eq!((totals.wanted, totals.connected, totals.with_motions), (6, 6, 6));
    assert!(totals.inputs_sent > 100, "{totals:?}");
    assert_eq!(totals.inputs_open, 0, "{totals:?}");
    // On a machine that stands still for two seconds some are given up, and may have been applied or not.
    assert!(totals.inputs_applied <= totals.inputs_sent, "{totals:?}");
    assert!(totals.inputs_applied + totals.inputs_unknown >= totals.inputs_sent, "{totals:?}");
    for interval in &report.intervals {
        assert!(interval.motions_per_player_s > 0.0 && interval.bytes_per_player_s > 0.0, "{interval:?}");
        let threads = interval.server_cores.keys().filter(|name| is_player_net(name));
        assert_eq!(threads.count(), 3, "{interval:?}");
        assert!(interval.tick_p99_ms >= interval.tick_p50_ms && interval.tick_p50_ms > 0.0, "{interval:?}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    report.write(folder.path()).expect("the report is written");
    for (file, _) in report.charts() {
        let svg = std::fs::read_to_string(folder.path().join(file)).expect("the chart is there");
        assert_eq!(check_svg(&svg), Ok(()), "{file}");
    }
    let text = std::fs::read_to_string(folder.path().join("report.json")).expect("the figures are there");
    let read: LoadReport = serde_json::from_str(&text).expect("they are whole");
    assert_eq!((read.intervals.len(), read.totals), (2, report.totals));
}
