//! The input log of one session, without I/O: each input is forwarded once, and the latest are kept to be sent to the
//! next authority in a handoff.

use sidereal_protocol::{
    limits::INPUT_HISTORY,
    packets::input::{Input, MAX_INPUT_LEAD_TICKS},
    world::tick::SimTick,
};
use std::collections::VecDeque;

/// Inputs from one session.
#[derive(Debug, Default)]
pub struct InputLog {
    history: VecDeque<Input>,
    newest: SimTick,
    /// New inputs received.
    pub received: u64,
    /// Inputs rejected because no honest clock has their tick.
    pub refused: u64,
}

impl InputLog {
    /// Adds a packet's inputs, which may repeat earlier ones; returns the new ones, oldest first.
    pub fn take(&mut self, now: SimTick, inputs: &[Input]) -> Vec<Input> {
        let mut fresh = Vec::new();
        for input in inputs {
            if input.tick <= self.newest {
                continue;
            }
            if input.tick > now + MAX_INPUT_LEAD_TICKS {
                self.refused += 1;
                continue;
            }
            self.newest = input.tick;
            if self.history.len() == INPUT_HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(*input);
            self.received += 1;
            fresh.push(*input);
        }
        fresh
    }

    /// Inputs after `last`, oldest first.
    pub fn since(&self, last: SimTick) -> Vec<Input> {
        self.history.iter().filter(|input| input.tick > last).copied().collect()
    }

    /// Clears the log for another ship.
    pub fn clear(&mut self) {
        self.history.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::rules::flight::Controls;

    fn input(tick: u64) -> Input {
        Input { tick: SimTick(tick), controls: Controls::default(), view_lag: 0 }
    }

    #[test]
    fn each_input_is_new_once() {
        let mut log = InputLog::default();
        let now = SimTick(100);
        assert_eq!(log.take(now, &[input(100), input(101)]).len(), 2);
        assert_eq!(log.take(now, &[input(100), input(101), input(102)]), vec![input(102)]);
        assert_eq!(log.take(now, &[input(101)]), vec![]);
        assert_eq!(log.since(SimTick(100)), vec![input(101), input(102)]);
        assert_eq!(log.received, 3);
    }

    #[test]
    fn a_stamp_from_the_future_is_refused_and_blocks_nothing() {
        let mut log = InputLog::default();
        assert_eq!(log.take(SimTick(100), &[input(1_000_000)]), vec![]);
        assert_eq!(log.refused, 1);
        assert_eq!(log.take(SimTick(100), &[input(101)]).len(), 1);
    }
}
