//! The player's inputs on their way to the shard: unacknowledged ones are kept and resent, and the shard's count is
//! compared with the acknowledged ones.
//!
//! Pure. Runs in the player client and in bots.

use sidereal_protocol::{
    limits::MAX_UNACKNOWLEDGED_INPUTS,
    packets::{input::Input, own_state::OwnState},
    world::tick::SimTick,
};
use std::collections::VecDeque;

/// The inputs of the present ship, and the counts of all ships before it.
#[derive(Debug, Clone, Default)]
pub struct InputQueue {
    pending: VecDeque<Input>,
    last: SimTick,
    aboard: Aboard,
    before: InputCounts,
}

/// The present ship.
#[derive(Debug, Clone, Copy, Default)]
struct Aboard {
    /// First stamp for this ship; `None` before the first input.
    first: Option<SimTick>,
    /// The shard's count before the first of them was applied.
    baseline: u64,
    /// The newest stamp of an applied input in a state of the ship.
    newest: SimTick,
    counts: InputCounts,
}

/// The fates of inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InputCounts {
    /// Stamped and sent at least once.
    pub sent: u64,
    /// Acknowledged by a stamp equal to or later than theirs.
    pub acknowledged: u64,
    /// Dropped unacknowledged because the queue was full: the link was interrupted for two seconds. They may have been
    /// applied or not.
    pub given_up: u64,
    /// On their way when the ship was destroyed: they cannot be applied.
    pub void: u64,
    /// Applied, by the shard's count.
    pub applied: u64,
    /// Acknowledged but not applied.
    pub lost: u64,
    /// Applied more often than sent.
    pub doubled: u64,
}

impl InputCounts {
    /// Adds the counts of another queue.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.given_up += other.given_up;
        self.void += other.void;
        self.applied += other.applied;
        self.lost += other.lost;
        self.doubled += other.doubled;
    }
}

impl InputQueue {
    /// The player has another ship: pending inputs are void, counting starts anew. Stamps continue to rise.
    pub fn board(&mut self) {
        self.leave();
        let counts = std::mem::take(&mut self.aboard).counts;
        self.before.add(&counts);
    }

    /// The ship is gone: pending inputs are void.
    pub fn leave(&mut self) {
        self.aboard.counts.void += self.pending.len() as u64;
        self.pending.clear();
    }

    /// Queues a new input; false (and nothing is queued) if its stamp is not later than the last one. When
    /// [`MAX_UNACKNOWLEDGED_INPUTS`] are pending, the oldest is given up.
    pub fn push(&mut self, input: Input) -> bool {
        if input.tick <= self.last {
            return false;
        }
        self.last = input.tick;
        self.aboard.first.get_or_insert(input.tick);
        if self.pending.len() >= MAX_UNACKNOWLEDGED_INPUTS {
            self.pending.pop_front();
            self.aboard.counts.given_up += 1;
        }
        self.pending.push_back(input);
        self.aboard.counts.sent += 1;
        true
    }

    /// Stamps at or before `tick` are not accepted any more: the shard would drop them.
    pub fn start_after(&mut self, tick: SimTick) {
        self.last = self.last.max(tick);
    }

    /// Receives a state of the own ship: drops the acknowledged inputs and checks the shard's count.
    pub fn confirm(&mut self, own: &OwnState) {
        while self.pending.front().is_some_and(|input| input.tick <= own.input_tick) {
            self.pending.pop_front();
            self.aboard.counts.acknowledged += 1;
        }
        // After a shard's death another one continues from a slightly older state: until it has caught up, its states
        // do not contain inputs that the first one applied.
        if own.input_tick < self.aboard.newest {
            return;
        }
        self.aboard.newest = own.input_tick;
        let counts = &mut self.aboard.counts;
        if self.aboard.first.is_none_or(|first| own.input_tick < first) {
            // Not one of ours yet: the count is from before we took control.
            self.aboard.baseline = own.inputs_applied;
            return;
        }
        counts.applied = own.inputs_applied.saturating_sub(self.aboard.baseline);
        // Inputs that were given up may have been applied or not.
        let most = counts.acknowledged + counts.given_up;
        counts.lost = counts.acknowledged.saturating_sub(counts.applied);
        counts.doubled = counts.applied.saturating_sub(most);
    }

    /// Unacknowledged inputs, oldest first.
    pub fn pending(&mut self) -> &[Input] {
        self.pending.make_contiguous()
    }

    /// Number of unacknowledged inputs.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The counts of all inputs, of all ships.
    pub fn counts(&self) -> InputCounts {
        let mut counts = self.before;
        counts.add(&self.aboard.counts);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sidereal_protocol::{
        rules::flight::{Controls, FlightState},
        world::ids::NetId,
    };

    fn input(tick: u64) -> Input {
        Input { tick: SimTick(tick), controls: Controls::default(), view_lag: 0 }
    }

    fn own(input_tick: u64, inputs_applied: u64) -> OwnState {
        OwnState {
            net_id: NetId(1),
            boarding: 1,
            tick: SimTick(input_tick + 2),
            input_tick: SimTick(input_tick),
            inputs_applied,
            state: FlightState::default(),
        }
    }

    #[test]
    fn stamps_rise_strictly() {
        let mut queue = InputQueue::default();
        assert!(queue.push(input(5)));
        assert!(!queue.push(input(5)));
        assert!(!queue.push(input(4)));
        assert!(queue.push(input(6)));
        assert_eq!(queue.pending(), &[input(5), input(6)]);
    }

    #[test]
    fn a_full_queue_gives_up_the_oldest() {
        let mut queue = InputQueue::default();
        for tick in 1..=MAX_UNACKNOWLEDGED_INPUTS as u64 + 3 {
            queue.push(input(tick));
        }
        assert_eq!(queue.len(), MAX_UNACKNOWLEDGED_INPUTS);
        assert_eq!(queue.pending()[0], input(4));
        assert_eq!(queue.counts().given_up, 3);
    }

    #[test]
    fn a_lost_and_a_doubled_input_are_noticed() {
        let mut queue = InputQueue::default();
        queue.confirm(&own(0, 0));
        for tick in 11..=20 {
            queue.push(input(tick));
        }
        queue.confirm(&own(15, 5));
        assert_eq!((queue.counts().lost, queue.counts().doubled), (0, 0));
        queue.confirm(&own(16, 5));
        assert_eq!((queue.counts().lost, queue.counts().doubled), (1, 0));
        queue.confirm(&own(17, 8));
        assert_eq!((queue.counts().lost, queue.counts().doubled), (0, 1));
    }

    #[test]
    fn what_an_earlier_session_applied_is_not_ours() {
        let mut queue = InputQueue::default();
        queue.confirm(&own(90, 500));
        queue.start_after(SimTick(90));
        assert!(!queue.push(input(90)));
        queue.push(input(100));
        queue.confirm(&own(90, 500));
        queue.confirm(&own(100, 501));
        let counts = queue.counts();
        assert_eq!((counts.applied, counts.lost, counts.doubled), (1, 0, 0));
    }

    proptest! {
        /// With a shard that applies every input once, in any groups, and ships that are destroyed and replaced, every
        /// input ends up applied, pending, given up or void.
        #[test]
        fn every_input_is_accounted_for(
            steps in prop::collection::vec((1u64..4, 0u64..90, prop::bool::weighted(0.02)), 1..300)
        ) {
            let mut queue = InputQueue::default();
            let (mut tick, mut applied, mut acked) = (100u64, 0u64, 100u64);
            let mut stamps: Vec<u64> = Vec::new();
            for (gap, lag, dies) in steps {
                if dies {
                    queue.board();
                    stamps.clear();
                    applied = 0;
                    queue.confirm(&own(0, 0));
                }
                tick += gap;
                queue.push(input(tick));
                stamps.push(tick);
                let ack = tick.saturating_sub(lag);
                if ack > acked && stamps.first().is_some_and(|first| ack >= *first) {
                    acked = ack;
                    applied += stamps.iter().filter(|stamp| **stamp <= ack).count() as u64;
                    stamps.retain(|stamp| *stamp > ack);
                    queue.confirm(&own(ack, applied));
                }
                let counts = queue.counts();
                prop_assert_eq!(counts.lost, 0);
                prop_assert_eq!(counts.doubled, 0);
                prop_assert_eq!(
                    counts.sent,
                    counts.acknowledged + counts.given_up + counts.void + queue.len() as u64
                );
            }
        }
    }
}
