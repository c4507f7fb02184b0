//! Bodies: what the simulation holds of an entity, for own ones and ghosts alike.
//!
//! Runs in the shard. A body is either this shard's own ([`crate::bodies::authority::Authority`]) or a ghost of a neighbour's
//! ([`crate::bodies::ghosts::Ghost`]), never both. avian's components hang on it but the truth about where it
//! is stands in [`Flight`].

use avian2d::prelude::*;
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    economy::Fitted,
    flight::{Controls, FlightState, HullKind, HullSpec},
    ids::{AccountId, EntityId, NetId},
    kind::{EntityKind, Solidity},
    motion::EngineGlow,
    record::{EntityRecord, Structure},
};

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
    /// The body of a record.
    pub fn of(record: &EntityRecord) -> Self {
        let Structure { radius, hull, hull_max } = record.structure();
        Self {
            id: record.id,
            net_id: record.net_id,
            kind: record.kind,
            hull_kind: record.hull_kind(),
            owner: record.owner,
            name: record.name.clone(),
            radius,
            hull,
            hull_max,
            fitted: record.fitted(),
        }
    }

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

/// What others see of the tools of an own body. Each tool's capability sets its light; the engine's follow the helm.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lights(pub EngineGlow);

/// When a pilot wants the beam in this tick: the moment that it saw, as a tick with fractions. On what has
/// a [`Helm`].
#[derive(Component, Debug, Clone, Copy, PartialEq, Default)]
pub struct View(pub Option<f64>);

/// avian's part of a body: a circle that bounces. Rotation is locked, contacts have no friction: a
/// circle's collision is then one push along the normal, and what turns a body is its own flight. `None` for a kind that
/// is passable.
pub fn collider(body: &Body, state: &FlightState) -> Option<impl Bundle + use<>> {
    let rigid = match body.kind.spec().solidity {
        Solidity::Movable => RigidBody::Dynamic,
        Solidity::Fixed => RigidBody::Static,
        Solidity::Passable => return None,
    };
    Some((
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
    ))
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
