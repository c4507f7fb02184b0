//! Bodies at rest are left out of avian's solver, until something comes near them or moves them.
//!
//! Runs in the shard, around and within avian's step. Whether a body rests follows from the present tick alone, so no
//! record has to carry it: it does not move, and avian has no other body near it. A body is woken *before* the solver of
//! the tick in which it matters, so that a contact is the same as if it had never rested.

use crate::bodies::{
    authority::Authority,
    body::{Flight, Planned},
};
use avian2d::{
    dynamics::solver::solver_body::SolverBody,
    prelude::{BroadPhaseSystems, ContactGraph, LinearVelocity, PhysicsSchedule, Position, Sleeping, SleepingDisabled},
};
use bevy::prelude::*;
use sidereal_protocol::DVec2;

/// Adds what wakes bodies within avian's step. The systems around it belong to `crate::physics::avian`.
pub(crate) fn configure(app: &mut App) {
    app.add_systems(PhysicsSchedule, wake_neighbours.in_set(BroadPhaseSystems::Last));
}

/// Wakes bodies that are to move in this tick.
pub(crate) fn wake_movers(bodies: Query<(Entity, &Flight, &Planned), With<Sleeping>>, mut commands: Commands) {
    for (entity, flight, planned) in &bodies {
        if planned.0.velocity != DVec2::ZERO || planned.0.position != flight.0.position {
            commands.entity(entity).remove::<Sleeping>();
        }
    }
}

/// Wakes bodies near which avian has just found another one.
fn wake_neighbours(contacts: Res<ContactGraph>, resting: Query<(), With<Sleeping>>, mut commands: Commands) {
    if resting.is_empty() {
        return;
    }
    for pair in contacts.iter_active() {
        for body in [pair.body1, pair.body2].into_iter().flatten().filter(|body| resting.contains(*body)) {
            commands.entity(body).remove::<Sleeping>();
        }
    }
}

/// Lets bodies rest that do not move, and near which there is none. Static bodies are not in the solver anyway.
pub(crate) fn put_to_rest(
    contacts: Res<ContactGraph>,
    bodies: Query<
        (Entity, &Flight, &Planned, &Position, &LinearVelocity, Option<&Authority>),
        (With<SolverBody>, Without<SleepingDisabled>),
    >,
    mut commands: Commands,
) {
    for (entity, flight, planned, position, velocity, authority) in &bodies {
        let still = velocity.0 == DVec2::ZERO
            && flight.0.velocity == DVec2::ZERO
            && planned.0.velocity == DVec2::ZERO
            && position.0 == flight.0.position
            && planned.0.position == flight.0.position;
        if still
            && authority.is_none_or(|authority| authority.ahead.is_none())
            && contacts.contact_edges_with(entity).next().is_none()
        {
            commands.entity(entity).insert(Sleeping);
        }
    }
}
