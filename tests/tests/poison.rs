//! An entity that crashes every shard that simulates it.

use sidereal_client::{chat::ChatBook, flight::controls::PilotIntent, session::SessionState};
use sidereal_protocol::{
    DVec2,
    record::{EntityKind, EntityRecord, Structure},
    rules::flight::{Controls, FlightState},
    world::{
        ids::EntityId,
        tick::{SimTick, TICK_HZ},
    },
};
use sidereal_server::{
    audit::aside::{Aside, Why},
    audit::report::Shown,
    audit::suspicion::TRIAL_TICKS,
    http::ServerStatus,
    replication::mirror::Mirror,
};
use sidereal_shard::poison::{Place, cure, poison};
use sidereal_tests::cluster::{Cluster, Setup};
use std::{collections::BTreeSet, sync::Arc};

/// Rocks of the world, in rows through all four blocks around the centre.
const ROCKS: u64 = 24;

fn id(number: u64) -> EntityId {
    EntityId::from_halves(1, number)
}

fn rock(number: u64) -> EntityRecord {
    let (column, row) = ((number % 6) as f64, (number / 6) as f64);
    let position = DVec2::new(-2_100.0 + 800.0 * column, -1_900.0 + 1_200.0 * row);
    let mut rock = EntityRecord::at_rest(id(number), EntityKind::Asteroid, position, SimTick(0));
    rock.set(Structure::whole(10.0, 60));
    rock
}

/// A world of rocks, in which a shard that crashes is followed by another one.
fn rocks(seed: u64, shards: usize) -> Cluster {
    let home = Some((0..ROCKS).map(rock).collect());
    let mut cluster = Cluster::of(Setup { seed, shards, sessions_may_fail: true, home, ..Setup::default() });
    cluster.server.insert_resource(Shown(Arc::new(ServerStatus::default())));
    cluster
}

fn aside(cluster: &Cluster) -> &Aside {
    cluster.server.world().resource::<Aside>()
}

fn mirrored(cluster: &Cluster) -> BTreeSet<EntityId> {
    cluster.server.world().resource::<Mirror>().iter().map(|(id, _)| id).collect()
}

/// The value of a metric without labels.
fn metric(cluster: &Cluster, name: &str) -> u64 {
    let text = cluster.server.world().resource::<Shown>().0.metrics();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().expect("a number")
}

fn simulated(cluster: &mut Cluster, ids: &BTreeSet<EntityId>) -> bool {
    ids.iter().all(|id| cluster.truth(*id).is_some())
}

/// All of `ids` exist and are simulated, and mirror and shards agree.
fn assert_alive(cluster: &mut Cluster, ids: &BTreeSet<EntityId>) {
    cluster.until("everybody is simulated", 200, |cluster| simulated(cluster, ids));
    cluster.quiesce();
    assert_eq!(mirrored(cluster), *ids);
}

#[test]
fn after_two_deaths_the_third_shard_goes_on_without_it_and_with_everybody_else() {
    let mut cluster = rocks(61, 2);
    let ada = cluster.join_and_fly("ada");
    let ship = cluster.ship_of(ada).expect("flying");
    let everybody = mirrored(&cluster);
    // In ada's block, so that ada's ship is there when its shards die.
    cluster.place(ship, FlightState { position: DVec2::new(250.0, 640.0), ..FlightState::default() });
    let culprit = id(15);
    cluster.until("one shard has both", 200, |cluster| {
        let of = |(shard, _)| shard;
        cluster.truth(ship).map(of) == cluster.truth(culprit).map(of)
    });
    poison(culprit, Place::Alone);
    cluster.until("it is set aside", 300, |cluster| aside(cluster).why(culprit) == Some(Why::Guilty));
    assert_eq!(cluster.failed_sessions, 2);
    let rest: BTreeSet<EntityId> = everybody.into_iter().filter(|id| *id != culprit).collect();
    assert_alive(&mut cluster, &rest);
    cluster.ticks(u64::from(TICK_HZ) * 10);
    assert_eq!(cluster.failed_sessions, 2, "no more shards crash");
    assert_eq!((metric(&cluster, "sidereal_set_aside"), metric(&cluster, "sidereal_shards_crashed_total")), (1, 2));
    // The ship is where it was, and responds.
    assert_eq!((cluster.session(ada), cluster.ship_of(ada)), (&SessionState::InSpace, Some(ship)));
    let before = cluster.truth(ship).expect("simulated").1.position;
    cluster.steer(ada, Controls { thrust: 127, ..Controls::default() });
    cluster.until("she flies", 90, |cluster| {
        cluster.truth(ship).is_some_and(|(_, state)| state.position.distance(before) > 20.0)
    });
    // It is in the database, and a restarted server reads it with its sector.
    cure(culprit);
    cluster.restart();
    cluster.until("it is back", 300, |cluster| cluster.truth(culprit).is_some());
    assert!(aside(&cluster).is_empty());
    cluster.quiesce();
}

#[test]
fn a_pilot_whose_ship_it_is_is_told_and_goes_on_in_another_one() {
    let mut cluster = rocks(62, 2);
    let ada = cluster.join_and_fly("ada");
    let bob = cluster.join_and_fly("bob");
    let ship = cluster.ship_of(ada).expect("flying");
    let others = cluster.ship_of(bob).expect("flying");
    poison(ship, Place::Alone);
    cluster.until("it is set aside", 300, |cluster| aside(cluster).why(ship) == Some(Why::Guilty));
    cluster.until("her client detects it", 60, |cluster| *cluster.session(ada) == SessionState::Destroyed);
    let told = |cluster: &mut Cluster| {
        let lines = cluster.players[ada].app.world().resource::<ChatBook>().lines();
        lines.iter().any(|line| line.speaker.is_empty() && line.text.contains("set aside"))
    };
    cluster.until("she gets the notice", 60, told);
    cluster.players[ada].app.insert_resource(PilotIntent { respawn: true, ..PilotIntent::default() });
    cluster.until("she has another", 300, |cluster| cluster.ship_of(ada).is_some_and(|id| id != ship));
    let another = cluster.ship_of(ada).expect("flying");
    assert_eq!((cluster.failed_sessions, cluster.ship_of(bob)), (2, Some(others)));
    // A new login gets that ship as well, and the first one is kept.
    cluster.rejoin(ada);
    cluster.until_flying(ada);
    cluster.quiesce();
    assert!(mirrored(&cluster).contains(&another) && !mirrored(&cluster).contains(&ship));
    let row = cluster.database().entity(ship.0).expect("the database answers").expect("it is kept");
    assert_eq!(EntityRecord::decode(&row.record).expect("as it was stored").kind, EntityKind::Ship);
    cure(ship);
}

#[test]
fn a_fault_that_names_nobody_is_found_by_halves() {
    let mut cluster = rocks(63, 2);
    let ada = cluster.join_and_fly("ada");
    let everybody = mirrored(&cluster);
    for culprit in [id(0), id(17)] {
        let before = cluster.failed_sessions;
        poison(culprit, Place::Amidst);
        // Each half is simulated for a while, or crashes a shard at once.
        let rounds = 1 + ROCKS.ilog2() as u64;
        cluster.until("it is set aside", rounds * (TRIAL_TICKS + 200), |cluster| {
            aside(cluster).why(culprit) == Some(Why::Guilty)
        });
        let deaths = cluster.failed_sessions - before;
        println!("{culprit}: {deaths} shards have failed until it was found");
        assert!(deaths <= 3 + rounds);
    }
    cluster.until("no other one is held back", 10, |cluster| aside(cluster).len() == 2);
    let rest: BTreeSet<EntityId> = everybody.into_iter().filter(|other| ![id(0), id(17)].contains(other)).collect();
    assert_alive(&mut cluster, &rest);
    assert_eq!(cluster.session(ada), &SessionState::InSpace);
    for one in [id(0), id(17)] {
        cure(one);
    }
}

#[test]
fn who_comes_back_to_a_ship_that_is_held_back_waits_for_it() {
    let mut cluster = rocks(65, 2);
    let mut pilots = ["ada", "bob"].map(|name| cluster.join_and_fly(name));
    for (pilot, x) in pilots.into_iter().zip([250.0, 350.0]) {
        let ship = cluster.ship_of(pilot).expect("flying");
        cluster.place(ship, FlightState { position: DVec2::new(x, 640.0), ..FlightState::default() });
    }
    // Of the last two suspects the one with the smaller id is held back first.
    pilots.sort_by_key(|pilot| cluster.ship_of(*pilot));
    let [ship, other] = pilots.map(|pilot| cluster.ship_of(pilot).expect("flying"));
    poison(ship, Place::Amidst);
    let rounds = 2 + ROCKS.ilog2() as u64;
    cluster.until("it is held back", rounds * (TRIAL_TICKS + 200), |cluster| {
        aside(cluster).why(ship) == Some(Why::Suspect)
    });
    cluster.rejoin(pilots[0]);
    cluster.ticks(TRIAL_TICKS / 3);
    assert_eq!(aside(&cluster).why(ship), Some(Why::Suspect));
    assert_ne!(*cluster.session(pilots[0]), SessionState::InSpace);
    cluster.until("it is found", 3 * (TRIAL_TICKS + 200), |cluster| {
        // A client waits 30 s for a ship, and then tries again.
        if cluster.session(pilots[0]).is_over() {
            cluster.rejoin(pilots[0]);
        }
        aside(cluster).why(ship) == Some(Why::Guilty)
    });
    assert_eq!(aside(&cluster).why(other), None, "no other one is suspected");
    assert_eq!(cluster.ship_of(pilots[1]), Some(other));
    cure(ship);
}

#[test]
fn shards_that_die_without_such_words_cost_nobody_anything() {
    let mut cluster = rocks(64, 3);
    let everybody = mirrored(&cluster);
    for _ in 0..4 {
        let victim = cluster.living_shards()[0];
        cluster.kill_shard(victim);
        cluster.start_shard();
        cluster.ticks(60);
    }
    assert!(aside(&cluster).is_empty());
    assert_alive(&mut cluster, &everybody);
}
