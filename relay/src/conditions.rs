//! What a line does to datagrams: the four figures, checked once.

use std::time::Duration;

/// The longest delay. With it a second of heavy traffic still fits the line's limits.
pub const MAX_DELAY: Duration = Duration::from_secs(10);

/// What happens to every datagram, in each of both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    delay: Duration,
    jitter: Duration,
    loss: f64,
    duplication: f64,
}

/// Conditions that no line can have.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ConditionsError {
    /// The delay is too long.
    #[error("the delay is {0:?}: give at most {MAX_DELAY:?}")]
    Delay(Duration),
    /// Some datagrams would come before they were sent.
    #[error(
        "the jitter ({jitter:?}) is more than the delay ({delay:?}): give at most as much, a datagram cannot come before it was sent"
    )]
    Jitter {
        /// The delay.
        delay: Duration,
        /// The jitter.
        jitter: Duration,
    },
    /// Not a share.
    #[error("the share of {what} is {share}: give a number from 0 to 1")]
    Share {
        /// What is shared out.
        what: &'static str,
        /// Its share.
        share: f64,
    },
}

impl Conditions {
    /// Every datagram takes `delay` plus or minus `jitter`, evenly spread. Of all datagrams a share of `loss` never
    /// comes; of the others a share of `duplication` comes twice, each copy with a delay of its own.
    ///
    /// # Errors
    /// A delay above [`MAX_DELAY`], a jitter above the delay, or a share outside 0 to 1.
    pub fn new(delay: Duration, jitter: Duration, loss: f64, duplication: f64) -> Result<Self, ConditionsError> {
        if delay > MAX_DELAY {
            return Err(ConditionsError::Delay(delay));
        }
        if jitter > delay {
            return Err(ConditionsError::Jitter { delay, jitter });
        }
        for (what, share) in [("loss", loss), ("duplication", duplication)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(ConditionsError::Share { what, share });
            }
        }
        Ok(Self { delay, jitter, loss, duplication })
    }

    /// The shortest way that a datagram may take.
    pub fn shortest(&self) -> Duration {
        self.delay.saturating_sub(self.jitter)
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        self.delay + self.jitter
    }

    /// The mean delay, one way.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// The most that a delay is off the mean.
    pub fn jitter(&self) -> Duration {
        self.jitter
    }

    /// The share that never comes.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// The share that comes twice, of what comes.
    pub fn duplication(&self) -> f64 {
        self.duplication
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_line_can_do_is_refused() {
        let ms = Duration::from_millis;
        assert!(Conditions::new(ms(20), ms(20), 0.0, 1.0).is_ok());
        assert!(matches!(Conditions::new(ms(20), ms(21), 0.0, 0.0), Err(ConditionsError::Jitter { .. })));
        assert!(matches!(Conditions::new(ms(10_001), ms(0), 0.0, 0.0), Err(ConditionsError::Delay(_))));
        for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Conditions::new(ms(1), ms(0), share, 0.0).is_err(), "{share}");
            assert!(Conditions::new(ms(1), ms(0), 0.0, share).is_err(), "{share}");
        }
    }
}
