//! The tractor beam: what it pulls, what it does not pull, and that it works across borders.

mod common;

use common::{
    mesh::{EAST, Mesh, WEST},
    *,
};
use sidereal_protocol::{
    DVec2,
    frames::control::{ImpactCause, ToServer, ToShard},
    record::{EntityRecord, OreLoad},
    rules::{
        flight::{Controls, HullKind},
        tractor::{TRACTOR_GAP, TRACTOR_RANGE},
    },
    world::tick::TICK_HZ,
};

const SECOND: u64 = TICK_HZ as u64;

/// A ship without room for what it pulls.
fn full_ship(number: u32, position: DVec2) -> EntityRecord {
    ship(number, position).with(OreLoad(HullKind::Scout.hold()))
}

fn middle() -> DVec2 {
    WEST.center()
}

fn arena(records: Vec<EntityRecord>) -> Shard {
    let mut shard = Shard::with(1, &[WEST], records);
    shard.tick();
    shard.frames();
    shard
}

/// The gap between a body and the ship, units.
fn gap(shard: &Shard, number: u64) -> f64 {
    let (ship, body) = (shard.body(id(1)), shard.body(id(number)));
    shard.state(id(1)).position.distance(shard.state(id(number)).position) - ship.radius - body.radius
}

/// Whether the last packets show the ship's beam.
fn is_lit(shard: &mut Shard) -> Option<bool> {
    let updates = sector_updates(&shard.datagrams());
    let motions = updates.iter().flat_map(|update| &update.motions);
    motions.rev().find(|motion| motion.net_id.0 == 1).map(|motion| motion.glow.tractor)
}

#[test]
fn a_crate_comes_to_the_ship_and_stays_behind_when_the_button_is_released() {
    let mut shard = arena(vec![full_ship(1, middle()), cargo(6, middle() + DVec2::X * 200.0, 9)]);
    shard.ticks(SECOND);
    let still = gap(&shard, 6);
    assert_eq!(is_lit(&mut shard), Some(false));
    shard.hold(id(1), Controls::TRACTOR, SECOND);
    assert!(gap(&shard, 6) < still - 10.0, "{} of {still}", gap(&shard, 6));
    assert_eq!(is_lit(&mut shard), Some(true));
    shard.hold(id(1), 0, 1);
    let speed = shard.state(id(6)).velocity.length();
    shard.hold(id(1), 0, 2 * SECOND);
    assert!(shard.state(id(6)).velocity.length() < 0.5 * speed, "it drifts to rest");
    assert_eq!(is_lit(&mut shard), Some(false));
    shard.hold(id(1), Controls::TRACTOR, 10 * SECOND);
    assert!((gap(&shard, 6) - TRACTOR_GAP).abs() < 2.0, "{}", gap(&shard, 6));
    // The pull costs no hull point, and the ship takes no impact.
    assert_eq!(shard.body(id(6)).hull, 1);
    assert_eq!(shard.state(id(1)).velocity, DVec2::ZERO);
}

#[test]
fn a_held_crate_is_taken_in_by_a_ship_with_room() {
    let mut shard = arena(vec![ship(1, middle()), cargo(6, middle() + DVec2::X * 150.0, 9)]);
    let sent = shard.hold(id(1), Controls::TRACTOR, 10 * SECOND);
    assert!(sent.iter().any(|(_, frame)| matches!(frame, ToServer::OreMove(_))));
}

#[test]
fn a_heavy_rock_follows_slower_and_a_station_not_at_all() {
    let away = DVec2::X * 180.0;
    let moved = |record: EntityRecord| {
        let number = record.id;
        let mut shard = arena(vec![full_ship(1, middle()), record]);
        let before = shard.state(number).position;
        shard.hold(id(1), Controls::TRACTOR, SECOND);
        shard.state(number).position.distance(before)
    };
    let (light, heavy) = (moved(rock(5, middle() + away, 10.0)), moved(rock(5, middle() + away, 40.0)));
    assert!(heavy > 0.5 && light > 3.0 * heavy, "{light}, {heavy}");
    assert_eq!(moved(station(5, middle() + away)), 0.0);
    assert_eq!(moved(drone(5, middle() + away)), moved_drone(middle() + away), "a body with an engine is not pulled");
    assert_eq!(moved(cargo(5, middle() + DVec2::X * (TRACTOR_RANGE + 30.0), 9)), 0.0, "out of reach");
}

/// How far a drone flies by itself in the same time.
fn moved_drone(position: DVec2) -> f64 {
    let mut shard = arena(vec![full_ship(1, middle()), drone(5, position)]);
    let before = shard.state(id(5)).position;
    shard.hold(id(1), 0, SECOND);
    shard.state(id(5)).position.distance(before)
}

#[test]
fn the_beam_lets_go_when_something_stands_in_between() {
    let crate_at = middle() + DVec2::X * 210.0;
    let between = moving(rock(5, middle() + DVec2::new(120.0, 300.0), 15.0), DVec2::Y * -60.0);
    let mut shard = arena(vec![full_ship(1, middle()), cargo(6, crate_at, 9), station(7, middle() + DVec2::X * 120.0)]);
    shard.hold(id(1), Controls::TRACTOR, SECOND);
    assert_eq!(shard.state(id(6)).position, crate_at, "a station blocks it");
    // A rock that flies in between is nearer: the beam pulls it instead.
    let mut shard = arena(vec![full_ship(1, middle()), cargo(6, crate_at, 9), between]);
    shard.hold(id(1), Controls::TRACTOR, 2 * SECOND);
    assert!(gap(&shard, 6) < 190.0);
}

/// Holds the beam of both ships for so many ticks; returns the highest speed of the body.
fn fastest(mesh: &mut Mesh, ships: &[u64], number: u64, ticks: u64) -> f64 {
    let mut fastest = 0.0f64;
    for _ in 0..ticks {
        let tick = mesh.now;
        for ship in ships {
            mesh.input(id(*ship), input(tick, 0, 0, Controls::TRACTOR));
        }
        mesh.tick();
        fastest = fastest.max(mesh.owner(id(number)).state(id(number)).velocity.length());
    }
    fastest
}

#[test]
fn what_is_over_the_border_is_pulled_and_pulled_across() {
    for delay in [1, 2, 4] {
        let crate_over = cargo(6, DVec2::new(1080.0, 500.0), 9);
        let mut mesh = Mesh::new(vec![full_ship(1, DVec2::new(900.0, 500.0))], vec![crate_over], delay);
        assert_eq!(mesh.owner(id(6)).own_record(id(6)).sector, EAST);
        fastest(&mut mesh, &[1], 6, 14 * SECOND);
        assert!(mesh.impacts.iter().all(|(_, impact)| matches!(impact.cause, ImpactCause::Tractor(_))));
        assert!(mesh.impacts.len() > 10, "delay {delay}: {}", mesh.impacts.len());
        assert_eq!(mesh.authority[&id(6)].0, 0, "delay {delay}: the crate has changed shards");
        let west = &mesh.shards[0];
        assert!((gap(west, 6) - TRACTOR_GAP).abs() < 4.0, "delay {delay}: {}", gap(west, 6));
    }
}

#[test]
fn a_crate_that_is_held_beyond_the_border_rests() {
    for delay in [1, 2, 4] {
        // It is held within the neighbour's margin, and never crosses.
        let crate_over = cargo(6, DVec2::new(1080.0, 500.0), 9);
        let mut mesh = Mesh::new(vec![full_ship(1, DVec2::new(990.0, 500.0))], vec![crate_over], delay);
        fastest(&mut mesh, &[1], 6, 20 * SECOND);
        assert_eq!(mesh.authority[&id(6)].0, 1, "delay {delay}");
        let later = fastest(&mut mesh, &[1], 6, 20 * SECOND);
        assert!(later < 3.0, "delay {delay}: {later} units/s");
    }
}

#[test]
fn two_ships_of_two_shards_pull_one_body_and_throw_nothing() {
    let ships = [full_ship(1, DVec2::new(900.0, 500.0)), full_ship(2, DVec2::new(1100.0, 500.0))];
    for body in [cargo(6, DVec2::new(1010.0, 560.0), 9), rock(6, DVec2::new(1010.0, 560.0), 12.0)] {
        let mut mesh = Mesh::with([vec![WEST], vec![EAST]], [ships.to_vec(), vec![body]].concat(), 4);
        let fastest = fastest(&mut mesh, &[1, 2], 6, 30 * SECOND);
        assert!(fastest < 90.0, "{fastest} units/s");
    }
}

#[test]
fn a_pull_that_waits_for_a_handoff_is_not_applied_later() {
    let drifting = moving(cargo(6, DVec2::new(985.0, 500.0), 9), DVec2::X * 120.0);
    let mut shard = arena(vec![full_ship(1, DVec2::new(900.0, 500.0)), drifting]);
    let asked = loop {
        shard.tick();
        let asked = shard.frames().into_iter().find_map(|frame| match frame {
            ToServer::Prepare { attempt, .. } => Some(attempt),
            _ => None,
        });
        if let Some(attempt) = asked {
            break attempt;
        }
    };
    // No answer arrives for a second, while the beam is on.
    shard.hold(id(1), Controls::TRACTOR, SECOND);
    let before = shard.state(id(6)).velocity.length();
    shard.send(ToShard::Abort { id: id(6), attempt: asked });
    shard.hold(id(1), Controls::TRACTOR, 1);
    // It is turned back, and has one tick's pull.
    let after = shard.state(id(6)).velocity.length();
    assert!(after < before + 15.0, "{before} and then {after} units/s");
}
