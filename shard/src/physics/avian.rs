//! avian, stepped once a tick in a schedule of its own, by the tick's length and without a clock.
//!
//! Runs in the shard. avian computes what collisions do to the planned motion. A body that nothing touched keeps its
//! plan bit by bit, so that a ship in free flight follows the flight model and its player's prediction is right.
//! avian's own sleeping is off: it would be state that no record carries to the next shard. [`rest`] takes its place.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    bodies::{
        authority::Authority,
        body::{Body, Flight, Planned},
        ghosts::Ghost,
    },
    physics::{contacts::TouchRules, rest},
    schedule::{PhysicsSystems, SimStep},
};
use avian2d::{
    dynamics::solver::islands::{IslandPlugin, IslandSleepingPlugin},
    physics_transform::PhysicsTransformConfig,
    prelude::*,
};
use bevy::{
    ecs::schedule::{ExecutorKind, ScheduleLabel},
    prelude::*,
};
use sidereal_protocol::{
    rules::flight::{FlightState, MAX_SPEED},
    world::tick::{SimTick, TICK_HZ},
};
use std::time::Duration;

/// avian's schedule.
#[derive(ScheduleLabel, Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PhysicsTick;

/// Length of avian's step. avian counts in whole nanoseconds: 10 ns a second short, which affects only bodies in
/// contact.
const STEP: Duration = Duration::from_nanos(1_000_000_000 / TICK_HZ as u64);

/// Substeps of a tick: enough for circles that bounce.
const SUBSTEPS: u32 = 2;

/// Typical size of a body, units: avian's thresholds are for a size of about one.
const LENGTH_UNIT: f64 = 10.0;

/// Differences from the plan that do not count as a contact: avian's step is shorter by 1e-8 of itself, which is 3e-7
/// units at the highest speed, and doubles 10^9 units out are 1e-7 apart.
const UNTOUCHED_DISTANCE: f64 = 1e-5;
const UNTOUCHED_SPEED: f64 = 1e-9;

/// Adds avian and the systems around its step.
pub(crate) struct PhysicsPlugin;

impl Plugin for PhysicsPlugin {
    fn build(&self, app: &mut App) {
        configure(app);
        rest::configure(app);
        app.add_systems(
            SimStep,
            (rest::wake_movers, write_bodies, step_physics, read_bodies, rest::put_to_rest)
                .chain()
                .in_set(PhysicsSystems::Step),
        );
    }
}

fn configure(app: &mut App) {
    app.init_resource::<Time>();
    app.init_schedule(PhysicsTick);
    app.edit_schedule(PhysicsTick, |schedule| {
        schedule.set_executor_kind(ExecutorKind::SingleThreaded);
    });
    app.add_plugins(
        PhysicsPlugins::new(PhysicsTick)
            .with_length_unit(LENGTH_UNIT)
            .with_collision_hooks::<TouchRules>()
            .build()
            .disable::<PhysicsInterpolationPlugin>()
            // Islands are only for sleeping, and their bookkeeping has lost a contact and panicked (avian's issue
            // 1025).
            .disable::<IslandPlugin>()
            .disable::<IslandSleepingPlugin>(),
    );
    app.insert_resource(Gravity::ZERO);
    app.insert_resource(SubstepCount(SUBSTEPS));
    app.insert_resource(PhysicsTransformConfig {
        propagate_before_physics: false,
        transform_to_position: false,
        position_to_transform: false,
        transform_to_collider_scale: false,
    });
    app.insert_resource(ColliderTreeOptimization { optimize_in_place: true, use_async_tasks: false, ..default() });
}

/// Passes positions and planned motion to avian.
pub(crate) fn write_bodies(mut bodies: Query<(&Flight, &Planned, &mut Position, &mut LinearVelocity)>) {
    for (flight, planned, mut position, mut velocity) in &mut bodies {
        position.set_if_neq(Position(flight.0.position));
        velocity.set_if_neq(LinearVelocity(planned.0.velocity));
    }
}

/// One step of avian.
pub(crate) fn step_physics(world: &mut World) {
    world.resource_mut::<Time>().advance_by(STEP);
    world.run_schedule(PhysicsTick);
}

/// Reads avian's results. A body without a collider moves as planned.
pub(crate) fn read_bodies(
    clock: Res<SimClock>,
    mut totals: ResMut<Totals>,
    mut bodies: Query<
        (&Body, &Planned, &Position, &LinearVelocity, &mut Flight, Option<&mut Authority>, Option<&mut Ghost>),
        With<RigidBody>,
    >,
    mut others: Query<(&Planned, &mut Flight, Option<&mut Authority>), Without<RigidBody>>,
) {
    for (planned, mut flight, authority) in &mut others {
        flight.set_if_neq(Flight(planned.0));
        arrive(authority, clock.tick);
    }
    for (body, planned, position, velocity, mut flight, authority, ghost) in &mut bodies {
        let _at = suspect::at(body.id);
        let planned = planned.0;
        let push = (velocity.0 - planned.velocity).length();
        let untouched =
            push < UNTOUCHED_SPEED && position.0.distance_squared(planned.position) < UNTOUCHED_DISTANCE.powi(2);
        if untouched {
            flight.set_if_neq(Flight(planned));
            arrive(authority, clock.tick);
            continue;
        }
        let touched = FlightState { position: position.0, velocity: velocity.0.clamp_length_max(MAX_SPEED), ..planned };
        if !touched.is_finite() {
            totals.bodies_not_finite += 1;
            tracing::error!(id = %body.id, "avian lost a body; it goes on as planned");
            flight.0 = planned;
            continue;
        }
        flight.0 = touched;
        if let Some(mut authority) = authority {
            authority.ahead = None;
        }
        if let Some(mut ghost) = ghost {
            ghost.touched(clock.tick, planned.velocity, touched.velocity);
        }
    }
}

/// Clears [`Authority::ahead`] when the clock has reached its tick.
fn arrive(authority: Option<Mut<Authority>>, now: SimTick) {
    if let Some(mut authority) = authority
        && authority.ahead.is_some_and(|(tick, _)| tick <= now)
    {
        authority.ahead = None;
    }
}
