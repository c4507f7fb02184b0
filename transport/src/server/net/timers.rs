//! The deadlines of a listener's connections. No clock of its own.
//!
//! A connection's deadline moves with nearly every packet. So deadlines are kept in an array that is searched when the
//! earliest one has come, instead of in an ordered structure that would change with every packet: a thousand
//! connections are searched in a microsecond.

use std::time::Instant;

/// The next deadline of each connection, by its slot.
#[derive(Default)]
pub(super) struct Timers {
    at: Vec<Option<Instant>>,
    /// No deadline is earlier. It may have no deadline at this moment any more.
    earliest: Option<Instant>,
}

impl Timers {
    /// Replaces a connection's deadline.
    pub(super) fn set(&mut self, slot: usize, deadline: Option<Instant>) {
        if slot >= self.at.len() {
            self.at.resize(slot + 1, None);
        }
        self.at[slot] = deadline;
        if let Some(deadline) = deadline {
            self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        }
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.earliest
    }

    /// Adds the slots whose deadlines have come to `due`, and forgets these deadlines.
    pub(super) fn take_due(&mut self, now: Instant, due: &mut Vec<usize>) {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return;
        }
        self.earliest = None;
        for (slot, at) in self.at.iter_mut().enumerate() {
            match *at {
                Some(deadline) if deadline <= now => {
                    *at = None;
                    due.push(slot);
                }
                Some(deadline) => {
                    self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_deadline_comes_once_and_only_the_last_one_that_was_set() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set(3, Some(after(30)));
        timers.set(1, Some(after(10)));
        timers.set(2, Some(after(5)));
        timers.set(2, None);
        let mut due = Vec::new();
        timers.take_due(after(4), &mut due);
        assert_eq!((timers.next(), due.len()), (Some(after(5)), 0));
        timers.take_due(after(20), &mut due);
        assert_eq!((timers.next(), &due[..]), (Some(after(30)), &[1][..]));
        timers.set(1, Some(after(25)));
        timers.take_due(after(40), &mut due);
        assert_eq!((timers.next(), &due[..]), (None, &[1, 1, 3][..]));
        timers.take_due(after(90), &mut due);
        assert_eq!(due.len(), 3);
    }
}
