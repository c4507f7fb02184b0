//! A diary of what this shard does to its own entities: for the tests of the whole mesh.
//!
//! Runs in the shard, only with the feature `journal`. Where an own body begins and ends is seen by observers,
//! applied inputs are collected at the end of the tick; damage is told where it is done.

use crate::{
    bodies::{
        body::{Body, Owned},
        registry::Registry,
    },
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
    /// Whose body is taken away only to be put back changed, and the hull points that it had.
    remaking: Option<(EntityId, u16)>,
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

    pub(crate) fn damaged(&mut self, body: &Body, owned: &Owned, impact: &GhostImpact) {
        self.push(Event::Damaged {
            id: body.id,
            epoch: owned.epoch,
            before: body.hull,
            amount: impact.damage.min(body.hull),
            cause: impact.cause,
        });
    }
}

/// An own body is about to be taken away and put back changed: no end and no beginning.
pub(crate) fn expect_remade(world: &mut World, entity: Entity) {
    let Ok((body, _)) = world.query::<(&Body, &Owned)>().get(world, entity) else { return };
    let remaking = (body.id, body.hull);
    world.resource_mut::<Journal>().remaking = Some(remaking);
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

fn begin(added: On<Add, Owned>, bodies: Query<(&Body, &Owned)>, mut journal: ResMut<Journal>) {
    let Ok((body, owned)) = bodies.get(added.entity) else { return };
    if let Some((_, before)) = journal.remaking.take_if(|(id, _)| *id == body.id) {
        journal.push(Event::Remade { id: body.id, epoch: owned.epoch, before, hull: body.hull });
        return;
    }
    let (boarding, inputs) = owned
        .hands
        .as_ref()
        .map_or((0, 0), |hands| (hands.pilot.boarding, hands.pilot.inputs_applied - hands.queue.applied.len() as u64));
    journal.push(Event::Began { id: body.id, kind: body.kind, epoch: owned.epoch, hull: body.hull, boarding, inputs });
}

fn end(removed: On<Remove, Owned>, mut bodies: Query<(&Body, &mut Owned)>, mut journal: ResMut<Journal>) {
    let Ok((body, mut owned)) = bodies.get_mut(removed.entity) else { return };
    take_inputs(body, &mut owned, &mut journal);
    if journal.remaking.is_some_and(|(id, _)| id == body.id) {
        return;
    }
    journal.push(Event::Ended { id: body.id, epoch: owned.epoch, hull: body.hull });
}

fn note_inputs(registry: Res<Registry>, mut bodies: Query<(&Body, &mut Owned)>, mut journal: ResMut<Journal>) {
    for entity in registry.in_order() {
        let Ok((body, mut owned)) = bodies.get_mut(entity) else { continue };
        take_inputs(body, owned.bypass_change_detection(), &mut journal);
    }
}

fn take_inputs(body: &Body, owned: &mut Owned, journal: &mut Journal) {
    let Some(hands) = &mut owned.hands else { return };
    if hands.queue.applied.is_empty() {
        return;
    }
    let stamps = std::mem::take(&mut hands.queue.applied);
    let Pilot { boarding, inputs_applied: total, .. } = hands.pilot;
    journal.push(Event::Inputs { id: body.id, epoch: owned.epoch, boarding, stamps, total });
}
