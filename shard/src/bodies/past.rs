//! Past states of bodies over the last half second, for pilots, who see them late.
//!
//! Runs in the shard. For own bodies each tick's state, for ghosts the states and ticks of their updates: what players
//! were sent. Between two samples a body is where a client draws it ([`sidereal_protocol::rules::playback`]).

use crate::{
    app::clock::SimClock,
    bodies::{authority::Authority, body::Flight},
    schedule::{PhysicsSystems, SimStep},
};
use bevy::prelude::*;
use sidereal_protocol::{
    DVec2,
    rules::{
        flight::FlightState,
        playback::{EXTRAPOLATION_S, REST_TICKS, position_between},
    },
    world::tick::{SimTick, TICK_SECONDS},
};
use std::collections::VecDeque;

/// Adds past states of own bodies. Those of ghosts are added where their motion arrives.
pub(crate) struct PastPlugin;

impl Plugin for PastPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(SimStep, remember.in_set(PhysicsSystems::Past));
    }
}

/// Samples per body: twice the longest rewind, because a ghost's newest sample is some ticks old.
pub const SAMPLES: usize = 16;

/// The last states of a body, by rising tick.
#[derive(Component, Debug, Clone, Default, PartialEq)]
pub struct Past {
    samples: VecDeque<(SimTick, FlightState)>,
    /// Since the last sample it was in that state after every tick.
    rests: bool,
}

impl Past {
    /// Adds a sample. It replaces an older one of the same tick; one older than all of [`SAMPLES`] is dropped.
    pub fn note(&mut self, tick: SimTick, state: FlightState) {
        // Whatever rested here has moved on elsewhere, if it is a ghost now.
        self.rests = false;
        let index = self.samples.partition_point(|(known, _)| *known < tick);
        if let Some(known) = self.samples.get_mut(index)
            && known.0 == tick
        {
            known.1 = state;
            return;
        }
        if index == self.samples.len()
            && let Some(&(last, resting)) = self.samples.back()
            && tick.since(last) > REST_TICKS
            && resting.velocity == DVec2::ZERO
            && state.velocity != DVec2::ZERO
        {
            self.insert(index, (SimTick(tick.0 - REST_TICKS), resting));
            self.insert(self.samples.len(), (tick, state));
            return;
        }
        self.insert(index, (tick, state));
    }

    /// Adds the state of an own body after `tick`, which follows the last one. While the body is at rest nothing is
    /// stored, and the last state counts for all ticks since.
    pub(crate) fn note_own(&mut self, tick: SimTick, state: FlightState) {
        let Some(&(last, known)) = self.samples.back() else { return self.note(tick, state) };
        if known == state && state.velocity == DVec2::ZERO && last < tick {
            self.rests = true;
            return;
        }
        if std::mem::take(&mut self.rests) && tick.since(last) > 1 {
            self.insert(self.samples.len(), (SimTick(tick.0 - 1), known));
        }
        self.note(tick, state);
    }

    fn insert(&mut self, index: usize, sample: (SimTick, FlightState)) {
        if self.samples.len() < SAMPLES {
            self.samples.insert(index, sample);
        } else if index > 0 {
            self.samples.pop_front();
            self.samples.insert(index - 1, sample);
        }
    }

    /// Whether there is a sample at `moment` or before.
    pub fn reaches(&self, moment: f64) -> bool {
        self.samples.front().is_some_and(|(tick, _)| tick.0 as f64 <= moment)
    }

    /// The position at `moment`, a tick with fractions; `None` without samples.
    pub fn position_at(&self, moment: f64) -> Option<DVec2> {
        let index = self.samples.partition_point(|(tick, _)| tick.0 as f64 <= moment);
        let before = index.checked_sub(1).and_then(|index| self.samples.get(index));
        match (before, self.samples.get(index)) {
            (Some(before), Some(after)) => Some(between(before, after, moment)),
            (Some((tick, state)), None) | (None, Some((tick, state))) => {
                let seconds = (moment - tick.0 as f64) * TICK_SECONDS;
                Some(state.coast(seconds.clamp(-EXTRAPOLATION_S, EXTRAPOLATION_S)).position)
            }
            (None, None) => None,
        }
    }
}

fn between((from, a): &(SimTick, FlightState), (to, b): &(SimTick, FlightState), moment: f64) -> DVec2 {
    let ticks = to.since(*from);
    position_between(a, b, ticks, (moment - from.0 as f64) / ticks as f64)
}

/// Adds the present state of each own body.
pub(crate) fn remember(clock: Res<SimClock>, mut bodies: Query<(Ref<Flight>, &Authority, &mut Past)>) {
    for (flight, authority, mut past) in &mut bodies {
        let still_rests = past.rests && !flight.is_changed();
        if !still_rests && authority.ahead.is_none() {
            past.note_own(clock.tick, flight.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::rules::flight::{Controls, HullKind, step};

    fn at(x: f64, speed: f64) -> FlightState {
        FlightState { position: DVec2::new(x, 0.0), velocity: DVec2::new(speed, 0.0), ..Default::default() }
    }

    #[test]
    fn between_two_samples_it_is_on_the_flown_path() {
        let (mut past, mut whole) = (Past::default(), Vec::new());
        let mut state = FlightState::default();
        for tick in 0..40u64 {
            state = step(&state, Controls { thrust: 127, turn: 90, buttons: 0 }, &HullKind::Scout.spec());
            whole.push(state);
            // Every third sample is lost.
            if tick % 3 != 1 {
                past.note(SimTick(tick), state);
            }
        }
        for tick in 25..39u64 {
            let error = past.position_at(tick as f64).expect("known").distance(whole[tick as usize].position);
            assert!(error < 0.3, "{tick}: {error}");
        }
    }

    #[test]
    fn beyond_what_is_known_it_is_carried_on_for_a_bounded_time() {
        let mut past = Past::default();
        assert_eq!(past.position_at(100.0), None);
        past.note(SimTick(100), at(0.0, 30.0));
        for (moment, x) in [(101.0, 1.0), (100.5, 0.5), (97.0, -3.0), (500.0, 7.5), (0.0, -7.5)] {
            assert!((past.position_at(moment).expect("known").x - x).abs() < 1e-9, "{moment}");
        }
    }

    #[test]
    fn what_rested_until_now_does_not_creep() {
        let mut past = Past::default();
        past.note(SimTick(100), at(5.0, 0.0));
        past.note(SimTick(130), at(7.0, 60.0));
        assert_eq!(past.position_at(126.9).expect("known").x, 5.0);
    }

    #[test]
    fn an_own_body_at_rest_is_known_without_a_sample_for_each_tick() {
        let (mut thrifty, mut whole) = (Past::default(), Past::default());
        let states = (0..30u64).map(|tick| match tick {
            0..10 => at(5.0, 0.0),
            10..15 => at(5.0 + 2.0 * (tick - 9) as f64, 60.0),
            _ => at(15.0, 0.0),
        });
        for (tick, state) in states.enumerate() {
            let tick = SimTick(tick as u64);
            thrifty.note_own(tick, state);
            whole.note(tick, state);
            for moment in 0..12 * 4 {
                let moment = tick.0 as f64 - f64::from(moment) / 4.0;
                if moment >= 0.0 {
                    assert_eq!(thrifty.position_at(moment), whole.position_at(moment), "{moment} at {tick}");
                }
            }
        }
        assert!(thrifty.samples.len() < 10, "{thrifty:?}");
    }

    #[test]
    fn samples_out_of_order_find_their_place_and_their_number_is_bounded() {
        let mut past = Past::default();
        for tick in [100u64, 103, 101, 102, 101] {
            past.note(SimTick(tick), at(tick as f64, 30.0));
        }
        let ticks: Vec<u64> = past.samples.iter().map(|(tick, _)| tick.0).collect();
        assert_eq!(ticks, vec![100, 101, 102, 103]);
        for tick in 104..200u64 {
            past.note(SimTick(tick), at(tick as f64, 30.0));
        }
        past.note(SimTick(50), at(0.0, 0.0));
        assert_eq!((past.samples.len(), past.samples[0].0), (SAMPLES, SimTick(200 - SAMPLES as u64)));
        assert!((past.position_at(190.5).expect("known").x - 190.5).abs() < 1e-9);
    }
}
