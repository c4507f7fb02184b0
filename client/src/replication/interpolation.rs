//! Interpolation of everything except the own ship: drawn a little in the past, between received states.
//!
//! Pure except that it is a resource. Runs in the player client and in bots. For each net id there is a bounded ring of
//! samples by tick. A missing sample is bridged by extrapolation for a bounded time, and the error of the extrapolation
//! is blended away.

use crate::replication::{
    clock::PlaybackClock,
    smoothing::{VisualOffset, blend},
};
use bevy::{math::DVec2, prelude::Resource};
use sidereal_protocol::{
    packets::motion::{EngineGlow, Motion},
    rules::{
        flight::{FlightState, MAX_SPEED},
        playback::{EXTRAPOLATION_S, REST_TICKS, position_between},
    },
    world::{
        ids::NetId,
        tick::{SimTick, TICK_SECONDS},
    },
};
use std::collections::{HashMap, VecDeque};

/// The time in which an extrapolated motion then comes to rest, seconds. A halt within one frame would be visible when
/// the gap is only a little longer, as when a message of a handoff is lost on its way to a shard.
pub const EXTRAPOLATION_FADE_S: f64 = 0.3;

/// The most samples of one entity: for the longest delay, and some for late ones.
pub const MAX_SAMPLES: usize = 20;

/// The most entities followed; motion of more is dropped and counted. Nine full sectors.
pub const MAX_TRACKS: usize = 8192;

/// An entity without motion for this long, seconds, and without an identity is dropped. Bodies at rest are sent every
/// second.
pub const FORGET_S: f64 = 5.0;

/// The largest distance of two samples one tick apart, units: more is a jump. Five times the distance at [`MAX_SPEED`].
pub const JUMP_UNITS: f64 = 150.0;

#[derive(Debug, Clone, Copy)]
struct Sample {
    tick: u64,
    state: FlightState,
    glow: EngineGlow,
}

/// The drawn state of one entity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// Position and motion.
    pub state: FlightState,
    /// Its engine.
    pub glow: EngineGlow,
    /// Seconds since its last received state.
    pub silent_s: f64,
}

/// The received motion of one entity.
#[derive(Debug, Clone)]
pub struct Track {
    samples: VecDeque<Sample>,
    offset: VisualOffset,
    first_heard_s: f64,
    last_heard_s: f64,
}

/// The result of a new sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Older than the stored ones, or a duplicate.
    Stale,
    /// Accepted.
    Taken,
    /// Accepted, and impossibly far from the one before: a fault of the sender.
    Jump,
    /// [`MAX_TRACKS`] are followed already.
    Full,
}

impl Track {
    fn new(sample: Sample, now_s: f64) -> Self {
        let mut samples = VecDeque::with_capacity(8);
        samples.push_back(sample);
        Self { samples, offset: VisualOffset::default(), first_heard_s: now_s, last_heard_s: now_s }
    }

    fn newest(&self) -> &Sample {
        self.samples.back().expect("a track has a sample")
    }

    /// The newest received state and its tick.
    pub fn latest(&self) -> (SimTick, FlightState) {
        let newest = self.newest();
        (SimTick(newest.tick), newest.state)
    }

    fn insert(&mut self, sample: Sample, now_s: f64, play: f64) -> Received {
        self.last_heard_s = now_s;
        let newest = *self.newest();
        if sample.tick <= newest.tick {
            return self.insert_between(sample, play);
        }
        let ticks = sample.tick - newest.tick;
        let heard = if is_jump(&newest, &sample) { Received::Jump } else { Received::Taken };
        // The drawn state changes only when the newest sample was already passed.
        let before = (play > newest.tick as f64).then(|| self.at(play));
        if ticks > REST_TICKS && newest.state.velocity == DVec2::ZERO {
            self.push(Sample { tick: sample.tick - REST_TICKS, ..newest });
        }
        self.push(sample);
        self.prune(play);
        self.absorb(before, play);
        heard
    }

    fn insert_between(&mut self, sample: Sample, play: f64) -> Received {
        let index = self.samples.partition_point(|known| known.tick < sample.tick);
        if index == 0 || self.samples.len() >= MAX_SAMPLES || self.samples[index].tick == sample.tick {
            return Received::Stale;
        }
        let before = self.at(play);
        self.samples.insert(index, sample);
        self.absorb(Some(before), play);
        Received::Taken
    }

    fn push(&mut self, sample: Sample) {
        if self.samples.len() >= MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Drops samples that are no longer needed: all but one of those before `play`.
    fn prune(&mut self, play: f64) {
        while self.samples.len() > 2 && (self.samples[1].tick as f64) <= play {
            self.samples.pop_front();
        }
    }

    fn absorb(&mut self, before: Option<FlightState>, play: f64) {
        let Some(before) = before else { return };
        let after = self.at(play);
        if before.position.distance(after.position) > JUMP_UNITS {
            self.offset.clear();
        } else {
            self.offset.absorb(&before, &after);
        }
    }

    /// The state at `play`, without the offset of corrections.
    fn at(&self, play: f64) -> FlightState {
        let newest = self.newest();
        if play >= newest.tick as f64 {
            return coast(&newest.state, play - newest.tick as f64);
        }
        let index = self.samples.partition_point(|sample| sample.tick as f64 <= play);
        let after = &self.samples[index];
        if index == 0 {
            return coast(&after.state, play - after.tick as f64);
        }
        let before = &self.samples[index - 1];
        let ticks = after.tick - before.tick;
        let t = (play - before.tick as f64) / ticks as f64;
        let mut state = blend(&before.state, &after.state, t);
        state.position = position_between(&before.state, &after.state, ticks, t);
        state
    }

    fn glow_at(&self, play: f64) -> EngineGlow {
        self.samples.iter().rev().find(|sample| sample.tick as f64 <= play).unwrap_or(&self.samples[0]).glow
    }
}

fn is_jump(from: &Sample, to: &Sample) -> bool {
    let more = to.tick.saturating_sub(from.tick).saturating_sub(1) as f64;
    let reach = JUMP_UNITS + more * MAX_SPEED * TICK_SECONDS;
    from.state.position.distance(to.state.position) > reach
}

/// `state` some ticks later (or earlier), along its velocity: for [`EXTRAPOLATION_S`] at its speed, then slower, and at
/// rest after [`EXTRAPOLATION_FADE_S`].
fn coast(state: &FlightState, ticks: f64) -> FlightState {
    let seconds = ticks * TICK_SECONDS;
    if seconds <= EXTRAPOLATION_S {
        return state.coast(seconds.max(-EXTRAPOLATION_S));
    }
    let fading = (seconds - EXTRAPOLATION_S).min(EXTRAPOLATION_FADE_S);
    let share = 1.0 - fading / EXTRAPOLATION_FADE_S;
    let there = state.coast(EXTRAPOLATION_S + fading * (1.0 + share) / 2.0);
    FlightState { velocity: state.velocity * share, angular_velocity: state.angular_velocity * share, ..there }
}

/// The motion of everything in view, and the moment at which it is drawn.
#[derive(Resource, Debug, Default)]
pub struct Interpolation {
    /// The drawn moment.
    pub clock: PlaybackClock,
    tracks: HashMap<NetId, Track>,
    woke_s: Option<f64>,
}

impl Interpolation {
    /// Receives one motion of a packet of `tick`.
    pub fn receive(&mut self, tick: SimTick, motion: &Motion, now_s: f64) -> Received {
        let sample = Sample { tick: tick.0, state: motion.state, glow: motion.glow };
        let play = self.clock.play();
        if let Some(track) = self.tracks.get_mut(&motion.net_id) {
            let heard = track.insert(sample, now_s, play);
            if self.woke_s == Some(now_s) {
                // Nothing was drawn before, so there is nothing to blend.
                track.offset.clear();
            }
            return heard;
        }
        if self.tracks.len() >= MAX_TRACKS {
            return Received::Full;
        }
        self.tracks.insert(motion.net_id, Track::new(sample, now_s));
        Received::Taken
    }

    /// The client stood still until `now_s`: packets handled at that moment have waited, so they are neither jitter nor
    /// blended.
    pub fn wake(&mut self, now_s: f64) {
        self.clock.wake(now_s);
        self.woke_s = Some(now_s);
    }

    /// Advances the clock and fades corrections.
    pub fn advance(&mut self, now_s: f64, delta_s: f64) {
        self.clock.advance(now_s, delta_s);
        for track in self.tracks.values_mut() {
            track.offset.decay(delta_s);
        }
    }

    /// The drawn state of `id`; `None` without received motion.
    pub fn drawn(&self, id: NetId, now_s: f64) -> Option<Drawn> {
        let play = self.clock.play();
        self.tracks.get(&id).map(|track| Drawn {
            state: track.offset.apply(&track.at(play)),
            glow: track.glow_at(play),
            silent_s: now_s - track.last_heard_s,
        })
    }

    /// Share of moving entities that are extrapolated, 0 to 1; zero if none moves.
    pub fn extrapolated(&self) -> f64 {
        let play = self.clock.play();
        let newest = self.tracks.values().map(Track::newest).filter(|newest| newest.state.velocity != DVec2::ZERO);
        let (past, all) =
            newest.fold((0u32, 0u32), |(past, all), newest| (past + u32::from(play > newest.tick as f64), all + 1));
        f64::from(past) / f64::from(all.max(1))
    }

    /// The received motion of `id`.
    pub fn track(&self, id: NetId) -> Option<&Track> {
        self.tracks.get(&id)
    }

    /// `id` is out of view.
    pub fn forget(&mut self, id: NetId) {
        self.tracks.remove(&id);
    }

    /// Drops entities without motion for [`FORGET_S`] that are not `kept`. Returns how many entities that are not
    /// `kept` have been received for longer than `orphan_s`.
    pub fn sweep(&mut self, now_s: f64, orphan_s: f64, kept: impl Fn(NetId) -> bool) -> usize {
        let mut orphans = 0;
        self.tracks.retain(|id, track| {
            if kept(*id) {
                return true;
            }
            if track.last_heard_s - track.first_heard_s > orphan_s {
                orphans += 1;
            }
            now_s - track.last_heard_s <= FORGET_S
        });
        orphans
    }

    /// Number of entities followed.
    pub fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Whether none is followed.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::clock::{MAX_DELAY_TICKS, ticks_in};
    use proptest::prelude::*;
    use sidereal_protocol::rules::flight::{Controls, HullKind, step};

    const TICK_S: f64 = 0.033;
    const ID: NetId = NetId(3);

    fn motion(state: FlightState) -> Motion {
        Motion { net_id: ID, state, glow: EngineGlow::default() }
    }

    fn drone(ticks: usize) -> Vec<FlightState> {
        let spec = HullKind::Scout.spec();
        let mut state = FlightState::default();
        (0..ticks)
            .map(|tick| {
                let turn = ((tick / 40) % 3) as i8 * 60 - 60;
                let thrust = if (tick / 55) % 4 == 3 { -127 } else { 127 };
                state = step(&state, Controls { thrust, turn, buttons: 0 }, &spec);
                state
            })
            .collect()
    }

    proptest! {
        /// Whatever the jitter and the loss: from one frame to the next no entity is drawn further than its speed
        /// allows, with room for the blending of extrapolation errors.
        #[test]
        fn nothing_jumps_on_a_jittery_link(
            arrivals in prop::collection::vec((0.0f64..0.12, prop::bool::weighted(0.9)), 240)
        ) {
            let path = drone(arrivals.len());
            let mut packets: Vec<(f64, usize)> = arrivals
                .iter()
                .enumerate()
                .filter(|(_, (_, arrives))| *arrives)
                .map(|(tick, (jitter, _))| (tick as f64 * TICK_S + jitter, tick))
                .collect();
            packets.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut world = Interpolation::default();
            let frame = 1.0 / 60.0;
            let (mut now, mut next) = (0.0, 0);
            let mut last: Option<DVec2> = None;
            while next < packets.len() {
                now += frame;
                while next < packets.len() && packets[next].0 <= now {
                    let tick = SimTick(9000 + packets[next].1 as u64);
                    world.clock.observe(tick, now);
                    prop_assert!(world.receive(tick, &motion(path[packets[next].1]), now) != Received::Jump);
                    next += 1;
                }
                world.advance(now, frame);
                let Some(drawn) = world.drawn(ID, now) else { continue };
                if let Some(last) = last {
                    let way = ticks_in(frame) * TICK_SECONDS * 220.0;
                    prop_assert!(
                        drawn.state.position.distance(last) <= way * 3.0,
                        "{} at {now}", drawn.state.position.distance(last)
                    );
                }
                last = Some(drawn.state.position);
            }
        }

        /// On an even link the drawn path is the true one at the clock's moment.
        #[test]
        fn an_even_link_draws_the_true_path(offset in 0.0f64..0.03) {
            let path = drone(200);
            let mut world = Interpolation::default();
            for (tick, state) in path.iter().enumerate() {
                let now = tick as f64 * TICK_S + offset;
                world.clock.observe(SimTick(tick as u64 + 1), now);
                world.receive(SimTick(tick as u64 + 1), &motion(*state), now);
                world.advance(now, TICK_S);
                if tick > 20 {
                    let play = world.clock.play();
                    let drawn = world.drawn(ID, now).unwrap();
                    let before = path[play.floor() as usize - 1];
                    let after = path[play.floor() as usize];
                    let straight = before.position.lerp(after.position, play.fract());
                    prop_assert!(drawn.state.position.distance(straight) < 0.2);
                }
            }
        }
    }

    #[test]
    fn the_moving_are_extrapolated_for_a_bounded_time_and_the_resting_stay() {
        let mut world = Interpolation::default();
        world.clock.observe(SimTick(100), 0.0);
        let moving = FlightState { velocity: DVec2::new(100.0, 0.0), ..Default::default() };
        world.receive(SimTick(100), &motion(moving), 0.0);
        let resting = FlightState { position: DVec2::new(5.0, 5.0), ..Default::default() };
        world.receive(SimTick(100), &Motion { net_id: NetId(4), ..motion(resting) }, 0.0);
        let mut now = 0.0;
        let mut last: Option<FlightState> = None;
        for _ in 0..120 {
            now += TICK_S;
            world.advance(now, TICK_S);
            let state = world.drawn(ID, now).unwrap().state;
            if let Some(last) = last {
                let slower = last.velocity.x - state.velocity.x;
                assert!((-1e-9..=100.0 * TICK_S / EXTRAPOLATION_FADE_S * 1.2).contains(&slower), "a halt: {slower}");
            }
            last = Some(state);
        }
        let drawn = world.drawn(ID, now).unwrap();
        assert!((drawn.state.position.x - 100.0 * (EXTRAPOLATION_S + EXTRAPOLATION_FADE_S / 2.0)).abs() < 1e-9);
        assert_eq!(drawn.state.velocity, DVec2::ZERO);
        assert_eq!(world.drawn(NetId(4), now).unwrap().state.position, resting.position);
    }

    #[test]
    fn what_was_missed_in_a_standstill_is_skipped() {
        for standstill_s in [30.0, 300.0] {
            let mut world = Interpolation::default();
            let moving = FlightState { velocity: DVec2::new(100.0, 0.0), ..Default::default() };
            let (mut now, mut tick) = (0.0, 1000);
            let receive = |world: &mut Interpolation, now: f64, tick: u64| {
                let way = (tick - 1000) as f64 * TICK_SECONDS;
                world.clock.observe(SimTick(tick), now);
                world.receive(SimTick(tick), &motion(moving.coast(way)), now)
            };
            for _ in 0..60 {
                receive(&mut world, now, tick);
                world.advance(now, TICK_S);
                (now, tick) = (now + TICK_S, tick + 1);
            }
            let passed = (standstill_s / TICK_S) as u64;
            (now, tick) = (now + passed as f64 * TICK_S, tick + passed);
            world.wake(now);
            world.advance(now, crate::replication::clock::MAX_DELTA_S);
            // The newest that waited, and then the next ones.
            for late in (0..40).rev() {
                assert_ne!(receive(&mut world, now, tick - late), Received::Jump);
            }
            for _ in 0..5 {
                (now, tick) = (now + TICK_S, tick + 1);
                world.advance(now, TICK_S);
                receive(&mut world, now, tick);
            }
            let behind = (tick as f64 - 1000.0) * TICK_SECONDS * 100.0 - world.drawn(ID, now).unwrap().state.position.x;
            let most = (MAX_DELAY_TICKS + 1.0) * TICK_SECONDS * 100.0;
            assert!((0.0..most).contains(&behind), "{standstill_s} s: {behind} units behind");
            assert!(world.track(ID).unwrap().samples.len() <= MAX_SAMPLES);
        }
    }

    #[test]
    fn what_rested_does_not_creep_when_it_starts() {
        let mut world = Interpolation::default();
        let rest = FlightState::default();
        world.clock.observe(SimTick(100), 0.0);
        world.receive(SimTick(100), &motion(rest), 0.0);
        world.advance(0.0, 0.0);
        let moved =
            FlightState { position: DVec2::new(6.0, 0.0), velocity: DVec2::new(60.0, 0.0), ..Default::default() };
        let now = 30.0 * TICK_S;
        world.clock.observe(SimTick(130), now);
        world.advance(now, now);
        world.receive(SimTick(130), &motion(moved), now);
        let drawn = world.drawn(ID, now).unwrap();
        assert!(drawn.state.position.length() < 3.0, "{:?}", drawn.state.position);
    }

    #[test]
    fn an_impossible_step_is_a_jump_and_known_samples_are_stale() {
        let mut world = Interpolation::default();
        let at = |x: f64| motion(FlightState { position: DVec2::new(x, 0.0), ..Default::default() });
        assert_eq!(world.receive(SimTick(10), &at(0.0), 0.0), Received::Taken);
        assert_eq!(world.receive(SimTick(11), &at(29.0), 0.0), Received::Taken);
        assert_eq!(world.receive(SimTick(11), &at(29.0), 0.0), Received::Stale);
        assert_eq!(world.receive(SimTick(12), &at(300.0), 0.0), Received::Jump);
        assert_eq!(world.receive(SimTick(42), &at(900.0), 0.0), Received::Taken);
    }

    #[test]
    fn what_is_unknown_and_silent_is_forgotten() {
        let mut world = Interpolation::default();
        world.receive(SimTick(10), &motion(FlightState::default()), 0.0);
        assert_eq!(world.sweep(FORGET_S + 1.0, 3.0, |_| true), 0);
        assert_eq!(world.len(), 1);
        world.sweep(FORGET_S + 1.0, 3.0, |_| false);
        assert!(world.is_empty());
    }
}
