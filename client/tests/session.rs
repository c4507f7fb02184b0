//! The whole client library against a world with one player, over the in-memory network.

#![allow(clippy::unwrap_used)]

mod fake_world;

use bevy::{
    app::Update,
    ecs::schedule::{LogLevel, ScheduleBuildSettings},
    math::DVec2,
};
use fake_world::{DRONE, Game, MISSILE, START_TICK, TICKET, World, drone_at};
use naia_bevy_shared::HostSyncChangeTracking;
use sidereal_client::{
    flight::{controls::PilotIntent, piloting::Piloting},
    session::{self, SessionState, stats::PlayStats},
    view::{NoticeKind, Other, Part, WorldView},
};
use sidereal_protocol::{
    record::EntityKind,
    rules::{
        flight::{Controls, HullKind},
        tool::Tool,
    },
};
use sidereal_transport::network::memory::LinkConditions;

const GOOD: LinkConditions =
    LinkConditions { latency_ms: 20, jitter_ms: 4, loss: 0.0, duplication: 0.0, reordering: 0.0 };
const BAD: LinkConditions =
    LinkConditions { latency_ms: 60, jitter_ms: 50, loss: 0.08, duplication: 0.03, reordering: 0.1 };

fn in_space(conditions: LinkConditions) -> Game {
    let mut game = Game::new(conditions, TICKET);
    game.until("in space", |game| *game.get::<SessionState>() == SessionState::InSpace);
    game
}

/// Flies until `inputs` more were stamped, then releases the controls and waits until all are acknowledged.
fn fly(game: &mut Game, inputs: u64) {
    let until = game.get::<Piloting>().queue.counts().sent + inputs;
    game.until("inputs sent", |game| {
        let tick = game.get::<WorldView>().own_tick;
        game.client.insert_resource(PilotIntent {
            controls: Controls { thrust: 127, turn: ((tick / 20.0).sin() * 90.0) as i8, buttons: 0 },
            respawn: false,
        });
        game.get::<Piloting>().queue.counts().sent >= until
    });
    game.client.world_mut().resource_mut::<Piloting>().pause(true);
    game.until("all acknowledged", |game| game.get::<Piloting>().queue.is_empty());
    game.client.world_mut().resource_mut::<Piloting>().pause(false);
}

#[test]
fn on_a_good_link_flight_is_never_corrected_and_every_input_applied_once() {
    let mut game = in_space(GOOD);
    // In the first seconds the delay adapts; after that nothing may differ.
    fly(&mut game, 30);
    let before = game.get::<PlayStats>().clone();
    let far = game.get::<PlayStats>().distance_flown;
    fly(&mut game, 60);
    let stats = game.get::<PlayStats>();
    let inputs = game.get::<Piloting>().queue.counts();
    assert_eq!((inputs.lost, inputs.doubled, inputs.given_up), (0, 0, 0), "{inputs:?}");
    assert_eq!(inputs.sent, inputs.applied);
    assert_eq!(stats.violations(), 0, "{stats:?}");
    assert_eq!(stats.teleports, 0);
    // Only the pause between the two flights, without stamped inputs, is not predicted.
    assert!(stats.corrections <= before.corrections + 12, "{stats:?}");
    assert!(stats.distance_flown > far + 100.0);
}

#[test]
fn the_view_shows_the_ship_and_the_drone_where_they_are() {
    let mut game = in_space(GOOD);
    fly(&mut game, 40);
    game.until("the drone is in the view", |game| game.get::<WorldView>().others.contains_key(&DRONE));
    for _ in 0..200 {
        game.update();
    }
    let view = game.get::<WorldView>();
    let own = view.own.as_ref().unwrap();
    assert_eq!((own.hull, own.hull_max, &*own.name), (80, 100, "ada"));
    assert!(!view.others.contains_key(&own.net_id));
    let drone = &view.others[&DRONE];
    assert_eq!((drone.kind, &*drone.name, drone.hull), (EntityKind::Drone, "drone", 80));
    let truth = drone_at(view.play_tick as u64);
    assert!(drone.state.position.distance(truth.position) < 5.0, "{drone:?} {truth:?}");
    assert_eq!(view.sky_seed, 99);
    assert!(view.play_tick > START_TICK as f64 && view.own_tick > view.play_tick);
    assert_eq!(view.link.loss, 0.0);
}

#[test]
fn on_a_bad_link_every_input_is_still_applied_once() {
    let mut game = in_space(BAD);
    fly(&mut game, 120);
    let inputs = game.get::<Piloting>().queue.counts();
    let stats = game.get::<PlayStats>();
    assert_eq!((inputs.lost, inputs.doubled), (0, 0), "{inputs:?}");
    assert_eq!(inputs.sent, inputs.applied + inputs.given_up);
    assert_eq!(stats.violations(), 0, "{stats:?}");
    assert!(game.get::<WorldView>().link.loss > 0.0);
}

#[test]
fn a_blow_shows_as_a_correction_and_a_doubled_input_is_noticed() {
    let mut game = in_space(GOOD);
    fly(&mut game, 20);
    let before = game.get::<PlayStats>().corrections;
    game.world().blow = DVec2::new(30.0, 0.0);
    game.until("corrected", |game| game.get::<PlayStats>().corrections > before);
    game.world().double = 1;
    fly(&mut game, 20);
    assert_eq!(game.get::<Piloting>().queue.counts().doubled, 1);
    let predicted = game.get::<Piloting>().prediction().unwrap().state().position;
    let truth = game.server.world().resource::<World>().ship_state().unwrap().position;
    assert!(predicted.distance(truth) < 100.0);
}

#[test]
fn a_beam_is_shown_at_once_and_becomes_the_worlds() {
    let mut game = in_space(GOOD);
    fly(&mut game, 30);
    game.until("the drone is in the view", |game| game.get::<WorldView>().others.contains_key(&DRONE));
    let hold = Controls { buttons: Controls::BEAM, ..Default::default() };
    game.client.insert_resource(PilotIntent { controls: hold, respawn: false });
    game.until("set off", |game| game.get::<WorldView>().arms.of(Tool::Beam) < 0.5);
    let view = game.get::<WorldView>();
    assert_eq!(view.beams.len(), 1);
    let foreseen = view.beams[0];
    assert!(foreseen.own && foreseen.foreseen && view.hits.is_empty(), "{foreseen:?}");
    assert!(game.world().beams.is_empty(), "before the world knows of it");
    let mut shown = 0;
    game.until("hit", |game| {
        shown = shown.max(game.get::<WorldView>().beams.len());
        !game.get::<WorldView>().hits.is_empty()
    });
    assert_eq!(shown, 1, "not beside its twin");
    game.client.insert_resource(PilotIntent::default());
    let told = game.world().beams[0];
    let view = game.get::<WorldView>();
    let hit = view.hits[0];
    assert_eq!((hit.id, hit.target, hit.by_own, hit.on_own), (told.id, DRONE, true, false));
    assert!(hit.position.distance(told.end) < 0.1);
    game.until("over", |game| game.get::<WorldView>().beams.is_empty());
    let fired = game.world().beams.len() as u64;
    game.until("all told", |game| game.get::<PlayStats>().beams_fired == fired);
    assert_eq!(game.get::<PlayStats>().violations(), 0);
}

/// The rewind of a shard is what the player saw.
#[test]
fn an_input_with_a_beam_tells_when_the_others_were_seen() {
    let mut game = in_space(GOOD);
    fly(&mut game, 60);
    let hold = Controls { buttons: Controls::BEAM, ..Default::default() };
    game.client.insert_resource(PilotIntent { controls: hold, respawn: false });
    let mut seen = Vec::new();
    game.until("some were sent", |game| {
        let view = game.get::<WorldView>();
        let drawn = view.others[&DRONE].state.position;
        seen.push((game.get::<Piloting>().prediction().unwrap().tick(), drawn));
        seen.dedup_by_key(|(tick, _)| *tick);
        game.world().beam_inputs.len() > 20
    });
    let mut checked = 0;
    for input in game.world().beam_inputs.iter() {
        let Some((_, drawn)) = seen.iter().find(|(tick, _)| *tick == input.tick) else { continue };
        let at = input.tick.0 as f64 - f64::from(input.view_lag) / 4.0;
        let back = at.floor();
        let truth = drone_at(back as u64).position.lerp(drone_at(back as u64 + 1).position, at - back);
        assert!(drawn.distance(truth) < 3.0, "{input:?}: {drawn} instead of {truth}");
        assert!(input.view_lag > 0, "{input:?}");
        checked += 1;
    }
    assert!(checked > 10, "{checked}");
}

#[test]
fn a_missile_is_in_sight_while_it_flies_and_explodes_where_it_ends() {
    for wreck_ticks in [0, 60] {
        a_missile_flies_and_ends(wreck_ticks);
    }
}

fn a_missile_flies_and_ends(wreck_ticks: u64) {
    let mut game = in_space(GOOD);
    game.world().wreck_ticks = wreck_ticks;
    fly(&mut game, 30);
    game.world().launch = Some(25);
    game.until("in sight", |game| game.get::<WorldView>().others.contains_key(&MISSILE));
    let view = game.get::<WorldView>();
    let missile = &view.others[&MISSILE];
    assert_eq!((missile.kind, missile.hull_kind), (EntityKind::Missile, Some(HullKind::Missile)));
    assert_eq!((view.players_near, missile.is_player()), (0, false));
    let mut last = missile.state.position;
    game.until("spent", |game| {
        let missile = game.get::<WorldView>().others.get(&MISSILE);
        missile.inspect(|missile| last = missile.state.position);
        missile.is_none()
    });
    let end = game.world().missile_end.unwrap();
    let view = game.get::<WorldView>();
    assert_eq!(view.blasts.len(), 1);
    let blast = view.blasts[0];
    assert_eq!(blast.victim, MISSILE);
    assert!(blast.position.distance(end) < 1.0, "{} instead of {end}", blast.position);
    assert!(last.distance(end) < 40.0, "it was drawn to its end: {last}, {end}");
    assert_eq!(game.get::<PlayStats>().violations(), 0);
}

/// Changes and the end of an entity are in separate packets, which may be reordered.
#[test]
fn changes_that_arrive_after_the_end_of_their_entity_are_no_harm() {
    let mut game = in_space(BAD);
    game.world().hit_missiles = true;
    for _ in 0..30 {
        game.world().launch = Some(2);
        game.until("flown", |game| game.world().launch.is_none() && game.world().missile_end.take().is_some());
    }
    game.until("nothing is kept", |game| game.world().is_without_missiles());
    for _ in 0..100 {
        game.update();
    }
    assert_eq!(*game.get::<SessionState>(), SessionState::InSpace);
}

#[test]
fn missiles_that_end_at_once_are_no_harm_on_a_bad_link() {
    let mut game = in_space(BAD);
    for turn in 0..40 {
        // Some of them are still replicated after their end.
        game.world().wreck_ticks = (turn % 2) * 60;
        game.world().launch = Some(1 + turn % 4);
        game.until("flown", |game| game.world().launch.is_none() && game.world().missile_end.take().is_some());
    }
    let is_missile = |other: &Other| other.kind == EntityKind::Missile;
    game.until("all gone", |game| !game.get::<WorldView>().others.values().any(is_missile));
    game.until("nothing is kept", |game| game.world().is_without_missiles());
    for _ in 0..100 {
        game.update();
    }
    assert_eq!(*game.get::<SessionState>(), SessionState::InSpace);
    assert!(!game.get::<WorldView>().others.values().any(is_missile));
}

#[test]
fn a_destroyed_pilot_gets_a_new_ship_when_it_asks() {
    let mut game = in_space(GOOD);
    fly(&mut game, 20);
    let first = game.get::<WorldView>().own.as_ref().unwrap().net_id;
    game.world().destroy = true;
    game.world().refuse = true;
    game.until("destroyed", |game| *game.get::<SessionState>() == SessionState::Destroyed);
    let view = game.get::<WorldView>();
    assert!(view.own.is_none() && view.blasts.len() == 1);
    let kill = view.kills.back().unwrap();
    assert_eq!((kill.part, kill.by.as_deref(), kill.victim), (Part::Victim, Some("drone"), first));
    assert_eq!((kill.by_kind, kill.victim_hull), (Some(EntityKind::Drone), Some(HullKind::Scout)));
    game.client.insert_resource(PilotIntent { respawn: true, ..Default::default() });
    game.until("refused", |game| {
        game.get::<WorldView>().notices.iter().any(|notice| notice.kind == NoticeKind::Warning)
    });
    game.world().refuse = false;
    game.client.insert_resource(PilotIntent { respawn: true, ..Default::default() });
    game.until("in space again", |game| *game.get::<SessionState>() == SessionState::InSpace);
    fly(&mut game, 20);
    let inputs = game.get::<Piloting>().queue.counts();
    let stats = game.get::<PlayStats>();
    assert_ne!(game.get::<WorldView>().own.as_ref().unwrap().net_id, first);
    assert_eq!((inputs.lost, inputs.doubled), (0, 0), "{inputs:?}");
    assert_eq!((stats.deaths, stats.respawns), (1, 1));
}

#[test]
fn what_comes_and_goes_while_the_client_stands_still_is_no_harm() {
    let mut game = in_space(GOOD);
    for _ in 0..3 {
        game.world().flash = true;
        game.freeze_client(12);
        assert!(game.is_rock_gone());
        for _ in 0..50 {
            game.update();
        }
    }
    assert_eq!(*game.get::<SessionState>(), SessionState::InSpace);
}

#[test]
fn a_bad_ticket_is_rejected_with_the_servers_reason() {
    let mut game = Game::new(GOOD, "an old ticket");
    game.until("over", |game| game.get::<SessionState>().is_over());
    assert_eq!(*game.get::<SessionState>(), SessionState::Rejected("no such ticket: log in again".to_owned()));
}

#[test]
fn a_session_that_the_server_closes_is_lost_with_its_reason() {
    let mut game = in_space(GOOD);
    game.world().close_player("the server ends");
    game.until("over", |game| game.get::<SessionState>().is_over());
    let state = game.get::<SessionState>().clone();
    assert!(matches!(&state, SessionState::Lost(reason) if reason.contains("the server ends")), "{state:?}");
    assert!(game.get::<WorldView>().own.is_none() && game.get::<WorldView>().others.is_empty());
}

#[test]
fn closing_is_clean_and_updates_after_it_do_nothing() {
    let mut game = in_space(GOOD);
    session::close(&mut game.client);
    session::close(&mut game.client);
    game.until("the link is over", |game| game.handle.is_finished());
    for _ in 0..20 {
        game.update();
    }
    assert_eq!(*game.get::<SessionState>(), SessionState::Closed);
}

#[test]
fn the_order_of_all_systems_is_decided() {
    let mut game = Game::new(GOOD, TICKET);
    game.client.edit_schedule(Update, |schedule| {
        schedule
            .set_build_settings(ScheduleBuildSettings { ambiguity_detection: LogLevel::Error, ..Default::default() });
        // naia's own bookkeeping, one system per component, has no defined order.
        schedule.ignore_ambiguity(HostSyncChangeTracking, HostSyncChangeTracking);
    });
    // Building the schedule panics on an ambiguity.
    game.update();
}
