//! A headless shard, and records and inputs for it: the base of the tests here.

#![allow(dead_code, missing_docs, clippy::unwrap_used)]

pub mod mesh;

use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    frames::control::{GhostImpact, ImpactCause, Lease, ShipInputs, ToServer, ToShard},
    packets::{
        input::Input,
        lane,
        motion::SectorUpdate,
        own_state::{OwnState, decode_own_states},
    },
    record::{DroneMind, EntityKind, EntityRecord, ExpiresAt, OreLoad, Pilot, ShipHull, Structure},
    rules::{
        economy::{CRATE_RADIUS, STATION_RADIUS},
        flight::{Controls, FlightState, HullKind},
        shot::ShotId,
    },
    world::{
        ids::{AccountId, EntityId, NetId, NetIdBlock, ShardId},
        sector::SectorId,
        tick::SimTick,
    },
};
use sidereal_shard::{
    SimPlugin,
    bodies::{self, Authority, Body, Flight},
    ghosts::GhostNews,
    mailbox::{Inbox, LaneDatagram, Outbox},
    registry::Registry,
    report::Totals,
};

pub const START: u64 = 1000;

/// A simulation without a link.
pub struct Shard {
    pub app: App,
    pub tick: u64,
}

impl Shard {
    pub fn new(shard: u32) -> Self {
        let mut app = App::new();
        app.add_plugins(SimPlugin);
        app.finish();
        app.cleanup();
        let mut shard_app = Self { app, tick: START };
        shard_app.send(ToShard::Welcome {
            shard: ShardId(shard),
            sim_tick: SimTick(START),
            naia_tick: 0,
            id_seed: 42,
            net_ids: NetIdBlock { next: shard * 1_000_000, end: shard * 1_000_000 + 65_536 },
        });
        shard_app.app.update();
        shard_app
    }

    /// A shard that holds `sectors` with `records`.
    pub fn with(shard: u32, sectors: &[SectorId], records: Vec<EntityRecord>) -> Self {
        let mut shard = Self::new(shard);
        shard.grant(sectors, records);
        shard.app.update();
        shard.frames();
        shard
    }

    pub fn grant(&mut self, sectors: &[SectorId], records: Vec<EntityRecord>) {
        let leases = sectors.iter().map(|&sector| Lease { sector, epoch: 1 }).collect();
        self.send(ToShard::Grant { leases, records });
    }

    pub fn send(&mut self, frame: ToShard) {
        self.app.world_mut().resource_mut::<Inbox<ToShard>>().push(frame);
    }

    pub fn news(&mut self, news: GhostNews) {
        self.app.world_mut().resource_mut::<Inbox<GhostNews>>().push(news);
    }

    pub fn update_from(&mut self, update: SectorUpdate) {
        self.app.world_mut().resource_mut::<Inbox<SectorUpdate>>().push(update);
    }

    /// Simulates the next tick.
    pub fn tick(&mut self) {
        self.tick += 1;
        self.due(self.tick);
        self.app.update();
    }

    pub fn ticks(&mut self, count: u64) {
        for _ in 0..count {
            self.tick();
        }
    }

    /// Makes `tick` due, without an update.
    pub fn due(&mut self, tick: u64) {
        self.app.world_mut().resource_mut::<Inbox<SimTick>>().push(SimTick(tick));
    }

    pub fn frames(&mut self) -> Vec<ToServer> {
        self.app.world_mut().resource_mut::<Outbox<ToServer>>().drain().collect()
    }

    pub fn datagrams(&mut self) -> Vec<Vec<u8>> {
        let mut outbox = self.app.world_mut().resource_mut::<Outbox<LaneDatagram>>();
        outbox.drain().map(|LaneDatagram(bytes)| bytes).collect()
    }

    pub fn entity(&self, id: EntityId) -> Option<Entity> {
        self.app.world().resource::<Registry>().get(id)
    }

    pub fn state(&self, id: EntityId) -> FlightState {
        let entity = self.entity(id).expect("the entity is here");
        self.app.world().get::<Flight>(entity).expect("every body has a flight").0
    }

    pub fn body(&self, id: EntityId) -> Body {
        let entity = self.entity(id).expect("the entity is here");
        self.app.world().get::<Body>(entity).expect("every body is one").clone()
    }

    pub fn owns(&self, id: EntityId) -> bool {
        self.entity(id).is_some_and(|entity| self.app.world().get::<Authority>(entity).is_some())
    }

    /// All own entities of this shard.
    pub fn owned(&mut self) -> Vec<EntityId> {
        let mut bodies = self.app.world_mut().query_filtered::<&Body, With<Authority>>();
        bodies.iter(self.app.world()).map(|body| body.id).collect()
    }

    pub fn is_ghost(&self, id: EntityId) -> bool {
        self.entity(id).is_some() && !self.owns(id)
    }

    pub fn pilot(&self, id: EntityId) -> Pilot {
        self.own_record(id).pilot().expect("a pilot is aboard")
    }

    pub fn totals(&self) -> &Totals {
        self.app.world().resource::<Totals>()
    }

    /// The record that this shard would send of `id` now.
    pub fn own_record(&self, id: EntityId) -> EntityRecord {
        bodies::record_of(self.app.world(), id, SimTick(self.tick)).expect("it is this shard's")
    }

    /// Handles the server's frames without a tick, and returns the answers.
    pub fn answers(&mut self) -> Vec<ToServer> {
        self.app.update();
        self.frames()
    }

    /// Holds `buttons` for so many ticks; returns what was sent to the server in each.
    pub fn hold(&mut self, id: EntityId, buttons: u8, ticks: u64) -> Vec<(u64, ToServer)> {
        let mut sent = Vec::new();
        for _ in 0..ticks {
            self.inputs(id, vec![input(self.tick - 1, 0, 0, buttons)]);
            self.tick();
            let tick = self.tick;
            sent.extend(self.frames().into_iter().map(|frame| (tick, frame)));
        }
        sent
    }

    /// Applies a hit by a neighbour's bullet to `target`.
    pub fn strike(&mut self, target: EntityId, damage: u16) {
        let cause = ImpactCause::Bullet(ShotId { shooter: NetId(77), tick: SimTick(self.tick) });
        let (impulse, tick) = (DVec2::ZERO, SimTick(self.tick));
        self.send(ToShard::Impact(GhostImpact { target, source: None, cause, impulse, damage, tick }));
    }

    pub fn inputs(&mut self, id: EntityId, inputs: Vec<Input>) {
        self.boarded(id, 0, inputs);
    }

    /// Sends the inputs of a boarding.
    pub fn boarded(&mut self, id: EntityId, boarding: u32, inputs: Vec<Input>) {
        self.send(ToShard::Inputs(vec![ShipInputs { id, boarding, rewind: REWIND, inputs }]));
    }
}

/// The longest rewind of any link, quarters of a tick.
pub const REWIND: u8 = 30;

pub fn id(number: u64) -> EntityId {
    EntityId::from_halves(1, number)
}

pub fn input(tick: u64, thrust: i8, turn: i8, buttons: u8) -> Input {
    Input { tick: SimTick(tick), controls: Controls { thrust, turn, buttons }, view_lag: 0 }
}

/// An input with the beam's button, by a pilot who sees the others `view_lag` quarters of a tick late.
pub fn beam(tick: u64, view_lag: u8) -> Input {
    Input { view_lag, ..input(tick, 0, 0, Controls::BEAM) }
}

/// A ship with a pilot.
pub fn ship(number: u32, position: DVec2) -> EntityRecord {
    let spec = HullKind::Scout.spec();
    EntityRecord {
        owner: Some(AccountId(id(u64::from(number)).0)),
        name: format!("ship {number}"),
        ..body(EntityKind::Ship, number, position, Structure::whole(spec.radius, spec.hull))
    }
    .with(ShipHull(HullKind::Scout))
    .with(Pilot { rewind: REWIND, ..Pilot::default() })
}

fn body(kind: EntityKind, number: u32, position: DVec2, structure: Structure) -> EntityRecord {
    let id = id(u64::from(number));
    EntityRecord { net_id: NetId(number), epoch: 1, ..EntityRecord::at_rest(id, kind, position, SimTick(START)) }
        .with(structure)
}

pub fn drone(number: u32, position: DVec2) -> EntityRecord {
    let spec = HullKind::Drone.spec();
    EntityRecord {
        name: "Sentinel".to_owned(),
        ..body(EntityKind::Drone, number, position, Structure::whole(spec.radius, spec.hull))
    }
    .with(DroneMind { home: position, patrol_phase: 0.0, target: None })
}

pub fn rock(number: u32, position: DVec2, radius: f64) -> EntityRecord {
    body(EntityKind::Asteroid, number, position, Structure::whole(radius, 100))
}

pub fn station(number: u32, position: DVec2) -> EntityRecord {
    body(EntityKind::Station, number, position, Structure::whole(STATION_RADIUS, 100))
}

/// A crate with some ore that ends a minute after the start.
pub fn cargo(number: u32, position: DVec2, ore: u32) -> EntityRecord {
    let expires = SimTick(START + 1800);
    body(EntityKind::Crate, number, position, Structure::whole(CRATE_RADIUS, 1))
        .with(OreLoad(ore))
        .with(ExpiresAt(expires))
}

/// The same with so many hull points left.
pub fn with_hull(record: EntityRecord, hull: u16) -> EntityRecord {
    let structure = record.structure();
    record.with(Structure { hull, ..structure })
}

pub fn moving(mut record: EntityRecord, velocity: DVec2) -> EntityRecord {
    record.state.velocity = velocity;
    record
}

pub fn headed(mut record: EntityRecord, angle: f64) -> EntityRecord {
    record.state.angle = angle;
    record
}

pub fn sector_updates(datagrams: &[Vec<u8>]) -> Vec<SectorUpdate> {
    datagrams
        .iter()
        .filter(|bytes| bytes[0] == lane::SECTOR_UPDATE)
        .map(|bytes| SectorUpdate::decode(bytes).expect("a shard's own packet"))
        .collect()
}

pub fn own_states(datagrams: &[Vec<u8>]) -> Vec<OwnState> {
    datagrams
        .iter()
        .filter(|bytes| bytes[0] == lane::OWN_STATES)
        .flat_map(|bytes| decode_own_states(bytes).expect("a shard's own packet"))
        .collect()
}
