//! A pilot's inputs: each applied once, in order, at a fixed delay after its stamp.
//!
//! Runs in the shard. [`InputQueue`] is a state machine without I/O; [`Pilot`] is the part of its state that goes with
//! the ship to another shard. The delay follows how late inputs arrive: an input that misses its tick raises it, ten
//! seconds with slack lower it.

use sidereal_protocol::{
    limits::INPUT_HISTORY,
    packets::input::{Input, MAX_INPUT_DELAY_TICKS, MAX_INPUT_LEAD_TICKS},
    record::Pilot,
    rules::{flight::Controls, tool::TRIGGERS},
    world::tick::{SimTick, TICK_HZ},
};
use std::collections::VecDeque;

/// How long the slack is measured before the delay may fall, ticks: 10 s.
pub const SLACK_WINDOW_TICKS: u64 = 10 * TICK_HZ as u64;

/// Least slack, ticks, for the delay to fall by one: one tick remains.
pub const SPARE_TICKS: u64 = 2;

/// Limit of queued inputs: as many as the server keeps. Further ones are rejected.
pub const MAX_PENDING: usize = INPUT_HISTORY;

/// How long the last controls are held without inputs, ticks: 2 s, what a client repeats. Then they become neutral: the
/// ship of a player who is gone does not fly on for ever.
pub const HOLD_TICKS: u64 = 2 * TICK_HZ as u64;

/// What happened to an input that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Queued for its tick.
    InTime,
    /// Its tick is over: it is applied in the next one.
    Late,
    /// It, or a later one, has already arrived: dropped.
    Doubled,
    /// Too far ahead, or too many are queued: dropped.
    Refused,
}

/// Inputs that are not due yet.
#[derive(Debug, Clone, Default)]
pub struct InputQueue {
    pending: VecDeque<Input>,
    window_start: Option<SimTick>,
    least_slack: Option<u64>,
    view: Option<f64>,
    /// Stamps of applied inputs that are not in the journal yet.
    #[cfg(feature = "journal")]
    pub(crate) applied: Vec<SimTick>,
    /// A test has disabled the filter for duplicates.
    #[cfg(feature = "planted-faults")]
    pub planted: bool,
}

/// Quarters of a tick in [`Input::view_lag`].
const VIEW_LAG_PER_TICK: f64 = 4.0;

impl InputQueue {
    /// Queues an input that arrived after the tick `now` was simulated.
    pub fn push(&mut self, pilot: &mut Pilot, input: Input, now: SimTick) -> Arrival {
        let arrival = self.admit(pilot, input, now);
        if arrival != Arrival::InTime {
            return arrival;
        }
        let due = input.tick + u64::from(pilot.input_delay_ticks);
        let next = now + 1;
        if due < next {
            // An input that misses any possible delay came after an outage, and is no measure of the link.
            if next.since(due) <= u64::from(MAX_INPUT_DELAY_TICKS) {
                let delay = pilot.input_delay_ticks.saturating_add(1);
                pilot.input_delay_ticks = delay.min(MAX_INPUT_DELAY_TICKS);
            }
            self.least_slack = Some(0);
            return Arrival::Late;
        }
        let slack = due.since(next);
        self.least_slack = Some(self.least_slack.map_or(slack, |least| least.min(slack)));
        Arrival::InTime
    }

    /// Queues an input that was first sent to another shard: its lateness is no measure of the link.
    pub fn admit(&mut self, pilot: &Pilot, input: Input, now: SimTick) -> Arrival {
        let newest = self.pending.back().map_or(pilot.last_input, |last| last.tick);
        if input.tick <= newest && !self.skips_duplicate_filter() {
            return Arrival::Doubled;
        }
        if input.tick.since(now) > MAX_INPUT_LEAD_TICKS || self.pending.len() >= MAX_PENDING {
            return Arrival::Refused;
        }
        self.pending.push_back(input);
        Arrival::InTime
    }

    /// Applies the inputs that are due at `tick`. Returns the controls of this tick and the number of inputs.
    pub fn apply_due(&mut self, pilot: &mut Pilot, tick: SimTick) -> (Controls, u64) {
        let mut applied = 0;
        let mut triggers = 0;
        self.view = None;
        while let Some(input) = self.pending.front().copied()
            && input.tick + u64::from(pilot.input_delay_ticks) <= tick
        {
            self.pending.pop_front();
            #[cfg(feature = "journal")]
            self.applied.push(input.tick);
            pilot.last_input = input.tick;
            pilot.inputs_applied += 1;
            pilot.controls = input.controls;
            triggers |= input.controls.buttons & TRIGGERS;
            if input.controls.is_aimed() {
                self.view = Some(input.tick.0 as f64 - f64::from(input.view_lag) / VIEW_LAG_PER_TICK);
            }
            applied += 1;
        }
        self.relax(pilot, tick);
        let last_due = pilot.last_input + u64::from(pilot.input_delay_ticks);
        if tick.since(last_due) > HOLD_TICKS {
            pilot.controls = Controls::default();
        }
        let buttons = pilot.controls.buttons | triggers;
        (Controls { buttons, ..pilot.controls }, applied)
    }

    /// The moment that the pilot saw when it fired the beam, from the last such input of the last tick. A tick with
    /// fractions, unchecked.
    pub fn view(&self) -> Option<f64> {
        self.view
    }

    /// The number of queued inputs.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether no input is queued.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    #[cfg(feature = "planted-faults")]
    fn skips_duplicate_filter(&self) -> bool {
        self.planted
    }

    #[cfg(not(feature = "planted-faults"))]
    fn skips_duplicate_filter(&self) -> bool {
        false
    }

    fn relax(&mut self, pilot: &mut Pilot, tick: SimTick) {
        let start = *self.window_start.get_or_insert(tick);
        if tick.since(start) < SLACK_WINDOW_TICKS {
            return;
        }
        if self.least_slack.is_some_and(|slack| slack >= SPARE_TICKS) {
            pilot.input_delay_ticks = pilot.input_delay_ticks.saturating_sub(1);
        }
        self.window_start = Some(tick);
        self.least_slack = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(tick: u64, thrust: i8) -> Input {
        Input { tick: SimTick(tick), controls: Controls { thrust, turn: 0, buttons: 0 }, view_lag: 0 }
    }

    fn pilot(delay: u8) -> Pilot {
        Pilot { input_delay_ticks: delay, ..Default::default() }
    }

    #[test]
    fn an_input_is_applied_once_its_delay_is_over_and_then_held() {
        let (mut queue, mut pilot) = (InputQueue::default(), pilot(2));
        assert_eq!(queue.push(&mut pilot, input(100, 50), SimTick(100)), Arrival::InTime);
        assert_eq!(queue.apply_due(&mut pilot, SimTick(101)).1, 0);
        let (controls, applied) = queue.apply_due(&mut pilot, SimTick(102));
        assert_eq!((controls.thrust, applied), (50, 1));
        let (controls, applied) = queue.apply_due(&mut pilot, SimTick(103));
        assert_eq!((controls.thrust, applied), (50, 0));
        assert_eq!((pilot.last_input, pilot.inputs_applied), (SimTick(100), 1));
    }

    #[test]
    fn a_repeated_input_is_dropped_whether_it_waits_or_was_applied() {
        let (mut queue, mut pilot) = (InputQueue::default(), pilot(2));
        queue.push(&mut pilot, input(10, 1), SimTick(9));
        assert_eq!(queue.push(&mut pilot, input(10, 1), SimTick(9)), Arrival::Doubled);
        assert_eq!(queue.push(&mut pilot, input(9, 1), SimTick(9)), Arrival::Doubled);
        queue.apply_due(&mut pilot, SimTick(12));
        assert_eq!(queue.push(&mut pilot, input(10, 1), SimTick(12)), Arrival::Doubled);
        assert_eq!(pilot.inputs_applied, 1);
    }

    #[test]
    fn merged_inputs_count_each_and_keep_the_trigger() {
        let (mut queue, mut pilot) = (InputQueue::default(), pilot(0));
        let mut firing = input(5, 10);
        firing.controls.buttons = Controls::FIRE;
        queue.push(&mut pilot, firing, SimTick(7));
        queue.push(&mut pilot, input(6, 20), SimTick(7));
        let (controls, applied) = queue.apply_due(&mut pilot, SimTick(8));
        assert_eq!(applied, 2);
        assert_eq!(controls.thrust, 20);
        assert!(controls.holds(Controls::FIRE));
        assert!(!queue.apply_due(&mut pilot, SimTick(9)).0.holds(Controls::FIRE));
    }

    #[test]
    fn of_merged_inputs_the_last_that_wants_the_beam_says_what_its_pilot_saw() {
        let (mut queue, mut pilot) = (InputQueue::default(), pilot(0));
        for (tick, buttons, view_lag) in [(5, Controls::BEAM, 8), (6, Controls::BEAM, 10), (7, Controls::LAUNCH, 0)] {
            let mut next = input(tick, 1);
            (next.controls.buttons, next.view_lag) = (buttons, view_lag);
            queue.push(&mut pilot, next, SimTick(8));
        }
        let (controls, _) = queue.apply_due(&mut pilot, SimTick(9));
        assert!(controls.holds(Controls::BEAM) && controls.holds(Controls::LAUNCH));
        assert_eq!(queue.view(), Some(3.5));
        // Held, not fired anew: no input says what the pilot sees now.
        queue.apply_due(&mut pilot, SimTick(10));
        assert_eq!(queue.view(), None);
    }

    #[test]
    fn a_late_input_raises_the_delay_up_to_the_limit() {
        let (mut queue, mut pilot) = (InputQueue::default(), pilot(2));
        for tick in 0..40u64 {
            // Each comes 13 ticks after its stamp.
            queue.push(&mut pilot, input(100 + tick, 1), SimTick(113 + tick));
            queue.apply_due(&mut pilot, SimTick(114 + tick));
        }
        assert_eq!(pilot.input_delay_ticks, MAX_INPUT_DELAY_TICKS);
        assert_eq!(pilot.inputs_applied, 40);
    }

    #[test]
    fn what_comes_after_an_outage_is_applied_and_does_not_raise_the_delay() {
        let (mut queue, mut pilot) = (InputQueue::default(), pilot(2));
        for tick in 0..40u64 {
            let arrival = queue.push(&mut pilot, input(100 + tick, 1), SimTick(160));
            assert_eq!(arrival, Arrival::Late);
        }
        assert_eq!(queue.apply_due(&mut pilot, SimTick(161)).1, 40);
        assert_eq!(pilot.input_delay_ticks, 2);
    }

    #[test]
    fn a_burst_that_is_three_ticks_late_raises_the_delay_by_three_and_no_more() {
        let (mut queue, mut pilot) = (InputQueue::default(), pilot(2));
        for tick in 100..110u64 {
            // From the stamp 100 on all come after tick 104 at once: due 102, a tick of 105 is next.
            queue.push(&mut pilot, input(tick, 1), SimTick(104));
        }
        assert_eq!(pilot.input_delay_ticks, 4);
    }

    #[test]
    fn the_delay_falls_by_one_in_ten_seconds_with_time_to_spare() {
        let (mut queue, mut pilot) = (InputQueue::default(), pilot(8));
        for tick in 0..=2 * SLACK_WINDOW_TICKS {
            queue.push(&mut pilot, input(1000 + tick, 1), SimTick(1000 + tick));
            queue.apply_due(&mut pilot, SimTick(1001 + tick));
        }
        assert_eq!(pilot.input_delay_ticks, 6);
    }

    #[test]
    fn the_delay_does_not_fall_when_the_slack_is_needed() {
        let (mut queue, mut pilot) = (InputQueue::default(), pilot(2));
        for tick in 0..=3 * SLACK_WINDOW_TICKS {
            queue.push(&mut pilot, input(1000 + tick, 1), SimTick(1000 + tick));
            queue.apply_due(&mut pilot, SimTick(1001 + tick));
        }
        assert_eq!(pilot.input_delay_ticks, 2);
    }

    #[test]
    fn what_is_far_ahead_or_too_much_is_refused() {
        let (mut queue, mut pilot) = (InputQueue::default(), pilot(2));
        let far = input(MAX_INPUT_LEAD_TICKS + 101, 1);
        assert_eq!(queue.push(&mut pilot, far, SimTick(100)), Arrival::Refused);
        let refused = (0..1000u64)
            .filter(|&tick| {
                // The shard stands still at tick 100 while stamps rise with it.
                queue.push(&mut pilot, input(1 + tick, 1), SimTick(100 + tick)) == Arrival::Refused
            })
            .count();
        assert_eq!(queue.len(), MAX_PENDING);
        assert_eq!(refused, 1000 - MAX_PENDING);
    }

    #[test]
    fn hands_come_off_when_nothing_comes_for_two_seconds() {
        let (mut queue, mut pilot) = (InputQueue::default(), pilot(2));
        queue.push(&mut pilot, input(100, 99), SimTick(100));
        assert_eq!(queue.apply_due(&mut pilot, SimTick(102)).0.thrust, 99);
        assert_eq!(queue.apply_due(&mut pilot, SimTick(102 + HOLD_TICKS)).0.thrust, 99);
        assert_eq!(queue.apply_due(&mut pilot, SimTick(103 + HOLD_TICKS)).0.thrust, 0);
    }
}
