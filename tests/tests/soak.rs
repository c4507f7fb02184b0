//! Thousands of handoffs, while processes die.
//!
//! The short run is part of the test command. The long one:
//!
//! ```text
//! SIDEREAL_HANDOFFS=100000 SIDEREAL_SEED=1 cargo test -p sidereal-tests --features test-clock --test soak -- --ignored --nocapture
//! ```

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use sidereal_protocol::world::tick::TICK_HZ;
use sidereal_server::handoff::transfers::HandoffState;
use sidereal_shard::report::Totals;
use sidereal_tests::{
    cluster::{Cluster, Setup},
    pendulum,
};
use sidereal_transport::network::memory::LinkConditions;
use std::time::Duration;

/// A bad link.
const BAD: LinkConditions =
    LinkConditions { latency_ms: 8, jitter_ms: 6, loss: 0.10, duplication: 0.05, reordering: 0.05 };

/// Rocks that oscillate. Each changes shards about once in 36 ticks.
const ROCKS: usize = 200;

/// Ticks between two deaths of shards, on average.
const SHARD_LIFE_TICKS: f64 = 300.0;

/// Ticks between two deaths of the server, on average.
const SERVER_LIFE_TICKS: f64 = 2_500.0;

/// Ticks between two departures of players, on average.
const STAY_TICKS: f64 = 1_500.0;

/// At this interval all faults stop until mirror and shards agree, ticks.
const QUIET_TICKS: u64 = 3_000;

/// The events of a run.
#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    handoffs: u64,
    aborted: u64,
    stale: u64,
    destroyed: u64,
    shard_deaths: u64,
    server_deaths: u64,
    farewells: u64,
    failed_sessions: u64,
}

struct Soak {
    cluster: Cluster,
    random: Pcg64Mcg,
    /// The sums of the servers that have died.
    before: Sums,
    /// Sessions of clients that have panicked.
    failed_clients: u64,
    /// The deliberate mishaps, for the diagnosis of a failure.
    fates: Vec<String>,
    /// When the next shard starts.
    successors: Vec<u64>,
}

impl Soak {
    fn new(seed: u64) -> Self {
        let setup = Setup {
            seed,
            conditions: BAD,
            shards: 4,
            // Most of the run should be handoffs, not waiting for timeouts.
            idle_timeout: Duration::from_secs(2),
            sessions_may_fail: true,
            home: Some(pendulum::records(ROCKS, seed)),
        };
        let mut cluster = Cluster::of(setup);
        for name in ["ada", "bob", "cyd"] {
            cluster.join_and_fly(name);
        }
        let random = Pcg64Mcg::seed_from_u64(seed);
        Self { cluster, random, before: Sums::default(), failed_clients: 0, fates: Vec::new(), successors: Vec::new() }
    }

    fn sums(&self) -> Sums {
        let tally = self.cluster.tally();
        let machine = &self.cluster.server.world().resource::<HandoffState>().machine;
        Sums {
            handoffs: self.before.handoffs + tally.handoffs,
            aborted: self.before.aborted + machine.aborted,
            stale: self.before.stale + machine.stale + tally.stale,
            destroyed: self.before.destroyed + tally.destroyed,
            failed_sessions: self.failed_clients + self.cluster.failed_sessions,
            ..self.before
        }
    }

    fn start_successors(&mut self, due: usize) {
        for _ in 0..due {
            let index = self.cluster.start_shard();
            self.fates.push(format!("step {}: shard {index} starts", self.cluster.step));
        }
    }

    fn comes_to_pass(&mut self, mean_ticks: f64) -> bool {
        self.random.random_bool(1.0 / mean_ticks)
    }

    fn tick(&mut self) {
        pendulum::swing(&mut self.cluster);
        self.steer();
        self.cluster.tick_once();
    }

    fn steer(&mut self) {
        let step = self.cluster.step;
        let scene = self.cluster.scene();
        for player in 0..self.cluster.players.len() {
            // Each at a tick of its own, and sometimes towards another goal.
            if !(step + player as u64).is_multiple_of(3) {
                continue;
            }
            let phase = step / (4 * u64::from(TICK_HZ)) + player as u64;
            let intent = pendulum::fight(&scene, self.cluster.ship_of(player), self.cluster.session(player), phase);
            self.cluster.players[player].app.insert_resource(intent);
        }
    }

    /// The mishaps of this tick.
    fn strike(&mut self) {
        let step = self.cluster.step;
        if self.comes_to_pass(SERVER_LIFE_TICKS) {
            self.before = self.sums();
            self.before.server_deaths += 1;
            self.successors.clear();
            self.fates.push(format!("step {step}: the server dies"));
            self.cluster.kill_server();
            return;
        }
        let living = self.cluster.living_shards();
        if living.len() > 2 && self.comes_to_pass(SHARD_LIFE_TICKS) {
            let victim = living[self.random.random_range(0..living.len())];
            let silent = self.random.random_bool(0.5);
            self.fates.push(format!("step {step}: shard {victim} dies{}", if silent { " in silence" } else { "" }));
            if silent {
                self.cluster.silence_shard(victim);
            } else {
                self.cluster.kill_shard(victim);
            }
            self.before.shard_deaths += 1;
            // Mostly its successor starts before the death is detected, and gets its sectors.
            self.successors.push(step + if self.random.random_bool(0.8) { 5 } else { 150 });
        }
        let due = self.successors.extract_if(.., |due| *due <= step).count();
        self.start_successors(due);
        for player in 0..self.cluster.players.len() {
            let failed = self.cluster.session(player).is_over();
            if failed || self.comes_to_pass(STAY_TICKS) {
                self.fates.push(format!("step {step}: player {player} comes back"));
                self.cluster.rejoin(player);
                self.before.farewells += 1;
                self.failed_clients += u64::from(failed);
            }
        }
    }

    fn run(&mut self, handoffs: u64) {
        let mut quiet_at = QUIET_TICKS;
        while self.sums().handoffs < handoffs {
            self.tick();
            self.strike();
            if self.cluster.step >= quiet_at {
                self.cluster.quiesce();
                quiet_at = self.cluster.step + QUIET_TICKS;
            }
        }
        self.cluster.quiesce();
    }
}

impl Drop for Soak {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the last of what happened on purpose: {:#?}", &self.fates[self.fates.len().saturating_sub(12)..]);
        }
    }
}

fn soak(seed: u64, handoffs: u64) {
    println!(
        "SIDEREAL_HANDOFFS={handoffs} SIDEREAL_SEED={seed} cargo test -p sidereal-tests --features test-clock \
         --test soak -- --ignored --nocapture"
    );
    let mut soak = Soak::new(seed);
    soak.run(handoffs);
    let sums = soak.sums();
    let pulls: u64 =
        soak.cluster.shards.iter().flatten().map(|app| app.world().resource::<Totals>().tractor_pulls).sum();
    let fingerprint = soak.cluster.fingerprint();
    println!(
        "seed {seed}: {} handoffs, {} aborted, {} messages stale, {} entities destroyed, {pulls} pulls of tractor beams by the last shards; {} shards and {} servers died, \
         {} sessions failed, {} players left and came back; 0 violations in {} steps, {:.1} s of CPU, fingerprint {:x}",
        sums.handoffs,
        sums.aborted,
        sums.stale,
        sums.destroyed,
        sums.shard_deaths,
        sums.server_deaths,
        sums.failed_sessions,
        sums.farewells,
        soak.cluster.step,
        sidereal_process::cpu_ms().unwrap_or(0) as f64 / 1e3,
        fingerprint
    );
    assert!(sums.handoffs >= handoffs && pulls > 0);
}

fn environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{name}={value}: {error}")))
}

#[test]
fn thousands_of_handoffs_on_bad_links_among_dying_processes_violate_nothing() {
    soak(environment("SIDEREAL_SEED").unwrap_or(1), 10_000);
}

/// ```text
/// SIDEREAL_HANDOFFS=100000 SIDEREAL_SEED=1 cargo test -p sidereal-tests --features test-clock --test soak -- --ignored --nocapture
/// ```
#[test]
#[ignore = "takes many minutes; the command stands above"]
fn a_hundred_thousand_handoffs_violate_nothing() {
    soak(environment("SIDEREAL_SEED").unwrap_or(1), environment("SIDEREAL_HANDOFFS").unwrap_or(100_000));
}
