//! The tractor beam: a ship pulls the nearest loose body as long as its pilot holds the button.
//!
//! A pull is an impact without damage, one each tick: it applies to an own body at once, to a ghost through its
//! authority. It counts only in this tick ([`Counting::Momentary`](sidereal_protocol::rules::cause::Counting::Momentary)): an impact on a body that is moving to
//! another shard is dropped, and of several on one body in a tick the first applies. [`sidereal_protocol::rules::tractor`]
//! computes the pulled body anew each tick, without state.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    bodies::{
        authority::Authority,
        body::{Body, Flight, Helm, Lights},
        grid::Nearby,
        registry::Registry,
    },
    handoff::machine::Handoffs,
    link::mailbox::Outbox,
    physics::{damage, damage::Impacts},
    schedule::{SimStep, WeaponSystems},
    weapons::trigger,
};
use bevy::prelude::*;
use sidereal_protocol::{
    frames::control::{GhostImpact, ImpactCause, ToServer},
    rules::{
        shot::ShotId,
        tool::Tool,
        tractor::{self, TRACTOR_RANGE},
    },
};

/// Adds tractor beams.
pub(crate) struct TractorPlugin;

impl Plugin for TractorPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(SimStep, pull_bodies.in_set(WeaponSystems::Tractor));
    }
}

/// Pulls for each pilot who holds the button when a body is in reach.
fn pull_bodies(
    clock: Res<SimClock>,
    registry: Res<Registry>,
    handoffs: Res<Handoffs>,
    mut impacts: ResMut<Impacts>,
    mut totals: ResMut<Totals>,
    mut outbox: ResMut<Outbox<ToServer>>,
    mut ships: Query<(&Body, &Flight, &Helm, &Authority, &mut Lights)>,
    bodies: Query<(&Body, &Flight, Has<Authority>)>,
    mut nearby: Nearby,
) {
    for ship in registry.carrying(Tool::TractorBeam) {
        let Ok((body, flight, helm, authority, mut lights)) = ships.get_mut(ship) else { continue };
        let _at = suspect::at(body.id);
        let wants = trigger::is_used(Tool::TractorBeam, body, helm, authority, &handoffs);
        let found = wants.then(|| {
            let grid = nearby.prepare(clock.tick, &registry);
            let near = grid.around(flight.0.position, TRACTOR_RANGE + body.radius).into_iter().filter_map(|entity| {
                let (other, at, _) = bodies.get(entity).ok()?;
                Some(tractor::Nearby { position: at.0.position, radius: other.radius, kind: other.kind, id: entity })
            });
            tractor::target(flight.0.position, body.radius, near)
        });
        let pulled = found.flatten().and_then(|entity| bodies.get(entity).ok());
        trigger::shine(Tool::TractorBeam, &mut lights, pulled.is_some());
        let Some((target, at, own)) = pulled else { continue };
        let change = tractor::pull(&flight.0, body.radius, &at.0, target.radius, target.mass());
        let impact = GhostImpact {
            target: target.id,
            source: Some(body.id),
            cause: ImpactCause::Tractor(ShotId { shooter: body.net_id, tick: clock.tick }),
            impulse: change * target.mass(),
            damage: Tool::TractorBeam.spec().damage,
            tick: clock.tick,
        };
        totals.tractor_pulls += 1;
        damage::deliver(impact, own, &mut impacts, &mut outbox);
    }
}
