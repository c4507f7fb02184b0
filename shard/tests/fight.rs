//! The same fight inside a shard and across the border of two has the same result.

mod common;

use common::{mesh::Mesh, *};
use rand::Rng;
use rand_pcg::Pcg64Mcg;
use sidereal_protocol::{
    DVec2,
    packets::input::Input,
    record::EntityRecord,
    rules::flight::Controls,
    world::{ids::EntityId, sector::SectorId, tick::SimTick},
};

/// The length of a fight, ticks: 8 s, a pass of two pairs and the shots that follow.
const TICKS: u64 = 240;
/// Ticks before it begins.
const WARM_UP: u64 = 12;
const SHIPS: u32 = 4;
const SCRIPTS: u64 = 50;

// The tolerances. Across the border each side knows the other by ghosts that are 2 or 4 ticks old here (two hops of one
// or two), extrapolated along their curve. A pilot's actions in these ticks are missing in it: 1 to 2 units at a ship's
// acceleration, against a radius of 9. So a shot at the edge of a hull may miss, and a ram's normal turns by that
// share: at 300 units/s some 20 go sideways, which are 150 units after eight seconds. A hit arrives 2 or 4 ticks later,
// and so does its push. A ship that changes shards does not fire for two hops. One different contact soon makes the
// whole fight of a ship different.
// for two hops. Who is at all touched differently in a fight soon is so in everything.
//
// The measure of it is the same fights without a border, with the pilots in the east late by one hop, 1 or 2 ticks: a
// border must not cost more than that.

/// Half of all ships end nearer than this to their end without a border, units.
const MEDIAN_APART: f64 = 3.0;
/// Three quarters of them end with at most this difference in hull points: a bullet's.
const HULL_P75: f64 = 10.0;
/// Nine tenths: at most a missile's.
const HULL_P90: f64 = 40.0;
/// Share by which the lost hull points of all fights may differ: a ship does not fire for 2 or 4 ticks at each of some
/// two crossings, of the 240.
const LOST_SHARE: f64 = 0.08;

/// A fight: the ships, and the controls of each pilot in each tick.
struct Script {
    ships: Vec<EntityRecord>,
    hands: Vec<Vec<Input>>,
}

/// Two pairs that fly at each other over x = 1000, fire, launch, ram and turn.
fn script(seed: u64) -> Script {
    let mut random = Pcg64Mcg::new((u128::from(seed) << 64) | 1);
    let mut ships = Vec::new();
    let mut hands = Vec::new();
    for number in 1..=SHIPS {
        let side = if number % 2 == 1 { -1.0 } else { 1.0 };
        let lane = 450.0 + 120.0 * f64::from((number - 1) / 2);
        let x = 1000.0 + side * random.random_range(60.0..260.0);
        let position = DVec2::new(x, lane + random.random_range(-12.0..12.0));
        let towards: f64 = if side < 0.0 { 0.0 } else { std::f64::consts::PI };
        let angle = towards + random.random_range(-0.1..0.1);
        let velocity = DVec2::from_angle(angle) * random.random_range(0.0..150.0);
        ships.push(headed(
            moving(ship(number, position), velocity),
            sidereal_protocol::rules::flight::wrap_angle(angle),
        ));
        hands.push(pilot(&mut random));
    }
    Script { ships, hands }
}

fn pilot(random: &mut Pcg64Mcg) -> Vec<Input> {
    let mut inputs = Vec::new();
    let mut controls = Controls::default();
    let view_lag = random.random_range(6..24);
    let mut until = 0;
    for tick in 0..TICKS {
        if tick == until {
            until += random.random_range(8..40u64);
            let held = |chance, button, random: &mut Pcg64Mcg| if random.random_bool(chance) { button } else { 0 };
            controls = Controls {
                thrust: [127, 127, 60, 0, -127][random.random_range(0..5)],
                turn: if random.random_bool(0.5) { 0 } else { random.random_range(-90..90) },
                buttons: held(0.6, Controls::FIRE, random)
                    | held(0.3, Controls::LAUNCH, random)
                    | held(0.3, Controls::BEAM, random)
                    | held(0.2, Controls::BOOST, random)
                    | held(0.1, Controls::BRAKE, random),
            };
        }
        let view_lag = if controls.holds(Controls::BEAM) { view_lag } else { 0 };
        inputs.push(Input { tick: SimTick(START + tick), controls, view_lag });
    }
    inputs
}

/// The end of one ship; its last state, if it was destroyed.
#[derive(Debug, Clone, Copy, PartialEq)]
struct End {
    position: DVec2,
    hull: u16,
    died: Option<u64>,
}

struct Outcome {
    ends: Vec<End>,
    mesh: Mesh,
}

fn columns(range: std::ops::RangeInclusive<i32>) -> Vec<SectorId> {
    range.flat_map(|x| (-3..=3).map(move |y| SectorId::new(x, y))).collect()
}

/// Where a fight takes place.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// All of it in one shard.
    Inside,
    /// The border of two shards runs through its middle.
    Across,
    /// All of it in one shard, and the controls of the pilots in the east delayed by so many ticks.
    InsideLate(u64),
}

fn fight(script: &Script, place: Place, delay: u64) -> Outcome {
    let sectors = match place {
        Place::Across => [columns(-3..=0), columns(1..=4)],
        Place::Inside | Place::InsideLate(_) => [columns(-3..=4), vec![]],
    };
    let mut mesh = Mesh::with(sectors, script.ships.clone(), delay);
    mesh.at_once = true;
    let ids: Vec<EntityId> = (1..=SHIPS).map(|number| id(u64::from(number))).collect();
    let mut ends: Vec<End> =
        script.ships.iter().map(|ship| End { position: ship.state.position, hull: ship.hull(), died: None }).collect();
    for tick in 0..WARM_UP + TICKS {
        for (index, &ship) in ids.iter().enumerate() {
            let late = match place {
                Place::InsideLate(late) if index % 2 == 1 => late,
                _ => 0,
            };
            let line = tick.checked_sub(WARM_UP + late).and_then(|line| script.hands[index].get(line as usize));
            let next = line.copied().unwrap_or(input(0, 0, 0, 0));
            // So early that it arrives a tick before it is due: then the delay stays the same.
            mesh.input(ship, Input { tick: SimTick(mesh.now + delay - 1), ..next });
        }
        mesh.tick();
        for (&ship, end) in ids.iter().zip(&mut ends) {
            if let Some((_, tick, _)) = mesh.destroyed.iter().find(|(id, ..)| *id == ship) {
                (end.hull, end.died) = (0, Some(*tick));
            } else if let Some(shard) = mesh.shards.iter().find(|shard| shard.owns(ship)) {
                (end.position, end.hull) = (shard.state(ship).position, shard.body(ship).hull);
            }
        }
    }
    Outcome { ends, mesh }
}

/// The difference between two runs of the same fights.
#[derive(Default)]
struct Difference {
    /// Of ships that survived in both, units.
    apart: Vec<f64>,
    /// Of every ship, hull points.
    hull: Vec<f64>,
    /// Of ships that were destroyed in both, ticks.
    death: Vec<f64>,
    /// Ships that were destroyed in one only.
    deaths_in_one: u64,
    /// Lost hull points, in total.
    lost: [u64; 2],
}

impl Difference {
    fn add(&mut self, one: &Outcome, other: &Outcome) {
        for (one, other) in one.ends.iter().zip(&other.ends) {
            match (one.died, other.died) {
                (Some(one), Some(other)) => self.death.push(one.abs_diff(other) as f64),
                (None, None) => self.apart.push(one.position.distance(other.position)),
                _ => self.deaths_in_one += 1,
            }
            self.hull.push(f64::from(one.hull.abs_diff(other.hull)));
            self.lost[0] += u64::from(100 - one.hull);
            self.lost[1] += u64::from(100 - other.hull);
        }
    }

    fn print(&mut self, name: &str) {
        let shares = [0.5, 0.75, 0.9, 1.0];
        let line = |values: &mut Vec<f64>| shares.map(|share| format!("{:.1}", at(values, share))).join(" / ");
        println!("{name}, p50 / p75 / p90 / most:");
        println!("  apart, units: {}", line(&mut self.apart));
        println!("  hull, points: {}", line(&mut self.hull));
        println!("  lost in all, points: {:?}", self.lost);
        println!("  death, ticks: {:?}; dead in one only: {}", self.death, self.deaths_in_one);
    }
}

/// The value below which `share` of all are.
fn at(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[test]
fn a_fight_across_the_border_ends_as_one_inside_a_shard() {
    for delay in [1, 2] {
        let (mut across, mut late) = (Difference::default(), Difference::default());
        let (mut handoffs, mut told, mut doubled, mut ghosts_hit) = (0, 0, 0, 0);
        for seed in 0..SCRIPTS {
            let script = script(seed);
            let inside = fight(&script, Place::Inside, delay);
            let other = fight(&script, Place::Across, delay);
            across.add(&inside, &other);
            late.add(&inside, &fight(&script, Place::InsideLate(delay), delay));
            handoffs += other.mesh.handoffs;
            told += other.mesh.total(|totals| totals.contacts_told);
            doubled += other.mesh.total(|totals| totals.impacts_doubled);
            ghosts_hit += other.mesh.total(|totals| totals.ghost_impacts);
        }
        println!("{SCRIPTS} fights, {delay} ticks each way: {handoffs} handoffs, {ghosts_hit} ghosts hit,");
        println!("  {told} contacts sent, {doubled} doubled impacts dropped");
        across.print("across the border");
        late.print("inside, the east late by a hop");
        // With fewer events the fights would prove nothing.
        assert!(handoffs > 100 && ghosts_hit > 50 && told > 10 && across.lost[0] > 5000);
        assert!(at(&mut across.apart, 0.5) < MEDIAN_APART);
        for share in [0.5, 0.75, 0.9] {
            assert!(at(&mut across.apart, share) <= at(&mut late.apart, share), "{share}, {delay} ticks each way");
        }
        assert!(at(&mut across.hull, 0.75) <= HULL_P75 && at(&mut across.hull, 0.9) <= HULL_P90);
        assert!(across.deaths_in_one <= late.deaths_in_one);
        let [inside, outside] = across.lost.map(|points| points as f64);
        assert!((inside - outside).abs() <= LOST_SHARE * inside, "{inside} lost inside, {outside} across");
    }
}
