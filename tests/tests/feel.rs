//! How the game feels over players' links: the drawn states are compared with the shard's states, in units, ticks and
//! frames.
//!
//! A few pilots fly figures in one shard's space, apart from each other or through each other. In every frame of every
//! pilot the drawn own ship, and the drawn others, are recorded with the moment for which they are drawn. The shard's
//! states are recorded too, and then the two are compared.

use sidereal_client::{
    FrameDelta,
    replication::interpolation::{EXTRAPOLATION_FADE_S, Interpolation},
    view::WorldView,
};
use sidereal_protocol::{
    DVec2,
    rules::{
        flight::{Controls, FlightState, wrap_angle},
        playback::EXTRAPOLATION_S,
    },
    world::{
        ids::EntityId,
        tick::{TICK_DURATION, TICK_SECONDS},
    },
};
use sidereal_shard::clock::SimClock;
use sidereal_tests::{
    arena::clear_the_arena,
    cluster::{Cluster, PERFECT},
};
use sidereal_transport::network::memory::LinkConditions;
use std::collections::BTreeMap;

/// Pilots in a world.
const PILOTS: usize = 3;

/// Ticks before the measurement: clocks and delays have settled.
const WARM_UP_TICKS: u64 = 150;

/// Ticks that a test measures: 20 s.
const MEASURED_TICKS: u64 = 600;

/// The same for the figures: two minutes.
const FIGURE_TICKS: u64 = 3_600;

/// How often and for how long no packets arrive, where that is tested.
const GAP_EVERY_TICKS: u64 = 37;
const GAP_TICKS: u64 = 9;

/// A frame at 60 Hz, ms.
const FRAME_MS: u64 = 16;

/// Lengths of uneven frames, ms, in turns: a machine that stutters.
const UNEVEN_MS: [u64; 7] = [16, 17, 33, 8, 50, 16, 25];

/// A ship that is drawn off its path by more than this in a frame, units, has jumped: three pixels at the client's
/// initial scale. Playback that is a tenth faster, and the turn of a ship within the longest frame, stay below it.
const JUMP_UNITS: f64 = 1.8;

/// Distance of the drawn own ship from the shard's state, 99 of 100 frames, units: a few pixels.
const MOST_OWN_UNITS: f64 = 1.5;

/// The same for ships that collide.
const MOST_COLLIDING_UNITS: f64 = 12.0;

/// Corrections per minute of a pilot without collisions.
const MOST_CORRECTIONS: f64 = 4.0;

/// Distance of drawn others from their true state at the drawn moment, 99 of 100 frames, units.
const MOST_OTHERS_UNITS: f64 = 0.2;

/// The speed of the pilots, units/s.
const SPEED: f64 = 120.0;

const fn link(round_trip_ms: u32, jitter_ms: u32, loss: f64) -> LinkConditions {
    LinkConditions { latency_ms: round_trip_ms / 2, jitter_ms, loss, duplication: 0.0, reordering: 0.0 }
}

/// Players' links: round trip, jitter and 2 % loss.
const LINKS: [LinkConditions; 4] = [link(20, 4, 0.02), link(60, 10, 0.02), link(150, 20, 0.02), link(300, 40, 0.02)];

/// The conditions of a world.
#[derive(Clone, Copy)]
struct Flown {
    link: LinkConditions,
    /// All figures have the same centre: the ships meet, and collide.
    together: bool,
    uneven_frames: bool,
    ticks: u64,
}

impl Flown {
    fn apart(link: LinkConditions) -> Self {
        Self { link, together: false, uneven_frames: false, ticks: MEASURED_TICKS }
    }
}

/// One pilot: flies to and fro through a figure around its home.
struct Pilot {
    player: usize,
    id: EntityId,
    home: DVec2,
    leg: usize,
}

impl Pilot {
    fn hands(&mut self, own: &FlightState) -> Controls {
        let side = if self.leg.is_multiple_of(2) { 1.0 } else { -1.0 };
        let there = self.home + DVec2::new(side * 70.0, (self.leg % 3) as f64 * 25.0 - 25.0);
        if (there.x - own.position.x) * side < 10.0 {
            self.leg += 1;
        }
        let upward = (there.y - own.position.y).clamp(-0.4 * SPEED, 0.4 * SPEED);
        let missing = DVec2::new(side * SPEED, upward) - own.velocity;
        let off = wrap_angle(missing.to_angle() - own.angle);
        let thrust = (missing.length() * off.cos().max(0.0) * 4.0).clamp(0.0, 127.0) as i8;
        Controls { thrust, turn: (off * 90.0).clamp(-127.0, 127.0) as i8, buttons: 0 }
    }
}

/// The shard's states of every ship, by tick.
#[derive(Default)]
struct Truth(BTreeMap<(EntityId, u64), FlightState>);

impl Truth {
    fn note(&mut self, cluster: &mut Cluster, pilots: &[Pilot]) {
        for pilot in pilots {
            let Some((shard, state)) = cluster.truth(pilot.id) else { continue };
            let app = cluster.shards[shard].as_ref().expect("it has simulated the ship");
            self.0.insert((pilot.id, app.world().resource::<SimClock>().tick.0), state);
        }
    }

    /// The ship's state at a moment between ticks.
    fn at(&self, id: EntityId, moment: f64) -> Option<DVec2> {
        let tick = moment.floor() as u64;
        let (before, after) = (self.0.get(&(id, tick))?, self.0.get(&(id, tick + 1))?);
        Some(before.position.lerp(after.position, moment.fract()))
    }
}

/// The results of a world.
#[derive(Default)]
struct Feel {
    /// Distances of the drawn own ship from the shard's at its moment, units.
    own: Vec<f64>,
    /// Distances of drawn others from the shard's at theirs, units.
    others: Vec<f64>,
    /// See [`LastDrawn::leap`], for every frame.
    own_leaps: Vec<f64>,
    others_leaps: Vec<f64>,
    corrections: u64,
    /// Minutes of all pilots.
    minutes: f64,
    /// Delay of others at the end, ticks, the largest of all pilots.
    delay_ticks: f64,
}

impl Feel {
    fn per_minute(&self, count: u64) -> f64 {
        count as f64 / self.minutes
    }
}

/// How many of `leaps` are visible.
fn jumps(leaps: &[f64]) -> u64 {
    leaps.iter().filter(|leap| **leap > JUMP_UNITS).count() as u64
}

/// The last frame of every pilot.
#[derive(Default)]
struct LastDrawn(BTreeMap<(usize, EntityId), FlightState>);

impl LastDrawn {
    /// How far off its path a ship is drawn a frame later, units: by its old or new speed, because an impulse changes
    /// that at once. `None` if it was not drawn before.
    fn leap(&mut self, cluster: &Cluster, player: usize, id: EntityId, now: FlightState) -> Option<f64> {
        let before = self.0.insert((player, id), now)?;
        let way_s = flight_s(frame_s(cluster, player));
        let off = |velocity: DVec2| (now.position - before.position - velocity * way_s).length();
        Some(off(before.velocity).min(off(now.velocity)))
    }
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// A world with its pilots in flight.
fn world(seed: u64, link: LinkConditions, together: bool) -> (Cluster, Vec<Pilot>) {
    let mut cluster = Cluster::new(seed, PERFECT, 1);
    cluster.ticks(60);
    clear_the_arena(&mut cluster);
    let mut pilots = Vec::new();
    for number in 0..PILOTS {
        let player = cluster.join_with(&format!("pilot {number}"), link);
        cluster.until_flying(player);
        let home = DVec2::new(300.0, if together { 450.0 } else { 200.0 + 250.0 * number as f64 });
        let id = cluster.ship_of(player).expect("flying");
        let position = home + DVec2::new(number as f64 * 40.0, 0.0);
        cluster.place(id, FlightState { position, ..FlightState::default() });
        pilots.push(Pilot { player, id, home, leg: number });
    }
    (cluster, pilots)
}

/// The frames that end in a millisecond: of one length, or uneven ones.
fn frames(uneven: bool) -> impl FnMut(u64, usize) -> Option<u64> {
    let mut next: BTreeMap<usize, (u64, usize)> = BTreeMap::new();
    move |now_ms, player| {
        let (began, number) = next.entry(player).or_insert((now_ms, player));
        let length = if uneven { UNEVEN_MS[*number % UNEVEN_MS.len()] } else { FRAME_MS };
        (now_ms - *began >= length).then(|| {
            *began = now_ms;
            *number += 1;
            length
        })
    }
}

/// All drawn pilots' ships in a pilot's frame: the ship, whether it is the own one, the moment, and the state.
fn drawn(cluster: &Cluster, player: usize, pilots: &[Pilot]) -> Vec<(EntityId, bool, f64, FlightState)> {
    let view = cluster.view(player);
    let own = view.own.iter().map(|own| (own.id, true, view.own_tick, own.state));
    let others = view.others.values().map(|other| (other.id, false, view.play_tick, other.state));
    own.chain(others).filter(|(id, ..)| pilots.iter().any(|pilot| pilot.id == *id)).collect()
}

fn frame_s(cluster: &Cluster, player: usize) -> f64 {
    cluster.players[player].app.world().resource::<FrameDelta>().0
}

/// Simulated seconds in seconds of the clock: a tick lasts a whole number of milliseconds.
fn flight_s(seconds: f64) -> f64 {
    seconds / TICK_DURATION.as_secs_f64() * TICK_SECONDS
}

/// Sets the controls of all pilots for a tick.
fn steer(cluster: &mut Cluster, pilots: &mut [Pilot]) {
    for pilot in pilots {
        if let Some(own) = &cluster.view(pilot.player).own {
            let controls = pilot.hands(&own.state);
            cluster.steer(pilot.player, controls);
        }
    }
}

fn corrections(cluster: &Cluster, pilots: &[Pilot]) -> u64 {
    pilots.iter().map(|pilot| cluster.stats(pilot.player).corrections).sum()
}

fn delay_ticks(cluster: &Cluster, player: usize) -> f64 {
    cluster.view(player).link.interpolation_delay_ticks
}

fn fly(seed: u64, flown: Flown) -> Feel {
    let (mut cluster, mut pilots) = world(seed, flown.link, flown.together);
    let (mut truth, mut feel, mut seen) = (Truth::default(), Feel::default(), Vec::new());
    let mut last = LastDrawn::default();
    let mut due = frames(flown.uneven_frames);
    let mut corrections_before = 0;
    for tick in 0..WARM_UP_TICKS + flown.ticks {
        steer(&mut cluster, &mut pilots);
        if tick == WARM_UP_TICKS {
            corrections_before = corrections(&cluster, &pilots);
        }
        cluster.tick_in_frames_of(&mut due, |cluster, player| {
            if tick < WARM_UP_TICKS {
                return;
            }
            for (id, is_own, moment, state) in drawn(cluster, player, &pilots) {
                seen.push((id, is_own, moment, state.position));
                let leap = last.leap(cluster, player, id, state);
                (if is_own { &mut feel.own_leaps } else { &mut feel.others_leaps }).extend(leap);
            }
        });
        truth.note(&mut cluster, &pilots);
    }
    for (id, is_own, moment, position) in seen {
        if let Some(there) = truth.at(id, moment) {
            (if is_own { &mut feel.own } else { &mut feel.others }).push(there.distance(position));
        }
    }
    feel.corrections = corrections(&cluster, &pilots) - corrections_before;
    feel.minutes = flown.ticks as f64 * TICK_DURATION.as_secs_f64() / 60.0 * PILOTS as f64;
    feel.delay_ticks = (0..PILOTS).map(|player| delay_ticks(&cluster, player)).fold(0.0, f64::max);
    let frames = flown.ticks as usize * PILOTS;
    assert!(feel.own.len() > frames / 2 && feel.others.len() > frames, "too little was seen to judge");
    feel
}

/// Frames from a key to the first frame that shows its effect, for many presses of one pilot. `shows` compares the view
/// with the one before the key.
fn reactions(
    link: LinkConditions,
    uneven: bool,
    pressed: Controls,
    shows: fn(&WorldView, &WorldView) -> bool,
) -> Vec<u64> {
    let (mut cluster, pilots) = world(41, link, false);
    let player = pilots[0].player;
    cluster.steer(player, Controls::default());
    let mut due = frames(uneven);
    let mut counted = Vec::new();
    let mut pressing: Option<(u64, WorldView)> = None;
    let (mut number, mut next) = (0, 80);
    for _ in 0..1_200 {
        cluster.tick_in_frames_of(&mut due, |cluster, viewer| {
            if viewer != player {
                return;
            }
            number += 1;
            if let Some((at, before)) = &pressing {
                if shows(before, cluster.view(player)) {
                    // The first frame that could have read the key has the number 0.
                    counted.push(number - at - 1);
                    pressing = None;
                    cluster.steer(player, Controls::default());
                    // Long enough for the ship to rest again, and in another part of the tick each time.
                    next = number + 97 + counted.len() as u64 % 3;
                }
            } else if number >= next && rests(cluster.view(player)) {
                pressing = Some((number, cluster.view(player).clone()));
                cluster.steer(player, pressed);
            }
        });
    }
    assert!(counted.len() >= 15, "only {} presses were answered", counted.len());
    counted
}

/// Nothing moves that could be mistaken for an effect.
fn rests(view: &WorldView) -> bool {
    view.shots.is_empty() && view.own.as_ref().is_some_and(|own| own.state.angular_velocity.abs() < 1e-4)
}

fn turns(before: &WorldView, now: &WorldView) -> bool {
    let angle = |view: &WorldView| view.own.as_ref().expect("flying").state.angle;
    wrap_angle(angle(now) - angle(before)).abs() > 1e-4
}

fn shoots(before: &WorldView, now: &WorldView) -> bool {
    let own = |view: &WorldView| view.shots.iter().filter(|shot| shot.own).count();
    own(now) > own(before)
}

const TURN: Controls = Controls { thrust: 0, turn: 127, buttons: 0 };
const FIRE: Controls = Controls { thrust: 0, turn: 0, buttons: Controls::FIRE };

#[test]
fn the_own_ship_is_where_its_shard_has_it_and_hardly_ever_corrected() {
    for (link, seed) in LINKS.into_iter().zip(11..) {
        for uneven_frames in [false, true] {
            let feel = fly(seed, Flown { uneven_frames, ..Flown::apart(link) });
            let context = format!("{link:?}, uneven frames: {uneven_frames}");
            let (p99, per_minute) = (percentile(&feel.own, 0.99), feel.per_minute(feel.corrections));
            println!(
                "{context}: own p99 {p99:.2}, corrections {per_minute:.1}/min, others p99 {:.2}, jumps {} {}, delay {:.1}",
                percentile(&feel.others, 0.99),
                jumps(&feel.own_leaps),
                jumps(&feel.others_leaps),
                feel.delay_ticks
            );
            assert!(p99 <= MOST_OWN_UNITS, "{context}: {p99}");
            assert!(per_minute <= MOST_CORRECTIONS, "{context}: {per_minute} corrections a minute");
            let others = percentile(&feel.others, 0.99);
            assert!(others <= MOST_OTHERS_UNITS, "{context}: others {others} from where they were");
            assert_eq!((jumps(&feel.own_leaps), jumps(&feel.others_leaps)), (0, 0), "{context}: jumps");
        }
    }
}

#[test]
fn ships_that_collide_are_corrected_without_a_jump() {
    let feel = fly(21, Flown { together: true, ..Flown::apart(LINKS[1]) });
    assert!(feel.corrections > 0, "no ships collided");
    let p99 = percentile(&feel.own, 0.99);
    let farthest = |leaps: &[f64]| percentile(leaps, 1.0);
    let (own, others) = (farthest(&feel.own_leaps), farthest(&feel.others_leaps));
    println!("{} corrections, own p99 {p99:.2}, farthest leaps {own:.2} {others:.2}", feel.corrections);
    assert!(p99 <= MOST_COLLIDING_UNITS, "{p99}");
    assert!(own <= JUMP_UNITS && others <= JUMP_UNITS, "leaps of {own} and {others} units");
}

#[test]
fn a_key_is_seen_in_the_frame_that_reads_it() {
    for (link, uneven) in [(LINKS[0], false), (LINKS[2], false), (LINKS[3], true)] {
        let turned = reactions(link, uneven, TURN, turns);
        let shot = reactions(link, uneven, FIRE, shoots);
        println!("{link:?} {uneven}: turned {turned:?}, shot {shot:?}");
        assert!(turned.iter().chain(&shot).all(|frames| *frames == 0), "{link:?}: {turned:?} {shot:?}");
    }
}

#[test]
fn the_delay_of_others_follows_the_jitter_up_and_down_at_an_even_pace() {
    let (mut cluster, mut pilots) = world(31, link(60, 2, 0.02), false);
    let mut due = frames(false);
    let mut played: BTreeMap<usize, f64> = BTreeMap::new();
    let mut delays = Vec::new();
    for jitter_ms in [2, 90, 2] {
        for player in &cluster.players {
            cluster.network.set_conditions_of(&player.handle, link(60, jitter_ms, 0.02));
        }
        for _ in 0..300 {
            steer(&mut cluster, &mut pilots);
            cluster.tick_in_frames_of(&mut due, |cluster, player| {
                let play = cluster.view(player).play_tick;
                let even = frame_s(cluster, player) / TICK_DURATION.as_secs_f64();
                if let Some(before) = played.insert(player, play) {
                    let pace = (play - before) / even;
                    assert!((0.89..=1.11).contains(&pace), "drawn at {pace} times its pace");
                }
            });
        }
        delays.push(delay_ticks(&cluster, pilots[0].player));
    }
    let &[even, uneven, again] = delays.as_slice() else { unreachable!("three parts") };
    println!("delays {delays:?}");
    assert!(uneven >= even + 1.0, "it did not rise: {delays:?}");
    assert!(again <= even + 0.5, "it did not fall: {delays:?}");
}

#[test]
fn what_was_drawn_on_through_a_gap_is_made_up_for_without_a_jump() {
    let (mut cluster, mut pilots) = world(71, link(60, 4, 0.0), false);
    let (mut last, mut leaps) = (LastDrawn::default(), Vec::new());
    let mut due = frames(false);
    for tick in 0..WARM_UP_TICKS + 10 * GAP_EVERY_TICKS {
        for player in &cluster.players {
            if tick % GAP_EVERY_TICKS < GAP_TICKS {
                // No packets arrive.
                cluster.network.cut(&player.handle);
            } else {
                cluster.network.restore(&player.handle);
            }
        }
        steer(&mut cluster, &mut pilots);
        cluster.tick_in_frames_of(&mut due, |cluster, player| {
            for (id, is_own, _, state) in drawn(cluster, player, &pilots) {
                let leap = last.leap(cluster, player, id, state);
                leaps.extend(leap.filter(|_| !is_own && tick >= WARM_UP_TICKS));
            }
        });
    }
    let farthest = percentile(&leaps, 1.0);
    println!("farthest leap {farthest:.2}");
    assert!(farthest <= JUMP_UNITS, "a leap of {farthest} units");
}

#[test]
fn what_a_silent_shard_leaves_is_drawn_on_for_a_bounded_way_and_rests() {
    let (mut cluster, mut pilots) = world(51, LINKS[2], false);
    for _ in 0..WARM_UP_TICKS {
        steer(&mut cluster, &mut pilots);
        cluster.tick_once();
    }
    cluster.silence_shard(0);
    let most_s = EXTRAPOLATION_S + EXTRAPOLATION_FADE_S / 2.0;
    let mut farthest: f64 = 0.0;
    let mut due = frames(false);
    let mut last: BTreeMap<(usize, EntityId), DVec2> = BTreeMap::new();
    let mut moved: f64 = 0.0;
    for tick in 0..60 {
        cluster.tick_in_frames_of(&mut due, |cluster, player| {
            let interpolation = cluster.players[player].app.world().resource::<Interpolation>();
            let view = cluster.view(player);
            for other in view.others.values().filter(|other| pilots.iter().any(|pilot| pilot.id == other.id)) {
                let (_, heard) = interpolation.track(other.net_id).expect("it is drawn").latest();
                let at = other.state.position;
                let beyond = (at - heard.position).dot(heard.velocity.normalize_or_zero());
                farthest = farthest.max(beyond - heard.velocity.length() * most_s);
                if let Some(before) = last.insert((player, other.id), at)
                    && tick >= 45
                {
                    moved = moved.max(before.distance(at));
                }
            }
        });
    }
    assert!(last.len() >= PILOTS * (PILOTS - 1), "the others are still drawn");
    assert!(farthest <= 0.5, "{farthest} units past the bound");
    assert!(moved < 0.01, "still moving by {moved} units a frame");
}

#[test]
#[ignore = "takes minutes: cargo test -p sidereal-tests --features test-clock --test feel -- --ignored --nocapture"]
fn figures() {
    println!(
        "| link | ships | own p50 | own p99 | corrections/min | others p99 | delay ticks | jumps/min own, others |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for link in LINKS {
        for together in [false, true] {
            let feel = fly(61, Flown { together, ticks: FIGURE_TICKS, ..Flown::apart(link) });
            println!(
                "| {} + 2 x 0..{} ms | {} | {:.2} | {:.2} | {:.1} | {:.2} | {:.1} | {:.1}, {:.1} |",
                link.latency_ms * 2,
                link.jitter_ms,
                if together { "colliding" } else { "apart" },
                percentile(&feel.own, 0.5),
                percentile(&feel.own, 0.99),
                feel.per_minute(feel.corrections),
                percentile(&feel.others, 0.99),
                feel.delay_ticks,
                feel.per_minute(jumps(&feel.own_leaps)),
                feel.per_minute(jumps(&feel.others_leaps))
            );
        }
        let most = |frames: Vec<u64>| frames.into_iter().max().unwrap_or_default();
        println!(
            "  {} ms: frames from a key to the turn at most {}, to the shot at most {}",
            link.latency_ms * 2,
            most(reactions(link, false, TURN, turns)),
            most(reactions(link, false, FIRE, shoots))
        );
    }
}
