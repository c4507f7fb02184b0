//! The line between two ends: the fate and the time of each datagram. No socket, no clock, no thread.
//!
//! Both directions wait in one queue, ordered by due time. As with real jitter, a datagram that was sent later may be
//! due earlier. Everything follows from the seed: the same datagrams in the same order have the same fates.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use crate::conditions::Conditions;

/// Waiting datagrams, both directions and copies together. A hundred players send and receive some ten thousand a
/// second.
pub const MAX_WAITING: usize = 1 << 16;

/// Their bytes: some 500 Mbit/s for a second, more than the processes of one machine produce.
pub const MAX_WAITING_BYTES: usize = 64 << 20;

/// The direction of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a peer to the target.
    ToTarget,
    /// From the target back to a peer.
    ToPeer,
}

/// Counts of one direction, in datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WayCounts {
    /// Received.
    pub entered: u64,
    /// Lost by the conditions.
    pub lost: u64,
    /// Duplicated by the conditions.
    pub doubled: u64,
    /// Dropped because too many waited, copies included.
    pub overflowed: u64,
    /// Sent, copies included.
    pub left: u64,
}

/// A datagram that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due<T> {
    /// Its direction.
    pub way: Way,
    /// The datagram.
    pub item: T,
    /// Its due time.
    pub at: Duration,
}

/// The waiting datagrams and their fates. `T` is one datagram. All times are counted from a moment that the caller
/// chooses.
#[derive(Debug)]
pub struct Line<T> {
    conditions: Conditions,
    to_target: Direction,
    to_peer: Direction,
    waiting: BinaryHeap<Reverse<Waiting<T>>>,
    waiting_bytes: usize,
    /// Number of the next copy: of two that are due together the earlier one leaves first.
    next_number: u64,
}

#[derive(Debug)]
struct Direction {
    rng: Pcg64Mcg,
    counts: WayCounts,
}

impl Direction {
    fn new(seed: u64) -> Self {
        Self { rng: Pcg64Mcg::seed_from_u64(seed), counts: WayCounts::default() }
    }
}

#[derive(Debug)]
struct Waiting<T> {
    at: Duration,
    number: u64,
    way: Way,
    bytes: usize,
    item: T,
}

impl<T> Waiting<T> {
    fn key(&self) -> (Duration, u64) {
        (self.at, self.number)
    }
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Waiting<T> {}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<T: Clone> Line<T> {
    /// An empty line.
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        Self {
            conditions,
            to_target: Direction::new(seed),
            // The directions must not have the same fates.
            to_peer: Direction::new(!seed),
            waiting: BinaryHeap::new(),
            waiting_bytes: 0,
            next_number: 0,
        }
    }

    /// A datagram of `bytes` bytes is received at `now`. At [`MAX_WAITING`] or [`MAX_WAITING_BYTES`] it is dropped and
    /// counted.
    pub fn enter(&mut self, now: Duration, way: Way, item: T, bytes: usize) {
        let conditions = self.conditions;
        let direction = self.direction(way);
        direction.counts.entered += 1;
        // Always the same number of draws: the fate of one datagram does not shift those of the next.
        let [loss, duplication]: [f64; 2] = direction.rng.random();
        let range = conditions.shortest()..=conditions.longest();
        let delays = [(); 2].map(|()| direction.rng.random_range(range.clone()));
        if loss < conditions.loss() {
            direction.counts.lost += 1;
            return;
        }
        let is_doubled = duplication < conditions.duplication();
        if is_doubled {
            direction.counts.doubled += 1;
            self.wait(now + delays[1], way, item.clone(), bytes);
        }
        self.wait(now + delays[0], way, item, bytes);
    }

    /// The next datagram that is due at `now`.
    pub fn leave(&mut self, now: Duration) -> Option<Due<T>> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(Waiting { at, way, bytes, item, .. }) = self.waiting.pop()?;
        self.waiting_bytes -= bytes;
        self.direction(way).counts.left += 1;
        Some(Due { way, item, at })
    }

    /// When the next datagram is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.waiting.peek().map(|Reverse(next)| next.at)
    }

    /// The counts of one direction so far.
    pub fn counts(&self, way: Way) -> WayCounts {
        match way {
            Way::ToTarget => self.to_target.counts,
            Way::ToPeer => self.to_peer.counts,
        }
    }

    fn direction(&mut self, way: Way) -> &mut Direction {
        match way {
            Way::ToTarget => &mut self.to_target,
            Way::ToPeer => &mut self.to_peer,
        }
    }

    fn wait(&mut self, at: Duration, way: Way, item: T, bytes: usize) {
        if self.waiting.len() >= MAX_WAITING || self.waiting_bytes + bytes > MAX_WAITING_BYTES {
            self.direction(way).counts.overflowed += 1;
            return;
        }
        self.waiting_bytes += bytes;
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.push(Reverse(Waiting { at, number, way, bytes, item }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: u32 = 20_000;

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    fn line(delay_ms: u64, jitter_ms: u64, loss: f64, duplication: f64, seed: u64) -> Line<u32> {
        let conditions = Conditions::new(ms(delay_ms), ms(jitter_ms), loss, duplication).expect("possible");
        Line::new(conditions, seed)
    }

    /// Sends a datagram per millisecond, each with its number; returns all that leave.
    fn send(line: &mut Line<u32>, way: Way, count: u32) -> Vec<Due<u32>> {
        for number in 0..count {
            line.enter(ms(number.into()), way, number, 100);
        }
        std::iter::from_fn(|| line.leave(Duration::MAX)).collect()
    }

    #[test]
    fn delays_fill_their_bounds_and_never_leave_them() {
        let arrived = send(&mut line(20, 5, 0.0, 0.0, 1), Way::ToTarget, MANY);
        assert_eq!(arrived.len(), MANY as usize);
        let delays: Vec<Duration> = arrived.iter().map(|due| due.at - ms(due.item.into())).collect();
        let (shortest, longest) = (delays.iter().min().expect("many"), delays.iter().max().expect("many"));
        assert!((ms(15)..ms(16)).contains(shortest), "{shortest:?}");
        assert!((ms(24)..=ms(25)).contains(longest), "{longest:?}");
        let mean_ms = delays.iter().map(Duration::as_secs_f64).sum::<f64>() * 1e3 / f64::from(MANY);
        assert!((mean_ms - 20.0).abs() < 0.1, "{mean_ms}");
    }

    #[test]
    fn jitter_reorders_and_a_steady_delay_does_not() {
        let is_in_order = |arrived: &[Due<u32>]| arrived.is_sorted_by_key(|due| due.item);
        assert!(is_in_order(&send(&mut line(20, 0, 0.0, 0.0, 1), Way::ToPeer, MANY)));
        let jittered = send(&mut line(20, 5, 0.0, 0.0, 1), Way::ToPeer, MANY);
        assert!(!is_in_order(&jittered));
        assert!(jittered.is_sorted_by_key(|due| due.at));
        // Datagrams that were received together leave together, in their order.
        let mut steady = line(20, 0, 0.0, 0.0, 1);
        (0..100).for_each(|number| steady.enter(ms(3), Way::ToPeer, number, 1));
        let left: Vec<u32> = std::iter::from_fn(|| steady.leave(ms(23))).map(|due| due.item).collect();
        assert_eq!(left, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_leaves_before_it_is_due() {
        let mut line = line(20, 0, 0.0, 0.0, 1);
        line.enter(ms(7), Way::ToTarget, 1, 10);
        assert_eq!(line.next_due(), Some(ms(27)));
        assert_eq!(line.leave(ms(27) - Duration::from_nanos(1)), None);
        assert_eq!(line.leave(ms(27)), Some(Due { way: Way::ToTarget, item: 1, at: ms(27) }));
        assert_eq!((line.next_due(), line.leave(Duration::MAX)), (None, None));
    }

    #[test]
    fn shares_are_kept_and_every_datagram_is_accounted_for() {
        for (loss, duplication) in [(0.0, 0.0), (0.1, 0.0), (0.0, 0.2), (0.3, 0.25), (1.0, 1.0), (0.0, 1.0)] {
            let mut line = line(20, 5, loss, duplication, 7);
            let arrived = send(&mut line, Way::ToTarget, MANY);
            let WayCounts { entered, lost, doubled, overflowed, left } = line.counts(Way::ToTarget);
            assert_eq!((entered, overflowed, left), (u64::from(MANY), 0, arrived.len() as u64));
            assert_eq!(left, entered - lost + doubled);
            let share = |part: u64, of: u64| part as f64 / (of as f64).max(1.0);
            assert!((share(lost, entered) - loss).abs() < 0.01, "{lost} lost of {entered}, wanted {loss}");
            let wanted = if lost < entered { duplication } else { 0.0 };
            assert!((share(doubled, entered - lost) - wanted).abs() < 0.01, "{doubled} doubled, wanted {duplication}");
            assert_eq!(line.counts(Way::ToPeer), WayCounts::default());
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_fates_and_another_gives_others() {
        let fates = |seed, way| -> Vec<(u32, Duration)> {
            let arrived = send(&mut line(20, 5, 0.1, 0.1, seed), way, 1_000);
            arrived.into_iter().map(|due| (due.item, due.at)).collect()
        };
        let first = fates(1, Way::ToTarget);
        assert_eq!(first, fates(1, Way::ToTarget));
        assert_ne!(first, fates(2, Way::ToTarget));
        assert_ne!(first, fates(1, Way::ToPeer), "the directions have fates of their own");
    }

    #[test]
    fn traffic_of_one_direction_changes_nothing_in_the_other() {
        let run = |both: bool| -> Vec<(u32, Duration)> {
            let mut line = line(20, 5, 0.1, 0.1, 3);
            for number in 0..1_000 {
                if both {
                    line.enter(ms(number.into()), Way::ToPeer, number, 100);
                }
                line.enter(ms(number.into()), Way::ToTarget, number, 100);
            }
            let left = std::iter::from_fn(|| line.leave(Duration::MAX));
            left.filter(|due| due.way == Way::ToTarget).map(|due| (due.item, due.at)).collect()
        };
        assert_eq!(run(false), run(true));
    }

    #[test]
    fn a_full_line_drops_what_comes_and_takes_again_what_has_room() {
        let mut line = line(20, 0, 0.0, 0.0, 1);
        for number in 0..MAX_WAITING + 3 {
            line.enter(ms(0), Way::ToTarget, u32::try_from(number).expect("small"), 1);
        }
        assert_eq!(line.counts(Way::ToTarget).overflowed, 3);
        assert!(line.leave(ms(20)).is_some());
        line.enter(ms(20), Way::ToPeer, 0, 1);
        assert_eq!(line.counts(Way::ToPeer).overflowed, 0);

        let mut line = self::line(20, 0, 0.0, 0.0, 1);
        let large = MAX_WAITING_BYTES / 4;
        (0..6).for_each(|number| line.enter(ms(0), Way::ToTarget, number, large));
        assert_eq!(line.counts(Way::ToTarget).overflowed, 2);
        assert!(line.leave(ms(20)).is_some());
        line.enter(ms(20), Way::ToTarget, 0, large);
        assert_eq!(line.counts(Way::ToTarget).overflowed, 2);
    }
}
