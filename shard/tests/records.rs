//! Records: a body returns the record that it was made from, for every kind, and a ghost keeps nothing of it.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Shard, id};
use sidereal_protocol::{
    DVec2,
    frames::control::{ToServer, ToShard},
    packets::motion::{EngineGlow, Motion, SectorUpdate},
    record::{
        BeamReady, DockedAt, DroneMind, EntityKind, EntityRecord, ExpiresAt, GunReady, LauncherReady, OreLoad, Pilot,
        SettledAt, ShipHull, Structure, Warhead,
    },
    rules::{
        economy::{Fitted, Weapon},
        flight::{Controls, FlightState, HullKind},
    },
    world::{
        ids::{AccountId, EntityId, NetId},
        sector::SectorId,
        tick::SimTick,
    },
};
use sidereal_shard::{
    bodies::{Authority, Body},
    ghosts::GhostNews,
};
use std::{any::TypeId, collections::BTreeSet};

const HOME: SectorId = SectorId::new(0, 0);

/// The tick of the records and of the shards.
const NOW: SimTick = SimTick(common::START);

/// A record of a kind, with every section that the kind may have. Add new sections here.
fn record(kind: EntityKind, number: u32) -> EntityRecord {
    let is_ship = kind == EntityKind::Ship;
    let mut record = EntityRecord {
        net_id: NetId(number),
        owner: is_ship.then(|| AccountId(id(1000).0)),
        name: format!("number {number}"),
        epoch: 7,
        version: 11,
        sector: HOME,
        state: FlightState {
            position: DVec2::new(100.0 * f64::from(number), 321.0),
            velocity: DVec2::new(1.5, -2.5),
            angle: 0.75,
            angular_velocity: -0.25,
        },
        ..EntityRecord::at_rest(id(u64::from(number)), kind, DVec2::ZERO, NOW)
    };
    record.set(Structure { radius: 12.5, hull: 23, hull_max: 45 });
    record.set(SettledAt(NOW + 6));
    match kind {
        EntityKind::Ship => {
            record.set(ShipHull(HullKind::Hauler));
            record.set(Pilot {
                boarding: 3,
                last_input: SimTick(NOW.0 - 4),
                inputs_applied: 99,
                controls: Controls { thrust: 50, turn: -20, buttons: Controls::BOOST },
                input_delay_ticks: 5,
                rewind: 9,
            });
            record.set(GunReady(NOW + 5));
            record.set(LauncherReady(NOW + 8));
            record.set(BeamReady(NOW + 9));
            record.set(Fitted::default().with(Weapon::ALL[0]));
            record.set(OreLoad(17));
        }
        EntityKind::Drone => {
            record.set(DroneMind { home: DVec2::new(400.0, 500.0), patrol_phase: 1.25, target: Some(id(77)) });
            record.set(GunReady(NOW + 5));
        }
        EntityKind::Missile => {
            record.set(Warhead { shooter: id(78), target: Some(id(79)), expires: NOW + 60 });
        }
        EntityKind::Asteroid => record.set(OreLoad(17)),
        EntityKind::Station => {}
        EntityKind::Crate => {
            record.set(OreLoad(17));
            record.set(ExpiresAt(NOW + 600));
        }
    }
    record.sections.put(UNKNOWN.0, 3, UNKNOWN.1);
    record
}

/// A section that no shard knows: its number, its bytes.
const UNKNOWN: (u16, &[u8]) = (30_000, &[1, 2, 3]);

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
    records.push(record(EntityKind::Ship, 7).with(DockedAt(id(5))));
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
        assert!(taken.get::<SettledAt>().unwrap().0 > NOW);
        assert_eq!(taken.with(offer.get::<SettledAt>().unwrap()), offer, "{:?}", record.kind);
    }
}

#[test]
fn a_body_that_is_given_away_is_a_ghost_like_any_other() {
    // A neighbour does not know that a body is docked here: it has a collider there.
    for record in one_of_each().into_iter().filter(|record| record.docked().is_none()) {
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
