//! A bounded queue that is fair between clients: each client has a line, and the lines take turns, so that many jobs
//! of one client do not delay another's. It has no I/O and no threads.

use std::collections::VecDeque;

/// A queue of `T`, with one line per client key `K`.
#[derive(Debug)]
pub(crate) struct FairQueue<K, T> {
    /// No line is empty. The first one is next.
    lines: VecDeque<(K, VecDeque<T>)>,
    len: usize,
    max: usize,
}

impl<K: PartialEq, T> FairQueue<K, T> {
    /// A queue with room for `max` items.
    pub fn new(max: usize) -> Self {
        Self { lines: VecDeque::new(), len: 0, max }
    }

    /// The number of queued items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds an item at the end of its client's line. If the queue is full and the longest line is longer than the
    /// client's would become, the newest item of that line is removed and returned.
    ///
    /// # Errors
    /// Returns the item itself if there is no room for it.
    pub fn push(&mut self, asker: K, thing: T) -> Result<Option<T>, T> {
        let mut gone = None;
        if self.len >= self.max {
            let own = self.lines.iter().find(|(other, _)| *other == asker).map_or(0, |(_, line)| line.len());
            let longest = self.lines.iter_mut().map(|(_, line)| line).max_by_key(|line| line.len());
            let Some(longest) = longest.filter(|line| line.len() > own + 1) else { return Err(thing) };
            gone = longest.pop_back();
            self.len -= 1;
        }
        match self.lines.iter_mut().find(|(other, _)| *other == asker) {
            Some((_, line)) => line.push_back(thing),
            None => self.lines.push_back((asker, VecDeque::from([thing]))),
        }
        self.len += 1;
        Ok(gone)
    }

    /// Removes and returns the next item.
    pub fn pop(&mut self) -> Option<T> {
        let (asker, mut line) = self.lines.pop_front()?;
        let thing = line.pop_front();
        self.len -= usize::from(thing.is_some());
        if !line.is_empty() {
            self.lines.push_back((asker, line));
        }
        thing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut FairQueue<char, u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn lines_take_turns() {
        let mut queue = FairQueue::new(10);
        for (asker, thing) in [('a', 1), ('a', 2), ('a', 3), ('b', 11), ('c', 21), ('c', 22)] {
            assert_eq!(queue.push(asker, thing), Ok(None));
        }
        assert_eq!(queue.len(), 6);
        assert_eq!(all(&mut queue), [1, 11, 21, 2, 22, 3]);
        assert_eq!((queue.len(), queue.pop()), (0, None));
    }

    #[test]
    fn in_a_full_queue_the_longest_line_makes_room_for_a_shorter_one() {
        let mut queue = FairQueue::new(4);
        for thing in 1..=4 {
            assert_eq!(queue.push('a', thing), Ok(None));
        }
        assert_eq!(queue.push('a', 5), Err(5), "not for its own next one");
        assert_eq!(queue.push('b', 11), Ok(Some(4)));
        assert_eq!(queue.push('b', 12), Ok(Some(3)));
        assert_eq!(queue.push('b', 13), Err(13), "not for one that would be longer");
        assert_eq!(queue.push('c', 21), Ok(Some(12)));
        assert_eq!(queue.push('d', 31), Ok(Some(2)));
        assert_eq!(queue.push('e', 41), Err(41), "not where everybody has one");
        assert_eq!(queue.len(), 4);
        assert_eq!(all(&mut queue), [1, 11, 21, 31]);
    }

    #[test]
    fn without_room_nothing_is_taken() {
        assert_eq!(FairQueue::new(0).push('a', 1), Err(1));
    }
}
