//! Colliders that are removed and added while they are touched: avian must keep no contacts of removed ones (its issue
//! 1025, "Head contact has no island").

mod common;

use avian2d::{dynamics::solver::islands::PhysicsIslands, prelude::ContactGraph};
use common::{mesh::WEST, *};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use sidereal_protocol::{
    DVec2,
    frames::control::{ToServer, ToShard},
    record::EntityRecord,
    rules::{
        economy::{Bargain, DOCKING_RANGE, DealKey, STATION_RADIUS},
        flight::FlightState,
    },
    world::{ids::EntityId, sector::SectorId},
};
use sidereal_shard::bodies::set_state;

const SHIPS: u32 = 12;

fn around() -> Vec<SectorId> {
    (-3..=3).flat_map(|x| (-3..=3).map(move |y| SectorId::new(x, y))).collect()
}

fn middle() -> DVec2 {
    WEST.center()
}

/// The answer to a ship's deal, and whether it was settled.
fn deal(shard: &mut Shard, number: u64, ship: u32, bargain: Bargain) -> bool {
    let (key, ship) = (DealKey(EntityId::from_halves(7, number).0), id(u64::from(ship)));
    shard.send(ToShard::Deal { key, ship, bargain, partner: None });
    let passed = shard.answers().iter().any(|frame| matches!(frame, ToServer::Deal { verdict: Ok(Some(_)), .. }));
    if passed {
        shard.send(ToShard::Settled { key, ship, done: true });
        shard.app.update();
    }
    passed
}

fn touching(shard: &Shard) -> usize {
    shard.app.world().resource::<ContactGraph>().iter_active_touching().count()
}

#[test]
fn avian_keeps_no_islands() {
    let shard = Shard::new(1);
    assert!(!shard.app.world().contains_resource::<PhysicsIslands>());
}

#[test]
fn two_ships_touch_and_one_docks_and_comes_back_into_the_other() {
    let place = middle() + DVec2::X * (STATION_RADIUS + 20.0);
    let mut shard =
        Shard::with(1, &around(), vec![station(9, middle()), ship(1, place), ship(2, place + DVec2::X * 5.0)]);
    for round in 0..4 {
        set_state(shard.app.world_mut(), id(1), FlightState { position: place, ..FlightState::default() });
        let beside = place + DVec2::X * 5.0;
        set_state(shard.app.world_mut(), id(2), FlightState { position: beside, ..FlightState::default() });
        shard.tick();
        assert!(touching(&shard) > 0);
        assert!(deal(&mut shard, 2 * round, 1, Bargain::Dock));
        shard.tick();
        assert_eq!(touching(&shard), 0, "a docked ship touches nothing");
        assert!(deal(&mut shard, 2 * round + 1, 1, Bargain::Undock));
        shard.ticks(3);
    }
}

#[test]
fn a_crowd_at_a_station_docks_and_undocks_in_the_midst_of_each_other() {
    let mut random = Pcg64Mcg::seed_from_u64(1025);
    let mut records: Vec<EntityRecord> = (1..=SHIPS)
        .map(|number| ship(number + 100, middle() + DVec2::X * (STATION_RADIUS + 15.0 + f64::from(number))))
        .collect();
    records.push(station(9, middle()));
    records.extend(
        (0..6).map(|number| rock(200 + number, middle() + DVec2::Y * (150.0 + 20.0 * f64::from(number)), 12.0)),
    );
    let mut shard = Shard::with(1, &around(), records);
    let (mut docked, mut undocked, mut touched) = (0, 0, 0);
    for round in 0..1_500u64 {
        for number in (101..=100 + SHIPS).chain(200..206) {
            // Every ship is pulled to a position beside the station, slowly enough to dock.
            let there = id(u64::from(number));
            if !shard.owns(there) || shard.own_record(there).docked().is_some() {
                continue;
            }
            let state = shard.state(there);
            let goal = middle() + DVec2::X * (STATION_RADIUS + DOCKING_RANGE / 2.0);
            let velocity = (goal - state.position).clamp_length_max(40.0);
            set_state(shard.app.world_mut(), there, FlightState { velocity, ..state });
        }
        shard.tick();
        touched += touching(&shard);
        let number = 100 + random.random_range(1..=SHIPS);
        let is_docked = shard.own_record(id(u64::from(number))).docked().is_some();
        let bargain = if is_docked { Bargain::Undock } else { Bargain::Dock };
        if deal(&mut shard, round, number, bargain) {
            *(if is_docked { &mut undocked } else { &mut docked }) += 1;
        }
        shard.frames();
    }
    println!("docked {docked} times, undocked {undocked} times, {touched} touches");
    assert!(docked > 200 && undocked > 200 && touched > 3_000);
    assert_eq!(shard.totals().bodies_not_finite, 0);
}
