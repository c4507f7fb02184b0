//! Deterministic pseudo-random numbers: for the sky, rocks and sparks.

/// A sequence of numbers from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct SeededRandom(u64);

impl SeededRandom {
    /// A sequence for `words`; other words give another one.
    pub(crate) fn new(words: &[u64]) -> Self {
        let mut dice = Self(0x5de4_ea11_0f57_a125);
        for &word in words {
            dice.0 ^= word;
            dice.0 = dice.next();
        }
        dice
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number in 0..1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// The next number in `low..high`.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// The next number in `0..count`; zero for a count of zero.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_give_the_same_numbers_and_others_give_others() {
        let draw = |words: &[u64]| {
            let mut dice = SeededRandom::new(words);
            [dice.next(), dice.next(), dice.next()]
        };
        assert_eq!(draw(&[1, 2]), draw(&[1, 2]));
        assert_ne!(draw(&[1, 2]), draw(&[2, 1]));
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut dice = SeededRandom::new(&[7]);
        for _ in 0..1_000 {
            assert!((2.0..3.0).contains(&dice.between(2.0, 3.0)));
            assert!(dice.index(5) < 5);
        }
    }
}
