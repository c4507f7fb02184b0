//! Bodies: what the simulation holds of an entity, for own ones and ghosts alike.
//!
//! Runs in the shard. A body is either this shard's own ([`Owned`]) or a ghost of a neighbour's
//! ([`crate::bodies::ghosts::Ghost`]), never both. avian's components hang on it but the truth about where it
//! is stands in [`Flight`].

use crate::{economy::shelter::Pending, flight::queue::InputQueue};
use avian2d::prelude::*;
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    economy::Fitted,
    flight::{Controls, FlightState, HullKind, HullSpec},
    ids::{AccountId, EntityId, NetId},
    motion::Motion,
    record::{DroneMind, EntityKind, Pilot, Warhead},
    sector::SectorId,
    tick::SimTick,
};
use std::time::Instant;

/// Radius of a body whose mass is one: a scout's. Mass goes with the area.
const UNIT_RADIUS: f64 = 9.0;

/// Share of the closing speed that is left after a collision.
const RESTITUTION: f64 = 0.4;

/// Who and what a body is, for own ones and ghosts alike.
#[derive(Component, Debug, Clone, PartialEq)]
pub struct Body {
    /// Its name.
    pub id: EntityId,
    /// Its name in motion packets.
    pub net_id: NetId,
    /// What it is.
    pub kind: EntityKind,
    /// Its hull, if it flies.
    pub hull_kind: Option<HullKind>,
    /// The player that it belongs to.
    pub owner: Option<AccountId>,
    /// What players read.
    pub name: String,
    /// Radius of its circle, units.
    pub radius: f64,
    /// Hull points left.
    pub hull: u16,
    /// Hull points when whole.
    pub hull_max: u16,
    /// What was bought for it.
    pub fitted: Fitted,
}

impl Body {
    /// What its hull can do, if it flies.
    pub fn spec(&self) -> Option<HullSpec> {
        self.hull_kind.map(HullKind::spec)
    }

    /// Its mass, in scouts.
    pub fn mass(&self) -> f64 {
        (self.radius / UNIT_RADIUS).powi(2)
    }

    /// Whether it is a player's ship.
    pub fn is_ship(&self) -> bool {
        self.kind == EntityKind::Ship
    }

    /// Whether it is a station.
    pub fn is_station(&self) -> bool {
        self.kind == EntityKind::Station
    }
}

/// Where a body is and how it moves, after the last tick.
#[derive(Component, Debug, Clone, Copy, PartialEq)]
pub struct Flight(pub FlightState);

/// Where a body will be after this tick if nothing touches it.
#[derive(Component, Debug, Clone, Copy, PartialEq)]
pub struct Planned(pub FlightState);

/// What this tick's flight obeys. On own ships and drones.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Helm(pub Controls);

/// When a pilot wants the beam in this tick: the moment that it saw, as a tick with fractions. On what has
/// a [`Helm`].
#[derive(Component, Debug, Clone, Copy, PartialEq, Default)]
pub struct View(pub Option<f64>);

/// A pilot and the inputs that wait.
#[derive(Debug, Clone)]
pub struct Hands {
    /// What goes with the ship from shard to shard.
    pub pilot: Pilot,
    /// What is not due yet.
    pub queue: InputQueue,
}

/// A body that this shard is the authority of.
#[derive(Component, Debug)]
pub struct Owned {
    /// Changes of authority so far.
    pub epoch: u64,
    /// Changes of the record in this epoch that were told.
    pub version: u64,
    /// Logical sector: always one that this shard holds.
    pub sector: SectorId,
    /// No shot before this tick.
    pub weapon_ready: SimTick,
    /// No missile before this tick.
    pub launcher_ready: SimTick,
    /// No beam before this tick.
    pub beam_ready: SimTick,
    /// A missile's warhead.
    pub warhead: Option<Warhead>,
    /// How far a missile's path was held against the bodies in its way: until then, when it was there.
    pub judged: Option<(SimTick, DVec2)>,
    /// No handoff before this tick.
    pub settled_at: SimTick,
    /// A player's hands.
    pub hands: Option<Hands>,
    /// A drone's mind.
    pub mind: Option<DroneMind>,
    /// Something besides motion changed and was not told yet.
    pub changed: bool,
    /// When its record was last told.
    pub record_sent: SimTick,
    /// What subscribers were last told of its motion, and in which sector.
    pub motion_sent: Option<(SectorId, Motion)>,
    /// It came by a handoff at this moment, and its first tick here is still to be told. For a figure only.
    pub adopted: Option<Instant>,
    /// Its record was ahead of this shard's clock: the state at that tick, until then.
    pub ahead: Option<(SimTick, FlightState)>,
    /// The station that it is docked at.
    pub docked: Option<EntityId>,
    /// Units of ore in it, as the server's ledger last told.
    pub ore: u32,
    /// When a crate is lost; zero for what does not end by itself.
    pub expires: SimTick,
    /// No bite out of a rock, and no crate taken in, before this tick.
    pub hold_ready: SimTick,
    /// It mines, for others to see.
    pub mining: bool,
    /// A deal that was let pass and is not settled.
    pub deal: Option<Box<Pending>>,
}

impl Owned {
    /// Whether nothing reaches it: it is docked, or a deal of it is not settled. Its helm is not heeded, and it
    /// stays where its authority is.
    pub fn is_sheltered(&self) -> bool {
        self.docked.is_some() || self.deal.is_some()
    }
}

/// avian's part of a body: a circle that bounces. Rotation is locked, contacts have no friction: a
/// circle's collision is then one push along the normal, and what turns a body is its own flight. A station
/// does not give way. A missile has none: it ends where it meets something. Nor has a crate.
pub fn collider(body: &Body, state: &FlightState) -> Option<impl Bundle + use<>> {
    let rigid = if body.is_station() { RigidBody::Static } else { RigidBody::Dynamic };
    (!matches!(body.kind, EntityKind::Missile | EntityKind::Crate)).then(|| {
        (
            rigid,
            Collider::circle(body.radius),
            ColliderDensity((1.0 / (std::f64::consts::PI * UNIT_RADIUS * UNIT_RADIUS)) as f32),
            ActiveCollisionHooks::MODIFY_CONTACTS,
            LockedAxes::ROTATION_LOCKED,
            Restitution::new(RESTITUTION),
            Friction::ZERO,
            Position(state.position),
            Rotation::IDENTITY,
            LinearVelocity(state.velocity),
            AngularVelocity(0.0),
        )
    })
}

/// Whether a circle at `position` with `radius` is clear of every body in `bodies`.
pub fn is_clear<'a>(
    position: DVec2,
    radius: f64,
    bodies: impl IntoIterator<Item = (&'a Body, &'a Flight)>,
    from_ships: f64,
) -> bool {
    bodies.into_iter().all(|(body, flight)| {
        let room = if body.is_ship() { from_ships } else { 0.0 };
        flight.0.position.distance(position) > radius + body.radius + room
    })
}
