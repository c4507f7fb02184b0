//! What all tools of a craft have in common: when a shard uses one, and when it is ready again.
//!
//! Runs in the shard. Pure: no state of its own.

use crate::{
    bodies::{
        authority::Authority,
        body::{Body, Helm, Lights},
    },
    handoff::machine::Handoffs,
};
use sidereal_protocol::{
    rules::tool::{Act, Tool},
    world::tick::SimTick,
};

/// Whether this shard lets the body act: not while another shard's next tick of it counts.
pub(crate) fn is_free(body: &Body, authority: &Authority, handoffs: &Handoffs) -> bool {
    authority.ahead.is_none() && !handoffs.is_leaving(body.id)
}

/// Whether the helm uses `tool` in this tick, and the body may act.
pub(crate) fn is_used(tool: Tool, body: &Body, helm: &Helm, authority: &Authority, handoffs: &Handoffs) -> bool {
    tool.is_held(helm.0) && is_free(body, authority, handoffs)
}

/// When `tool` is ready again after it was used in `tick`.
pub(crate) fn ready_after(tool: Tool, body: &Body, tick: SimTick) -> SimTick {
    tick + tool.interval_ticks(body.hull_kind, body.fitted)
}

/// Shows whether `tool` holds something, if it has a light.
pub(crate) fn shine(tool: Tool, lights: &mut Lights, on: bool) {
    if let Act::Hold { light, .. } = tool.spec().act {
        *lights.0.light(light) = on;
    }
}
