//! Confirmed deals survive kills: the server is ended by SIGKILL repeatedly while bots mine, deal and trade, and after
//! each time the database is compared with the answers that the bots received.
//!
//! They need the programs built before (see `world::process`), without the feature `test-clock`. The test command
//! includes a few kills for each backend. More, at other moments:
//!
//! ```text
//! SIDEREAL_KILLS=200 SIDEREAL_SEED=1 cargo test -p sidereal-tests --test kills -- --ignored --nocapture
//! ```

#[cfg(feature = "postgres")]
#[path = "../../server/tests/common/cluster.rs"]
#[allow(dead_code, reason = "the server's own tests use the rest")]
mod cluster;
#[path = "world/journal.rs"]
mod journal;
#[allow(dead_code, unused_imports, reason = "the other tests of processes use the rest")]
mod world;

use journal::Kept;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use sidereal_protocol::{
    record::{EntityKind, EntityRecord},
    world::tick::TICK_DURATION,
};
use sidereal_server::db::{Database, tools};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use uuid::Uuid;
use world::{Process, Server, shard_flags, text};

const BOTS: u32 = 24;

/// How long the first server lives: until the first holds are full and deals are done.
const FIRST_LIFE: Duration = Duration::from_secs(30);

/// After this many kills the bots outlive the server, reconnect by their session tokens and repeat unanswered deals. It
/// takes them ten seconds to detect the loss, so that the others start anew.
const BOTS_SURVIVE: u32 = 8;

/// The promise: no ordinary state is older than this after a kill.
const LOSS_WINDOW: Duration = Duration::from_secs(1);

/// The ship that is in space by a line of the server's log.
fn entered_ship(line: &str) -> Option<Uuid> {
    line.contains("in space").then(|| line.split("id=").nth(1)?.split_whitespace().next()?.parse().ok())?
}

/// The findings of a run.
#[derive(Debug, Default)]
struct Found {
    kills: u32,
    /// Of all deals so far.
    kept: Kept,
    ships: u64,
    oldest_ms: u64,
    /// Of every kill.
    problems: Vec<String>,
}

/// Compares the database with the journal and with itself; `tick` is the highest possible tick of the server, and
/// `flown` are the ships that had flown for longer than the loss window.
fn hold_against(found: &mut Found, url: &str, journal_path: &Path, tick: u64, flown: &BTreeSet<Uuid>) {
    let database = Database::open(url).expect("it opens after a kill");
    found.kept = journal::hold_against(journal_path, &database);
    found.problems.append(&mut found.kept.problems);
    for record in ships(&database) {
        // A body at rest does not change, and keeps the tick at which it came to rest.
        let moves = record.state.velocity.length() > 1.0 && record.docked().is_none();
        if moves && flown.contains(&record.id.0) {
            found.ships += 1;
            let age_ms = tick.saturating_sub(record.tick.0) * TICK_DURATION.as_millis() as u64;
            found.oldest_ms = found.oldest_ms.max(age_ms);
        }
    }
}

/// All living ships, as they are stored.
fn ships(database: &Database) -> Vec<EntityRecord> {
    let mut dump = Vec::new();
    tools::export(database, &mut dump).expect("it can be exported");
    let rows =
        dump.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    rows.filter(|row| row["table"] == "entity" && row["deleted"] == false)
        .filter(|row| row["kind"] == EntityKind::Ship as u8)
        .map(|row| {
            let digits = row["record"].as_str().expect("hexadecimal digits");
            let bytes: Vec<u8> = (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("a byte"))
                .collect();
            EntityRecord::decode(&bytes).expect("a record")
        })
        .collect()
}

/// Kills the server over `url` this many times, at moments that follow from `seed`.
fn kill_again_and_again(url: &str, kills: u32, seed: u64) -> Found {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut found = Found::default();
    let journal_path = folder.path().join("journal");
    // The bots reconnect to the same address.
    let mut http_addr = world::ANY.to_owned();
    let mut bots: Option<Process> = None;
    while found.kills < kills {
        let unlimited = [("--http-addr", http_addr.as_str()), ("--rate-limit-address", "0")];
        let mut server = Server::start_with(folder.path(), url, 1, &unlimited);
        http_addr = server.http_addr.to_string();
        let shard = Process::start("sidereal-shard", &shard_flags(&server, &[("--name", "shard")]));
        server.wait_until("a lease", |server| server.metric("sidereal_leased_sectors") > 0);
        let fleet = bots.get_or_insert_with(|| {
            let count = BOTS.to_string();
            let (url, journal) = (server.url(), text(&journal_path));
            let flags = ["--http", &url, "--count", &count, "--mission", "trade", "--journal", &journal];
            Process::start("sidereal-bots", &[&flags[..], &["--seed", "7", "--die-with-stdin"]].concat())
        });
        server.wait_until("players", |server| server.metric("sidereal_players") >= u64::from(BOTS) / 2);
        // How long it lives after that is the random moment of this test.
        let lives = match found.kills {
            0 => FIRST_LIFE,
            _ => Duration::from_millis(random.random_range(200..4_500)),
        };
        let begun = Instant::now();
        let mut told = (0, begun);
        let mut entered: BTreeMap<Uuid, Instant> = BTreeMap::new();
        while begun.elapsed() < lives {
            // Updated every tenth tick: the value is valid from its change.
            let tick = server.metric("sidereal_tick");
            if tick != told.0 {
                told = (tick, Instant::now());
            }
            fleet.listen(Duration::from_millis(random.random_range(0..5)));
            server.process.listen(Duration::ZERO);
            for ship in server.process.seen().iter().filter_map(|line| entered_ship(line)) {
                entered.entry(ship).or_insert_with(Instant::now);
            }
        }
        let since = told.1.elapsed();
        let killed = Instant::now();
        server.process.kill();
        entered.retain(|_, since| killed - *since > LOSS_WINDOW);
        let flown = entered.into_keys().collect();
        let tick = told.0 + (since.as_millis() / TICK_DURATION.as_millis()) as u64;
        shard.kill();
        assert!(fleet.is_running(), "{:#?}", fleet.seen());
        found.kills += 1;
        if !found.kills.is_multiple_of(BOTS_SURVIVE) {
            bots.take().expect("they run").kill();
        }
        hold_against(&mut found, url, &journal_path, tick, &flown);
        if found.kills.is_multiple_of(20) {
            println!("{found:?}");
        }
    }
    found
}

/// `on_time`: the loss window is checked too, for which a busy machine may not give the server enough time.
fn is_kept(url: &str, kills: u32, seed: u64, on_time: bool) {
    let found = kill_again_and_again(url, kills, seed);
    println!("{found:?}");
    assert!(found.problems.is_empty(), "{:#?}", found.problems);
    assert!(found.kept.done > 0, "there was something to lose");
    let in_time = found.oldest_ms <= LOSS_WINDOW.as_millis() as u64;
    assert!(in_time || !on_time, "{} ms old", found.oldest_ms);
}

fn wanted(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn sqlite(kills: u32, seed: u64, on_time: bool) {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    is_kept(&format!("sqlite://{}", text(&folder.path().join("world.sqlite"))), kills, seed, on_time);
}

#[cfg(feature = "postgres")]
fn postgres(kills: u32, seed: u64, on_time: bool) {
    if let Some(cluster) = cluster::PgCluster::start_new() {
        is_kept(&cluster.new_schema(), kills, seed, on_time);
    }
}

#[test]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn what_sqlite_was_given_survives_kills_of_the_server() {
    sqlite(4, 3, false);
}

#[test]
#[cfg(feature = "postgres")]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn what_postgres_was_given_survives_kills_of_the_server() {
    postgres(4, 4, false);
}

#[test]
#[ignore = "takes some seconds a kill: see the module's text"]
fn sqlite_and_as_many_kills_as_wanted() {
    sqlite(wanted("SIDEREAL_KILLS", 200) as u32, wanted("SIDEREAL_SEED", 1), true);
}

#[test]
#[cfg(feature = "postgres")]
#[ignore = "takes some seconds a kill: see the module's text"]
fn postgres_and_as_many_kills_as_wanted() {
    postgres(wanted("SIDEREAL_KILLS", 200) as u32, wanted("SIDEREAL_SEED", 1), true);
}
