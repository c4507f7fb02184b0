//! Meters of what arrives: the worst second of a player's bytes, and how far apart players receive a tick.

use sidereal_protocol::world::tick::SimTick;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const SECOND: Duration = Duration::from_secs(1);

/// Measures received bytes by whole seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByteMeter {
    /// When the present second began, and the total then.
    from: Option<(Instant, u64)>,
    worst: u64,
}

impl ByteMeter {
    /// `total` bytes were received until `now`. A second that was noted late counts by its rate.
    pub fn note(&mut self, now: Instant, total: u64) {
        let Some((began, before)) = self.from else {
            self.from = Some((now, total));
            return;
        };
        let elapsed = now.saturating_duration_since(began);
        if elapsed >= SECOND {
            let rate = total.saturating_sub(before) as f64 / elapsed.as_secs_f64();
            self.worst = self.worst.max(rate as u64);
            self.from = Some((now, total));
        }
    }

    /// The worst second since the last call, bytes.
    pub fn take_worst(&mut self) -> u64 {
        std::mem::take(&mut self.worst)
    }
}

/// Ticks whose arrivals are still being collected.
const OPEN_TICKS: usize = 30;

/// Finished ticks that are kept between two requests at most.
const MAX_SPREADS: usize = 20_000;

/// Measures the time from the first player's receipt of a tick's motion to the last one's.
#[derive(Debug, Default)]
pub struct SpreadMeter {
    open: BTreeMap<SimTick, (Instant, Instant)>,
    spreads_ms: Vec<f64>,
}

impl SpreadMeter {
    /// A player has received its first motion of `tick`.
    pub fn note(&mut self, tick: SimTick, now: Instant) {
        let (_, last) = self.open.entry(tick).or_insert((now, now));
        *last = now;
        while self.open.len() > OPEN_TICKS {
            let Some((_, (first, last))) = self.open.pop_first() else { return };
            if self.spreads_ms.len() < MAX_SPREADS {
                self.spreads_ms.push((last - first).as_secs_f64() * 1e3);
            }
        }
    }

    /// The median and the 99th percentile since the last call, ms.
    pub fn take(&mut self) -> (f64, f64) {
        let mut spreads = std::mem::take(&mut self.spreads_ms);
        spreads.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = ((share * spreads.len() as f64).ceil() as usize).saturating_sub(1);
            spreads.get(index).copied().unwrap_or(0.0)
        };
        (at(0.5), at(0.99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_from_a_ticks_first_receipt_to_its_last() {
        let start = Instant::now();
        let mut meter = SpreadMeter::default();
        for tick in 0..100 + OPEN_TICKS as u64 {
            let late = if tick == 50 { 40 } else { 6 };
            meter.note(SimTick(tick), start + Duration::from_millis(33 * tick));
            meter.note(SimTick(tick), start + Duration::from_millis(33 * tick + late));
        }
        let (p50, p99) = meter.take();
        assert!((p50 - 6.0).abs() < 1e-6 && (p99 - 6.0).abs() < 1e-6, "{p50} {p99}");
        assert_eq!(meter.take(), (0.0, 0.0));
    }

    #[test]
    fn the_worst_second_is_the_one_with_the_most_bytes() {
        let start = Instant::now();
        let mut meter = ByteMeter::default();
        for (ms, total) in [(0, 100), (500, 900), (1_000, 1_100), (1_500, 6_000), (2_000, 6_100), (4_000, 6_200)] {
            meter.note(start + Duration::from_millis(ms), total);
        }
        assert_eq!(meter.take_worst(), 5_000);
        assert_eq!(meter.take_worst(), 0);
    }
}
