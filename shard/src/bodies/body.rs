//! Bodies: the simulation's components of an entity, the same for own ones and ghosts.
//!
//! Runs in the shard. A body is either this shard's own ([`crate::bodies::authority::Authority`]) or a ghost of a
//! neighbour's ([`crate::bodies::ghosts::Ghost`]), never both. It has avian's components too, but its state is
//! [`Flight`].

use avian2d::prelude::*;
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    packets::motion::EngineGlow,
    record::{EntityRecord, Structure},
    rules::{
        economy::Fitted,
        flight::{Controls, FlightState, HullKind, HullSpec},
    },
    world::{
        ids::{AccountId, EntityId, NetId},
        kind::{EntityKind, Solidity},
    },
};

/// Radius of a body of mass one (a scout), units. Mass is proportional to the area.
const UNIT_RADIUS: f64 = 9.0;

/// Share of the closing speed that remains after a collision.
const RESTITUTION: f64 = 0.4;

/// What a body is, for own ones and ghosts alike.
#[derive(Component, Debug, Clone, PartialEq)]
pub struct Body {
    /// Its id.
    pub id: EntityId,
    /// Its id in motion packets.
    pub net_id: NetId,
    /// Its kind.
    pub kind: EntityKind,
    /// Its hull, if it is a ship or drone.
    pub hull_kind: Option<HullKind>,
    /// The player who owns it.
    pub owner: Option<AccountId>,
    /// The name that players read.
    pub name: String,
    /// Radius of its circle, units.
    pub radius: f64,
    /// Hull points left.
    pub hull: u16,
    /// Hull points of the undamaged hull.
    pub hull_max: u16,
    /// Bought equipment.
    pub fitted: Fitted,
}

impl Body {
    /// The body of the entity of a record.
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

    /// The properties of its hull, if it has one.
    pub fn spec(&self) -> Option<HullSpec> {
        self.hull_kind.map(HullKind::spec)
    }

    /// Its mass; a scout's is 1.
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

/// Position and motion of a body after the last tick.
#[derive(Component, Debug, Clone, Copy, PartialEq)]
pub struct Flight(pub FlightState);

/// Position and motion of a body after this tick if nothing touches it.
#[derive(Component, Debug, Clone, Copy, PartialEq)]
pub struct Planned(pub FlightState);

/// The controls that apply in this tick. On own bodies with a hull kind: ships, drones, missiles.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Helm(pub Controls);

/// The lights of an own body that observers are sent. Each tool's capability sets its light; the engine's follow the
/// [`Helm`].
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lights(pub EngineGlow);

/// The moment that the pilot saw when it fired the beam in this tick, as a tick with fractions; `None` without a shot.
/// On everything that has a [`Helm`].
#[derive(Component, Debug, Clone, Copy, PartialEq, Default)]
pub struct View(pub Option<f64>);

/// avian's components of a body: a circle that bounces. Rotation is locked and contacts have no friction: a collision
/// is then one impulse along the normal, and only flight turns a body. `None` for kinds that others pass through.
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
