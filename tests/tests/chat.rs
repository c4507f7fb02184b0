//! Chat over the mesh: its receivers, its rate limit, and strange texts.

#![allow(clippy::unwrap_used)]

use sidereal_client::{chat::ChatBook, flight::controls::PilotIntent, session::SessionState, view::Part};
use sidereal_protocol::{
    DVec2,
    frames::{
        chat::Scope,
        control::{GhostImpact, ImpactCause, encode_frame},
        messages::{FromPlayer, Say},
    },
    limits::MAX_REQUEST_BYTES,
    rules::{
        flight::{FlightState, HullKind},
        shot::ShotId,
    },
    world::{
        ids::{EntityId, NetId},
        sector::SectorId,
        tick::SimTick,
    },
};
use sidereal_server::replication::mirror::Mirror;
use sidereal_shard::damage::Impacts;
use sidereal_tests::cluster::{Cluster, PERFECT};

fn say(cluster: &mut Cluster, player: usize, scope: Scope, text: &str) {
    cluster.players[player].app.world_mut().resource_mut::<ChatBook>().say(scope, text).unwrap();
}

/// Without the client's own checks.
fn send(cluster: &mut Cluster, player: usize, say: Say) {
    let frame = encode_frame(&FromPlayer::Say(say)).unwrap();
    cluster.players[player].handle.send_stream(frame.into()).unwrap();
}

/// The texts that a player has received, with their senders.
fn heard(cluster: &Cluster, player: usize) -> Vec<(String, String)> {
    let book = cluster.players[player].app.world().resource::<ChatBook>();
    book.lines().iter().map(|line| (line.speaker.clone(), line.text.clone())).collect()
}

fn texts(cluster: &Cluster, player: usize) -> Vec<String> {
    heard(cluster, player).into_iter().map(|(_, text)| text).collect()
}

fn put(cluster: &mut Cluster, player: usize, sector: SectorId) -> EntityId {
    let id = cluster.ship_of(player).unwrap();
    let position = sector.origin() + DVec2::splat(500.0);
    cluster.place(id, FlightState { position, ..FlightState::default() });
    cluster.until("the server has both", 200, |cluster| {
        cluster.server.world().resource::<Mirror>().get(id).is_some_and(|entry| entry.record.sector == sector)
    });
    id
}

#[test]
fn a_sector_hears_its_neighbours_and_the_world_hears_everybody() {
    let mut cluster = Cluster::new(31, PERFECT, 2);
    let [ada, bob, far] = ["ada", "bob", "far"].map(|name| cluster.join_and_fly(name));
    let home = SectorId::new(0, 0);
    put(&mut cluster, ada, home);
    put(&mut cluster, bob, SectorId::new(1, 1));
    put(&mut cluster, far, SectorId::new(3, 0));
    // Rooms are left a while after their sectors.
    cluster.ticks(90);
    say(&mut cluster, ada, Scope::Sector, "to the neighbours");
    say(&mut cluster, far, Scope::World, "to all");
    cluster.until("received", 60, |cluster| heard(cluster, bob).len() == 2);
    cluster.ticks(10);
    let near = ("ada".to_owned(), "to the neighbours".to_owned());
    let all = ("far".to_owned(), "to all".to_owned());
    for player in [ada, bob] {
        let mut lines = heard(&cluster, player);
        lines.sort();
        assert_eq!(lines, [near.clone(), all.clone()]);
    }
    assert_eq!(heard(&cluster, far), [all]);
    let own = |player: usize| {
        let lines = cluster.players[player].app.world().resource::<ChatBook>().lines();
        lines.iter().filter(|line| line.own).count()
    };
    assert_eq!((own(ada), own(bob), own(far)), (1, 0, 1));
    assert_eq!(cluster.tally().said, 2);
}

#[test]
fn who_talks_too_fast_is_told_and_is_heard_again_later_even_in_another_session() {
    let mut cluster = Cluster::new(32, PERFECT, 1);
    let [ada, bob] = ["ada", "bob"].map(|name| cluster.join_and_fly(name));
    for index in 0..7 {
        send(&mut cluster, ada, Say::to(Scope::World, index.to_string()));
    }
    cluster.until("all are answered", 60, |cluster| heard(cluster, ada).len() == 7);
    assert_eq!(texts(&cluster, bob), ["0", "1", "2", "3", "4"]);
    assert!(texts(&cluster, ada)[5].starts_with("you talk too fast"), "{:?}", texts(&cluster, ada));
    assert_eq!((cluster.tally().said, cluster.tally().said_over_rate), (5, 2));
    cluster.rejoin(ada);
    let [ada, bob] = ["ada", "bob"].map(|name| cluster.players.iter().position(|player| player.name == name).unwrap());
    cluster.until_flying(ada);
    // 2 s, of which some have passed.
    cluster.ticks(61);
    for text in ["a", "b", "c", "d", "e", "f"] {
        send(&mut cluster, ada, Say::to(Scope::World, text.to_owned()));
    }
    cluster.until("all are answered", 60, |cluster| heard(cluster, ada).len() == 6);
    let again = texts(&cluster, bob).len() - 5;
    assert!((1..6).contains(&again), "{again}: a new session brings no new five, and time brings some");
}

#[test]
fn a_text_that_is_refused_is_told_to_its_speaker_alone_and_ends_no_session() {
    let mut cluster = Cluster::new(33, PERFECT, 1);
    let [ada, bob] = ["ada", "bob"].map(|name| cluster.join_and_fly(name));
    let scope = Scope::World as u8;
    send(&mut cluster, ada, Say { scope, text: "\u{200b}\u{202e}".to_owned() });
    send(&mut cluster, ada, Say { scope: 77, text: "to whom?".to_owned() });
    send(&mut cluster, ada, Say { scope, text: "x".repeat(201) });
    send(&mut cluster, ada, Say { scope, text: "a\u{202e}b\nc\u{0}".to_owned() });
    cluster.until("all are answered", 60, |cluster| heard(cluster, ada).len() == 4);
    assert_eq!(heard(&cluster, bob), [("ada".to_owned(), "ab c".to_owned())]);
    assert_eq!(cluster.tally().said_refused, 3);
    assert_eq!(*cluster.session(ada), SessionState::InSpace);
    // A frame that no honest client sends ends its session, and affects no other.
    send(&mut cluster, ada, Say { scope, text: "x".repeat(MAX_REQUEST_BYTES) });
    cluster.until("the session ends", 60, |cluster| matches!(cluster.session(ada), SessionState::Lost(_)));
    assert_eq!((cluster.tally().said, cluster.tally().said_refused), (1, 3));
    say(&mut cluster, bob, Scope::World, "still here");
    cluster.until("received", 60, |cluster| texts(cluster, bob).last().is_some_and(|text| text == "still here"));
}

#[test]
fn who_has_lost_the_ship_still_talks_where_it_was() {
    let mut cluster = Cluster::new(34, PERFECT, 1);
    let [ada, bob] = ["ada", "bob"].map(|name| cluster.join_and_fly(name));
    let id = put(&mut cluster, ada, SectorId::new(0, 0));
    put(&mut cluster, bob, SectorId::new(0, 0));
    let bullet = ImpactCause::Bullet(ShotId { shooter: NetId(1), tick: SimTick(5) });
    for app in cluster.shards.iter_mut().flatten() {
        let (source, impulse, tick) = (None, DVec2::ZERO, SimTick(0));
        let impact = GhostImpact { target: id, source, cause: bullet, impulse, damage: 1_000, tick };
        app.world_mut().resource_mut::<Impacts>().push(impact);
    }
    cluster.until("destroyed", 90, |cluster| *cluster.session(ada) == SessionState::Destroyed);
    let parts = [ada, bob].map(|player| cluster.view(player).kills.back().map(|kill| (kill.part, kill.victim_hull)));
    assert_eq!(parts, [Part::Victim, Part::None].map(|part| Some((part, Some(HullKind::Scout)))));
    say(&mut cluster, ada, Scope::Sector, "who was that?");
    cluster.until("received", 60, |cluster| texts(cluster, bob) == ["who was that?"]);
    cluster.players[ada].app.insert_resource(PilotIntent { respawn: true, ..Default::default() });
    cluster.until_flying(ada);
}
