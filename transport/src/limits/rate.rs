//! How much of one kind a peer may send: a token bucket in whole milliseconds. No I/O, no clock.

/// A number per second, and a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In a second, continuously.
    pub per_second: u32,
    /// At once, after a pause.
    pub burst: u32,
}

/// A bucket that counts thousandths of tokens.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    thousandths: u64,
    filled_at_ms: u64,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, thousandths: u64::from(rate.burst) * 1000, filled_at_ms: 0 }
    }

    /// A clock that goes backward counts as standing still.
    fn fill(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.filled_at_ms);
        self.filled_at_ms = self.filled_at_ms.max(now_ms);
        let more = passed_ms.saturating_mul(u64::from(self.rate.per_second));
        self.thousandths = self.thousandths.saturating_add(more).min(u64::from(self.rate.burst) * 1000);
    }

    /// Whether the bucket is full by now.
    pub(crate) fn is_full(&mut self, now_ms: u64) -> bool {
        self.fill(now_ms);
        self.thousandths == u64::from(self.rate.burst) * 1000
    }

    /// Takes one token; false if there is none.
    pub(crate) fn take(&mut self, now_ms: u64) -> bool {
        self.fill(now_ms);
        match self.thousandths.checked_sub(1000) {
            Some(left) => {
                self.thousandths = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(Rate { per_second: 10, burst: 3 });
        let given = |bucket: &mut Bucket, now_ms, tries| (0..tries).filter(|_| bucket.take(now_ms)).count();
        assert_eq!(given(&mut bucket, 5_000, 9), 3);
        assert_eq!(given(&mut bucket, 5_099, 9), 0);
        assert_eq!(given(&mut bucket, 5_100, 9), 1);
        assert_eq!(given(&mut bucket, 4_000, 9), 0, "time that goes backward gives nothing");
        assert_eq!((0..10_000).filter(|ms| bucket.take(6_000 + ms)).count(), 3 + 99);
        assert_eq!(given(&mut bucket, u64::MAX, 9), 3);
    }
}
