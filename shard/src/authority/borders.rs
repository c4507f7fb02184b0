//! Borders: the logical sector of each own entity, and when it must go to another shard.
//!
//! Runs in the shard, after all motion of the tick.

use crate::{
    app::{clock::SimClock, suspect},
    authority::leases::Leases,
    bodies::{
        authority::Authority,
        body::{Body, Flight},
    },
    economy::ship_locks::{Docked, PendingDeal},
    handoff::{
        effects,
        machine::{Event, Handoffs},
    },
    schedule::{BorderSystems, SimStep},
};
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    world::{
        ids::{EntityId, NetId},
        sector::{CROSSING_MARGIN, SECTOR_SIZE, SectorId},
    },
};

/// Adds the border system.
pub(crate) struct BordersPlugin;

impl Plugin for BordersPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(SimStep, cross_borders.in_set(BorderSystems::Cross));
    }
}

/// How far beyond its logical sector an entity may get while no shard takes it over, units. Motion packets reach half a
/// sector beyond; a wall stands a little before that.
pub const REACH: f64 = 450.0;

/// Updates the logical sector of every own entity; starts a handoff for one that enters another shard's sector.
pub(crate) fn cross_borders(
    world: &mut World,
    bodies: &mut QueryState<(&Body, &mut Authority, &mut Flight, Has<Docked>, Has<PendingDeal>)>,
) {
    let now = world.resource::<SimClock>().tick;
    let mut leaving: Vec<(NetId, EntityId, SectorId)> = Vec::new();
    world.resource_scope(|world, leases: Mut<Leases>| {
        for (body, mut authority, mut flight, docked, deals) in bodies.iter_mut(world) {
            let position = flight.0.position;
            if authority.sector.overshoot(position) <= CROSSING_MARGIN {
                continue;
            }
            let _at = suspect::at(body.id);
            // A station may be so near a border that its docked ships are beyond it.
            if body.is_station() || docked {
                continue;
            }
            let sector = SectorId::containing(position);
            if leases.holds(sector) {
                authority.sector = sector;
            } else {
                if now >= authority.settled_at && authority.ahead.is_none() && !deals {
                    leaving.push((body.net_id, body.id, sector));
                }
                hold_within_reach(authority.sector, &mut flight);
            }
        }
    });
    leaving.sort_unstable_by_key(|(net_id, ..)| *net_id);
    for (_, id, to) in leaving {
        let _at = suspect::at(id);
        if !world.resource::<Handoffs>().is_leaving(id) {
            effects::perform(world, Event::Crossed { id, to }, now);
        }
    }
}

fn hold_within_reach(sector: SectorId, flight: &mut Flight) {
    if sector.overshoot(flight.0.position) <= REACH {
        return;
    }
    let low = sector.origin() - DVec2::splat(REACH);
    let high = sector.origin() + DVec2::splat(SECTOR_SIZE + REACH);
    let held = flight.0.position.clamp(low, high);
    let velocity = flight.0.velocity;
    flight.0.velocity = DVec2::new(
        if held.x == flight.0.position.x { velocity.x } else { 0.0 },
        if held.y == flight.0.position.y { velocity.y } else { 0.0 },
    );
    flight.0.position = held;
}
