//! The conditions of a line: its four parameters, checked once.

use std::time::Duration;

/// The longest delay. Even with it a second of heavy traffic fits the line's limits.
pub const MAX_DELAY: Duration = Duration::from_secs(10);

/// The faults that every datagram may get, in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    delay: Duration,
    jitter: Duration,
    loss: f64,
    duplication: f64,
}

/// Impossible conditions.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ConditionsError {
    /// The delay is too long.
    #[error("the delay is {0:?}: give at most {MAX_DELAY:?}")]
    Delay(Duration),
    /// Some datagrams would arrive before they were sent.
    #[error(
        "the jitter ({jitter:?}) is more than the delay ({delay:?}): give at most as much, a datagram cannot come before it was sent"
    )]
    Jitter {
        /// The delay.
        delay: Duration,
        /// The jitter.
        jitter: Duration,
    },
    /// A number that is not a share.
    #[error("the share of {what} is {share}: give a number from 0 to 1")]
    Share {
        /// The share's name.
        what: &'static str,
        /// Its share.
        share: f64,
    },
}

impl Conditions {
    /// Every datagram takes `delay` plus or minus `jitter`, evenly distributed. A share of `loss` of all datagrams is
    /// lost; a share of `duplication` of the others arrives twice, each copy with its own delay.
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

    /// The shortest delay of a datagram.
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

    /// The largest deviation from the mean delay.
    pub fn jitter(&self) -> Duration {
        self.jitter
    }

    /// The share that is lost.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// The share that arrives twice, of those that arrive.
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
