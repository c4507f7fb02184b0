//! A log of all changes of own entities, for the tests of the whole mesh.
//!
//! Runs in the shard, only with the feature `journal`. Observers log the begin and end of own bodies, applied inputs
//! are collected at the end of the tick, damage is logged where it is applied.

use crate::{
    bodies::{authority::Authority, body::Body, registry::Registry},
    flight::inputs::PilotInput,
    schedule::{SimStep, SimSystems},
};
use bevy::prelude::*;
use sidereal_protocol::{
    frames::control::{GhostImpact, ImpactCause},
    record::{EntityKind, Pilot},
    world::{ids::EntityId, tick::SimTick},
};

/// Limit of events between two reads. A reader that reads in every tick stays below a hundredth of it, except when a
/// large block is granted.
pub const MAX_EVENTS: usize = 65_536;

/// An event of an own entity.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It is this shard's own from now on.
    Began {
        /// The entity.
        id: EntityId,
        /// What it is.
        kind: EntityKind,
        /// Under which epoch.
        epoch: u64,
        /// Hull points.
        hull: u16,
        /// The boarding that pilots it.
        boarding: u32,
        /// Inputs that this boarding's earlier owners applied, without those that came along.
        inputs: u64,
    },
    /// It is no longer this shard's own: released, withdrawn or destroyed.
    Ended {
        /// The entity.
        id: EntityId,
        /// The epoch under which it was.
        epoch: u64,
        /// Hull points.
        hull: u16,
    },
    /// A deal has changed its hull, repaired, docked or undocked it: it stays this shard's own, under the same epoch.
    Remade {
        /// The entity.
        id: EntityId,
        /// Under which epoch.
        epoch: u64,
        /// Hull points before.
        before: u16,
        /// Hull points now.
        hull: u16,
    },
    /// It was hit.
    Damaged {
        /// The entity.
        id: EntityId,
        /// Under which epoch.
        epoch: u64,
        /// Hull points before.
        before: u16,
        /// Lost hull points.
        amount: u16,
        /// The cause.
        cause: ImpactCause,
    },
    /// Inputs of its pilot were applied in one tick.
    Inputs {
        /// The entity.
        id: EntityId,
        /// Under which epoch.
        epoch: u64,
        /// The boarding that sent them.
        boarding: u32,
        /// Their stamps in the order in which they were applied.
        stamps: Vec<SimTick>,
        /// How many of this boarding were applied with them.
        total: u64,
    },
}

/// Events since the last read.
#[derive(Debug, Default, Resource)]
pub struct Journal {
    events: Vec<Event>,
    overfull: bool,
}

impl Journal {
    /// Removes and returns all events, oldest first; `None` if some are missing because they were not read in time.
    pub fn take(&mut self) -> Option<Vec<Event>> {
        let events = std::mem::take(&mut self.events);
        (!std::mem::take(&mut self.overfull)).then_some(events)
    }

    /// Adds an event. Beyond [`MAX_EVENTS`] it is dropped, and the next [`Journal::take`] reports that.
    pub fn push(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push(event);
        } else {
            self.overfull = true;
        }
    }

    pub(crate) fn damaged(&mut self, body: &Body, authority: &Authority, impact: &GhostImpact) {
        self.push(Event::Damaged {
            id: body.id,
            epoch: authority.epoch,
            before: body.hull,
            amount: impact.damage.min(body.hull),
            cause: impact.cause,
        });
    }
}

/// Logs that a deal gives an own body `hull` points, or another hull with as many.
pub(crate) fn remade(world: &mut World, entity: Entity, hull: u16) {
    let Ok((body, authority)) = world.query::<(&Body, &Authority)>().get(world, entity) else { return };
    let event = Event::Remade { id: body.id, epoch: authority.epoch, before: body.hull, hull };
    world.resource_mut::<Journal>().push(event);
}

/// Adds the journal.
pub(crate) struct JournalPlugin;

impl Plugin for JournalPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Journal>()
            .add_observer(begin)
            .add_observer(end)
            .add_systems(SimStep, note_inputs.after(SimSystems::Publish));
    }
}

fn begin(
    added: On<Add, Authority>,
    bodies: Query<(&Body, &Authority, Option<&PilotInput>)>,
    mut journal: ResMut<Journal>,
) {
    let Ok((body, authority, input)) = bodies.get(added.entity) else { return };
    let (boarding, inputs) = input.map_or((0, 0), |PilotInput { pilot, queue }| {
        (pilot.boarding, pilot.inputs_applied - queue.applied.len() as u64)
    });
    let (epoch, hull) = (authority.epoch, body.hull);
    journal.push(Event::Began { id: body.id, kind: body.kind, epoch, hull, boarding, inputs });
}

fn end(
    removed: On<Remove, Authority>,
    mut bodies: Query<(&Body, &Authority, Option<&mut PilotInput>)>,
    mut journal: ResMut<Journal>,
) {
    let Ok((body, authority, input)) = bodies.get_mut(removed.entity) else { return };
    if let Some(mut input) = input {
        take_inputs(body, authority, &mut input, &mut journal);
    }
    journal.push(Event::Ended { id: body.id, epoch: authority.epoch, hull: body.hull });
}

fn note_inputs(
    registry: Res<Registry>,
    mut bodies: Query<(&Body, &Authority, &mut PilotInput)>,
    mut journal: ResMut<Journal>,
) {
    for entity in registry.in_order() {
        let Ok((body, authority, mut input)) = bodies.get_mut(entity) else { continue };
        take_inputs(body, authority, input.bypass_change_detection(), &mut journal);
    }
}

fn take_inputs(body: &Body, authority: &Authority, input: &mut PilotInput, journal: &mut Journal) {
    if input.queue.applied.is_empty() {
        return;
    }
    let stamps = std::mem::take(&mut input.queue.applied);
    let Pilot { boarding, inputs_applied: total, .. } = input.pilot;
    journal.push(Event::Inputs { id: body.id, epoch: authority.epoch, boarding, stamps, total });
}
