//! Controls become motion: what each body will do in this tick if nothing touches it.
//!
//! Runs in the shard, before avian. Ships and drones go by the pure flight model, everything else
//! coasts.

use crate::{
    bodies::{Body, Flight, Helm, Owned, Planned},
    clock::SimClock,
};
use bevy::prelude::*;
use sidereal_protocol::{
    flight::{self, FlightState},
    tick::{SimTick, TICK_SECONDS},
};

/// Plans the motion of every body.
pub(crate) fn plan_motion(
    clock: Res<SimClock>,
    mut bodies: Query<(&Body, &Flight, &mut Planned, Option<&Helm>, Option<&Owned>)>,
) {
    for (body, flight, mut planned, helm, owned) in &mut bodies {
        planned.0 = if let Some((tick, state)) = owned.and_then(|owned| owned.ahead) {
            at_tick(&state, tick, clock.tick)
        } else if let (Some(helm), Some(spec)) = (helm, body.spec()) {
            flight::step(&flight.0, helm.0, &spec)
        } else {
            flight.0.coast(TICK_SECONDS)
        };
    }
}

/// Where a body that is in `state` after `tick` is after `wanted`, in a straight line forth or back.
pub fn at_tick(state: &FlightState, tick: SimTick, wanted: SimTick) -> FlightState {
    if tick == wanted {
        return *state;
    }
    let ticks = wanted.since(tick) as f64 - tick.since(wanted) as f64;
    state.coast(ticks * TICK_SECONDS)
}
