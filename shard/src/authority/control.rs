//! Control frames of the server, handled in the order of their arrival.
//!
//! Runs in the shard, in every update. Frames that are stale or name an unknown entity are counted and dropped.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    authority::{
        drain,
        leases::{Leases, NetIds, Welcomed},
        withdrawal,
    },
    bodies::{
        ghosts,
        registry::Registry,
        spawn::{self, owned_epoch},
    },
    economy::{cargo::Cargo, docking},
    flight::inputs,
    handoff::{
        effects,
        machine::{BOUNCE_TICKS, Event},
    },
    link::mailbox::{Inbox, Outbox},
    physics::damage::Impacts,
    schedule::ControlSystems,
    weapons::bullets::Shots,
};
use bevy::prelude::*;
use sidereal_protocol::{
    frames::control::{Lease, ShipInputs, ToServer, ToShard},
    record::EntityRecord,
    world::ids::EntityId,
};

/// Adds the handling of control frames.
pub(crate) struct ControlPlugin;

impl Plugin for ControlPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Update, handle_frames.in_set(ControlSystems::Frames));
    }
}

/// Handles every frame that has arrived.
pub(crate) fn handle_frames(world: &mut World) {
    while let Some(frame) = world.resource_mut::<Inbox<ToShard>>().pop() {
        handle(world, frame);
    }
}

fn handle(world: &mut World, frame: ToShard) {
    let _simulating = suspect::simulating();
    let _at = concerned(&frame).map(suspect::at);
    let now = world.resource::<SimClock>().tick;
    match frame {
        ToShard::Welcome { shard, sim_tick, id_seed, net_ids, .. } => {
            if world.contains_resource::<Welcomed>() {
                tracing::warn!("a second welcome was ignored");
                return;
            }
            tracing::info!(%shard, %sim_tick, "welcome");
            world.insert_resource(Welcomed { shard, id_seed });
            world.resource_mut::<NetIds>().add(net_ids);
            world.resource_mut::<SimClock>().tick = sim_tick;
        }
        ToShard::NetIds(block) => world.resource_mut::<NetIds>().add(block),
        ToShard::Grant { leases, records } => grant(world, leases, records),
        ToShard::Offer { record } => {
            let leased = world.resource::<Leases>().holds(record.sector);
            let owned = owned_epoch(world, record.id);
            effects::perform(world, Event::Offered { record, leased, owned }, now);
        }
        ToShard::Commit { record, inputs } => {
            let leased = world.resource::<Leases>().holds(record.sector);
            let owned = owned_epoch(world, record.id);
            effects::perform(world, Event::Committed { record, inputs, leased, owned }, now);
        }
        ToShard::Release { id, epoch } => {
            let owned = owned_epoch(world, id);
            effects::perform(world, Event::Released { id, epoch, owned }, now);
        }
        ToShard::Abort { id, attempt } => {
            effects::perform(world, Event::Aborted { id, attempt }, now);
        }
        ToShard::Inputs(ships) => {
            for ShipInputs { id, boarding, rewind, inputs } in ships {
                let _at = suspect::at(id);
                inputs::receive(world, id, boarding, rewind, &inputs);
            }
        }
        ToShard::Withdraw { id } => {
            if !docking::delays_withdrawal(world, id) {
                withdrawal::withdraw(world, id);
            }
        }
        ToShard::Impact(impact) => {
            if owned_epoch(world, impact.target).is_some() {
                world.resource_mut::<Impacts>().push(impact);
            } else if now.since(impact.tick) <= BOUNCE_TICKS && !impact.cause.spec().is_momentary() {
                world.resource_mut::<Outbox<ToServer>>().push(ToServer::Impact(impact));
            } else {
                world.resource_mut::<Totals>().impacts_lost += u64::from(!impact.cause.spec().is_momentary());
            }
        }
        ToShard::Shot(shot) => world.resource_scope(|world, mut shots: Mut<Shots>| {
            world.resource_scope(|world, mut totals: Mut<Totals>| {
                shots.receive(shot, world.resource::<Leases>(), now, &mut totals);
            });
        }),
        ToShard::Deal { key, ship, bargain, partner } => docking::judge_deal(world, key, ship, &bargain, partner),
        ToShard::Settled { key, ship, done } => docking::settle(world, key, ship, done),
        ToShard::Holdings { id, ore } => {
            let entity = world.resource::<Registry>().get(id);
            match entity.and_then(|entity| world.get_mut::<Cargo>(entity)) {
                Some(mut cargo) => cargo.ore = ore,
                None => ghosts::note_ore(world, id, ore),
            }
        }
        ToShard::Drain => drain::drain(world),
    }
}

/// The entity that a frame is about, if there is one.
fn concerned(frame: &ToShard) -> Option<EntityId> {
    match frame {
        ToShard::Offer { record } | ToShard::Commit { record, .. } => Some(record.id),
        ToShard::Release { id, .. }
        | ToShard::Abort { id, .. }
        | ToShard::Withdraw { id }
        | ToShard::Holdings { id, .. }
        | ToShard::Deal { ship: id, .. }
        | ToShard::Settled { ship: id, .. } => Some(*id),
        ToShard::Impact(impact) => Some(impact.target),
        ToShard::Welcome { .. }
        | ToShard::NetIds(_)
        | ToShard::Grant { .. }
        | ToShard::Inputs(_)
        | ToShard::Shot(_)
        | ToShard::Drain => None,
    }
}

fn grant(world: &mut World, leases: Vec<Lease>, records: Vec<EntityRecord>) {
    for &lease in &leases {
        world.resource_mut::<Leases>().take(lease);
    }
    for record in records {
        let _at = suspect::at(record.id);
        if let Err(error) = record.validate() {
            world.resource_mut::<Totals>().frames_refused += 1;
            tracing::error!(id = %record.id, %error, "a granted record was rejected");
            continue;
        }
        let fresher = owned_epoch(world, record.id).is_none_or(|epoch| epoch < record.epoch);
        if fresher {
            spawn::spawn_owned(world, &record);
        }
    }
    if !leases.is_empty() {
        tracing::info!(sectors = leases.len(), "sectors granted");
    }
}
