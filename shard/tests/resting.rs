//! Bodies at rest are left out of the solver, and nobody can tell.

mod common;

use avian2d::prelude::{Sleeping, SleepingDisabled};
use bevy::prelude::*;
use common::*;
use sidereal_protocol::{DVec2, record::EntityRecord, rules::flight::FlightState, world::sector::SectorId};
use sidereal_shard::bodies::{Body, Planned};

const HOME: SectorId = SectorId::new(0, 0);
const SHIPS: u32 = 6;
const ROCKS: u32 = 36;

/// Ships among rocks that all rest.
fn scene() -> Vec<EntityRecord> {
    let rocks = (0..ROCKS).map(|index| {
        let place = DVec2::new(f64::from(index % 6), f64::from(index / 6)) * 140.0 + 150.0;
        rock(100 + index, place, 14.0 + f64::from(index % 5) * 4.0)
    });
    let ships = (0..SHIPS).map(|index| ship(1 + index, DVec2::new(60.0, 130.0 + 140.0 * f64::from(index))));
    rocks.chain(ships).collect()
}

/// Flies through them for so many ticks. Returns all states, the most bodies that rested at once, and the fewest.
fn run(ticks: u64, resting: bool) -> (Vec<FlightState>, usize, usize) {
    let mut shard = Shard::with(1, &[HOME], scene());
    if !resting {
        let world = shard.app.world_mut();
        let all: Vec<Entity> = world.query_filtered::<Entity, With<Planned>>().iter(world).collect();
        all.into_iter().for_each(|entity| {
            world.entity_mut(entity).insert(SleepingDisabled);
        });
    }
    let (mut most, mut fewest) = (0, usize::MAX);
    for tick in 0..ticks {
        for number in 1..=SHIPS {
            let turn = if (tick + u64::from(number) * 17) % 90 < 20 { 90 } else { 0 };
            shard.inputs(id(u64::from(number)), vec![input(shard.tick, 127, turn, 0)]);
        }
        shard.tick();
        let world = shard.app.world_mut();
        let asleep = world.query_filtered::<(), (With<Body>, With<Sleeping>)>().iter(world).count();
        (most, fewest) = (most.max(asleep), fewest.min(asleep));
    }
    let ids = (1..=SHIPS).chain(100..100 + ROCKS).map(|number| id(u64::from(number)));
    (ids.map(|id| shard.state(id)).collect(), most, fewest)
}

#[test]
fn a_collision_with_a_resting_body_is_the_same_as_if_it_had_never_rested() {
    for ticks in [30, 120, 400] {
        let (states, most, fewest) = run(ticks, true);
        let (awake, none, _) = run(ticks, false);
        assert_eq!(none, 0);
        assert!(most >= ROCKS as usize / 2, "at most {most} bodies rested");
        assert_eq!(states, awake, "after {ticks} ticks");
        if ticks == 400 {
            assert!(fewest < most, "no rock was woken");
            let moved = states.iter().skip(SHIPS as usize).filter(|state| state.velocity != DVec2::ZERO).count();
            assert!(moved >= 3, "only {moved} rocks were hit");
        }
    }
}
