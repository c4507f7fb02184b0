//! Limits for log lines that a peer, or an unavailable database, could cause without end.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lines of one place in the code that are logged at once...
const BURST: u32 = 5;
/// ...and then one in this interval, with the number of suppressed lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// The limit of one place in the code: see [`log_limited!`](crate::log_limited).
#[derive(Debug)]
pub struct LogLimit(Mutex<State>);

#[derive(Debug)]
struct State {
    left: u32,
    /// When the next line beyond the burst may be logged.
    refilled: Option<Instant>,
    suppressed: u64,
}

impl Default for LogLimit {
    fn default() -> Self {
        Self::new()
    }
}

impl LogLimit {
    /// A full burst.
    pub const fn new() -> Self {
        Self(Mutex::new(State { left: BURST, refilled: None, suppressed: 0 }))
    }

    /// Whether to log now: the number of lines suppressed since the last one; `None` suppresses this one.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *state.refilled.get_or_insert(now);
        let intervals = now.saturating_duration_since(since).as_nanos() / INTERVAL.as_nanos();
        if intervals > 0 {
            state.left = state.left.saturating_add(u32::try_from(intervals).unwrap_or(u32::MAX)).min(BURST);
            state.refilled = Some(now);
        }
        if state.left == 0 {
            state.suppressed += 1;
            return None;
        }
        state.left -= 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

/// A line of `tracing`, for this place in the code at most five at once and then one in ten seconds. The next line
/// after suppressed ones has their number as `suppressed`. `log_limited!(warn, %peer, "it did this")` is
/// `tracing::warn!(%peer, "it did this")`.
#[macro_export]
macro_rules! log_limited {
    ($level:ident, $($line:tt)+) => {{
        static LIMIT: $crate::LogLimit = $crate::LogLimit::new();
        match LIMIT.pass(::std::time::Instant::now()) {
            Some(0) => tracing::$level!($($line)+),
            Some(suppressed) => tracing::$level!(suppressed, $($line)+),
            None => {}
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_in_an_interval_that_says_how_many_were_left_out() {
        let (limit, start) = (LogLimit::new(), Instant::now());
        let passed: Vec<_> = (0..8).map(|_| limit.pass(start)).collect();
        assert_eq!(passed, [Some(0), Some(0), Some(0), Some(0), Some(0), None, None, None]);
        assert_eq!(limit.pass(start + INTERVAL / 2), None);
        assert_eq!(limit.pass(start + INTERVAL), Some(4));
        assert_eq!(limit.pass(start + INTERVAL), None);
        let later = start + 100 * INTERVAL;
        let passed: Vec<_> = (0..6).map(|_| limit.pass(later)).collect();
        assert_eq!(passed, [Some(1), Some(0), Some(0), Some(0), Some(0), None], "no more than a burst is saved up");
    }

    #[test]
    fn a_minute_of_a_flood_is_a_dozen_lines() {
        let (limit, start) = (LogLimit::new(), Instant::now());
        let passed = (0..60_000).filter_map(|ms| limit.pass(start + Duration::from_millis(ms))).count();
        assert!((10..=12).contains(&passed), "{passed}");
    }
}
