//! Effects of a handoff: records are sent, bodies become ghosts, offered entities become own bodies.
//!
//! Runs in the shard. [`crate::handoff::machine`] decides when.

use crate::{
    app::{clock::SimClock, report::Totals},
    authority::leases::Leases,
    bodies::{
        authority::Authority,
        body::{Body, Flight, Helm},
        ghosts,
        registry::Registry,
        spawn::{self, authority_mut},
    },
    economy::ship_locks::Docked,
    flight::{
        inputs::PilotInput,
        motion::{at_tick, drift},
        queue::Arrival,
    },
    handoff::{
        adoptions::Adoptions,
        machine::{Action, Event, Handoffs, SETTLE_TICKS},
    },
    link::mailbox::Outbox,
    physics::{
        contacts,
        damage::Impacts,
        impacts::{AppliedImpacts, MissedContact},
    },
    schedule::{BorderSystems, SimStep},
    weapons::{
        bullets::{self, Gun, Shots},
        missiles,
    },
};
use bevy::prelude::*;
use sidereal_protocol::{
    frames::control::ToServer,
    packets::input::Input,
    record::EntityRecord,
    rules::{
        flight::{self, Controls},
        shot::Shot,
    },
    world::{
        ids::EntityId,
        sector::{SECTOR_SIZE, SectorId},
        tick::SimTick,
    },
};
use std::time::Instant;

/// Adds handoffs.
pub(crate) struct HandoffPlugin;

impl Plugin for HandoffPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Handoffs>().add_systems(SimStep, on_tick_passed.in_set(BorderSystems::Handoffs));
    }
}

/// Limit of the ticks that an adopted entity is advanced by: 5 s. An older record (a ship from the database) stays as
/// it is.
const MAX_REPLAY_TICKS: u64 = 150;

/// Limit of the ticks that a record may be ahead of this shard: 1 s. Beyond that the clocks are not comparable, and its
/// state counts as the present one.
const MAX_AHEAD_TICKS: u64 = 30;

/// Passes an event to the state machine and applies its actions.
pub(crate) fn perform(world: &mut World, event: Event, now: SimTick) {
    let actions = world.resource_mut::<Handoffs>().step(now, event);
    for action in actions {
        match action {
            Action::Prepare { id, to, attempt } => {
                if let Some(mut authority) = authority_mut(world, id) {
                    authority.version += 1;
                }
                let Some(record) = spawn::record_of(world, id, now) else { continue };
                // It may have entered another sector since the handoff started.
                let here = SectorId::containing(record.state.position);
                let to = if world.resource::<Leases>().holds(here) { to } else { here };
                send(world, ToServer::Prepare { record: Box::new(record), to, attempt });
            }
            Action::Send(message) => send(world, message),
            Action::Strike(impact) => world.resource_mut::<Impacts>().push(impact),
            Action::Resume { id, settled_at } => {
                world.resource_mut::<Totals>().handoffs_aborted += 1;
                if let Some(mut authority) = authority_mut(world, id) {
                    authority.settled_at = settled_at;
                }
                turn_back(world, id);
            }
            Action::BecomeGhost { id } => {
                world.resource_mut::<Totals>().handoffs_out += 1;
                ghosts::release(world, id, now);
            }
            Action::Adopt { record, inputs } => adopt(world, *record, &inputs, now),
        }
    }
}

fn send(world: &mut World, message: ToServer) {
    world.resource_mut::<Outbox<ToServer>>().push(message);
}

/// Turns a rock or crate back that no shard takes over: it would request a handoff again and again, and gather with
/// others at the edge of the simulated space. Bodies with controls turn by themselves.
fn turn_back(world: &mut World, id: EntityId) {
    let Some(entity) = world.resource::<Registry>().get(id) else { return };
    let mut bodies = world.query::<(&Body, &Authority, &mut Flight)>();
    let Ok((body, authority, mut flight)) = bodies.get_mut(world, entity) else { return };
    if !body.kind.spec().shows_ore() {
        return;
    }
    let outward = flight.0.position - authority.sector.center();
    let velocity = &mut flight.0.velocity;
    for (speed, side) in [(&mut velocity.x, outward.x), (&mut velocity.y, outward.y)] {
        if side.abs() > SECTOR_SIZE / 2.0 {
            *speed = -side.signum() * speed.abs();
        }
    }
}

/// Makes an entity this shard's own, advanced from its record to `now`.
fn adopt(world: &mut World, record: EntityRecord, inputs: &[Input], now: SimTick) {
    let began = Instant::now();
    let blows = world.resource_mut::<AppliedImpacts>().missed(record.id, record.tick, now);
    let entity = spawn::spawn_owned(world, &record);
    if let Some(mut authority) = world.get_mut::<Authority>(entity) {
        authority.version = 0;
        authority.settled_at = now + SETTLE_TICKS;
    }
    let doubled = admit(world, entity, inputs, now.max(record.tick));
    let behind = now.since(record.tick);
    let ahead = record.tick.since(now);
    let mut lived = ReplayResult::default();
    if behind > 0 && behind <= MAX_REPLAY_TICKS && record.warhead().is_some() {
        missiles::catch_up(world, entity, record.tick, now);
    } else if behind > 0 && behind <= MAX_REPLAY_TICKS {
        lived = catch_up(world, entity, record.tick, now, &blows);
    } else if ahead > 0
        && ahead <= MAX_AHEAD_TICKS
        && let Some(mut authority) = world.get_mut::<Authority>(entity)
    {
        authority.ahead = Some((record.tick, record.state));
        world.entity_mut(entity).insert(Flight(at_tick(&record.state, record.tick, now)));
    }
    if let Some(&Flight(state)) = world.get::<Flight>(entity) {
        spawn::place(world, entity, state);
    }
    for blow in &blows {
        let Some(impact) = world.get::<Body>(entity).map(|body| contacts::missed_damage(blow, body)) else { break };
        world.resource_mut::<Impacts>().push_applied(impact);
    }
    let controls = world.get::<PilotInput>(entity).map(|input| lived.controls.unwrap_or(input.pilot.controls));
    if let (Some(controls), Some(mut helm)) = (controls, world.get_mut::<Helm>(entity)) {
        helm.0 = controls;
    }
    world.resource_scope(|world, mut totals: Mut<Totals>| {
        let mut book = world.resource_mut::<Shots>();
        lived.shots.into_iter().for_each(|shot| book.fire(shot, now, &mut totals));
        totals.handoffs_in += 1;
        totals.inputs_applied += lived.inputs_applied;
        totals.inputs_doubled += doubled;
    });
    world.resource_mut::<Adoptions>().add(entity, began);
}

/// Queues the inputs that came with an adopted entity. Returns the number of duplicates.
fn admit(world: &mut World, entity: Entity, inputs: &[Input], now: SimTick) -> u64 {
    let Some(mut input) = world.get_mut::<PilotInput>(entity) else { return 0 };
    let PilotInput { pilot, queue } = &mut *input;
    inputs.iter().filter(|input| queue.admit(pilot, **input, now) == Arrival::Doubled).count() as u64
}

/// The result of the ticks by which an adopted entity was advanced.
#[derive(Default)]
struct ReplayResult {
    controls: Option<Controls>,
    inputs_applied: u64,
    shots: Vec<Shot>,
}

/// Advances an adopted entity by the ticks after `since`, with its inputs and collisions.
fn catch_up(world: &mut World, entity: Entity, since: SimTick, now: SimTick, blows: &[MissedContact]) -> ReplayResult {
    let mut lived = ReplayResult::default();
    let mut bodies =
        world.query::<(&Body, &Authority, &mut Flight, Option<&mut PilotInput>, Option<&mut Gun>, Has<Docked>)>();
    let Ok((body, authority, mut flight, mut input, mut gun, docked)) = bodies.get_mut(world, entity) else {
        return lived;
    };
    for tick in (since.0 + 1..=now.0).map(SimTick) {
        match (&mut input, body.spec()) {
            (Some(input), Some(spec)) => {
                let PilotInput { pilot, queue } = &mut **input;
                let (controls, applied) = queue.apply_due(pilot, tick);
                lived.inputs_applied += applied;
                lived.controls = Some(controls);
                if !docked {
                    flight.0 = flight::step(&flight.0, controls, &spec);
                    let shot = gun
                        .as_mut()
                        .and_then(|gun| bullets::fire_late(body, &flight.0, gun, authority.sector, controls, tick));
                    lived.shots.extend(shot);
                }
            }
            _ if docked => {}
            _ => flight.0 = drift(body, &flight.0),
        }
        contacts::apply_missed_contacts(blows, body, &mut flight, tick);
    }
    lived
}

/// Passes the end of a tick to the state machine.
pub(crate) fn on_tick_passed(world: &mut World) {
    let now = world.resource::<SimClock>().tick;
    perform(world, Event::Tick, now);
}
