//! An observer does not notice when ships cross from one shard to another.
//!
//! An observer rests beside the border between two shards. Pairs of ships fly one figure each: one of a pair across the
//! border, repeatedly, the other inside one shard. From frame to frame the largest jump of the drawing is compared
//! between those that cross and those that do not, for ships as others see them and for the own ship as its player sees
//! it, over players' links.

use sidereal_protocol::{
    DVec2,
    rules::flight::{Controls, FlightState, wrap_angle},
    world::{
        ids::EntityId,
        tick::{TICK_DURATION, TICK_SECONDS},
    },
};
use sidereal_server::replication::mirror::{Holder, Mirror};
use sidereal_shard::bodies;
use sidereal_tests::{
    arena::clear_the_arena,
    cluster::{Cluster, PERFECT},
};
use sidereal_transport::network::memory::LinkConditions;
use std::collections::BTreeMap;

/// A frame, ms: 125 a second. A tick is not a multiple of it, so that frames are everywhere in a tick.
const FRAME_MS: u64 = 8;

/// The invisible jump in a frame, units: two thirds of a pixel at the client's initial scale (0.6 units per pixel).
/// Jumps below it count as equal.
const UNSEEN_UNITS: f64 = 0.4;

/// The largest jump of crossing ships, divided by the largest of the others.
const MOST_RATIO: f64 = 1.2;

/// Ticks that are measured in each run.
const MEASURED_TICKS: u64 = 1_500;

/// Runs of each link; their frames are combined.
const SEEDS: [u64; 4] = [301, 302, 303, 304];

/// The figures: width, height, speed; and whether with the booster.
const FIGURES: [(f64, f64, f64, bool); 3] =
    [(40.0, 15.0, 90.0, false), (60.0, 30.0, 150.0, false), (50.0, 40.0, 215.0, true)];

/// Heights of the figures: far enough from each other to avoid collisions.
const HEIGHTS: [f64; 3] = [140.0, 470.0, 780.0];

/// The distance from the border of those that do not cross: in the same sectors.
const ASIDE: f64 = 500.0;

/// The largest distance from its home, units, along the border and across it: two ships that keep to it cannot meet.
const ROOM: DVec2 = DVec2::new(245.0, 150.0);

const fn player_link(round_trip_ms: u32, jitter_ms: u32) -> LinkConditions {
    LinkConditions { latency_ms: round_trip_ms / 2, jitter_ms, loss: 0.02, duplication: 0.0, reordering: 0.0 }
}

/// Players' links: 20, 60 and 150 ms round trip, with jitter and 2 % loss.
const LINKS: [LinkConditions; 3] = [player_link(20, 4), player_link(60, 10), player_link(150, 20)];

/// A ship that flies a figure.
struct Flyer {
    player: usize,
    id: EntityId,
    home: DVec2,
    figure: usize,
    crosses: bool,
    leg: usize,
    holder: Option<Holder>,
    /// The steps in which it changed shards.
    crossings: Vec<u64>,
}

impl Flyer {
    /// The controls: to the next corner of the figure, with the speed of the figure.
    fn hands(&mut self, own: &FlightState) -> Controls {
        let (out, up, speed, boost) = FIGURES[self.figure];
        let side = if self.leg.is_multiple_of(2) { 1.0 } else { -1.0 };
        // Three heights and two sides: six legs of different angles.
        let corner = DVec2::new(side * out, (self.leg % 3) as f64 * up - up);
        let there = self.home + corner;
        if (there.x - own.position.x) * side < 10.0 {
            self.leg += 1;
        }
        let upward = (there.y - own.position.y).clamp(-0.4 * speed, 0.4 * speed);
        let missing = DVec2::new(side * speed, upward) - own.velocity;
        let off = wrap_angle(missing.to_angle() - own.angle);
        // Proportional, and with the booster always on: an engine that is switched on and off causes a jolt in every
        // tick, which would hide a small jump.
        let thrust =
            (missing.length() * off.cos().max(0.0).powi(6) * 4.0).clamp(if boost { 1.0 } else { 0.0 }, 127.0) as i8;
        let turn = (off * 90.0).clamp(-127.0, 127.0) as i8;
        let buttons = if boost { Controls::BOOST } else { 0 };
        Controls { thrust, turn, buttons }
    }
}

/// One entity as one viewer sees it.
#[derive(Default)]
struct Sight {
    last: Option<FlightState>,
    jumps: Jumps,
}

/// Jumps from frame to frame.
#[derive(Default, Clone)]
struct Jumps {
    /// Distances, units.
    raw: Vec<f64>,
    /// Distances from the expected position, units.
    visible: Vec<f64>,
    /// Frames in which it was not drawn.
    gone: u64,
    /// The largest visible ones.
    worst: Vec<Worst>,
}

/// A large jump, for the diagnosis of a failure.
#[derive(Debug, Clone, Copy)]
struct Worst {
    units: f64,
    /// The seed of the run, and the step in it.
    at: (u64, u64),
    /// Steps from the nearest crossing of the ship.
    from_crossing: Option<i64>,
}

/// How many large jumps are printed.
const WORST: usize = 8;

impl Jumps {
    fn add(&mut self, more: &Self) {
        self.raw.extend(&more.raw);
        self.visible.extend(&more.visible);
        self.gone += more.gone;
        self.worst.extend(&more.worst);
        self.worst.sort_by(|a, b| b.units.total_cmp(&a.units));
        self.worst.truncate(WORST);
    }
}

impl Sight {
    fn frame(&mut self, drawn: Option<FlightState>, at: (u64, u64)) {
        let Some(drawn) = drawn else {
            self.jumps.gone += 1;
            self.last = None;
            return;
        };
        if let Some(last) = self.last.replace(drawn) {
            let seconds = FRAME_MS as f64 / TICK_DURATION.as_millis() as f64 * TICK_SECONDS;
            let way = drawn.position - last.position;
            let visible = (way - last.velocity * seconds).length();
            self.jumps.raw.push(way.length());
            self.jumps.visible.push(visible);
            let worst = &mut self.jumps.worst;
            if worst.len() < WORST || worst.last().is_some_and(|least| least.units < visible) {
                worst.push(Worst { units: visible, at, from_crossing: None });
                worst.sort_by(|a, b| b.units.total_cmp(&a.units));
                worst.truncate(WORST);
            }
        }
    }
}

/// The compared jumps.
#[derive(Default)]
struct Measured {
    /// Others, seen from rest: not crossing, crossing.
    others: [Jumps; 2],
    /// Others that do not cross, seen from a ship that does not cross, and from one that does.
    from_aboard: [Jumps; 2],
    /// The own ship.
    own: [Jumps; 2],
    crossings: usize,
}

impl Measured {
    fn add(&mut self, more: &Self) {
        for crossing in 0..2 {
            self.others[crossing].add(&more.others[crossing]);
            self.from_aboard[crossing].add(&more.from_aboard[crossing]);
            self.own[crossing].add(&more.own[crossing]);
        }
        self.crossings += more.crossings;
    }

    fn rows(&self) -> [(&'static str, &[Jumps; 2]); 3] {
        [("others, from rest", &self.others), ("others, from aboard", &self.from_aboard), ("own ship", &self.own)]
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn percentile_99(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() * 99 / 100).copied().unwrap_or_default()
}

/// `crossing` divided by `staying`, where invisible jumps count as equal.
fn ratio(crossing: f64, staying: f64) -> f64 {
    crossing.max(UNSEEN_UNITS) / staying.max(UNSEEN_UNITS)
}

/// Places a ship at rest and waits until it is drawn there.
fn put(cluster: &mut Cluster, player: usize, position: DVec2) -> EntityId {
    let id = cluster.ship_of(player).expect("flying");
    cluster.steer(player, Controls::default());
    cluster.place(id, FlightState { position, ..FlightState::default() });
    id
}

/// One run: a world, its ships, and the jumps. `meddle` may disturb it, before each tick.
fn watch(
    seed: u64,
    shards: [LinkConditions; 2],
    players: LinkConditions,
    mut meddle: impl FnMut(&mut Cluster, &Flyer),
) -> Measured {
    let mut cluster = Cluster::new(seed, shards[0], 2);
    cluster.set_shard_link(1, shards[1]);
    cluster.until("the rocks have their shards", 300, |cluster| {
        let mirror = cluster.server.world().resource::<Mirror>();
        mirror.iter().next().is_some() && mirror.iter().all(|(_, entry)| matches!(entry.holder, Holder::Shard(_)))
    });
    cluster.ticks(60);
    clear_the_arena(&mut cluster);
    let observer = cluster.join_with("observer", players);
    cluster.until_flying(observer);
    put(&mut cluster, observer, DVec2::new(if seed.is_multiple_of(2) { -60.0 } else { 60.0 }, 305.0));
    let mut flyers = Vec::new();
    for (figure, height) in HEIGHTS.into_iter().enumerate() {
        for crosses in [true, false] {
            let player = cluster.join_with(&format!("pilot {figure} {crosses}"), players);
            cluster.until_flying(player);
            // Those that stay do so on either side, alternately.
            let side = if (figure as u64 + seed).is_multiple_of(2) { 1.0 } else { -1.0 };
            let home = DVec2::new(if crosses { 0.0 } else { side * ASIDE }, height);
            let id = put(&mut cluster, player, home + DVec2::new(side * 30.0, 0.0));
            flyers.push(Flyer { player, id, home, figure, crosses, leg: 0, holder: None, crossings: Vec::new() });
        }
    }
    // They may have been placed in another shard's sectors: those handoffs are not part of the flight.
    cluster.ticks(60);
    for flyer in &mut flyers {
        flyer.holder = cluster.holder(flyer.id);
    }
    let mut sights: BTreeMap<(usize, EntityId), Sight> = BTreeMap::new();
    let warm_up = 120;
    let mut warmed_up = None;
    for tick in 0..warm_up + MEASURED_TICKS {
        for flyer in &mut flyers {
            if let Some(own) = &cluster.view(flyer.player).own {
                let state = own.state;
                let away = (state.position - flyer.home).abs();
                assert!(away.cmple(ROOM).all(), "figure {} left its room: {away}", flyer.figure);
                cluster.steer(flyer.player, flyer.hands(&state));
            }
            let holder = cluster.holder(flyer.id);
            if holder != flyer.holder {
                flyer.holder = holder;
                flyer.crossings.push(cluster.step);
            }
        }
        if tick >= warm_up {
            warmed_up.get_or_insert(cluster.step);
            meddle(&mut cluster, &flyers[0]);
        }
        let (flyers, sights) = (&flyers, &mut sights);
        cluster.tick_in_frames(FRAME_MS, |cluster, viewer| {
            if tick < warm_up {
                return;
            }
            let view = cluster.view(viewer);
            for flyer in flyers {
                let state = if flyer.player == viewer {
                    view.own.as_ref().map(|own| own.state)
                } else {
                    view.others.values().find(|other| other.id == flyer.id).map(|other| other.state)
                };
                sights.entry((viewer, flyer.id)).or_default().frame(state, (seed, cluster.step));
            }
        });
    }
    let mut measured = Measured::default();
    for flyer in &flyers {
        let first = warmed_up.expect("it was measured");
        assert!(flyer.crosses || flyer.crossings.is_empty(), "one that was to stay has crossed");
        measured.crossings += flyer.crossings.iter().filter(|step| **step >= first).count();
    }
    for ((viewer, id), sight) in &mut sights {
        let flyer = flyers.iter().find(|flyer| flyer.id == *id).expect("only flyers are watched");
        for worst in &mut sight.jumps.worst {
            let from = flyer.crossings.iter().map(|step| worst.at.1 as i64 - *step as i64);
            worst.from_crossing = from.min_by_key(|steps| steps.abs());
        }
        let crosses = usize::from(flyer.crosses);
        match flyers.iter().find(|flyer| flyer.player == *viewer) {
            None => measured.others[crosses].add(&sight.jumps),
            Some(pilot) if pilot.id == *id => measured.own[crosses].add(&sight.jumps),
            Some(pilot) if !flyer.crosses => measured.from_aboard[usize::from(pilot.crosses)].add(&sight.jumps),
            Some(_) => {}
        }
    }
    measured
}

fn undisturbed(_: &mut Cluster, _: &Flyer) {}

/// All runs of a link, and its rows of the table.
fn measure(shards: [LinkConditions; 2], players: LinkConditions) -> Measured {
    let mut all = Measured::default();
    for seed in SEEDS {
        all.add(&watch(seed, shards, players, undisturbed));
    }
    print(&players, &all);
    all
}

fn print(players: &LinkConditions, measured: &Measured) {
    println!(
        "round trip {} ms + 2 x 0..{} ms, {} crossings; jumps in units a frame, staying / crossing = ratio",
        players.latency_ms * 2,
        players.jitter_ms,
        measured.crossings
    );
    for (what, [staying, crossing]) in measured.rows() {
        for (kind, staying, crossing) in
            [("raw", &staying.raw, &crossing.raw), ("visible", &staying.visible, &crossing.visible)]
        {
            let (most_s, most_c) = (largest(staying), largest(crossing));
            let (p_s, p_c) = (percentile_99(staying), percentile_99(crossing));
            println!(
                "  {what:20} {kind:8} largest {most_s:7.3} / {most_c:7.3} = {:5.2}   p99 {p_s:7.3} / {p_c:7.3} = {:5.2}   frames {} / {}",
                ratio(most_c, most_s),
                ratio(p_c, p_s),
                staying.len(),
                crossing.len()
            );
        }
        println!("  {what:20} not drawn {} / {}", staying.gone, crossing.gone);
        if std::env::var_os("OBSERVER_WORST").is_some() {
            for (what, jumps) in [("staying", staying), ("crossing", crossing)] {
                for worst in &jumps.worst {
                    println!(
                        "      {what:8} {:.3} at {:?}, {:?} from a crossing",
                        worst.units, worst.at, worst.from_crossing
                    );
                }
            }
        }
    }
}

fn assert_unseen(measured: &Measured) {
    assert!(measured.crossings >= 20, "too few crossings to judge: {}", measured.crossings);
    for (what, [staying, crossing]) in measured.rows() {
        assert_eq!(crossing.gone, 0, "{what}: not drawn in some frames");
        let raw = ratio(largest(&crossing.raw), largest(&staying.raw));
        assert!(raw <= MOST_RATIO, "{what}: a crossing ship moves {raw:.2} times as far in a frame");
        let visible = ratio(largest(&crossing.visible), largest(&staying.visible));
        assert!(visible <= MOST_RATIO, "{what}: a crossing ship jumps {visible:.2} times as far");
    }
}

#[test]
fn a_crossing_is_not_seen_at_20_ms() {
    assert_unseen(&measure([PERFECT; 2], LINKS[0]));
}

#[test]
fn a_crossing_is_not_seen_at_60_ms() {
    assert_unseen(&measure([PERFECT; 2], LINKS[1]));
}

#[test]
fn a_crossing_is_not_seen_at_150_ms() {
    assert_unseen(&measure([PERFECT; 2], LINKS[2]));
}

/// Shards in another building than the server, where a handoff takes several ticks, and one near and one far, so that
/// their clocks lead the server's by different amounts.
#[test]
#[ignore = "takes minutes: cargo test -p sidereal-tests --features test-clock --test observer -- --ignored --nocapture"]
fn a_crossing_is_not_seen_with_distant_shards() {
    let near = LinkConditions { latency_ms: 2, jitter_ms: 2, ..PERFECT };
    let far = LinkConditions { latency_ms: 20, jitter_ms: 5, ..PERFECT };
    let further = LinkConditions { latency_ms: 35, jitter_ms: 10, ..PERFECT };
    for shards in [[far, far], [near, further]] {
        println!("shards at {} and {} ms one way", shards[0].latency_ms, shards[1].latency_ms);
        for players in LINKS {
            assert_unseen(&measure(shards, players));
        }
    }
}

/// The measurement can fail: a ship that its new shard moves a little is detected, by others and by its player.
#[test]
fn a_ship_that_is_put_aside_at_its_crossing_is_seen() {
    let mut put_aside = 0;
    let measured = watch(SEEDS[0], [PERFECT; 2], LINKS[1], |cluster, flyer| {
        // When its new shard certainly has it.
        if flyer.crossings.last().is_none_or(|step| step + 4 != cluster.step) {
            return;
        }
        let Some((_, mut state)) = cluster.truth(flyer.id) else { return };
        state.position.y += 15.0;
        for shard in cluster.shards.iter_mut().flatten() {
            put_aside += u64::from(bodies::set_state(shard.world_mut(), flyer.id, state));
        }
    });
    assert!(put_aside > 0, "nothing was planted");
    print(&LINKS[1], &measured);
    for (what, [staying, crossing]) in [measured.rows()[0], measured.rows()[2]] {
        let visible = ratio(largest(&crossing.visible), largest(&staying.visible));
        assert!(visible > MOST_RATIO, "{what}: {visible:.2}");
    }
}
