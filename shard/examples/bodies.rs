//! The CPU time of a shard's tick by the number of its bodies.
//!
//! `cargo run --release -p sidereal-shard --example bodies`
//!
//! Builds the simulation of a shard ([`SimPlugin`], without a network), fills its sectors as the world's generator does
//! (per sector some eight rocks, most of them at rest, a drone in every second one, a station in every ninth, and a
//! player's ship that flies and shoots for every ten bodies), and measures ticks: control frames, simulation and the
//! encoding of all that is sent. `--dense` adds a fight of 300 ships in one sector, `--idle` leaves all ships out,
//! `--settings` compares avian's settings, `--passes` prints a column for each set of systems.
//!
//! The time of a tick is this thread's CPU time, the mean over all ticks. That of a pass is wall time, of which a fifth of
//! the ticks stays below: other programs on the machine lengthen the rest.

use bevy::prelude::*;
use clap::Parser;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use sidereal_protocol::{
    DVec2,
    frames::control::{Lease, ShipInputs, ToServer, ToShard},
    packets::input::Input,
    record::{DroneMind, EntityKind, EntityRecord, OreLoad, Pilot, ShipHull, Structure},
    rules::{
        economy::{STATION_RADIUS, ore_of_rock},
        flight::{Controls, HullKind},
    },
    world::{
        ids::{AccountId, EntityId, NetId, NetIdBlock, ShardId},
        sector::{SECTOR_SIZE, SectorId},
        tick::SimTick,
    },
};
use sidereal_shard::{
    SimPlugin,
    mailbox::{Inbox, LaneDatagram, Outbox},
    registry::Registry,
    schedule::{SimStep, SimSystems},
};
use std::time::Instant;

/// The CPU time of a shard's tick by the number of its bodies.
#[derive(Parser, Debug, Clone)]
struct Options {
    /// Numbers of bodies.
    #[arg(long, value_delimiter = ',', default_values_t = [500, 1_000, 2_500, 5_000, 10_000])]
    bodies: Vec<u32>,
    /// Measured ticks for each.
    #[arg(long, default_value_t = 240)]
    ticks: u64,
    /// Adds a fight of 300 ships in one sector.
    #[arg(long)]
    dense: bool,
    /// Without players' ships.
    #[arg(long)]
    idle: bool,
    /// Compares avian's settings at the first number of bodies instead.
    #[arg(long)]
    settings: bool,
    /// Prints a column for each set of systems.
    #[arg(long)]
    passes: bool,
}

/// The first simulated tick.
const START: u64 = 1_000;
/// Ticks before the measured ones.
const WARM_UP_TICKS: u64 = 60;
/// Ships of the dense fight.
const FIGHTERS: u32 = 300;
/// Sectors of a row.
const ROW: i32 = 32;
/// The sets that are timed.
const PASSES: [(&str, SimSystems); 9] = [
    ("ghosts", SimSystems::Ghosts),
    ("helm", SimSystems::Helm),
    ("flight", SimSystems::Flight),
    ("physics", SimSystems::Physics),
    ("weapons", SimSystems::Weapons),
    ("damage", SimSystems::Damage),
    ("spawning", SimSystems::Spawning),
    ("borders", SimSystems::Borders),
    ("publish", SimSystems::Publish),
];

/// When each set of the present tick began, and the end.
#[derive(Resource, Default)]
struct Stopwatch(Vec<Instant>);

fn main() {
    let options = Options::parse();
    if options.settings {
        return settings(&options);
    }
    print!("{:>7} {:>7} {:>10} {:>9} {:>9}", "bodies", "ships", "us/tick", "ns/body", "kB/tick");
    if options.passes {
        PASSES.iter().for_each(|(name, _)| print!(" {name:>8}"));
    }
    println!();
    for &bodies in &options.bodies {
        let mut world = World::new(bodies, &options);
        let figures = world.measure(options.ticks);
        let bodies = figures.bodies;
        print!(
            "{bodies:>7} {:>7} {:>10.0} {:>9.0} {:>9.1}",
            world.ships.len(),
            figures.tick_ns / 1e3,
            figures.tick_ns / bodies as f64,
            figures.bytes / 1e3,
        );
        if options.passes {
            figures.passes_ns.iter().for_each(|ns| print!(" {:>8.0}", ns / 1e3));
        }
        println!();
    }
}

/// Compares avian's settings.
fn settings(options: &Options) {
    use avian2d::prelude::*;
    type Change = fn(&mut bevy::ecs::world::World);
    let settings: [(&str, Change); 9] = [
        ("as it is", |_| {}),
        ("substeps 1", |world| world.insert_resource(SubstepCount(1))),
        ("substeps 4", |world| world.insert_resource(SubstepCount(4))),
        ("substeps 6 (avian's default)", |world| world.insert_resource(SubstepCount(6))),
        ("no speculative margin", |world| world.resource_mut::<NarrowPhaseConfig>().default_speculative_margin = 0.0),
        ("speculative margin of 2", |world| world.resource_mut::<NarrowPhaseConfig>().default_speculative_margin = 0.2),
        ("contact tolerance x 10", |world| world.resource_mut::<NarrowPhaseConfig>().contact_tolerance *= 10.0),
        ("contact tolerance 0", |world| world.resource_mut::<NarrowPhaseConfig>().contact_tolerance = 0.0),
        ("no warm start", |world| world.resource_mut::<NarrowPhaseConfig>().match_contacts = false),
    ];
    let bodies = options.bodies.first().copied().unwrap_or(500);
    println!("{:<30} {:>10} {:>12}", "setting", "us/tick", "physics us");
    for (name, change) in settings {
        let mut world = World::new(bodies, options);
        change(world.app.world_mut());
        let figures = world.measure(options.ticks);
        println!("{name:<30} {:>10.0} {:>12.0}", figures.tick_ns / 1e3, figures.passes_ns[3] / 1e3);
    }
}

/// What was measured.
struct Figures {
    bodies: usize,
    tick_ns: f64,
    bytes: f64,
    passes_ns: Vec<f64>,
}

/// A shard and the ships that are flown in it.
struct World {
    app: App,
    tick: u64,
    ships: Vec<EntityId>,
}

impl World {
    fn new(bodies: u32, options: &Options) -> Self {
        let mut app = App::new();
        app.add_plugins(SimPlugin).init_resource::<Stopwatch>();
        for (index, (_, set)) in PASSES.iter().enumerate() {
            let before = index.checked_sub(1).map(|index| PASSES[index].1);
            let watch = note_time.before(*set);
            match before {
                Some(before) => app.add_systems(SimStep, watch.after(before)),
                None => app.add_systems(SimStep, watch),
            };
        }
        app.add_systems(SimStep, note_time.after(SimSystems::Publish));
        app.finish();
        app.cleanup();
        let (records, ships) = records(bodies, options);
        let net_ids = NetIdBlock { next: 1_000_000, end: 2_000_000 };
        let mut world = Self { app, tick: START, ships };
        world.send(ToShard::Welcome {
            shard: ShardId(1),
            sim_tick: SimTick(START),
            naia_tick: 0,
            id_seed: 42,
            net_ids,
        });
        let rows = bodies as i32 / ROW + 2;
        let sectors = (-1..rows).flat_map(|y| (-1..=ROW).map(move |x| SectorId::new(x, y)));
        let leases = sectors.map(|sector| Lease { sector, epoch: 1 }).collect();
        world.send(ToShard::Grant { leases, records });
        world.app.update();
        world
    }

    fn send(&mut self, frame: ToShard) {
        self.app.world_mut().resource_mut::<Inbox<ToShard>>().push(frame);
    }

    fn measure(&mut self, ticks: u64) -> Figures {
        let mut spent = 0;
        let mut passes = vec![Vec::new(); PASSES.len()];
        let mut bytes = 0;
        for tick in 0..WARM_UP_TICKS + ticks {
            self.tick += 1;
            self.fly();
            self.app.world_mut().resource_mut::<Inbox<SimTick>>().push(SimTick(self.tick));
            let before = cpu_ns();
            self.app.update();
            let took = cpu_ns() - before;
            let world = self.app.world_mut();
            world.resource_mut::<Outbox<ToServer>>().drain().for_each(drop);
            let sent: usize = world.resource_mut::<Outbox<LaneDatagram>>().drain().map(|packet| packet.0.len()).sum();
            let marks = std::mem::take(&mut world.resource_mut::<Stopwatch>().0);
            if tick >= WARM_UP_TICKS {
                spent += took;
                bytes += sent;
                for (pass, span) in passes.iter_mut().zip(marks.windows(2)) {
                    pass.push((span[1] - span[0]).as_nanos() as f64);
                }
            }
        }
        Figures {
            bodies: self.app.world().resource::<Registry>().len(),
            tick_ns: spent as f64 / ticks as f64,
            bytes: bytes as f64 / ticks as f64,
            passes_ns: passes.iter_mut().map(|times| low(times)).collect(),
        }
    }

    /// Every ship's input for the coming tick: full thrust in a circle, and bursts of its gun.
    fn fly(&mut self) {
        for index in 0..self.ships.len() {
            let phase = self.tick + 7 * index as u64;
            let buttons = if phase % 60 < 30 { Controls::FIRE } else { 0 };
            let turn = if phase % 200 < 150 { 60 } else { -90 };
            let controls = Controls { thrust: 127, turn, buttons };
            let inputs = vec![Input { tick: SimTick(self.tick), controls, view_lag: 0 }];
            self.send(ToShard::Inputs(vec![ShipInputs { id: self.ships[index], boarding: 0, rewind: 8, inputs }]));
        }
    }
}

fn note_time(mut watch: ResMut<'_, Stopwatch>) {
    watch.0.push(Instant::now());
}

/// CPU time of this thread, ns; the kernel may update it only a few hundred times a second. Wall time on systems without `/proc`.
fn cpu_ns() -> u64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let spent = spent.and_then(|text| text.split_whitespace().next()?.parse().ok());
    spent.unwrap_or_else(|| {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    })
}

fn low(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 5).copied().unwrap_or_default()
}

/// The records of so many bodies, and the ids of the ships among them.
fn records(bodies: u32, options: &Options) -> (Vec<EntityRecord>, Vec<EntityId>) {
    let mut records = Vec::new();
    let mut random = Pcg64Mcg::seed_from_u64(7);
    for sector in (0..).map(|index| SectorId::new(index % ROW, index / ROW)) {
        let first = records.len();
        let kinds =
            [(EntityKind::Asteroid, random.random_range(5..=11)), (EntityKind::Drone, random.random_range(0..2))];
        for kind in kinds.iter().flat_map(|&(kind, count)| std::iter::repeat_n(kind, count)) {
            add(&mut records, first, &mut random, sector, kind);
        }
        if random.random_range(0..9) == 0 {
            add(&mut records, first, &mut random, sector, EntityKind::Station);
        }
        if !options.idle && random.random_range(0..10) < records.len() - first {
            add(&mut records, first, &mut random, sector, EntityKind::Ship);
        }
        if records.len() >= bodies as usize {
            break;
        }
    }
    records.truncate(bodies as usize);
    if options.dense {
        let first = records.len();
        for _ in 0..FIGHTERS {
            add(&mut records, first, &mut random, SectorId::new(ROW, 0), EntityKind::Ship);
        }
    }
    let ships = records.iter().filter(|record| record.kind == EntityKind::Ship).map(|record| record.id).collect();
    (records, ships)
}

/// Adds an entity at a spot of the sector where it touches none of those from `first` on, if one is found.
fn add(records: &mut Vec<EntityRecord>, first: usize, random: &mut Pcg64Mcg, sector: SectorId, kind: EntityKind) {
    let hull = match kind {
        EntityKind::Ship => Some(HullKind::Scout),
        EntityKind::Drone => Some(HullKind::Drone),
        _ => None,
    };
    let radius = match kind {
        EntityKind::Asteroid => 12.0 + 44.0 * random.random::<f64>().powi(2),
        EntityKind::Station => STATION_RADIUS,
        _ => hull.unwrap_or(HullKind::Scout).spec().radius,
    };
    let range = radius + 5.0..SECTOR_SIZE - radius - 5.0;
    let spot = (0..16).find_map(|_| {
        let local = DVec2::new(random.random_range(range.clone()), random.random_range(range.clone()));
        let spot = sector.origin() + local;
        let clear = |other: &EntityRecord| other.state.position.distance(spot) > other.radius() + radius + 5.0;
        records[first..].iter().all(clear).then_some(spot)
    });
    let Some(position) = spot else { return };
    let number = records.len() as u32 + 1;
    let id = EntityId::from_halves(1, u64::from(number));
    let mut record = EntityRecord::at_rest(id, kind, position, SimTick(START))
        // Nothing is destroyed while it is measured.
        .with(Structure::whole(radius, u16::MAX));
    (record.net_id, record.epoch) = (NetId(number), 1);
    match kind {
        EntityKind::Asteroid => {
            record.set(OreLoad(ore_of_rock(radius)));
            // Every tenth was pushed.
            if number.is_multiple_of(10) {
                record.state.velocity = DVec2::from_angle(f64::from(number)) * 6.0;
            }
        }
        EntityKind::Drone => record.set(DroneMind { home: position, patrol_phase: 0.0, target: None }),
        EntityKind::Ship => {
            record.owner = Some(AccountId(id.0));
            record.set(ShipHull(HullKind::Scout));
            record.set(Pilot { rewind: 8, ..Pilot::default() });
        }
        _ => {}
    }
    records.push(record);
}
