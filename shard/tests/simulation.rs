//! What one shard simulates: flight, collisions, weapons, drones, replacement, publishing.

mod common;

use common::*;
use sidereal_protocol::{
    DVec2,
    frames::control::{ToServer, ToShard},
    record::EntityKind,
    rules::{
        flight::{self, Controls, HullKind},
        shot::BULLET_DAMAGE,
    },
    world::{ids::EntityId, sector::SectorId, tick::SimTick},
};

const HOME: SectorId = SectorId::new(0, 0);
const FIRE: u8 = Controls::FIRE;

fn middle() -> DVec2 {
    HOME.center()
}

#[test]
fn an_undisturbed_ship_flies_exactly_as_the_flight_model_says() {
    let far = SectorId::new(1_000_000, -2_000_000);
    for sector in [HOME, far] {
        let sectors: Vec<SectorId> = (-12..=12).flat_map(|x| (-12..=12).map(move |y| sector.offset(x, y))).collect();
        let mut shard = Shard::with(1, &sectors, vec![ship(1, sector.center())]);
        let spec = HullKind::Scout.spec();
        let mut expected = shard.state(id(1));
        for count in 0..900u64 {
            let buttons = if count % 200 > 100 { Controls::BOOST } else { 0 };
            let sent = input(shard.tick - 1, 120, (count % 61) as i8 - 30, buttons);
            shard.inputs(id(1), vec![sent]);
            shard.tick();
            expected = flight::step(&expected, sent.controls, &spec);
            let state = shard.state(id(1));
            assert!(state.position.distance(expected.position) < 1e-6, "tick {count}");
            assert_eq!(state, expected, "tick {count} in {sector}");
        }
        assert_eq!(shard.pilot(id(1)).inputs_applied, 900);
        assert_eq!(shard.totals().inputs_doubled, 0);
    }
}

#[test]
fn own_states_acknowledge_what_was_applied() {
    let mut shard = Shard::with(1, &[HOME], vec![ship(1, middle())]);
    shard.inputs(id(1), vec![input(1000, 100, 0, 0), input(1001, 50, 0, 0)]);
    shard.ticks(3);
    let states = own_states(&shard.datagrams());
    assert_eq!(states.len(), 3);
    assert_eq!(states[0].inputs_applied, 0);
    assert_eq!((states[1].inputs_applied, states[1].input_tick), (1, SimTick(1000)));
    assert_eq!((states[2].inputs_applied, states[2].input_tick), (2, SimTick(1001)));
    assert_eq!(states[2].state, shard.state(id(1)));
}

#[test]
fn two_ships_that_meet_bounce_and_keep_their_momentum() {
    let left = moving(ship(1, middle() - DVec2::X * 60.0), DVec2::X * 80.0);
    let right = moving(ship(2, middle() + DVec2::X * 60.0), -DVec2::X * 80.0);
    let mut shard = Shard::with(1, &[HOME], vec![left, right]);
    shard.ticks(40);
    let (one, other) = (shard.state(id(1)), shard.state(id(2)));
    assert!(one.velocity.x < -5.0, "{one:?}");
    assert!(other.velocity.x > 5.0, "{other:?}");
    assert!((one.velocity + other.velocity).length() < 1e-6, "{one:?} {other:?}");
    assert!(one.position.distance(other.position) > 18.0);
}

#[test]
fn only_a_hard_collision_hurts_and_it_does_not_kill() {
    for (speed, hurts) in [(60.0, false), (200.0, true)] {
        let left = moving(ship(1, middle() - DVec2::X * 60.0), DVec2::X * speed);
        let wall = rock(2, middle() + DVec2::X * 60.0, 50.0);
        let mut shard = Shard::with(1, &[HOME], vec![left, wall]);
        shard.ticks(40);
        let hull = shard.body(id(1)).hull;
        assert_eq!(hull < 100, hurts, "{speed}: {hull}");
        assert!(hull >= 75);
    }
}

#[test]
fn a_shot_hits_what_is_ahead_costs_hull_and_is_told() {
    let target = rock(2, middle() + DVec2::X * 200.0, 20.0);
    let mut shard = Shard::with(1, &[HOME], vec![ship(1, middle()), target]);
    shard.inputs(id(1), vec![input(1000, 0, 0, FIRE), input(1001, 0, 0, 0)]);
    shard.ticks(40);
    assert_eq!(shard.totals().shots, 1);
    assert_eq!(shard.body(id(2)).hull, 100 - BULLET_DAMAGE);
    let updates = sector_updates(&shard.datagrams());
    let shots: usize = updates.iter().map(|update| update.shots.len()).sum();
    let hits: Vec<_> = updates.iter().flat_map(|update| &update.hits).collect();
    assert_eq!((shots, hits.len()), (3, 3), "each is sent three times");
    assert!((hits[0].position.x - (middle().x + 180.0)).abs() < 1.0, "{:?}", hits[0]);
    let records: Vec<_> = shard
        .frames()
        .into_iter()
        .filter_map(|frame| match frame {
            ToServer::Record(record) => Some(record),
            _ => None,
        })
        .collect();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].hull(), records[0].version), (90, 1));
}

#[test]
fn the_weapon_keeps_its_interval() {
    let mut shard = Shard::with(1, &[HOME], vec![ship(1, middle())]);
    for tick in 1000..1060 {
        shard.inputs(id(1), vec![input(tick, 0, 0, FIRE)]);
        shard.tick();
    }
    let interval = HullKind::Scout.spec().fire_interval_ticks;
    assert_eq!(shard.totals().shots, 59u64.div_ceil(interval));
}

#[test]
fn what_has_no_hull_left_is_destroyed_and_a_rock_is_replaced_after_a_minute() {
    let target = with_hull(rock(2, middle() + DVec2::X * 100.0, 20.0), 10);
    let mut shard = Shard::with(1, &[HOME], vec![ship(1, middle()), target]);
    shard.inputs(id(1), vec![input(1000, 0, 0, FIRE), input(1001, 0, 0, 0)]);
    shard.ticks(20);
    let destroyed: Vec<_> =
        shard.frames().into_iter().filter(|frame| matches!(frame, ToServer::Destroyed { .. })).collect();
    let [ToServer::Destroyed { id: victim, epoch: 1, version: 1, by, tick, .. }] = destroyed[..] else {
        panic!("{destroyed:?}")
    };
    assert_eq!((victim, by), (id(2), Some(id(1))));
    assert!(shard.entity(id(2)).is_none());
    while shard.tick < tick.0 + 1800 - 1 {
        shard.tick();
    }
    assert_eq!(new_records(&mut shard), vec![]);
    shard.tick();
    let new = new_records(&mut shard);
    let [(new_id, kind, sector)] = new[..] else { panic!("{new:?}") };
    assert_eq!((kind, sector), (EntityKind::Asteroid, HOME));
    assert_ne!(new_id, id(2));
    assert!(shard.owns(new_id));
}

fn new_records(shard: &mut Shard) -> Vec<(EntityId, EntityKind, SectorId)> {
    shard
        .frames()
        .into_iter()
        .filter_map(|frame| match frame {
            ToServer::Record(record) => Some((record.id, record.kind, record.sector)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_drone_hunts_a_ship_and_two_runs_are_the_same() {
    let run = || {
        let records = vec![
            ship(1, middle()),
            drone(2, middle() + DVec2::new(250.0, 120.0)),
            drone(3, middle() - DVec2::new(200.0, 150.0)),
            rock(4, middle() + DVec2::new(-90.0, 150.0), 30.0),
        ];
        let mut shard = Shard::with(1, &[HOME], records);
        shard.ticks(300);
        let states: Vec<_> = (1..=4).filter(|&n| shard.entity(id(n)).is_some()).map(|n| shard.state(id(n))).collect();
        (states, shard.totals().hits, shard.datagrams())
    };
    let (first, second) = (run(), run());
    assert!(first.1 > 3, "the drones never hit");
    assert_eq!(first, second);
}

#[test]
fn a_drone_waits_while_no_ship_can_see_it_and_patrols_when_one_comes() {
    let mut shard = Shard::with(1, &[HOME], vec![drone(2, middle())]);
    shard.ticks(300);
    let waiting = shard.state(id(2));
    assert_eq!(waiting.velocity, DVec2::ZERO);
    shard.datagrams();
    shard.ticks(60);
    let updates = sector_updates(&shard.datagrams());
    assert_eq!((updates.len(), shard.state(id(2))), (2, waiting), "only the refresh is sent");
    // In the sector after the next one it could be seen from a corner.
    shard.grant(&[HOME.offset(1, 0)], vec![ship(1, middle() + DVec2::X * 1400.0)]);
    shard.ticks(60);
    assert!(shard.state(id(2)).velocity.length() > 10.0, "{:?}", shard.state(id(2)));
}

#[test]
fn what_rests_is_told_once_a_second_and_what_moves_every_tick() {
    let moving_rock = moving(rock(2, middle(), 20.0), DVec2::X * 30.0);
    let resting = rock(3, middle() + DVec2::Y * 200.0, 20.0);
    let mut shard = Shard::with(1, &[HOME], vec![moving_rock, resting]);
    shard.ticks(60);
    shard.datagrams();
    shard.ticks(60);
    let updates = sector_updates(&shard.datagrams());
    let told = |net_id: u32| {
        let motions = updates.iter().flat_map(|update| &update.motions);
        motions.filter(|motion| motion.net_id.0 == net_id).count()
    };
    assert_eq!((told(2), told(3)), (60, 2));
}

#[test]
fn the_census_counts_what_is_owned() {
    let mut shard = Shard::with(1, &[HOME], vec![ship(1, middle()), rock(5, DVec2::splat(100.0), 9.0)]);
    shard.ticks(60);
    let census: Vec<_> = shard
        .frames()
        .into_iter()
        .filter_map(|frame| match frame {
            ToServer::Census { entities, .. } => Some(entities),
            _ => None,
        })
        .collect();
    assert_eq!(census.len(), 2);
    let ids: Vec<u32> = census[0].iter().map(|(net_id, _)| net_id.0).collect();
    assert_eq!(ids, vec![1, 5]);
}

#[test]
fn missed_ticks_are_made_up_for_and_many_are_skipped() {
    let mut shard = Shard::with(1, &[HOME], vec![ship(1, middle())]);
    shard.ticks(1);
    shard.due(START + 4);
    shard.app.update();
    assert_eq!((shard.totals().ticks, shard.totals().ticks_skipped), (4, 0));
    shard.due(START + 104);
    shard.app.update();
    assert_eq!((shard.totals().ticks, shard.totals().ticks_skipped), (9, 95));
    // The same tick again is not simulated again.
    shard.due(START + 104);
    shard.app.update();
    assert_eq!(shard.totals().ticks, 9);
}

#[test]
fn a_drain_hands_in_every_record_and_stops_the_simulation() {
    let mut shard = Shard::with(1, &[HOME], vec![ship(1, middle()), rock(2, DVec2::splat(90.0), 9.0)]);
    shard.ticks(5);
    shard.frames();
    shard.send(ToShard::Drain);
    shard.ticks(3);
    let frames = shard.frames();
    let records: Vec<_> = frames
        .iter()
        .filter_map(|frame| match frame {
            ToServer::Record(record) => Some((record.id, record.version, record.tick)),
            _ => None,
        })
        .collect();
    assert_eq!(records, vec![(id(1), 1, SimTick(1005)), (id(2), 1, SimTick(1005))]);
    assert_eq!(frames.last(), Some(&ToServer::Drained));
    assert_eq!(shard.totals().ticks, 5);
}

#[test]
fn a_withdrawn_entity_is_gone_and_its_record_is_the_last() {
    let mut shard = Shard::with(1, &[HOME], vec![moving(ship(1, middle()), DVec2::X * 50.0)]);
    shard.ticks(5);
    let state = shard.state(id(1));
    shard.frames();
    shard.send(ToShard::Withdraw { id: id(1) });
    shard.app.update();
    let frames = shard.frames();
    let [ToServer::Withdrawn { record }] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((record.state, record.version, record.tick), (state, 1, SimTick(1005)));
    assert!(shard.entity(id(1)).is_none());
    shard.send(ToShard::Withdraw { id: id(1) });
    shard.app.update();
    assert_eq!(shard.frames(), vec![]);
}

#[test]
fn what_nobody_takes_stays_within_reach_of_its_sector() {
    let mut shard = Shard::with(1, &[HOME], vec![moving(drone(1, DVec2::new(900.0, 500.0)), DVec2::X * 900.0)]);
    let mut asked = 0;
    for _ in 0..200 {
        shard.tick();
        assert!(HOME.overshoot(shard.state(id(1)).position) <= 480.0, "{:?}", shard.state(id(1)));
        asked += shard.frames().iter().filter(|f| matches!(f, ToServer::Prepare { .. })).count();
    }
    assert!(asked >= 1);
}

#[test]
fn a_rock_that_nobody_takes_drifts_back() {
    let start = DVec2::new(980.0, 500.0);
    let mut shard = Shard::with(1, &[HOME], vec![moving(rock(1, start, 20.0), DVec2::new(40.0, 5.0))]);
    let mut asked = 0;
    for _ in 0..150 {
        shard.tick();
        for frame in shard.frames() {
            if let ToServer::Prepare { attempt, .. } = frame {
                asked += 1;
                shard.send(ToShard::Abort { id: id(1), attempt });
            }
        }
    }
    assert_eq!(asked, 1);
    let state = shard.state(id(1));
    assert_eq!(state.velocity, DVec2::new(-40.0, 5.0));
    assert!(HOME.overshoot(state.position) == 0.0, "{state:?}");
}
