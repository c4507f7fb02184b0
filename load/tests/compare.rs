//! The comparison runs both ways, and both deliver what they claim. Counts only: no times are checked.

use sidereal_load::compare::{CompareOptions, run, table::Way};
use std::path::Path;

#[test]
fn both_ways_deliver_what_their_entities_did() {
    let options = CompareOptions {
        entities: vec![8],
        clients: vec![3],
        all: false,
        seconds: 1.0,
        warm_up: 0.5,
        rate_hz: 30,
        report: None,
        against: None,
    };
    let program = Path::new(env!("CARGO_BIN_EXE_sidereal-load"));
    let comparison = run::run(&options, Some(program), |_| {}).expect("the comparison runs");
    assert_eq!(comparison.cases.len(), 1);
    let case = &comparison.cases[0];
    let ways: Vec<Way> = case.ways.iter().map(|figures| figures.way).collect();
    assert_eq!(ways, [Way::NaiaComponents, Way::MotionPlane]);
    for figures in &case.ways {
        assert_eq!(figures.clients, 3);
        assert!(figures.sent > 0 && figures.sent.is_multiple_of(8 * 3), "{figures:?}");
        // Each change reaches each client about once. The two counts are not taken at the same instant.
        assert!((0.25..4.0).contains(&figures.arrived()), "{figures:?}");
        assert!(figures.bytes > figures.delivered, "a motion takes several bytes: {figures:?}");
        assert!(figures.server_total_ns() > 0 && figures.ticks_per_s > 0.0, "{figures:?}");
    }
    let (per_sent, per_delivered) = case.ratios().expect("both ways are there");
    assert!(per_sent.is_finite() && per_sent > 0.0 && per_delivered.is_finite() && per_delivered > 0.0);
    let rows = comparison.markdown().lines().filter(|line| line.starts_with("| 8 | 3 |")).count();
    assert_eq!(rows, 3, "a row for each way, and the ratio");
}
