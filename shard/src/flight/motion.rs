//! Planned motion: what each body does in this tick by its controls if nothing touches it.
//!
//! Runs in the shard, before avian. Ships, drones and missiles use the pure flight model, everything else coasts.
//! Crates come to rest. Stations and docked ships stay where they are.

use crate::{
    app::{clock::SimClock, suspect},
    bodies::{
        authority::Authority,
        body::{Body, Flight, Helm, Planned},
    },
    economy::ship_locks::Docked,
    flight::drones::Drone,
    schedule::{SimStep, SimSystems},
};
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    rules::flight::{self, FlightState},
    world::tick::{SimTick, TICK_SECONDS},
};

/// Adds planned motion.
pub(crate) struct FlightPlugin;

impl Plugin for FlightPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(SimStep, plan_motion.in_set(SimSystems::Flight));
    }
}

/// Plans the motion of every body.
pub(crate) fn plan_motion(
    clock: Res<SimClock>,
    mut bodies: Query<(&Body, &Flight, &mut Planned, Option<&Helm>, Option<&Authority>, Option<&Drone>, Has<Docked>)>,
) {
    for (body, flight, mut planned, helm, authority, drone, docked) in &mut bodies {
        let _at = suspect::at(body.id);
        let held = body.is_station() || docked || drone.is_some_and(|drone| drone.waits(&flight.0));
        let next = if held {
            held_in_place(&flight.0)
        } else if let Some((tick, state)) = authority.and_then(|authority| authority.ahead) {
            at_tick(&state, tick, clock.tick)
        } else if let (Some(helm), Some(spec)) = (helm, body.spec()) {
            flight::step(&flight.0, helm.0, &spec)
        } else {
            drift(body, &flight.0)
        };
        // A body at rest stays unchanged.
        planned.set_if_neq(Planned(next));
    }
}

/// A body that loses speed is at rest below this speed, units/s.
const AT_REST: f64 = 0.5;

/// A tick of a body without an engine.
pub(crate) fn drift(body: &Body, state: &FlightState) -> FlightState {
    let mut state = *state;
    let keeps = body.kind.spec().keeps_speed;
    if keeps < 1.0 {
        state.velocity *= keeps.powf(TICK_SECONDS);
        if state.velocity.length() < AT_REST {
            state.velocity = DVec2::ZERO;
        }
    }
    state.coast(TICK_SECONDS)
}

/// A tick of a body that does not move.
fn held_in_place(state: &FlightState) -> FlightState {
    FlightState { velocity: DVec2::ZERO, angular_velocity: 0.0, ..*state }
}

/// `state`, which is valid after `tick`, moved to `wanted` in a straight line, forwards or backwards.
pub fn at_tick(state: &FlightState, tick: SimTick, wanted: SimTick) -> FlightState {
    if tick == wanted {
        return *state;
    }
    let ticks = wanted.since(tick) as f64 - tick.since(wanted) as f64;
    state.coast(ticks * TICK_SECONDS)
}
