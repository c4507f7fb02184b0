//! The handoff without I/O: the real state machines of a server and of several shards, a network between them that does
//! anything to messages, and processes that die.
//!
//! Nothing here uses Bevy, naia or time except the tick, so that a seed always gives the same run. The bookkeeping
//! around the machines is the minimum that the processes do: which process has which entity, under which epoch, with
//! which inputs and how much hull. The invariants are checked after every tick ([`Model::check`]) and, once the faults
//! have stopped, at the end ([`Model::check_settled`]).

mod check;
mod network;
mod server;
mod shard;

pub use network::{Fate, Faults};

use network::Network;
use rand::{Rng, SeedableRng, seq::IteratorRandom};
use rand_pcg::Pcg64Mcg;
use server::Server;
use shard::Shard;
use sidereal_protocol::{
    DVec2,
    frames::control::{GhostImpact, ImpactCause, ToServer, ToShard},
    record::{EntityKind, EntityRecord, Pilot, ShipHull, Structure},
    rules::{flight::HullKind, shot::ShotId},
    world::{
        ids::{AccountId, EntityId, NetId, ShardId},
        sector::SectorId,
        tick::SimTick,
    },
};
use std::collections::BTreeMap;

/// The four sectors that meet at a corner.
pub const SECTORS: [SectorId; 4] =
    [SectorId::new(-1, -1), SectorId::new(0, -1), SectorId::new(-1, 0), SectorId::new(0, 0)];

/// Hull points of an undamaged entity.
const HULL: u16 = 1_000;

/// When a dead process is detected, ticks.
const MISSED_TICKS: u64 = 12;

/// When a dead process is restarted, ticks.
const START_TICKS: u64 = 25;

/// After this many ticks without faults everything is settled: a second prepare after two seconds, its offer's timeout
/// and the census after it, twice over.
pub const SETTLE_TICKS: u64 = 300;

/// The events of a world.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Entities; those with an even number have a player.
    pub entities: u32,
    /// Shards.
    pub shards: usize,
    /// Ticks with faults.
    pub ticks: u64,
    /// The faults of the network.
    pub faults: Faults,
    /// An entity crosses into another sector, chance per tick.
    pub crossing: f64,
    /// An entity is hit, chance per tick.
    pub strike: f64,
    /// An entity is destroyed, chance per tick.
    pub destruction: f64,
    /// A player leaves, or returns, chance per tick.
    pub leaving: f64,
    /// A shard dies, chance per tick.
    pub shard_death: f64,
    /// The server dies, chance per tick.
    pub server_death: f64,
    /// A target does not have the lease that the server assumes, chance per offer.
    pub refusal: f64,
    /// The server assumes that no shard is alive: every target gets an offer before its commit.
    pub ask_always: bool,
}

impl Plan {
    /// A world with crossings only, on a network that only delays.
    pub fn quiet(entities: u32, shards: usize, ticks: u64) -> Self {
        Self {
            entities,
            shards,
            ticks,
            faults: Faults::default(),
            crossing: 0.05,
            strike: 0.0,
            destruction: 0.0,
            leaving: 0.0,
            shard_death: 0.0,
            server_death: 0.0,
            refusal: 0.0,
            ask_always: false,
        }
    }

    /// All events at once, with a strength that follows from the seed.
    pub fn wild(seed: u64) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let mut some = |most: f64| if random.random_bool(0.6) { random.random_range(0.0..most) } else { 0.0 };
        let faults = Faults { loss: some(0.4), duplication: some(0.4), late: some(0.5) };
        let (crossing, strike, destruction, leaving) = (0.02 + some(0.3), some(0.2), some(0.005), some(0.01));
        let (shard_death, server_death, refusal) = (some(0.01), some(0.002), some(0.3));
        Self {
            entities: random.random_range(1..=6),
            shards: random.random_range(2..=4),
            ticks: random.random_range(60..400),
            faults,
            crossing,
            strike,
            destruction,
            leaving,
            shard_death,
            server_death,
            refusal,
            ask_always: random.random_bool(0.5),
        }
    }

    /// Whether the last state of a dead process may be missing.
    fn forgets(&self) -> bool {
        self.shard_death > 0.0 || self.server_death > 0.0
    }
}

/// An event at the moment when a certain message of a handoff is in transit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// The shard that has the entity dies.
    SourceDies,
    /// The shard that it goes to dies.
    TargetDies,
    /// The server dies.
    ServerDies,
    /// The entity is hit for all its hull points.
    Destroyed,
    /// Its player leaves.
    PilotLeaves,
    /// It turns back.
    TurnsBack,
}

/// A world.
#[derive(Debug)]
pub struct Model {
    /// Its events.
    pub plan: Plan,
    now: SimTick,
    random: Pcg64Mcg,
    network: Network,
    server: Server,
    shards: BTreeMap<ShardId, Shard>,
    /// Shards that are dead and not detected yet, since when.
    dying: BTreeMap<ShardId, SimTick>,
    /// When lost shards are available again.
    starting: Vec<SimTick>,
    next_shard: u32,
    next_impact: u32,
    /// The hits that every entity must have received at the end.
    struck: BTreeMap<EntityId, u16>,
    book: check::Book,
    calm: bool,
    mishap: Option<(u64, Mishap)>,
    /// Completed handoffs between shards.
    pub handoffs: u64,
    /// Processes that died.
    pub deaths: u64,
}

impl Model {
    /// The world of a seed.
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut model = Self {
            now: SimTick(1_000),
            random: Pcg64Mcg::seed_from_u64(seed),
            network: Network::new(plan.faults),
            server: Server::default(),
            shards: BTreeMap::new(),
            dying: BTreeMap::new(),
            starting: Vec::new(),
            next_shard: 0,
            next_impact: 0,
            struck: BTreeMap::new(),
            book: check::Book::default(),
            calm: false,
            mishap: None,
            handoffs: 0,
            deaths: 0,
            plan,
        };
        for _ in 0..model.plan.shards {
            model.start_shard();
        }
        model.server.assign();
        for (id, shard) in &mut model.shards {
            shard.leases = model.server.leases_of(*id);
        }
        for number in 0..model.plan.entities {
            let sector = SECTORS[number as usize % SECTORS.len()];
            let record = new_entity(number, sector, model.now);
            model.server.enter(record);
        }
        model.server.store();
        model
    }

    /// A world with the given fates of the first messages of handoffs, and one mishap when the message of that number
    /// is sent.
    pub fn scripted(plan: Plan, fates: Vec<Fate>, mishap: Option<(u64, Mishap)>) -> Self {
        let mut model = Self::settled(1, plan);
        model.network.script(fates);
        model.mishap = mishap;
        model
    }

    /// A world that is settled before the faults begin.
    pub fn settled(seed: u64, plan: Plan) -> Self {
        let faults = plan.faults;
        let mut model = Self::new(seed, Plan { faults: Faults::default(), ..plan });
        model.settle();
        model.plan.faults = faults;
        model.network.disturb(faults);
        model
    }

    /// Plants a fault in every machine.
    pub fn plant(&mut self, plant: impl Fn(&mut sidereal_server::handoff::machine::Planted, &mut shard::Planted)) {
        plant(&mut self.server.machine.planted, &mut self.server.planted_in_shards);
        for shard in self.shards.values_mut() {
            shard.plant(self.server.planted_in_shards);
        }
    }

    /// Runs the whole plan, then lets everything settle.
    ///
    /// # Errors
    /// The invariant that did not hold, and when.
    pub fn run(&mut self) -> Result<(), String> {
        let end = self.now + self.plan.ticks;
        while self.now < end {
            self.tick()?;
        }
        self.calm = true;
        self.network.calm();
        for _ in 0..SETTLE_TICKS {
            self.tick()?;
        }
        self.check_settled().map_err(|problem| format!("tick {}: {problem}", self.now.0))
    }

    /// Steps without faults and events until everything is settled.
    fn settle(&mut self) {
        self.calm = true;
        for _ in 0..SETTLE_TICKS {
            self.tick().expect("nothing happens");
        }
        self.calm = false;
    }

    /// The entity of that number crosses into a sector of another shard; returns whether it can.
    pub fn cross(&mut self, number: u32) -> bool {
        let id = entity_id(number);
        let foreign = self.shards.values_mut().find(|shard| shard.bodies.contains_key(&id)).and_then(|shard| {
            let sector = SECTORS.into_iter().find(|sector| !shard.leases.contains(sector))?;
            shard.bodies.get_mut(&id)?.at = sector;
            Some(())
        });
        foreign.is_some()
    }

    /// One tick of everything, then every invariant.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub fn tick(&mut self) -> Result<(), String> {
        self.now = self.now + 1;
        self.replace_the_dead();
        if !self.calm {
            self.let_things_happen();
        }
        self.deliver();
        self.server.tick(self.now, &mut self.network, &self.plan);
        for (&id, shard) in &mut self.shards {
            shard.tick(self.now, &mut self.network);
            for (&entity, body) in &shard.bodies {
                if let Some(pilot) = body.record.pilot() {
                    self.server.acknowledge(id, entity, body.record.epoch, pilot);
                }
            }
        }
        self.trip();
        self.handoffs = self.server.handoffs;
        self.check().map_err(|problem| format!("tick {}: {problem}", self.now.0))
    }

    fn deliver(&mut self) {
        for letter in self.network.due(self.now, &mut self.random) {
            match letter {
                network::Letter::ToServer(from, message) => {
                    if self.server.knows(from) {
                        self.server.receive(self.now, from, message, &mut self.network, &self.plan);
                    }
                }
                network::Letter::ToShard(to, message) => {
                    let refusal = if self.calm { 0.0 } else { self.plan.refusal };
                    if let Some(shard) = self.shards.get_mut(&to) {
                        shard.receive(self.now, message, &mut self.network, &mut self.random, refusal);
                    }
                }
            }
        }
    }

    fn let_things_happen(&mut self) {
        let plan = self.plan.clone();
        let ids: Vec<EntityId> = (0..plan.entities).map(entity_id).collect();
        for id in ids {
            if self.random.random_bool(plan.crossing) {
                let sector = SECTORS[self.random.random_range(0..SECTORS.len())];
                for shard in self.shards.values_mut() {
                    if let Some(body) = shard.bodies.get_mut(&id) {
                        body.at = sector;
                    }
                }
            }
            if self.random.random_bool(plan.strike) {
                self.strike(id, 1);
            }
            if self.random.random_bool(plan.destruction) {
                self.strike(id, HULL);
            }
            if self.random.random_bool(plan.leaving) {
                self.server.toggle_pilot(id, self.now);
            }
        }
        if self.random.random_bool(plan.shard_death) {
            let some = self.shards.keys().copied().choose(&mut self.random);
            if let Some(shard) = some {
                self.kill(shard);
            }
        }
        if self.random.random_bool(plan.server_death) {
            self.kill_server();
        }
    }

    /// A shard detects a hit on the entity: its own body, or a ghost of it.
    fn strike(&mut self, id: EntityId, damage: u16) {
        let Some(judge) = self.shards.keys().copied().choose(&mut self.random) else { return };
        if !self.server.mirror.contains_key(&id) {
            return;
        }
        self.next_impact += 1;
        let impact = GhostImpact {
            target: id,
            source: None,
            cause: ImpactCause::Bullet(ShotId { shooter: NetId(self.next_impact), tick: self.now }),
            impulse: DVec2::ZERO,
            damage,
            tick: self.now,
        };
        *self.struck.entry(id).or_default() += damage;
        let Some(shard) = self.shards.get_mut(&judge) else { return };
        if shard.bodies.contains_key(&id) {
            shard.strike(self.now, impact, &mut self.network);
        } else {
            self.network.send_up(self.now, judge, ToServer::Impact(impact));
        }
    }

    fn trip(&mut self) {
        let Some((_, mishap)) = self.mishap.filter(|(at, _)| self.network.handoff_messages() >= *at) else { return };
        self.mishap = None;
        let id = entity_id(0);
        let source = self.shards.iter().find(|(_, shard)| shard.bodies.contains_key(&id)).map(|(id, _)| *id);
        let target = self.shards.keys().copied().find(|shard| Some(*shard) != source);
        match mishap {
            Mishap::SourceDies => source.into_iter().for_each(|shard| self.kill(shard)),
            Mishap::TargetDies => target.into_iter().for_each(|shard| self.kill(shard)),
            Mishap::ServerDies => self.kill_server(),
            Mishap::Destroyed => self.strike(id, HULL),
            Mishap::PilotLeaves => self.server.toggle_pilot(id, self.now),
            Mishap::TurnsBack => {
                for shard in self.shards.values_mut() {
                    let home = shard.leases.iter().next().copied();
                    if let (Some(body), Some(home)) = (shard.bodies.get_mut(&id), home) {
                        body.at = home;
                    }
                }
            }
        }
    }

    fn kill(&mut self, shard: ShardId) {
        self.shards.remove(&shard);
        self.dying.insert(shard, self.now);
        self.deaths += 1;
    }

    /// The state that only the server had is lost, with all links. The stored state returns.
    fn kill_server(&mut self) {
        self.deaths += 1;
        self.network.forget_all();
        self.shards.clear();
        self.dying.clear();
        self.starting.clear();
        self.server = self.server.reborn(self.now);
        self.book = check::Book::default();
        for _ in 0..self.plan.shards {
            self.start_shard();
        }
        self.server.assign();
    }

    fn replace_the_dead(&mut self) {
        let now = self.now;
        let missed: Vec<ShardId> =
            self.dying.iter().filter(|(_, since)| now.since(**since) > MISSED_TICKS).map(|(id, _)| *id).collect();
        for shard in missed {
            self.dying.remove(&shard);
            self.network.forget(shard);
            self.server.lose(now, shard, &mut self.network);
            self.starting.push(now + START_TICKS);
        }
        let due = self.starting.iter().filter(|at| now >= **at).count();
        self.starting.retain(|at| now < *at);
        for _ in 0..due {
            self.start_shard();
        }
        self.server.assign();
        for (id, shard) in &mut self.shards {
            shard.leases = self.server.leases_of(*id);
        }
    }

    fn start_shard(&mut self) {
        self.next_shard += 1;
        let id = ShardId(self.next_shard);
        let mut shard = Shard::new(id);
        shard.plant(self.server.planted_in_shards);
        self.shards.insert(id, shard);
        self.server.welcome(id);
    }
}

/// The id of the entity of that number.
pub fn entity_id(number: u32) -> EntityId {
    EntityId::from_halves(7, u64::from(number))
}

fn new_entity(number: u32, sector: SectorId, now: SimTick) -> EntityRecord {
    let piloted = number.is_multiple_of(2);
    let kind = if piloted { EntityKind::Ship } else { EntityKind::Asteroid };
    let mut record = EntityRecord {
        net_id: NetId(number + 1),
        owner: piloted.then(|| AccountId(entity_id(number).0)),
        ..EntityRecord::at_rest(entity_id(number), kind, sector.center(), now).with(Structure::whole(1.0, HULL))
    };
    if piloted {
        record.set(ShipHull(HullKind::Scout));
        record.set(Pilot { last_input: now, ..Pilot::default() });
    }
    record
}

/// Whether a message belongs to a handoff: the network may do anything to it. Other messages (hits, ends of entities)
/// are only late, because the stream that carries them loses nothing while it lives.
fn of_a_handoff_up(message: &ToServer) -> bool {
    use ToServer::{Accept, Adopted, Census, Prepare, Refuse};
    matches!(message, Prepare { .. } | Accept { .. } | Refuse { .. } | Adopted { .. } | Census { .. })
}

fn of_a_handoff_down(message: &ToShard) -> bool {
    use ToShard::{Abort, Commit, Inputs, Offer, Release};
    matches!(message, Offer { .. } | Commit { .. } | Release { .. } | Abort { .. } | Inputs(_))
}
