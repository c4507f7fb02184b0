//! What a handoff does to the world: records go out, bodies become ghosts, offers become bodies.
//!
//! Runs in the shard. When and whether is decided by [`crate::handoff::machine`].

use crate::{
    app::{clock::SimClock, report::Totals},
    authority::leases::Leases,
    bodies::{
        body::{Body, Flight, Helm, Owned},
        ghosts,
        registry::Registry,
        spawn,
    },
    flight::{
        motion::{at_tick, drift},
        queue::Arrival,
    },
    handoff::machine::{Action, Event, Handoffs, SETTLE_TICKS},
    link::mailbox::Outbox,
    physics::{contacts, damage::Impacts, impacts::Felt},
    schedule::{BorderSystems, SimStep},
    weapons::{
        bullets::{self, Shots},
        missiles,
    },
};
use bevy::prelude::*;
use sidereal_protocol::{
    control::ToServer,
    flight::{self, Controls},
    ids::EntityId,
    input::Input,
    record::{EntityKind, EntityRecord},
    sector::{SECTOR_SIZE, SectorId},
    tick::SimTick,
};
use std::time::Instant;

/// Handoffs.
pub(crate) struct HandoffPlugin;

impl Plugin for HandoffPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Handoffs>().add_systems(SimStep, watch_the_time.in_set(BorderSystems::Handoffs));
    }
}

/// The most ticks that an adopted entity is advanced by: 5 s. A record that is older (a ship from the
/// database) stays as it is.
const MAX_REPLAY_TICKS: u64 = 150;

/// The most ticks that a record may be ahead of this shard: 1 s. Beyond that the clocks are not
/// comparable, and its state counts as of now.
const MAX_AHEAD_TICKS: u64 = 30;

/// Feeds the machine and does what it says.
pub(crate) fn perform(world: &mut World, event: Event, now: SimTick) {
    let actions = world.resource_mut::<Handoffs>().step(now, event);
    for action in actions {
        match action {
            Action::Prepare { id, to, attempt } => {
                if let Some(mut owned) = owned_mut(world, id) {
                    owned.version += 1;
                }
                let Some(record) = spawn::record_of(world, id, now) else { continue };
                // It may have flown on into another sector since it was first asked for.
                let here = SectorId::containing(record.state.position);
                let to = if world.resource::<Leases>().holds(here) { to } else { here };
                send(world, ToServer::Prepare { record: Box::new(record), to, attempt });
            }
            Action::Send(message) => send(world, message),
            Action::Strike(impact) => world.resource_mut::<Impacts>().push(impact),
            Action::Resume { id, settled_at } => {
                world.resource_mut::<Totals>().handoffs_aborted += 1;
                if let Some(mut owned) = owned_mut(world, id) {
                    owned.settled_at = settled_at;
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

/// A rock or a crate that nobody takes drifts back: it would ask again for ever, and pile up with others beyond
/// the edge of what is simulated. Who has a will of its own turns by it.
fn turn_back(world: &mut World, id: EntityId) {
    let Some(entity) = world.resource::<Registry>().get(id) else { return };
    let mut bodies = world.query::<(&Body, &Owned, &mut Flight)>();
    let Ok((body, owned, mut flight)) = bodies.get_mut(world, entity) else { return };
    if !matches!(body.kind, EntityKind::Asteroid | EntityKind::Crate) {
        return;
    }
    let outward = flight.0.position - owned.sector.center();
    let velocity = &mut flight.0.velocity;
    for (speed, side) in [(&mut velocity.x, outward.x), (&mut velocity.y, outward.y)] {
        if side.abs() > SECTOR_SIZE / 2.0 {
            *speed = -side.signum() * speed.abs();
        }
    }
}

/// The own part of `id`'s body.
pub(crate) fn owned_mut(world: &mut World, id: EntityId) -> Option<Mut<'_, Owned>> {
    let entity = world.resource::<Registry>().get(id)?;
    world.get_mut::<Owned>(entity)
}

/// Makes an offered entity this shard's own, advanced from its record to `now`.
fn adopt(world: &mut World, record: EntityRecord, inputs: &[Input], now: SimTick) {
    let (body, mut owned, mut flight) = spawn::own_body(&record);
    owned.version = 0;
    owned.settled_at = now + SETTLE_TICKS;
    owned.adopted = Some(Instant::now());
    let mut applied = 0;
    let mut doubled = 0;
    if let Some(hands) = &mut owned.hands {
        for &input in inputs {
            if hands.queue.admit(&hands.pilot, input, now.max(record.tick)) == Arrival::Doubled {
                doubled += 1;
            }
        }
    }
    let mut shots = Vec::new();
    let blows = world.resource_mut::<Felt>().missed(record.id, record.tick, now);
    let behind = now.since(record.tick);
    let ahead = record.tick.since(now);
    let mut controls = owned.hands.as_ref().map(|hands| hands.pilot.controls);
    if behind > 0 && behind <= MAX_REPLAY_TICKS && owned.warhead.is_some() {
        missiles::catch_up(world, &body, &owned, &mut flight, record.tick, now);
    } else if behind > 0 && behind <= MAX_REPLAY_TICKS {
        for tick in record.tick.0 + 1..=now.0 {
            applied += advance(&body, &mut owned, &mut flight, &mut controls, SimTick(tick));
            let held = (owned.hands.is_some() && owned.docked.is_none()).then_some(controls).flatten();
            shots.extend(held.and_then(|held| bullets::fire_late(&body, &flight.0, &mut owned, held, SimTick(tick))));
            contacts::apply_blows(&blows, &body, &mut flight, SimTick(tick));
        }
    } else if ahead > 0 && ahead <= MAX_AHEAD_TICKS {
        owned.ahead = Some((record.tick, record.state));
        flight.0 = at_tick(&record.state, record.tick, now);
    }
    for blow in &blows {
        world.resource_mut::<Impacts>().push_felt(contacts::after_blow(blow, &body));
    }
    let entity = spawn::spawn_owned(world, body, owned, flight);
    if let (Some(controls), Some(mut helm)) = (controls, world.get_mut::<Helm>(entity)) {
        helm.0 = controls;
    }
    world.resource_scope(|world, mut totals: Mut<Totals>| {
        let mut book = world.resource_mut::<Shots>();
        shots.into_iter().for_each(|shot| book.fire(shot, now, &mut totals));
    });
    let mut totals = world.resource_mut::<Totals>();
    totals.handoffs_in += 1;
    totals.inputs_applied += applied;
    totals.inputs_doubled += doubled;
}

/// One tick that an adopted entity lived through on its way here: by its inputs. Its collisions come apart.
fn advance(body: &Body, owned: &mut Owned, flight: &mut Flight, controls: &mut Option<Controls>, tick: SimTick) -> u64 {
    match (&mut owned.hands, body.spec()) {
        (Some(hands), Some(spec)) => {
            let (now, applied) = hands.queue.apply_due(&mut hands.pilot, tick);
            *controls = Some(now);
            if owned.docked.is_none() {
                flight.0 = flight::step(&flight.0, now, &spec);
            }
            applied
        }
        _ if owned.docked.is_some() => 0,
        _ => {
            flight.0 = drift(body, &flight.0);
            0
        }
    }
}

/// Lets the machine know that a tick has passed.
pub(crate) fn watch_the_time(world: &mut World) {
    let now = world.resource::<SimClock>().tick;
    perform(world, Event::Tick, now);
}
