//! Prediction of the own ship: it reacts to the controls at once, and the shard's later states correct it by replay.
//!
//! Pure. Runs in the player client and in bots. One step of [`flight::step`] per own input, as the shard makes one per
//! tick. Collisions are not predicted (contacts are the shard's state): they appear as corrections.

use crate::replication::smoothing::{VisualOffset, blend};
use bevy::math::DVec2;
use sidereal_protocol::{
    packets::{
        input::{self, Input},
        own_state::OwnState,
    },
    rules::flight::{self, Controls, FlightState, HullKind, HullSpec, wrap_angle},
    world::tick::SimTick,
};
use std::collections::VecDeque;

/// A smaller error than this, units, is not a correction: it is invisible.
pub const CORRECTION_UNITS: f64 = 0.05;

/// A larger error than this, units, is not blended but shown at once: the ship was moved.
pub const SNAP_UNITS: f64 = 200.0;

/// Own ticks without a state from the shard after which the ship is held where it is. While a sector has no shard
/// nothing in it moves; a further flight would only be taken back.
pub const STALL_TICKS: u64 = 20;

/// See [`input::MAX_INPUT_DELAY_TICKS`].
const MAX_INPUT_DELAY_TICKS: u64 = input::MAX_INPUT_DELAY_TICKS as u64;

/// Predicted states kept for drawing between ticks.
const TRAIL: usize = 6;

/// The effect of a confirmed state on the prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// It is older than the last one.
    Stale,
    /// The prediction was right, or wrong by less than [`CORRECTION_UNITS`].
    Right,
    /// It was wrong by this many units; the error is blended away.
    Corrected(f64),
    /// It was wrong by more than [`SNAP_UNITS`]; the ship is drawn at its new place at once.
    Snapped(f64),
}

/// The own ship between the confirmed state and the controls.
#[derive(Debug, Clone)]
pub struct Prediction {
    spec: HullSpec,
    confirmed: OwnState,
    /// States after own ticks, oldest first; the last one is the newest prediction. Never empty.
    trail: VecDeque<(SimTick, FlightState)>,
    offset: VisualOffset,
    ticks_unheard: u64,
    /// The ship is docked: it stays where the shard holds it.
    held: bool,
}

impl Prediction {
    /// Starts from the shard's state.
    pub fn new(hull: HullKind, confirmed: OwnState) -> Self {
        Self {
            spec: hull.spec(),
            confirmed,
            trail: VecDeque::from([(confirmed.input_tick, confirmed.state)]),
            offset: VisualOffset::default(),
            ticks_unheard: 0,
            held: false,
        }
    }

    /// Applies the next input: one step.
    pub fn advance(&mut self, input: Input) {
        self.ticks_unheard += 1;
        let state = *self.state();
        let next = if self.is_stalled() { state } else { self.step(&state, input.controls) };
        self.push(input.tick, next);
    }

    /// The ship has another hull from now on.
    pub fn refit(&mut self, hull: HullKind) {
        self.spec = hull.spec();
    }

    /// Holds the ship in place, or frees it: while it is docked its shard does the same.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    fn step(&self, state: &FlightState, controls: Controls) -> FlightState {
        if self.held {
            return FlightState { velocity: DVec2::ZERO, angular_velocity: 0.0, ..*state };
        }
        flight::step(state, controls, &self.spec)
    }

    /// Receives a confirmed state. `pending` are all inputs after its `input_tick`, oldest first: they are replayed on
    /// top of it. The picture at `shown` (see [`Prediction::drawn`]) stays where it is.
    pub fn reconcile(&mut self, confirmed: &OwnState, pending: &[Input], shown: (f64, Controls)) -> Outcome {
        if confirmed.tick <= self.confirmed.tick && self.confirmed.tick != SimTick(0) {
            return Outcome::Stale;
        }
        let before = *self.state();
        let shown_before = self.exact(shown.0, shown.1);
        let newest = self.tick();
        self.confirmed = *confirmed;
        self.ticks_unheard = 0;
        self.trail.clear();
        self.push(confirmed.input_tick, confirmed.state);
        for input in overdue_skipped(confirmed, pending) {
            let next = self.step(self.state(), input.controls);
            self.push(input.tick, next);
        }
        if self.tick() < newest {
            // Everything is acknowledged already (or nothing was ever sent): as of now.
            let state = *self.state();
            self.push(newest, state);
        }
        let after = *self.state();
        let error = before.position.distance(after.position);
        let turned = wrap_angle(before.angle - after.angle).abs();
        if error > SNAP_UNITS {
            self.offset.clear();
            Outcome::Snapped(error)
        } else if error > CORRECTION_UNITS || turned > 0.01 {
            // At the drawn moment: there the two differ by another amount when the ship turns or thrusts, as a flight
            // and the same flight a tick later do.
            self.offset.absorb(&shown_before, &self.exact(shown.0, shown.1));
            if error > CORRECTION_UNITS { Outcome::Corrected(error) } else { Outcome::Right }
        } else {
            Outcome::Right
        }
    }

    /// Fades corrections for `seconds`.
    pub fn decay(&mut self, seconds: f64) {
        self.offset.decay(seconds);
    }

    /// The ship to draw at `at`, in own ticks: between predicted states, or on the way to the one after the newest with
    /// the controls `controls`.
    pub fn drawn(&self, at: f64, controls: Controls) -> FlightState {
        self.offset.apply(&self.exact(at, controls))
    }

    /// The same without the blending of corrections.
    fn exact(&self, at: f64, controls: Controls) -> FlightState {
        let (newest, state) = self.newest();
        let ahead = at - newest.0 as f64;
        if ahead < 0.0 {
            self.between(at)
        } else if self.is_stalled() {
            *state
        } else {
            blend(state, &self.step(state, controls), ahead.min(1.0))
        }
    }

    fn between(&self, at: f64) -> FlightState {
        let after = self.trail.iter().position(|(tick, _)| tick.0 as f64 > at);
        match after {
            Some(0) | None => self.trail[0].1,
            Some(index) => {
                let (from, a) = &self.trail[index - 1];
                let (to, b) = &self.trail[index];
                let span = to.since(*from).max(1) as f64;
                blend(a, b, (at - from.0 as f64) / span)
            }
        }
    }

    /// The newest predicted state.
    pub fn state(&self) -> &FlightState {
        self.newest().1
    }

    /// The own tick of [`Prediction::state`].
    pub fn tick(&self) -> SimTick {
        self.newest().0
    }

    /// The shard's last state.
    pub fn confirmed(&self) -> &OwnState {
        &self.confirmed
    }

    /// The properties of the hull.
    pub fn spec(&self) -> &HullSpec {
        &self.spec
    }

    /// Ticks between the stamp of an input and the tick that applies it, by the last confirmed state: at most
    /// [`input::MAX_INPUT_DELAY_TICKS`].
    pub fn input_delay_ticks(&self) -> u64 {
        let ticks = self.confirmed.tick.since(self.confirmed.input_tick);
        // A much larger one is of a ship on which none of our inputs was applied yet.
        if ticks > 2 * MAX_INPUT_DELAY_TICKS {
            u64::from(input::FIRST_INPUT_DELAY_TICKS)
        } else {
            ticks.min(MAX_INPUT_DELAY_TICKS)
        }
    }

    /// No state from the shard for [`STALL_TICKS`]: the ship is held.
    pub fn is_stalled(&self) -> bool {
        self.ticks_unheard > STALL_TICKS
    }

    /// How far the drawn ship is from the predicted one, units.
    pub fn offset_units(&self) -> f64 {
        self.offset.length()
    }

    /// Where bullets leave the ship, world units.
    pub fn muzzle(&self) -> DVec2 {
        let state = self.state();
        state.position + state.heading() * self.spec.radius
    }

    fn newest(&self) -> (SimTick, &FlightState) {
        let (tick, state) = self.trail.back().expect("the trail is never empty");
        (*tick, state)
    }

    fn push(&mut self, tick: SimTick, state: FlightState) {
        if self.trail.len() >= TRAIL {
            self.trail.pop_front();
        }
        self.trail.push_back((tick, state));
    }
}

/// `pending` without the inputs that the shard, being past their latest time already, will apply together with the
/// first remaining one: a tick makes one step, however many inputs it applies.
fn overdue_skipped<'a>(confirmed: &OwnState, pending: &'a [Input]) -> &'a [Input] {
    let Some(newest) = pending.last() else { return pending };
    let steps = (newest.tick + MAX_INPUT_DELAY_TICKS).since(confirmed.tick) as usize;
    &pending[pending.len().saturating_sub(steps)..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sidereal_protocol::world::{ids::NetId, tick::TICK_SECONDS};

    const HULL: HullKind = HullKind::Scout;
    const START: u64 = 1000;
    /// The drawn moment, where it does not matter.
    const NOW: (f64, Controls) = (START as f64, Controls { thrust: 0, turn: 0, buttons: 0 });

    fn own(tick: u64, input_tick: u64, state: FlightState) -> OwnState {
        OwnState {
            net_id: NetId(7),
            boarding: 1,
            tick: SimTick(tick),
            input_tick: SimTick(input_tick),
            inputs_applied: input_tick.saturating_sub(START),
            state,
        }
    }

    fn any_controls() -> impl Strategy<Value = Controls> {
        (any::<i8>(), any::<i8>(), 0u8..8).prop_map(|(thrust, turn, buttons)| Controls { thrust, turn, buttons })
    }

    /// The shard's states after each input: `states[i]` is the one after input `START + i`.
    fn shard(controls: &[Controls], from: FlightState) -> Vec<FlightState> {
        let mut states = vec![from];
        for controls in controls {
            let last = *states.last().unwrap();
            states.push(flight::step(&last, *controls, &HULL.spec()));
        }
        states
    }

    proptest! {
        /// However late, lossy and reordered the states arrive: the prediction is bit by bit the sequence that the
        /// shard computes, and nothing is ever corrected.
        #[test]
        fn prediction_is_exactly_the_shards_sequence(
            controls in prop::collection::vec(any_controls(), 20..120),
            lags in prop::collection::vec(1usize..18, 120),
            delay in 0u64..6,
        ) {
            let start = FlightState { position: DVec2::new(1.0e6, -3.0e5), ..Default::default() };
            let truth = shard(&controls, start);
            let mut prediction = Prediction::new(HULL, own(START + delay, START, start));
            let mut pending: Vec<Input> = Vec::new();
            for (index, controls) in controls.iter().enumerate() {
                let input = Input { tick: SimTick(START + 1 + index as u64), controls: *controls, view_lag: 0 };
                pending.push(input);
                prediction.advance(input);
                let lag = lags[index];
                if index >= lag && lag % 3 != 0 {
                    let applied = (index - lag) as u64 + 1;
                    let state = own(START + applied + delay, START + applied, truth[applied as usize]);
                    let unapplied: Vec<Input> = pending
                        .iter()
                        .copied()
                        .filter(|input| input.tick > state.input_tick)
                        .collect();
                    let outcome = prediction.reconcile(&state, &unapplied, NOW);
                    prop_assert!(matches!(outcome, Outcome::Right | Outcome::Stale), "{:?}", outcome);
                }
                if !prediction.is_stalled() {
                    prop_assert_eq!(*prediction.state(), truth[index + 1]);
                }
            }
        }

        /// An impulse that the client cannot predict: after the first state that contains it the prediction is the
        /// shard's sequence again, and the ship is drawn without a jump.
        #[test]
        fn a_blow_is_corrected_by_replay_and_blended(
            controls in prop::collection::vec(any_controls(), 30..60),
            blow_at in 5usize..20,
            push in (-90.0f64..90.0, -90.0f64..90.0),
            lag in 2usize..8,
            ahead in -0.9f64..0.9,
        ) {
            let spec = HULL.spec();
            let mut truth = vec![FlightState::default()];
            for (index, controls) in controls.iter().enumerate() {
                let mut next = flight::step(truth.last().unwrap(), *controls, &spec);
                if index == blow_at {
                    next.velocity += DVec2::new(push.0, push.1);
                    next.position += DVec2::new(push.0, push.1) * TICK_SECONDS;
                }
                truth.push(next);
            }
            let mut prediction = Prediction::new(HULL, own(START, START, truth[0]));
            let mut pending: Vec<Input> = Vec::new();
            for (index, controls) in controls.iter().enumerate() {
                let input = Input { tick: SimTick(START + 1 + index as u64), controls: *controls, view_lag: 0 };
                pending.push(input);
                prediction.advance(input);
                if index < lag {
                    continue;
                }
                let applied = index + 1 - lag;
                let at = prediction.tick().0 as f64 + ahead;
                let before = prediction.drawn(at, *controls).position;
                let state = own(START + applied as u64 + 2, START + applied as u64, truth[applied]);
                pending.retain(|input| input.tick > state.input_tick);
                let outcome = prediction.reconcile(&state, &pending, (at, *controls));
                let drawn = prediction.drawn(at, *controls).position;
                prop_assert!(drawn.distance(before) <= 2.0 * CORRECTION_UNITS, "{:?}", outcome);
                if applied > blow_at {
                    prop_assert_eq!(*prediction.state(), truth[index + 1]);
                }
            }
            prediction.decay(3.0);
            prop_assert_eq!(prediction.offset_units(), 0.0);
        }
    }

    #[test]
    fn a_ship_put_elsewhere_is_shown_there_at_once() {
        let mut prediction = Prediction::new(HULL, own(START, START, FlightState::default()));
        let elsewhere = FlightState { position: DVec2::new(500.0, 0.0), ..Default::default() };
        let outcome = prediction.reconcile(&own(START + 1, START, elsewhere), &[], NOW);
        assert_eq!(outcome, Outcome::Snapped(500.0));
        assert_eq!(prediction.drawn(START as f64, Controls::default()).position, elsewhere.position);
    }

    #[test]
    fn a_silent_shard_holds_the_ship() {
        let moving = FlightState { velocity: DVec2::new(100.0, 0.0), ..Default::default() };
        let mut prediction = Prediction::new(HULL, own(START, START, moving));
        for tick in 1..=STALL_TICKS * 3 {
            prediction.advance(Input { tick: SimTick(START + tick), controls: Controls::default(), view_lag: 0 });
        }
        assert!(prediction.is_stalled());
        let held = prediction.state().position.x;
        assert!(held > 0.0 && held < 100.0 * (STALL_TICKS + 1) as f64 * TICK_SECONDS);
    }

    #[test]
    fn a_docked_ship_stays_where_it_is_held_and_flies_on_from_there() {
        let moored = FlightState { position: DVec2::new(40.0, 2.0), ..Default::default() };
        let mut prediction = Prediction::new(HULL, own(START, START, moored));
        let ahead = Controls { thrust: 127, turn: 90, buttons: 0 };
        let input = |tick: u64| Input { tick: SimTick(START + tick), controls: ahead, view_lag: 0 };
        prediction.hold(true);
        (1..=10).for_each(|tick| prediction.advance(input(tick)));
        assert_eq!(*prediction.state(), moored);
        let pending: Vec<Input> = (5..=10).map(input).collect();
        assert_eq!(prediction.reconcile(&own(START + 6, START + 4, moored), &pending, NOW), Outcome::Right);
        assert_eq!(prediction.drawn(START as f64 + 10.5, ahead), moored);
        prediction.hold(false);
        (11..=15).for_each(|tick| prediction.advance(input(tick)));
        assert!(prediction.state().position.x > moored.position.x);
    }

    #[test]
    fn a_ship_with_another_hull_flies_by_that_ones_rule() {
        let ahead = Controls { thrust: 127, turn: 0, buttons: 0 };
        let reach = |hull: Option<HullKind>| {
            let mut prediction = Prediction::new(HULL, own(START, START, FlightState::default()));
            hull.into_iter().for_each(|hull| prediction.refit(hull));
            for tick in 1..=15 {
                prediction.advance(Input { tick: SimTick(START + tick), controls: ahead, view_lag: 0 });
            }
            (prediction.state().position.x, prediction.muzzle().x - prediction.state().position.x)
        };
        let (scout, hauler) = (reach(None), reach(Some(HullKind::Hauler)));
        assert_eq!(reach(Some(HULL)), scout);
        assert!(hauler.0 < scout.0 && hauler.1 > scout.1, "{hauler:?} {scout:?}");
    }

    #[test]
    fn inputs_that_are_overdue_make_one_step_together() {
        let moving = FlightState { velocity: DVec2::new(30.0, 0.0), ..Default::default() };
        let mut prediction = Prediction::new(HULL, own(START, START, moving));
        let pending: Vec<Input> = (1..=50)
            .map(|tick| Input { tick: SimTick(START + tick), controls: Controls::default(), view_lag: 0 })
            .collect();
        for input in &pending {
            prediction.advance(*input);
        }
        // The shard returns, already at the newest input's tick, without any of them.
        prediction.reconcile(&own(START + 50, START, moving), &pending, NOW);
        let steps = prediction.state().position.x / (30.0 * TICK_SECONDS);
        assert!(steps < MAX_INPUT_DELAY_TICKS as f64 + 0.1, "{steps}");
    }

    #[test]
    fn drawing_is_continuous_across_a_tick() {
        let start = FlightState { velocity: DVec2::new(200.0, 0.0), ..Default::default() };
        let ahead = Controls { thrust: 127, turn: 40, buttons: 0 };
        let mut prediction = Prediction::new(HULL, own(START, START, start));
        let before = prediction.drawn(START as f64 + 1.0, ahead);
        prediction.advance(Input { tick: SimTick(START + 1), controls: ahead, view_lag: 0 });
        let after = prediction.drawn(START as f64 + 1.0, ahead);
        assert_eq!(before, after);
    }
}
