//! Who pilots a ship: another session of the player takes over, and the link's rewind goes with the ship.

mod common;

use common::*;
use sidereal_protocol::{
    DVec2,
    frames::control::{ShipInputs, ToServer, ToShard},
    record::Pilot,
    rules::flight::Controls,
    world::{sector::SectorId, tick::SimTick},
};

fn alone() -> Shard {
    Shard::with(1, &[SectorId::new(0, 0)], vec![ship(1, DVec2::new(400.0, 400.0))])
}

#[test]
fn who_takes_the_helm_begins_anew_and_the_ship_flies_on() {
    let mut shard = alone();
    for tick in START..START + 20 {
        shard.inputs(id(1), vec![input(tick, 127, 0, 0)]);
        shard.tick();
    }
    // The old session's stamps are far ahead: none of them may block the new session's inputs.
    shard.inputs(id(1), (START + 20..START + 80).map(|tick| input(tick, 127, 0, Controls::FIRE)).collect());
    shard.answers();
    let before = shard.state(id(1));
    shard.boarded(id(1), 1, Vec::new());
    shard.answers();
    assert_eq!(shard.pilot(id(1)), Pilot::aboard(1, REWIND), "nothing of the old session is left");
    assert_eq!(shard.state(id(1)), before, "and the ship is where it was");
    shard.tick();
    assert_eq!(shard.totals().shots, 0, "the old session's queued inputs are dropped");
    shard.datagrams();
    let from = shard.tick;
    for tick in from..from + 10 {
        shard.boarded(id(1), 1, vec![input(tick, 0, 127, 0)]);
        shard.tick();
    }
    let told = own_states(&shard.datagrams());
    assert!(told.iter().all(|state| state.boarding == 1));
    let pilot = shard.pilot(id(1));
    assert_eq!((pilot.inputs_applied, pilot.last_input), (9, SimTick(from + 8)), "each of the new ones, once");
    assert!(shard.state(id(1)).angular_velocity != 0.0);
}

#[test]
fn inputs_of_an_earlier_boarding_are_ignored() {
    let mut shard = alone();
    shard.boarded(id(1), 2, vec![input(START, 0, 0, 0)]);
    shard.ticks(3);
    let unrouted = shard.totals().inputs_unrouted;
    shard.boarded(id(1), 1, (START..START + 6).map(|tick| input(tick, 127, 0, Controls::FIRE)).collect());
    shard.ticks(6);
    let pilot = shard.pilot(id(1));
    assert_eq!((pilot.boarding, pilot.inputs_applied, pilot.controls), (2, 1, Controls::default()));
    assert_eq!(shard.totals().inputs_unrouted, unrouted + 6, "they are counted");
}

#[test]
fn what_the_link_allows_goes_with_the_ship_to_the_next_shard() {
    let mut shard = alone();
    shard.send(ToShard::Inputs(vec![ShipInputs {
        id: id(1),
        boarding: 3,
        rewind: 21,
        inputs: vec![input(START, 0, 0, 0)],
    }]));
    shard.ticks(2);
    shard.send(ToShard::Withdraw { id: id(1) });
    let record = shard.answers().into_iter().find_map(|frame| match frame {
        ToServer::Withdrawn { record } => Some(record),
        _ => None,
    });
    let record = record.expect("it was withdrawn");
    let next = Shard::with(2, &[SectorId::new(0, 0)], vec![*record]);
    let pilot = next.pilot(id(1));
    assert_eq!((pilot.boarding, pilot.rewind), (3, 21));
}
