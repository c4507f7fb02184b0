//! Pilots at the helm: what they sent is applied when it is due.
//!
//! Runs in the shard. Which input is due when, `crate::flight::queue` decides.

use crate::{
    app::{clock::SimClock, report::Totals, suspect},
    bodies::body::{Body, Hands, Helm, Owned, View},
    schedule::{HelmSystems, SimStep},
};
use bevy::prelude::*;
use sidereal_protocol::{flight::Controls, input::Input, record::Pilot, tick::SimTick};

pub use crate::flight::queue::{Arrival, HOLD_TICKS, InputQueue, MAX_PENDING, SLACK_WINDOW_TICKS, SPARE_TICKS};

/// Inputs at the helm.
pub(crate) struct InputsPlugin;

impl Plugin for InputsPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(SimStep, apply_inputs.in_set(HelmSystems::Pilots));
    }
}

/// Applies the inputs that are due to every ship with a pilot.
pub(crate) fn apply_inputs(
    clock: Res<SimClock>,
    mut totals: ResMut<Totals>,
    mut ships: Query<(&Body, &mut Owned, &mut Helm, &mut View)>,
) {
    for (body, mut owned, mut helm, mut view) in &mut ships {
        let _at = suspect::at(body.id);
        view.0 = None;
        if owned.ahead.is_some() {
            continue;
        }
        let Some(hands) = &mut owned.hands else {
            helm.0 = Controls::default();
            continue;
        };
        let (controls, applied) = hands.queue.apply_due(&mut hands.pilot, clock.tick);
        let seen = hands.queue.view();
        // They are acknowledged all the same, so that the client's do not pile up.
        let heeded = !owned.is_sheltered();
        helm.0 = if heeded { controls } else { Controls::default() };
        view.0 = seen.filter(|_| heeded);
        totals.inputs_applied += applied;
        totals.inputs_merged += applied.saturating_sub(1);
    }
}

/// A boarding is at the helm of the ship that `owned` is, and its beams may be judged so far back. If it is a later one
/// than that of the hands which hold the helm now, they let go, and what they still wanted is void. Returns whether it is
/// at the helm: an earlier one's time is over.
pub(crate) fn take_helm(owned: &mut Owned, boarding: u32, rewind: u8) -> bool {
    // A ship without a pilot has none to be taken over from: what it is sent is counted as unrouted.
    let Some(hands) = &mut owned.hands else { return true };
    if hands.pilot.boarding > boarding {
        return false;
    }
    if hands.pilot.boarding < boarding {
        *hands = Hands { pilot: Pilot::aboard(boarding, rewind), queue: InputQueue::default() };
    }
    hands.pilot.rewind = rewind;
    true
}

/// Takes inputs from the server for the ship that `owned` is.
pub(crate) fn receive(owned: &mut Owned, inputs: &[Input], now: SimTick, totals: &mut Totals) {
    let Some(hands) = &mut owned.hands else {
        totals.inputs_unrouted += inputs.len() as u64;
        return;
    };
    for &input in inputs {
        match hands.queue.push(&mut hands.pilot, input, now) {
            Arrival::InTime => {}
            Arrival::Late => totals.inputs_late += 1,
            Arrival::Doubled => totals.inputs_doubled += 1,
            Arrival::Refused => totals.inputs_refused += 1,
        }
    }
}
