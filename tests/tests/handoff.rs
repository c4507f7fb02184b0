//! The handoff under every fault: the state machines of server and shards without I/O.
//!
//! Every failure prints its seed;
//! `SIDEREAL_SEED=<seed> cargo test -p sidereal-tests --features test-clock --test handoff wild` runs that one alone.
//! `SIDEREAL_SEEDS=<n>` sets the number of seeds.

use sidereal_tests::model::{Fate, Faults, Mishap, Model, Plan};

/// The default number of seeds.
const SEEDS: u64 = 10_000;

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

fn seeds() -> std::ops::Range<u64> {
    match from_environment("SIDEREAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_environment("SIDEREAL_SEEDS").unwrap_or(SEEDS),
    }
}

#[test]
fn wild_worlds_keep_one_authority_for_every_entity() {
    let (mut handoffs, mut deaths) = (0, 0);
    let mut failed = Vec::new();
    for seed in seeds() {
        let plan = Plan::wild(seed);
        let mut model = Model::new(seed, plan.clone());
        if let Err(problem) = model.run() {
            failed.push(format!("SIDEREAL_SEED={seed}: {problem}\n    {plan:?}"));
        }
        handoffs += model.handoffs;
        deaths += model.deaths;
    }
    println!("{} worlds, {handoffs} handoffs, {deaths} deaths of processes", seeds().count());
    let some = failed.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(failed.is_empty(), "{} worlds failed:\n{some}", failed.len());
    assert!(seeds().count() == 1 || handoffs > seeds().count() as u64);
}

/// One entity crosses once. Each of the first messages gets each fate, and each mishap happens at each message.
#[test]
fn one_crossing_ends_with_one_authority_whatever_happens_to_each_message() {
    const MESSAGES: u32 = 5;
    const FATES: [Fate; 4] = [Fate::Arrives, Fate::Lost, Fate::Doubled, Fate::Late];
    let mishaps = [
        Mishap::SourceDies,
        Mishap::TargetDies,
        Mishap::ServerDies,
        Mishap::Destroyed,
        Mishap::PilotLeaves,
        Mishap::TurnsBack,
    ];
    let when = (1..=u64::from(MESSAGES)).flat_map(|at| mishaps.map(|mishap| Some((at, mishap))));
    let when: Vec<Option<(u64, Mishap)>> = std::iter::once(None).chain(when).collect();
    let mut courses = 0;
    for ask_always in [false, true] {
        for course in 0..FATES.len().pow(MESSAGES) {
            // Without mishaps every course; with a mishap those that differ in the first messages.
            let mishaps = if course < FATES.len().pow(3) { &when[..] } else { &when[..1] };
            for mishap in mishaps {
                let fates: Vec<Fate> =
                    (0..MESSAGES).map(|message| FATES[course / FATES.len().pow(message) % FATES.len()]).collect();
                let plan = Plan { crossing: 0.0, ask_always, ..Plan::quiet(1, 2, 180) };
                let mut model = Model::scripted(plan, fates.clone(), *mishap);
                assert!(model.cross(0));
                let end = model.run();
                assert!(end.is_ok(), "ask {ask_always}, {fates:?}, {mishap:?}: {end:?}");
                courses += 1;
            }
        }
    }
    println!("{courses} courses");
}

/// Two entities swap places; many go around a corner of four shards; one goes to and fro for ten minutes.
#[test]
fn swaps_corners_and_oscillations_lose_nothing() {
    let hostile = Faults { loss: 0.1, duplication: 0.05, late: 0.1 };
    for seed in 0..20 {
        let mut swap = Model::settled(seed, Plan { crossing: 0.0, faults: hostile, ..Plan::quiet(2, 2, 90) });
        assert!(swap.cross(0) && swap.cross(1));
        swap.run().unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        assert!(swap.handoffs >= 1, "seed {seed}");

        let corner = Plan { crossing: 0.3, strike: 0.1, faults: hostile, ..Plan::quiet(8, 4, 600) };
        let mut corner = Model::new(seed, corner);
        corner.run().unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
    const TEN_MINUTES: u64 = 18_000;
    let mut model = Model::new(1, Plan { crossing: 1.0, ..Plan::quiet(1, 4, TEN_MINUTES) });
    model.run().expect("it only oscillates");
    println!("an entity that crosses in every tick of ten minutes: {} handoffs", model.handoffs);
    assert!((300..=600).contains(&model.handoffs), "{} in 600 seconds", model.handoffs);
}

/// Without deaths and on a stream that keeps its order, every hit is applied exactly once.
#[test]
fn every_hit_is_felt_once_across_handoffs() {
    for seed in 0..300 {
        let plan = Plan { crossing: 0.2, strike: 0.5, refusal: 0.1, ..Plan::quiet(4, 3, 300) };
        let plan = Plan { ask_always: seed % 2 == 0, ..plan };
        let mut model = Model::new(seed, plan);
        model.run().unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        assert!(model.handoffs > 10, "seed {seed}");
    }
}

/// In how many of some worlds the planted fault is found.
fn found(plant: impl Fn(&mut Model)) -> usize {
    let hostile = Faults { loss: 0.15, duplication: 0.2, late: 0.3 };
    (0..40)
        .filter(|seed| {
            let plan = Plan { crossing: 0.2, faults: hostile, ask_always: seed % 2 == 0, ..Plan::quiet(4, 3, 400) };
            let mut model = Model::new(*seed, plan);
            plant(&mut model);
            model.run().is_err()
        })
        .count()
}

#[test]
fn planted_faults_are_found() {
    assert_eq!(found(|_| {}), 0, "nothing is planted");
    let epochs = found(|model| {
        model.plant(|server, shards| {
            server.skip_epoch_check = true;
            shards.skip_epoch_check = true;
        });
    });
    let at_the_server = found(|model| model.plant(|server, _| server.skip_epoch_check = true));
    let in_the_shards = found(|model| model.plant(|_, shards| shards.skip_epoch_check = true));
    let duplicates = found(|model| model.plant(|_, shards| shards.skip_duplicate_filter = true));
    let releases = found(|model| model.plant(|server, _| server.release_before_commit = true));
    println!(
        "of 40 worlds: epochs {epochs} ({at_the_server}, {in_the_shards}), duplicates {duplicates}, releases {releases}"
    );
    for found in [epochs, at_the_server, in_the_shards, duplicates, releases] {
        assert!(found > 0);
    }
}
