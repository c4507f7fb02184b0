//! Missiles and beams of one shard, and impacts that arrive more than once.

mod common;

use common::*;
use sidereal_protocol::{
    DVec2,
    frames::control::{GhostImpact, ImpactCause, ShipInputs, ToServer, ToShard},
    packets::motion::{EngineGlow, Motion, SectorUpdate},
    record::{EntityKind, EntityRecord},
    rules::{
        flight::{Controls, FlightState, HullKind, wrap_angle},
        shot::{
            BEAM_DAMAGE, BEAM_INTERVAL_TICKS, BEAM_RANGE, Beam, MAX_REWIND_TICKS, MISSILE_DAMAGE,
            MISSILE_INTERVAL_TICKS, MISSILE_LIFE_TICKS, ShotId,
        },
    },
    world::{
        ids::{EntityId, NetId},
        sector::SectorId,
        tick::SimTick,
    },
};
use sidereal_shard::{bodies, ghosts::GhostNews};
use std::f64::consts::PI;

const HOME: SectorId = SectorId::new(0, 0);

fn around() -> Vec<SectorId> {
    (-4..=4).flat_map(|x| (-4..=4).map(move |y| SectorId::new(x, y))).collect()
}

fn arena(records: Vec<EntityRecord>) -> Shard {
    Shard::with(1, &around(), records)
}

fn middle() -> DVec2 {
    HOME.center()
}

fn launch(shard: &mut Shard, ship: EntityId) {
    let next = input(shard.tick - 1, 0, 0, Controls::LAUNCH);
    let after = input(shard.tick, 0, 0, 0);
    shard.inputs(ship, vec![next, after]);
}

/// The records of launched missiles that were sent.
fn launched(shard: &mut Shard) -> Vec<EntityRecord> {
    let records = shard.frames().into_iter().filter_map(|frame| match frame {
        ToServer::Record(record) if record.kind == EntityKind::Missile => Some(*record),
        _ => None,
    });
    records.collect()
}

fn launched_one(shard: &mut Shard) -> EntityRecord {
    shard.ticks(2);
    let missiles = launched(shard);
    let [missile] = &missiles[..] else { panic!("{missiles:?}") };
    missile.clone()
}

#[test]
fn a_missile_is_an_entity_that_is_told_and_goes_after_who_is_nearest_to_the_heading() {
    let aside = ship(2, middle() + DVec2::from_angle(0.4) * 150.0);
    let ahead = drone(3, middle() + DVec2::from_angle(-0.1) * 500.0);
    let behind = ship(4, middle() - DVec2::X * 60.0);
    let rock_ahead = rock(5, middle() + DVec2::new(300.0, 40.0), 20.0);
    let mut shard = arena(vec![ship(1, middle()), aside, ahead, behind, rock_ahead]);
    shard.ticks(1);
    launch(&mut shard, id(1));
    let missile = launched_one(&mut shard);
    assert_eq!(missile.validate(), Ok(()));
    let warhead = missile.warhead().expect("a missile has one");
    assert_eq!((warhead.shooter, warhead.target), (id(1), Some(id(3))));
    assert_eq!((missile.owner, missile.name.as_str(), missile.hull()), (None, "", HullKind::Missile.spec().hull));
    assert!(shard.owns(missile.id));
    assert!(missile.net_id.0 >= 1_000_000, "from the block that the server gave");
}

#[test]
fn a_launcher_keeps_its_interval() {
    let mut shard = arena(vec![ship(1, middle())]);
    shard.ticks(1);
    let held = shard.tick;
    for tick in 0..2 * MISSILE_INTERVAL_TICKS {
        shard.inputs(id(1), vec![input(held + tick, 0, 0, Controls::LAUNCH)]);
        shard.tick();
    }
    assert_eq!(shard.totals().missiles, 2);
}

#[test]
fn a_missile_catches_nearly_all_ships_that_fly_across_and_costs_each_once() {
    let mut caught = 0;
    for seed in 0..24u32 {
        let way = DVec2::from_angle(f64::from(seed) * 0.8) * (60.0 + f64::from(seed) * 6.0);
        let target = moving(ship(2, middle() + DVec2::new(250.0 + 8.0 * f64::from(seed), 40.0)), way);
        let mut shard = arena(vec![ship(1, middle()), target]);
        shard.ticks(1);
        launch(&mut shard, id(1));
        let missile = launched_one(&mut shard);
        let mut most: f64 = 0.0;
        while shard.owns(missile.id) {
            // It flies on under half thrust, in a curve.
            let next = input(shard.tick - 1, 64, if seed % 2 == 0 { 12 } else { -12 }, 0);
            shard.inputs(id(2), vec![next]);
            shard.tick();
            if shard.owns(missile.id) {
                most = most.max(shard.state(missile.id).velocity.length());
            }
        }
        let hits = shard.totals().hits;
        assert_eq!(u64::from(100 - shard.body(id(2)).hull), hits * u64::from(MISSILE_DAMAGE), "{seed}");
        assert!(hits <= 1);
        caught += hits;
        assert!(most > 150.0 && most <= HullKind::Missile.spec().max_speed + 1.0, "{most}");
        let destroyed = shard.frames().into_iter().filter(|frame| match frame {
            ToServer::Destroyed { id, by: None, .. } => *id == missile.id,
            _ => false,
        });
        assert_eq!(destroyed.count(), 1);
    }
    // It turns worse than a ship: a quick ship nearby may escape.
    assert!(caught >= 22, "{caught} of 24");
}

#[test]
fn a_missile_without_a_target_flies_straight_spares_its_ship_and_expires() {
    let mut shard = arena(vec![moving(ship(1, middle()), DVec2::X * 200.0)]);
    shard.ticks(1);
    launch(&mut shard, id(1));
    let missile = launched_one(&mut shard);
    let end = missile.tick.0 + MISSILE_LIFE_TICKS;
    while shard.tick < end - 1 {
        shard.tick();
        assert!(shard.owns(missile.id));
        assert!((shard.state(missile.id).position.y - middle().y).abs() < 1e-6);
    }
    assert!(shard.owns(missile.id));
    shard.tick();
    assert!(!shard.owns(missile.id));
    assert_eq!((shard.body(id(1)).hull, shard.totals().hits), (100, 0));
}

#[test]
fn a_missile_whose_target_is_gone_flies_on() {
    let target = with_hull(ship(2, middle() + DVec2::new(300.0, 60.0)), 1);
    let mut shard = arena(vec![ship(1, middle()), target]);
    shard.ticks(1);
    launch(&mut shard, id(1));
    let missile = launched_one(&mut shard);
    shard.send(ToShard::Withdraw { id: id(2) });
    shard.ticks(60);
    let state = shard.state(missile.id);
    assert!(state.angular_velocity.abs() < 1e-3 && state.velocity.length() > 350.0, "{state:?}");
}

#[test]
fn a_missile_can_be_shot_down_but_not_by_its_own_ship() {
    for (shooter, falls) in [(1, false), (2, true)] {
        let enemy = headed(ship(2, middle() + DVec2::X * 500.0), PI);
        let mut shard = arena(vec![ship(1, middle()), enemy]);
        shard.ticks(1);
        launch(&mut shard, id(1));
        let missile = launched_one(&mut shard);
        let mut lived = 0;
        while shard.owns(missile.id) {
            let tick = shard.tick;
            shard.inputs(id(shooter), vec![input(tick, 0, 0, Controls::FIRE)]);
            shard.tick();
            lived += 1;
        }
        let reached = shard.body(id(2)).hull <= 100 - MISSILE_DAMAGE;
        assert_eq!(reached, !falls, "{shooter}: {lived} ticks, {}", shard.body(id(2)).hull);
    }
}

#[test]
fn missiles_have_no_part_in_collisions() {
    let mut shard = arena(vec![moving(ship(1, middle()), DVec2::X * 150.0), ship(2, middle() + DVec2::X * 300.0)]);
    shard.ticks(1);
    launch(&mut shard, id(1));
    let missile = launched_one(&mut shard);
    while shard.owns(missile.id) {
        shard.tick();
    }
    // Only a push along its path remains, and its own ship took no impact.
    let (one, other) = (shard.state(id(1)), shard.state(id(2)));
    assert!(one.velocity.y.abs() < 1e-9 && one.velocity.x < 150.0, "{one:?}");
    assert!(other.velocity.x > 10.0, "{other:?}");
}

/// The beams that were sent, each once.
fn beams(shard: &mut Shard) -> Vec<Beam> {
    let mut all: Vec<Beam> = Vec::new();
    for beam in sector_updates(&shard.datagrams()).into_iter().flat_map(|update| update.beams) {
        if !all.iter().any(|known| known.id == beam.id) {
            all.push(beam);
        }
    }
    all
}

/// How far the target of the next test flies across the beam in a tick, units.
const ACROSS: f64 = 200.0 / 30.0;

/// A ship at rest fires a beam along x while another ship flies upwards across it and reaches it after `crosses` ticks.
/// The beam is judged in the tick `judged`; the pilot saw the others `lag` quarters of a tick before the input's stamp.
fn beam_at_a_crossing_ship(crosses: u64, judged: u64, lag: u8) -> (bool, Vec<Beam>) {
    beam_over_a_link(REWIND, crosses, judged, lag)
}

/// The same over a link that allows a rewind of at most `rewind` quarters of a tick.
fn beam_over_a_link(rewind: u8, crosses: u64, judged: u64, lag: u8) -> (bool, Vec<Beam>) {
    // With the delay of two ticks in the record an input is due two ticks after its stamp.
    let start = middle() + DVec2::new(200.0, -ACROSS * crosses as f64);
    let target = moving(rock(2, start, 9.0), DVec2::Y * 200.0);
    let mut shard = arena(vec![ship(1, middle()), target]);
    while shard.tick < START + judged - 1 {
        shard.tick();
    }
    let inputs = vec![beam(START + judged - 2, lag)];
    shard.send(ToShard::Inputs(vec![ShipInputs { id: id(1), boarding: 0, rewind, inputs }]));
    shard.ticks(5);
    assert_eq!(shard.totals().beams, 1);
    (shard.body(id(2)).hull < 100, beams(&mut shard))
}

#[test]
fn a_beam_hits_who_was_there_when_the_pilot_saw_it_and_who_is_there_now_is_safe() {
    // The stamp is two ticks old when it is judged; the view another four.
    let (hit, told) = beam_at_a_crossing_ship(24, 30, 16);
    assert!(hit, "it was there six ticks ago");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].target, Some(NetId(2)));
    assert!((told[0].end.x - (middle().x + 191.0)).abs() < 1.5, "{:?}", told[0]);
    let (hit, told) = beam_at_a_crossing_ship(30, 30, 16);
    assert!(!hit, "it is there now, but was 40 units away");
    assert!((told[0].end.x - told[0].origin.x - BEAM_RANGE).abs() < 0.1);
    assert!(beam_at_a_crossing_ship(28, 30, 0).0, "seen without any lag: only the stamp's two ticks");
}

#[test]
fn a_beam_goes_back_no_further_than_the_bound() {
    // There 12 ticks ago, 400 ms, as the pilot saw it: at the limit of the rewind it is gone.
    assert!(!beam_at_a_crossing_ship(18, 30, 40).0);
    // Any view beyond the limit is judged at the limit.
    let at_bound = 30 - MAX_REWIND_TICKS as u64;
    for lag in [22, 40, 100, 255] {
        assert!(beam_at_a_crossing_ship(at_bound, 30, lag).0, "{lag}");
    }
}

#[test]
fn a_beam_goes_back_no_further_than_the_measured_link_explains_whatever_its_pilot_says() {
    // It was there seven ticks ago, and the pilot reports that moment. The link explains five.
    let (crosses, told) = (23, 20);
    assert!(beam_over_a_link(REWIND, crosses, 30, told).0, "a long link allows it");
    for told in [told, 100, 255] {
        assert!(!beam_over_a_link(20, crosses, 30, told).0, "{told}");
    }
    for told in [12, 20, 255] {
        assert!(beam_over_a_link(20, 25, 30, told).0, "{told}: the link explains that much");
    }
    assert!(!beam_over_a_link(0, crosses, 30, told).0);
    assert!(beam_over_a_link(0, 30, 30, 255).0, "an unmeasured link allows no rewind");
}

#[test]
fn a_laggy_pilot_hits_what_is_drawn_at_any_lag_up_to_the_bound() {
    let bound = ((MAX_REWIND_TICKS - 2.0) * 4.0) as u8;
    for lag in 0..=bound {
        // Its position to the quarter of a tick: on the beam's line at that moment.
        let seen = 28.0 - f64::from(lag) / 4.0;
        let start = middle() + DVec2::new(200.0, -ACROSS * seen);
        // Just within its radius, before and after: a tick's difference would be a miss.
        for (off, hits) in [(-8.5, true), (8.5, true), (-9.5, false), (9.5, false)] {
            let target = moving(rock(2, start + DVec2::Y * off, 9.0), DVec2::Y * 200.0);
            let mut shard = arena(vec![ship(1, middle()), target]);
            shard.ticks(29);
            shard.inputs(id(1), vec![beam(START + 28, lag)]);
            shard.ticks(3);
            assert_eq!(shard.body(id(2)).hull < 100, hits, "lag {lag}, {off} off");
        }
    }
}

#[test]
fn a_rock_stops_a_beam_and_the_first_body_is_hit() {
    let records =
        vec![ship(1, middle()), rock(2, middle() + DVec2::X * 100.0, 20.0), ship(3, middle() + DVec2::X * 200.0)];
    let mut shard = arena(records);
    shard.ticks(20);
    let seen = shard.tick;
    shard.inputs(id(1), vec![beam(seen, 8)]);
    shard.ticks(4);
    assert_eq!((shard.body(id(2)).hull, shard.body(id(3)).hull), (100 - BEAM_DAMAGE, 100));
    let told = beams(&mut shard);
    assert!((told[0].end.x - (middle().x + 80.0)).abs() < 0.1, "{told:?}");
}

#[test]
fn a_beam_keeps_its_interval_and_is_told_three_times() {
    let mut shard = arena(vec![ship(1, middle())]);
    shard.ticks(1);
    let mut told = 0;
    let held = shard.tick;
    for tick in 0..2 * BEAM_INTERVAL_TICKS {
        shard.inputs(id(1), vec![beam(held + tick, 8)]);
        shard.tick();
        told += sector_updates(&shard.datagrams()).iter().map(|update| update.beams.len()).sum::<usize>();
    }
    assert_eq!((shard.totals().beams, told), (2, 6));
}

#[test]
fn a_beam_is_fired_by_an_input_not_by_hands_that_are_held() {
    let mut shard = arena(vec![ship(1, middle())]);
    shard.ticks(1);
    let once = beam(shard.tick, 8);
    shard.inputs(id(1), vec![once]);
    shard.ticks(3 * BEAM_INTERVAL_TICKS);
    assert_eq!(shard.totals().beams, 1);
}

#[test]
fn a_ghost_is_hit_where_it_was_drawn_and_its_authority_is_told_once() {
    // It flies in the neighbouring sector, along the border, and crosses the line of the beam.
    for (crossed_ago, hits) in [(6.0, true), (0.0, false), (12.0, false)] {
        let mut shard = Shard::with(1, &[HOME], vec![ship(1, DVec2::new(900.0, 500.0))]);
        let record = ship(7, DVec2::new(1100.0, 500.0));
        shard.news(GhostNews::Appeared(Box::new(bodies::Body::of(&record))));
        for tick in 1..=30u64 {
            let y = 500.0 + 200.0 / 30.0 * (tick as f64 - (30.0 - crossed_ago));
            let (position, velocity) = (DVec2::new(1100.0, y), DVec2::Y * 200.0);
            let state = FlightState { position, velocity, ..Default::default() };
            let motions = vec![Motion { net_id: NetId(7), state, glow: EngineGlow::default() }];
            // Each update arrives two ticks late, every fifth never.
            if tick % 5 != 0 && tick <= 28 {
                shard.update_from(SectorUpdate {
                    sector: SectorId::new(1, 0),
                    tick: SimTick(START + tick),
                    motions,
                    shots: vec![],
                    hits: vec![],
                    beams: vec![],
                });
            }
            if tick == 30 {
                let seen = beam(START + 28, 16);
                shard.inputs(id(1), vec![seen]);
            }
            shard.tick();
        }
        shard.ticks(10);
        let told: Vec<GhostImpact> = shard
            .frames()
            .into_iter()
            .filter_map(|frame| match frame {
                ToServer::Impact(impact) => Some(impact),
                _ => None,
            })
            .collect();
        assert_eq!(told.len(), usize::from(hits), "{crossed_ago}: {told:?}");
        if let Some(impact) = told.first() {
            assert_eq!((impact.target, impact.source, impact.damage), (id(7), Some(id(1)), BEAM_DAMAGE));
            assert!(matches!(impact.cause, ImpactCause::Beam(_)));
        }
    }
}

#[test]
fn an_impact_that_comes_twice_is_felt_once() {
    let shot = ShotId { shooter: NetId(9), tick: SimTick(START) };
    let causes = [
        (ImpactCause::Bullet(shot), 10),
        (ImpactCause::Beam(shot), 15),
        (ImpactCause::Missile(id(99)), 40),
        (ImpactCause::Contact { other: id(98) }, 3),
    ];
    let mut shard = arena(vec![ship(1, middle())]);
    for (cause, damage) in causes {
        let impulse = DVec2::X * 10.0;
        let impact = GhostImpact { target: id(1), source: Some(id(9)), cause, impulse, damage, tick: SimTick(START) };
        shard.send(ToShard::Impact(impact));
        if !matches!(cause, ImpactCause::Contact { .. }) {
            shard.send(ToShard::Impact(impact));
            shard.ticks(2);
            shard.send(ToShard::Impact(impact));
        }
        shard.ticks(1);
    }
    assert_eq!(shard.body(id(1)).hull, 100 - 10 - 15 - 40 - 3);
    assert_eq!(shard.totals().impacts_doubled, 6);
    let pushed = shard.state(id(1)).velocity.x;
    assert!((36.0..=40.0).contains(&pushed), "{pushed}");
}

#[test]
fn headings_wrap_for_targets_behind_the_seam() {
    // It faces left, where angles jump from π to -π.
    let target = ship(2, middle() + DVec2::from_angle(wrap_angle(PI + 0.2)) * 300.0);
    let mut shard = arena(vec![headed(ship(1, middle()), PI), target]);
    shard.ticks(1);
    launch(&mut shard, id(1));
    let missile = launched_one(&mut shard);
    assert_eq!(missile.warhead().and_then(|warhead| warhead.target), Some(id(2)));
}
