//! The client's two clocks in ticks of the world: one for the own ship, one for everything else.
//!
//! Pure; the time comes from frame deltas and from the ticks of received packets. [`PlaybackClock`] is the moment of
//! the past at which others are drawn, [`OwnClock`] the moment of the own ship in its own ticks.

use bevy::prelude::Resource;
use sidereal_protocol::world::tick::{SimTick, TICK_DURATION};
use std::collections::VecDeque;

/// Ticks in `seconds` of wall time: naia's ticks are whole milliseconds long.
pub fn ticks_in(seconds: f64) -> f64 {
    seconds / TICK_DURATION.as_secs_f64()
}

/// Playback delay before anything was measured, ticks.
pub const START_DELAY_TICKS: f64 = 3.0;
/// The least delay, ticks: one sample to interpolate to, and one that may be late.
pub const MIN_DELAY_TICKS: f64 = 2.0;
/// The most delay, ticks: 0.4 s. A worse link is extrapolated and smoothed instead.
pub const MAX_DELAY_TICKS: f64 = 12.0;

/// The margin between the latest ordinary arrival and the drawn moment, ticks.
const DELAY_MARGIN_TICKS: f64 = 1.5;
/// Arrivals that the delay follows: about two seconds.
const WINDOW: usize = 64;
/// The delay is computed after this many arrivals: it changes slowly, and sorting costs time.
const MEASURE_EVERY: usize = 8;
/// The most by which the clock runs faster or slower to reach its target: invisible.
const RATE_SPAN: f64 = 0.1;
/// With a larger error than this, ticks, the clock jumps.
const JUMP_TICKS: f64 = 20.0;

/// A longer frame than this, seconds, is a standstill: a hidden tab, a suspended process. The missed time is not made
/// up for.
pub const MAX_DELTA_S: f64 = 0.5;

/// Seconds that the client has run.
#[derive(Resource, Debug, Clone, Copy, Default)]
pub struct ClientClock {
    /// Sum of all frame deltas, seconds.
    pub now_s: f64,
    /// The last frame delta, seconds; at most [`MAX_DELTA_S`].
    pub delta_s: f64,
    /// Sum of these: seconds without standstills.
    pub awake_s: f64,
    /// The last frame was longer than [`MAX_DELTA_S`]: the client stood still while the world did not.
    pub stood_still: bool,
}

impl ClientClock {
    /// Advances by a frame of `delta_s`; an invalid duration counts as zero.
    pub fn pass(&mut self, delta_s: f64) {
        let delta_s = if delta_s.is_finite() { delta_s.max(0.0) } else { 0.0 };
        self.now_s += delta_s;
        self.delta_s = delta_s.min(MAX_DELTA_S);
        self.awake_s += self.delta_s;
        self.stood_still = delta_s > MAX_DELTA_S;
    }
}

/// The moment of the past at which others are drawn.
#[derive(Debug, Clone)]
pub struct PlaybackClock {
    /// Packet tick minus arrival time (ticks), for the latest first arrivals of a tick.
    offsets: VecDeque<f64>,
    /// The best of them: that of an undelayed packet.
    best: f64,
    newest: Option<SimTick>,
    since_measure: usize,
    delay: f64,
    late: f64,
    /// When a standstill ended: packets handled at that moment have waited, so they do not measure the link.
    woke_s: Option<f64>,
    play: Option<f64>,
}

impl Default for PlaybackClock {
    fn default() -> Self {
        Self {
            offsets: VecDeque::with_capacity(WINDOW),
            best: 0.0,
            newest: None,
            since_measure: 0,
            delay: START_DELAY_TICKS,
            late: 0.0,
            woke_s: None,
            play: None,
        }
    }
}

impl PlaybackClock {
    /// A packet of `tick` was received at `now_s`. Only the first packet of a newer tick counts.
    pub fn observe(&mut self, tick: SimTick, now_s: f64) {
        if self.newest.is_some_and(|newest| tick <= newest) {
            return;
        }
        self.newest = Some(tick);
        let offset = tick.0 as f64 - ticks_in(now_s);
        if self.woke_s == Some(now_s) && offset < self.best {
            return;
        }
        if self.offsets.len() >= WINDOW {
            self.offsets.pop_front();
        }
        self.offsets.push_back(offset);
        self.since_measure += 1;
        if self.since_measure >= MEASURE_EVERY || self.offsets.len() < MEASURE_EVERY {
            self.measure();
        } else {
            self.best = self.best.max(offset);
        }
    }

    /// The client stood still until `now_s`.
    pub fn wake(&mut self, now_s: f64) {
        self.woke_s = Some(now_s);
    }

    fn measure(&mut self) {
        self.since_measure = 0;
        let mut sorted: Vec<f64> = self.offsets.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let Some(best) = sorted.last() else { return };
        self.best = *best;
        if sorted.len() >= MEASURE_EVERY {
            self.late = best - sorted[sorted.len() / 20];
            self.delay = (self.late + DELAY_MARGIN_TICKS).clamp(MIN_DELAY_TICKS, MAX_DELAY_TICKS);
        }
    }

    /// Advances by `delta_s`; `now_s` is the time after it.
    pub fn advance(&mut self, now_s: f64, delta_s: f64) {
        if self.newest.is_none() {
            return;
        }
        let wanted = self.best + ticks_in(now_s) - self.delay;
        self.play = Some(keep_pace(self.play, wanted, delta_s));
    }

    /// The drawn moment, ticks of the world; zero before anything was received.
    pub fn play(&self) -> f64 {
        self.play.unwrap_or(0.0)
    }

    /// Whether anything was received yet.
    pub fn is_running(&self) -> bool {
        self.play.is_some()
    }

    /// The newest received tick.
    pub fn newest(&self) -> Option<SimTick> {
        self.newest
    }

    /// How much later than the best of the last two seconds an ordinary late packet arrived, ticks.
    pub fn jitter_ticks(&self) -> f64 {
        self.late
    }

    /// How far the playback is behind an undelayed packet, ticks.
    pub fn delay_ticks(&self) -> f64 {
        self.delay
    }
}

/// The moment of the own ship, in ticks of its inputs: at each whole tick the controls are sampled, between two the
/// ship is drawn on its way.
///
/// It follows naia's tick at an even pace. naia's is ahead of the server by the delay that naia estimates; when the
/// estimate changes, it stands still or runs ten times as fast, for several ticks.
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnClock {
    at: Option<f64>,
    /// The newest tick that was due.
    last: SimTick,
}

impl OwnClock {
    /// Advances by `delta_s`; naia's clock is at `wanted`, in ticks. Returns the ticks that became due since the last
    /// call, each once, oldest first; no more than have passed.
    pub fn advance(&mut self, delta_s: f64, wanted: f64) -> Vec<SimTick> {
        let before = self.at;
        let at = keep_pace(before, wanted, delta_s);
        self.at = Some(at);
        // There were no controls before the moment to which a clock was set.
        let was_set = |before: &f64| at - before > ticks_in(delta_s) * (1.0 + RATE_SPAN);
        let oldest = before.filter(|before| !was_set(before)).unwrap_or(at - 1.0);
        let first = (oldest.max(0.0) as u64).max(self.last.0) + 1;
        self.last = self.last.max(SimTick(at.max(0.0) as u64));
        (first..=self.last.0).map(SimTick).collect()
    }

    /// The moment, in ticks; zero before the first call.
    pub fn at(&self) -> f64 {
        self.at.unwrap_or(0.0)
    }

    /// Resets: the next call starts at its `wanted`.
    pub fn reset(&mut self) {
        self.at = None;
    }
}

/// The moment after `at`, ticks, of a clock that should be at `wanted` after `delta_s`: a little faster or slower than
/// time, or at once if the error exceeds [`JUMP_TICKS`].
fn keep_pace(at: Option<f64>, wanted: f64, delta_s: f64) -> f64 {
    match at {
        Some(at) if (wanted - at).abs() <= JUMP_TICKS => {
            let step = ticks_in(delta_s);
            let error = wanted - (at + step);
            // An error halves in about half a second, within the span.
            at + step * (1.0 + (error * 0.05).clamp(-RATE_SPAN, RATE_SPAN))
        }
        _ => wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TICK_S: f64 = 0.033;

    #[test]
    fn an_even_link_gets_the_least_delay() {
        let mut clock = PlaybackClock::default();
        for tick in 0..300u64 {
            let now = tick as f64 * TICK_S;
            clock.observe(SimTick(1000 + tick), now);
            clock.advance(now, TICK_S);
        }
        assert_eq!(clock.delay_ticks(), MIN_DELAY_TICKS);
        assert!((clock.play() - (1299.0 - MIN_DELAY_TICKS)).abs() < 0.3, "{}", clock.play());
    }

    #[test]
    fn a_clock_that_is_far_off_jumps_once_and_then_runs_on() {
        let mut clock = PlaybackClock::default();
        clock.observe(SimTick(10), 0.0);
        clock.advance(0.0, 0.0);
        clock.observe(SimTick(1000), TICK_S);
        clock.advance(TICK_S, TICK_S);
        assert!((clock.play() - 1000.0).abs() < JUMP_TICKS);
    }

    #[test]
    fn after_a_standstill_the_clock_is_where_the_world_is_and_its_delay_what_it_was() {
        for standstill_s in [0.6, 30.0, 300.0] {
            let mut clock = PlaybackClock::default();
            let first = 1000;
            let mut now = 0.0;
            for tick in 0..100u64 {
                now = tick as f64 * TICK_S;
                clock.observe(SimTick(first + tick), now);
                clock.advance(now, TICK_S);
            }
            let passed = (standstill_s / TICK_S) as u64;
            now += passed as f64 * TICK_S;
            clock.wake(now);
            clock.advance(now, MAX_DELTA_S);
            let world = (first + 99 + passed) as f64;
            // The packets that the transport has kept, oldest first.
            for tick in (first + 100..).take(passed.min(500) as usize) {
                clock.observe(SimTick(tick), now);
            }
            for _ in 0..20 {
                clock.advance(now, 0.0);
            }
            assert_eq!(clock.delay_ticks(), MIN_DELAY_TICKS, "{standstill_s}");
            let behind = world - clock.play();
            assert!((0.0..=JUMP_TICKS).contains(&behind), "{standstill_s}: {behind}");
        }
    }

    #[test]
    fn a_frame_counts_for_no_more_than_a_standstill() {
        let mut clock = ClientClock::default();
        for (delta_s, stood_still) in [(0.016, false), (300.0, true), (MAX_DELTA_S, false), (f64::NAN, false)] {
            clock.pass(delta_s);
            assert_eq!(clock.stood_still, stood_still, "{delta_s}");
        }
        assert_eq!((clock.now_s, clock.awake_s), (0.016 + 300.0 + 0.5, 0.016 + 0.5 + 0.5));
    }

    #[test]
    fn the_own_clock_goes_on_evenly_while_naias_stands_and_leaps_and_every_tick_is_due_once() {
        let mut clock = OwnClock::default();
        assert_eq!(clock.advance(0.0, 1000.3), [SimTick(1000)]);
        let frame = 1.0 / 60.0;
        let mut due = Vec::new();
        for number in 1..=300u32 {
            let before = clock.at();
            let even = 1000.3 + ticks_in(frame) * f64::from(number);
            // Stands still for five ticks, then catches up at once.
            let naias = if number % 50 < 10 { even - ticks_in(frame) * f64::from(number % 50) } else { even };
            due.extend(clock.advance(frame, naias));
            let pace = (clock.at() - before) / ticks_in(frame);
            assert!((1.0 - RATE_SPAN..=1.0 + RATE_SPAN).contains(&pace), "{pace} at {number}");
        }
        assert!(due.windows(2).all(|pair| pair[1] == pair[0] + 1) && due[0] == SimTick(1001), "{due:?}");
        assert_eq!(due.last().unwrap().0, clock.at() as u64);
    }

    #[test]
    fn an_own_clock_that_is_far_off_is_set_and_what_was_between_is_not_due() {
        let mut clock = OwnClock::default();
        assert_eq!(clock.advance(0.016, 1000.0).len(), 1);
        assert_eq!(clock.advance(0.016, 5000.0), [SimTick(5000)]);
        assert_eq!(clock.advance(0.016, 4000.0), [], "it was further already");
        clock.reset();
        assert_eq!(clock.advance(0.016, 5002.0), [SimTick(5002)], "the ticks in between were not flown");
    }

    proptest! {
        /// Whatever the jitter: the clock never runs backwards, never faster than its span, and packets that arrive in
        /// the ordinary time are there before they are played.
        #[test]
        fn playback_runs_evenly_and_behind_what_arrives(
            jitter in prop::collection::vec(0.0f64..0.09, 400)
        ) {
            let mut arrivals: Vec<(f64, u64)> = jitter
                .iter()
                .enumerate()
                .map(|(tick, jitter)| (tick as f64 * TICK_S + jitter, 500 + tick as u64))
                .collect();
            arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut clock = PlaybackClock::default();
            let (mut next, mut last, mut late) = (0, None::<f64>, 0);
            let frame = 1.0 / 60.0;
            let mut now = 0.0;
            while next < arrivals.len() {
                now += frame;
                while next < arrivals.len() && arrivals[next].0 <= now {
                    clock.observe(SimTick(arrivals[next].1), now);
                    next += 1;
                }
                clock.advance(now, frame);
                if let Some(last) = last {
                    let step = clock.play() - last;
                    prop_assert!(step > 0.0 && step < ticks_in(frame) * (1.0 + RATE_SPAN) + 1e-9);
                }
                if clock.is_running() {
                    last = Some(clock.play());
                    let newest = clock.newest().map_or(0, |tick| tick.0) as f64;
                    if now > 5.0 && clock.play() > newest {
                        late += 1;
                    }
                }
            }
            prop_assert!(late < 20, "{late} frames of extrapolation");
        }
    }
}
