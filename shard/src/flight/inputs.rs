//! Pilots' inputs: applied when they are due.
//!
//! Runs in the shard. `crate::flight::queue` decides which input is due when.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    bodies::{
        authority::Authority,
        body::{Body, Helm, Lights, View},
        parts::{AppRecordParts, RecordPart},
        registry::Registry,
    },
    economy::ship_locks::LockState,
    schedule::{HelmSystems, SimStep},
};
use bevy::prelude::*;
use sidereal_protocol::{
    packets::input::{FIRST_INPUT_DELAY_TICKS, Input},
    record::{EntityRecord, Pilot, Section},
    rules::flight::Controls,
    world::{ids::EntityId, tick::SimTick},
};

pub use crate::flight::queue::{Arrival, HOLD_TICKS, InputQueue, MAX_PENDING, SLACK_WINDOW_TICKS, SPARE_TICKS};

/// Adds pilots' inputs.
pub(crate) struct InputsPlugin;

impl Plugin for InputsPlugin {
    fn build(&self, app: &mut App) {
        app.add_record_part::<PilotInput>()
            .add_record_part::<Helm>()
            .add_record_part::<View>()
            .add_record_part::<Lights>()
            .add_systems(SimStep, apply_inputs.in_set(HelmSystems::Pilots));
    }
}

/// A pilot and the queued inputs. On own ships that have a pilot.
#[derive(Component, Debug, Clone)]
pub struct PilotInput {
    /// The part that goes with the ship from shard to shard.
    pub pilot: Pilot,
    /// Inputs that are not due yet.
    pub queue: InputQueue,
}

impl RecordPart for PilotInput {
    const SECTION: Option<u16> = Some(Pilot::ID);

    fn of(record: &EntityRecord) -> Option<Self> {
        record.pilot().map(|mut pilot| {
            if pilot.inputs_applied == 0 && pilot.input_delay_ticks == 0 {
                pilot.input_delay_ticks = FIRST_INPUT_DELAY_TICKS;
            }
            Self { pilot, queue: InputQueue::default() }
        })
    }

    fn write(&self, record: &mut EntityRecord) {
        record.set(self.pilot);
    }
}

impl RecordPart for Helm {
    fn of(record: &EntityRecord) -> Option<Self> {
        record.hull_kind().map(|_| Self::default())
    }
}

impl RecordPart for Lights {
    fn of(record: &EntityRecord) -> Option<Self> {
        record.hull_kind().map(|_| Self::default())
    }
}

impl RecordPart for View {
    fn of(record: &EntityRecord) -> Option<Self> {
        record.hull_kind().map(|_| Self::default())
    }
}

/// Applies the inputs that are due to every ship with a pilot.
pub(crate) fn apply_inputs(
    clock: Res<SimClock>,
    mut totals: ResMut<Totals>,
    mut ships: Query<(&Body, &Authority, Option<&mut PilotInput>, LockState, &mut Helm, &mut View)>,
) {
    for (body, authority, input, lock, mut helm, mut view) in &mut ships {
        let _at = suspect::at(body.id);
        view.0 = None;
        if authority.ahead.is_some() {
            continue;
        }
        let Some(mut input) = input else {
            helm.0 = Controls::default();
            continue;
        };
        let PilotInput { pilot, queue } = &mut *input;
        let (controls, applied) = queue.apply_due(pilot, clock.tick);
        let seen = queue.view();
        // They are acknowledged all the same, so that the client does not keep them.
        let applies = !lock.is_locked();
        helm.0 = if applies { controls } else { Controls::default() };
        view.0 = seen.filter(|_| applies);
        totals.inputs_applied += applied;
        totals.inputs_merged += applied.saturating_sub(1);
    }
}

/// Queues the inputs of a boarding for the ship of `id`. `rewind` is how far back its beams may be judged.
pub(crate) fn receive(world: &mut World, id: EntityId, boarding: u32, rewind: u8, inputs: &[Input]) {
    let now = world.resource::<SimClock>().tick;
    world.resource_scope(|world, mut totals: Mut<Totals>| {
        let entity = world.resource::<Registry>().get(id);
        let input = entity.and_then(|entity| world.get_mut::<PilotInput>(entity));
        if let Some(mut input) = input
            && take_helm(&mut input, boarding, rewind)
        {
            take_inputs(&mut input, inputs, now, &mut totals);
        } else {
            totals.inputs_unrouted += inputs.len() as u64;
        }
    });
}

/// Assigns the ship to a boarding. A later one than the present pilot's replaces it, and the queued inputs are dropped.
/// Returns whether the boarding is assigned now: an earlier one is not.
fn take_helm(input: &mut PilotInput, boarding: u32, rewind: u8) -> bool {
    if input.pilot.boarding > boarding {
        return false;
    }
    if input.pilot.boarding < boarding {
        *input = PilotInput { pilot: Pilot::aboard(boarding, rewind), queue: InputQueue::default() };
    }
    input.pilot.rewind = rewind;
    true
}

fn take_inputs(input: &mut PilotInput, inputs: &[Input], now: SimTick, totals: &mut Totals) {
    let PilotInput { pilot, queue } = input;
    for &input in inputs {
        match queue.push(pilot, input, now) {
            Arrival::InTime => {}
            Arrival::Late => totals.inputs_late += 1,
            Arrival::Doubled => totals.inputs_doubled += 1,
            Arrival::Refused => totals.inputs_refused += 1,
        }
    }
}
