//! When the main loop updates the world. Without I/O.
//!
//! Ticks follow the wall's time: each is due a [`TICK_SECONDS`] after the one before was *due*, however late that one was.
//! naia counts its own interval, [`TICK_DURATION`], from the moment of an update, and that is a little shorter: so after
//! a delay the ticks come a little closer together until the world's clock is right again.

use sidereal_protocol::world::tick::{TICK_DURATION, TICK_SECONDS};
use std::time::{Duration, Instant};

/// If the ticks are further behind than this, the rest is given up. naia's interval is 1 % shorter than a tick, so a
/// minute of overload would be made up for only after 100 minutes.
const MAX_BEHIND: Duration = Duration::from_secs(2);

/// naia's clock may be a moment behind ours: when an update brought no tick, the next one is this much later.
const RETRY: Duration = Duration::from_micros(250);

/// The least time between two updates for naia's packets. In them naia walks all its users.
const MIN_UPDATE_INTERVAL: Duration = Duration::from_millis(4);

/// Updates for naia's packets take at most this share of the time: one part in so many.
const UPDATE_SHARE: u32 = 4;

/// The pace of the main loop.
#[derive(Debug)]
pub struct Pace {
    /// When the next tick is due by the wall's time.
    due: Instant,
    /// When naia can make a tick, at the earliest.
    possible: Instant,
    /// When naia's packets may cause an update, at the earliest.
    update_possible: Instant,
    /// Ticks that were given up.
    pub skipped: u64,
}

impl Pace {
    /// The first tick is due at `now`.
    pub fn new(now: Instant) -> Self {
        Self { due: now, possible: now, update_possible: now, skipped: 0 }
    }

    /// When the next tick can be made.
    pub fn next_tick(&self) -> Instant {
        self.due.max(self.possible)
    }

    /// When the next update is due, as seen at `now`. `for_naia`: naia has something to read. Shortly before a tick its
    /// packets wait for the tick: an update then would make it early.
    pub fn next_update(&self, now: Instant, for_naia: bool) -> Instant {
        let for_packets = self.update_possible.max(now);
        if for_naia && for_packets < self.possible { for_packets } else { self.next_tick() }
    }

    /// An update has run from `start` to `end`, and made a tick or not.
    pub fn updated(&mut self, start: Instant, end: Instant, made_tick: bool) {
        let cost = end.saturating_duration_since(start);
        self.update_possible = end + MIN_UPDATE_INTERVAL.max(cost * (UPDATE_SHARE - 1));
        if !made_tick {
            self.possible = self.possible.max(start + RETRY);
            return;
        }
        self.possible = start + TICK_DURATION;
        let tick = Duration::from_secs_f64(TICK_SECONDS);
        self.due += tick;
        let behind = start.saturating_duration_since(self.due);
        if behind > MAX_BEHIND {
            self.skipped += (behind.as_secs_f64() / TICK_SECONDS) as u64;
            self.due = start + tick;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs ticks whose start is late by `late(tick)`; returns how far the last one is from the wall's time.
    fn drift_after(ticks: u32, late: impl Fn(u32) -> Duration) -> Duration {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut at = start;
        for tick in 0..ticks {
            at = pace.next_tick() + late(tick);
            pace.updated(at, at + Duration::from_millis(1), true);
        }
        at.saturating_duration_since(start + Duration::from_secs_f64(f64::from(ticks - 1) * TICK_SECONDS))
    }

    #[test]
    fn late_ticks_do_not_slow_the_world() {
        let always = drift_after(3_000, |_| Duration::from_micros(200));
        assert!(always < Duration::from_millis(1), "{always:?}");
        let once = drift_after(300, |tick| Duration::from_millis(if tick == 100 { 50 } else { 0 }));
        assert!(once < Duration::from_millis(1), "{once:?}");
    }

    #[test]
    fn a_long_sleep_is_not_made_up_for() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let woken = start + Duration::from_secs(3_600);
        pace.updated(woken, woken, true);
        assert!(pace.next_tick() > woken);
        assert!((107_000..=108_000).contains(&pace.skipped), "{}", pace.skipped);
    }

    #[test]
    fn naias_packets_take_no_more_than_their_share() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let end = start + Duration::from_millis(10);
        pace.updated(start, end, true);
        let tick = start + TICK_DURATION.max(Duration::from_secs_f64(TICK_SECONDS));
        assert_eq!(pace.next_update(end, true), tick, "30 ms after it is too close to the tick");
        let short = start + Duration::from_millis(1);
        pace.updated(start, short, false);
        assert_eq!(pace.next_update(short, true), short + MIN_UPDATE_INTERVAL);
        assert_eq!(pace.next_update(short, false), tick);
    }

    #[test]
    fn naias_packets_do_not_make_ticks_early() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let (mut now, mut ticks) = (start, 0u32);
        while ticks < 3_000 {
            now = pace.next_update(now, true);
            // naia makes a tick in any update that is late enough.
            let makes_tick = ticks == 0 || now >= pace.possible;
            let end = now + Duration::from_millis(3);
            pace.updated(now, end, makes_tick);
            ticks += u32::from(makes_tick);
            now = end;
        }
        let wall = Duration::from_secs_f64(f64::from(ticks - 1) * TICK_SECONDS);
        assert!(now + Duration::from_millis(1) > start + wall, "{:?} early", start + wall - now);
        assert!(now < start + wall + Duration::from_millis(10), "{:?} late", now - (start + wall));
    }
}
