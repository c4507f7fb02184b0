//! A diary of what this shard does to its own entities: for the tests of the whole mesh.
//!
//! Runs in the shard, only with the feature `journal`. Where an own body begins and ends is seen by observers,
//! applied inputs are collected at the end of the tick; damage is told where it is done.

use crate::{
    bodies::{authority::Authority, body::Body, registry::Registry},
    flight::inputs::PilotInput,
    schedule::{SimStep, SimSystems},
};
use bevy::prelude::*;
use sidereal_protocol::{
    control::{GhostImpact, ImpactCause},
    ids::EntityId,
    record::{EntityKind, Pilot},
    tick::SimTick,
};

/// Events that wait at most. A reader who comes every tick never sees a hundredth of it, but when a large block is
/// granted.
pub const MAX_EVENTS: usize = 65_536;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It is this shard's own from now on.
    Began {
        /// Whom it concerns.
        id: EntityId,
        /// What it is.
        kind: EntityKind,
        /// Under which epoch.
        epoch: u64,
        /// Hull points.
        hull: u16,
        /// Whose hands are at its helm.
        boarding: u32,
        /// Inputs that were applied before, by this boarding's earlier owners: all but those that came with it.
        inputs: u64,
    },
    /// It is no longer: released, withdrawn or destroyed.
    Ended {
        /// Whom it concerns.
        id: EntityId,
        /// Under which epoch it was.
        epoch: u64,
        /// Hull points.
        hull: u16,
    },
    /// A deal at a station has given it another hull, or repaired it, or taken it in or let it out: it stays this
    /// shard's, under the same epoch.
    Remade {
        /// Whom it concerns.
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
        /// Whom it concerns.
        id: EntityId,
        /// Under which epoch.
        epoch: u64,
        /// Hull points before.
        before: u16,
        /// Hull points that went.
        amount: u16,
        /// By what.
        cause: ImpactCause,
    },
    /// Inputs of its pilot were applied in one tick.
    Inputs {
        /// Whom it concerns.
        id: EntityId,
        /// Under which epoch.
        epoch: u64,
        /// Of which boarding.
        boarding: u32,
        /// Their stamps in the order in which they were applied.
        stamps: Vec<SimTick>,
        /// How many of this boarding were applied with them.
        total: u64,
    },
}

/// What happened since it was last read.
#[derive(Debug, Default, Resource)]
pub struct Journal {
    events: Vec<Event>,
    overfull: bool,
}

impl Journal {
    /// Takes out everything, oldest first; `None` when something is missing because nobody has read it in time.
    pub fn take(&mut self) -> Option<Vec<Event>> {
        let events = std::mem::take(&mut self.events);
        (!std::mem::take(&mut self.overfull)).then_some(events)
    }

    /// Adds an event. Past [`MAX_EVENTS`] it is dropped, which the reader is told.
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

/// A deal gives an own body `hull` points, or another hull with as many.
pub(crate) fn remade(world: &mut World, entity: Entity, hull: u16) {
    let Ok((body, authority)) = world.query::<(&Body, &Authority)>().get(world, entity) else { return };
    let event = Event::Remade { id: body.id, epoch: authority.epoch, before: body.hull, hull };
    world.resource_mut::<Journal>().push(event);
}

/// Writes the diary.
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
