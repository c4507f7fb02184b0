//! The database stops, dies, or gets twenty times slower while bots mine, deal and trade: the simulation is not
//! affected, deals are refused with a reason, no confirmed state is lost, and everything recovers soon after the fault.
//!
//! They need the programs built before (see `world::process`), without the feature `test-clock`. In the test command
//! the faults last some seconds. With figures, and for longer:
//! ```text
//! SIDEREAL_OUTAGE_SECONDS=60 SIDEREAL_BOTS=20 cargo test -p sidereal-tests --features postgres --test outages -- \
//!   --ignored --nocapture --test-threads 1
//! ```

#[path = "outages/base.rs"]
mod base;
#[cfg(feature = "postgres")]
#[path = "../../server/tests/common/cluster.rs"]
#[allow(dead_code, reason = "the server's own tests use the rest")]
mod cluster;
#[path = "world/journal.rs"]
mod journal;
#[path = "outages/play.rs"]
mod play;
#[cfg(feature = "postgres")]
#[path = "outages/proxy.rs"]
mod proxy;
#[allow(dead_code, unused_imports, reason = "the other tests of processes use the rest")]
mod world;

use base::{Base, Fault};
use play::{Phase, Play};
use sidereal_server::db::Database;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long after the fault the server may take to recover, in the runs on request.
const RECOVERY: Duration = Duration::from_secs(10);

/// The size of a run.
#[derive(Clone, Copy)]
struct Size {
    bots: u32,
    /// The least duration of a fault.
    fault: Duration,
    /// The duration of the quiet before and after it.
    quiet: Duration,
}

const SHORT: Size = Size { bots: 4, fault: Duration::from_secs(6), quiet: Duration::from_secs(2) };

fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

/// The results of a run.
struct Run {
    during: Phase,
    server_ms: (f64, f64),
    shards_ms: Vec<(f64, f64)>,
}

/// Plays in one world, with one fault after the other, and quiet between them.
fn run(base: &mut Base, faults: &[Fault], size: Size) -> Run {
    let folder = folder();
    let mut play = Play::start(folder, &base.new_world(), size.bots);
    play.go_on(base, size.quiet, |play| play.deals_done() > 0);
    let before = play.phase("as it is", base, size.quiet, |_| true);
    println!("{before}");
    let mut during = Phase::default();
    for &fault in faults {
        base.begin(fault);
        // Requests are answered during the fault too, and refused with the reason if nothing can be written.
        during = play.phase(&format!("{fault:?}"), base, size.fault, |phase| {
            phase.answers > 0 && (fault == Fault::None || fault == Fault::Slow || phase.closed > 0)
        });
        base.end();
        let begun = Instant::now();
        play.go_on(base, Duration::ZERO, Play::is_flushed_and_open);
        let recovery = begun.elapsed();
        println!("{during}\nopen and flushed {:.1} s after the end of it", recovery.as_secs_f64());
        println!("{}", play.phase("as it is again", base, size.quiet, |_| true));
        assert!(during.ticks > 0 && during.inputs_per_tick > before.inputs_per_tick / 2.0, "they play on: {during:?}");
        if size.fault >= Duration::from_secs(30) {
            assert!(recovery < RECOVERY, "{recovery:?}");
            assert!(during.moves > 0, "they mine on");
        }
    }
    let (server_ms, shards_ms, journal, folder) = play.end();
    let kept = journal::hold_against(&journal, &Database::open(&base.direct_url()).expect("it opens"));
    assert!(kept.problems.is_empty(), "{:#?}", kept.problems);
    println!("{} deals answered as done are stored, {} answered as refused are not", kept.done, kept.refused);
    drop(folder);
    Run { during, server_ms, shards_ms }
}

fn wanted(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// A run without a fault, and one with each fault.
fn long(mut base: Base, faults: &[Fault]) {
    let size = Size {
        bots: wanted("SIDEREAL_BOTS", 20) as u32,
        fault: Duration::from_secs(wanted("SIDEREAL_OUTAGE_SECONDS", 60)),
        quiet: Duration::from_secs(10),
    };
    let plain = run(&mut base, &[Fault::None], size);
    for fault in faults {
        let run = run(&mut base, &[*fault], size);
        let ratio = |with: f64, without: f64| with / without.max(0.001);
        println!(
            "{fault:?} to none, p50 and p99 of a tick: server {:.2} {:.2}; {}; memory {:.2}",
            ratio(run.server_ms.0, plain.server_ms.0),
            ratio(run.server_ms.1, plain.server_ms.1),
            run.shards_ms
                .iter()
                .zip(&plain.shards_ms)
                .map(|(with, without)| format!("shard {:.2} {:.2}", ratio(with.0, without.0), ratio(with.1, without.1)))
                .collect::<Vec<_>>()
                .join(", "),
            ratio(run.during.rss_kb as f64, plain.during.rss_kb as f64),
        );
    }
}

#[test]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn nobody_in_space_notices_that_sqlite_is_held_by_another() {
    let folder = folder();
    run(&mut Base::sqlite(folder.path()), &[Fault::Stopped], SHORT);
}

#[test]
#[cfg(feature = "postgres")]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn nobody_in_space_notices_that_postgres_stops_or_dies_or_is_slow() {
    let Some(mut base) = Base::postgres() else { return };
    run(&mut base, &[Fault::Stopped, Fault::Killed, Fault::Slow], SHORT);
}

#[test]
#[ignore = "takes minutes: see the module's text"]
fn sqlite_for_as_long_as_wanted() {
    let folder = folder();
    long(Base::sqlite(folder.path()), &[Fault::Stopped, Fault::Slow]);
}

#[test]
#[cfg(feature = "postgres")]
#[ignore = "takes minutes: see the module's text"]
fn postgres_for_as_long_as_wanted() {
    let Some(base) = Base::postgres() else { return };
    long(base, &[Fault::Stopped, Fault::Killed, Fault::Slow]);
}
