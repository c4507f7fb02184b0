//! Records: a body returns the record that it was made from, for every kind, and a ghost keeps nothing of it.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Shard, id};
use sidereal_protocol::{
    DVec2,
    control::{ToServer, ToShard},
    economy::{Fitted, Weapon},
    flight::{Controls, FlightState, HullKind},
    ids::{AccountId, EntityId, NetId},
    motion::{EngineGlow, Motion, SectorUpdate},
    record::{DroneMind, EntityKind, EntityRecord, Pilot, Warhead},
    sector::SectorId,
    tick::SimTick,
};
use sidereal_shard::{
    bodies::{Authority, Body},
    ghosts::GhostNews,
};
use std::{any::TypeId, collections::BTreeSet};

const HOME: SectorId = SectorId::new(0, 0);

/// The tick of the records and of the shards.
const NOW: SimTick = SimTick(common::START);

/// A record of a kind, with a value in every field that the kind uses. Add new fields here.
fn record(kind: EntityKind, number: u32) -> EntityRecord {
    let is_ship = kind == EntityKind::Ship;
    let is_armed = matches!(kind, EntityKind::Ship | EntityKind::Drone);
    let wait = |ticks: u64, waits: bool| if waits { NOW + ticks } else { SimTick(0) };
    let hull_kind = match kind {
        EntityKind::Ship => Some(HullKind::Hauler),
        EntityKind::Drone => Some(HullKind::Drone),
        EntityKind::Missile => Some(HullKind::Missile),
        EntityKind::Asteroid | EntityKind::Station | EntityKind::Crate => None,
    };
    EntityRecord {
        id: id(u64::from(number)),
        net_id: NetId(number),
        kind,
        hull_kind,
        owner: is_ship.then(|| AccountId(id(1000).0)),
        name: format!("number {number}"),
        epoch: 7,
        version: 11,
        tick: NOW,
        sector: HOME,
        state: FlightState {
            position: DVec2::new(100.0 * f64::from(number), 321.0),
            velocity: DVec2::new(1.5, -2.5),
            angle: 0.75,
            angular_velocity: -0.25,
        },
        radius: 12.5,
        hull: 23,
        hull_max: 45,
        weapon_ready: wait(5, is_armed),
        settled_at: NOW + 6,
        pilot: is_ship.then_some(Pilot {
            boarding: 3,
            last_input: SimTick(NOW.0 - 4),
            inputs_applied: 99,
            controls: Controls { thrust: 50, turn: -20, buttons: Controls::BOOST },
            input_delay_ticks: 5,
            rewind: 9,
        }),
        mind: (kind == EntityKind::Drone).then_some(DroneMind {
            home: DVec2::new(400.0, 500.0),
            patrol_phase: 1.25,
            target: Some(id(77)),
        }),
        launcher_ready: wait(8, is_ship),
        beam_ready: wait(9, is_ship),
        warhead: (kind == EntityKind::Missile).then_some(Warhead {
            shooter: id(78),
            target: Some(id(79)),
            expires: NOW + 60,
        }),
        docked: None,
        fitted: if is_ship { Fitted::default().with(Weapon::ALL[0]) } else { Fitted::default() },
        ore: if matches!(kind, EntityKind::Ship | EntityKind::Asteroid | EntityKind::Crate) { 17 } else { 0 },
        expires: wait(600, kind == EntityKind::Crate),
    }
}

/// One of each kind, and a ship that is docked.
fn one_of_each() -> Vec<EntityRecord> {
    let kinds = [
        EntityKind::Ship,
        EntityKind::Drone,
        EntityKind::Asteroid,
        EntityKind::Missile,
        EntityKind::Station,
        EntityKind::Crate,
    ];
    let mut records: Vec<EntityRecord> = (1..).zip(kinds).map(|(number, kind)| record(kind, number)).collect();
    records.push(EntityRecord { docked: Some(id(5)), ..record(EntityKind::Ship, 7) });
    records.iter().for_each(|record| record.validate().expect("such a record is sent"));
    records
}

/// The types of the components of the body `id` on a shard.
fn components(shard: &Shard, id: EntityId) -> BTreeSet<TypeId> {
    let entity = shard.entity(id).expect("it is here");
    shard.app.world().inspect_entity(entity).unwrap().filter_map(|component| component.type_id()).collect()
}

#[test]
fn a_body_gives_back_the_record_that_it_was_made_of() {
    let records = one_of_each();
    let shard = Shard::with(1, &[HOME], records.clone());
    for record in records {
        assert_eq!(shard.own_record(record.id), record, "{:?}", record.kind);
    }
}

#[test]
fn a_handoff_carries_all_of_a_record() {
    for record in one_of_each() {
        let mut source = Shard::with(1, &[HOME], vec![record.clone()]);
        source.send(ToShard::Withdraw { id: record.id });
        let given = source.answers().into_iter().find_map(|frame| match frame {
            ToServer::Withdrawn { record } => Some(*record),
            _ => None,
        });
        let given = given.expect("it is withdrawn");
        assert_eq!(EntityRecord { version: record.version, ..given.clone() }, record, "{:?}", record.kind);
        let mut target = Shard::with(2, &[HOME], vec![]);
        let offer = EntityRecord { epoch: 8, version: 0, ..given };
        target.send(ToShard::Commit { record: Box::new(offer.clone()), inputs: vec![] });
        target.app.update();
        let taken = target.own_record(record.id);
        // A handoff sets it anew.
        assert!(taken.settled_at > NOW);
        assert_eq!(EntityRecord { settled_at: offer.settled_at, ..taken }, offer, "{:?}", record.kind);
    }
}

#[test]
fn a_body_that_is_given_away_is_a_ghost_like_any_other() {
    // A neighbour does not know that a body is docked here: it has a collider there.
    for record in one_of_each().into_iter().filter(|record| record.docked.is_none()) {
        let mut shard = Shard::with(1, &[HOME], vec![record.clone()]);
        let own = components(&shard, record.id);
        shard.send(ToShard::Release { id: record.id, epoch: record.epoch + 1 });
        shard.tick();
        assert!(shard.is_ghost(record.id), "{:?}", record.kind);
        let released = components(&shard, record.id);

        let mut neighbour = Shard::with(2, &[SectorId::new(1, 0)], vec![]);
        neighbour.news(GhostNews::Appeared(Box::new(Body::of(&record))));
        let motions = vec![Motion { net_id: record.net_id, state: record.state, glow: EngineGlow::default() }];
        neighbour.update_from(SectorUpdate {
            tick: NOW,
            sector: HOME,
            motions,
            shots: vec![],
            hits: vec![],
            beams: vec![],
        });
        neighbour.tick();
        assert_eq!(released, components(&neighbour, record.id), "{:?}, which had {own:?}", record.kind);
        assert!(own.contains(&TypeId::of::<Authority>()) && !released.contains(&TypeId::of::<Authority>()));
    }
}
