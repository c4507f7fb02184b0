//! The stand-in shard of way (b): a real peer of the server that leases its sectors, adopts players' ships, and sends
//! motion, own states and censuses as a shard does. It simulates nothing.
//!
//! Moving entities are its own creations. Players' ships are placed at rest in the same sector.

use super::mover::{self, Path, SECTOR};
use crate::{
    children::conversation::{Conversation, answer},
    thin::link::ThinLink,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use sidereal_protocol::{
    DVec2,
    frames::{
        control::{ShipInputs, ToServer, ToShard, decode_frame, encode_frame},
        messages::Credential,
    },
    limits::PROTOCOL_VERSION,
    packets::{
        input::Input,
        motion::{EngineGlow, Motion, SectorNews, encode_sector_update},
        own_state::{OwnState, encode_own_states},
    },
    record::{EntityKind, EntityRecord, Structure},
    rules::flight::FlightState,
    schema,
    world::{
        ids::{EntityId, NetId, NetIdBlock},
        tick::{SimTick, TICK_HZ, TickSync},
    },
};
use sidereal_transport::{ClientNetwork, ConnectOptions, PeerKind};
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

/// The longest sleep of the loop, as in a real shard.
const MAX_SLEEP: Duration = Duration::from_millis(5);

/// Ticks that are made up for at most, as in a real shard.
const MAX_CATCH_UP_TICKS: u64 = 5;

/// Entities created in one tick at most.
const CREATED_PER_TICK: u32 = 64;

/// The options of the role. The secret comes from the environment.
#[derive(Debug, Clone, Args)]
pub struct SourceOptions {
    /// The server's address for shards
    #[arg(long)]
    pub server: SocketAddr,
    /// SHA-256 of its certificate, 64 hexadecimal digits
    #[arg(long)]
    pub certificate_hash: String,
    /// The shards' secret
    #[arg(long, env = "SIDEREAL_SHARD_SECRET", hide_env_values = true)]
    pub shard_secret: String,
    /// Moving entities
    #[arg(long)]
    pub entities: u32,
    /// Changes of each in 30 ticks
    #[arg(long)]
    pub rate_hz: u32,
}

/// The answer to each request.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct SourceSample {
    /// Moving entities so far.
    pub entities: u64,
    /// Changes sent: entities times ticks in which they changed.
    pub changes: u64,
    /// Ships of players.
    pub ships: u64,
    /// Ticks so far.
    pub ticks: u64,
}

struct Ship {
    boarding: u32,
    last_input: SimTick,
    inputs_applied: u64,
}

struct Source {
    options: SourceOptions,
    link: ThinLink,
    sync: Option<TickSync>,
    now: SimTick,
    has_sector: bool,
    net_ids: VecDeque<NetIdBlock>,
    /// Everything under this shard's authority.
    held: BTreeMap<NetId, EntityRecord>,
    by_id: BTreeMap<EntityId, NetId>,
    ships: BTreeMap<NetId, Ship>,
    movers: BTreeMap<NetId, Path>,
    sample: SourceSample,
    inputs_applied: u64,
}

/// Runs until the parent closes the standard input.
///
/// # Errors
/// When the session is refused or lost.
pub fn run(options: &SourceOptions) -> Result<()> {
    let conversation = Conversation::start()?;
    let hash = crate::roles::hash_of(&options.certificate_hash).context("--certificate-hash: 64 hexadecimal digits")?;
    let connect = ConnectOptions::new(options.server, PeerKind::Shard, hash, PROTOCOL_VERSION);
    let network = ClientNetwork::new().context("cannot start the network")?;
    let credential = Credential { secret: options.shard_secret.clone(), name: "stand-in".to_owned() };
    let link = ThinLink::connect(&network, connect, credential.encode().into(), schema::protocol());
    let waker = link.handle().waker();
    let mut source = Source {
        options: options.clone(),
        link,
        sync: None,
        now: SimTick(0),
        has_sector: false,
        net_ids: VecDeque::new(),
        held: BTreeMap::new(),
        by_id: BTreeMap::new(),
        ships: BTreeMap::new(),
        movers: BTreeMap::new(),
        sample: SourceSample::default(),
        inputs_applied: 0,
    };
    while let Ok(request) = conversation.next() {
        if request.is_some() {
            answer(&source.sample)?;
        }
        if let Some(reason) = source.link.failure() {
            bail!("the session has ended: {reason}");
        }
        source.update();
        waker.wait(MAX_SLEEP);
    }
    source.link.close();
    Ok(())
}

impl Source {
    fn update(&mut self) {
        let due = self.link.update(|_| {});
        while let Some(bytes) = self.link.handle().recv_stream() {
            match decode_frame::<ToShard>(&bytes) {
                Ok(frame) => self.on_frame(frame),
                Err(error) => tracing::error!(%error, "the server sent an invalid frame"),
            }
        }
        // Motion of neighbours' borders: nothing is simulated, so nothing is done with it.
        while self.link.handle().recv_lane().is_some() {}
        for tick in due {
            let Some(tick) = self.sync.as_mut().map(|sync| sync.sim_tick(tick)) else { continue };
            let first = (self.now.0 + 1).max(tick.0.saturating_sub(MAX_CATCH_UP_TICKS - 1));
            for tick in first..=tick.0 {
                self.run_tick(SimTick(tick));
            }
        }
        self.link.handle().flush();
    }

    fn send(&self, message: &ToServer) {
        match encode_frame(message) {
            Ok(frame) => {
                if let Err(error) = self.link.handle().send_stream(frame.into()) {
                    tracing::error!(%error, "the server does not read");
                }
            }
            Err(error) => tracing::error!(%error, "a frame could not be encoded"),
        }
    }

    fn on_frame(&mut self, frame: ToShard) {
        match frame {
            ToShard::Welcome { sim_tick, naia_tick, net_ids, .. } => {
                self.sync = Some(TickSync::new(naia_tick, sim_tick));
                self.now = sim_tick;
                self.net_ids.push_back(net_ids);
            }
            ToShard::NetIds(block) => self.net_ids.push_back(block),
            ToShard::Grant { leases, records } => {
                self.has_sector |= leases.iter().any(|lease| lease.sector == SECTOR);
                records.into_iter().for_each(|record| self.hold(record));
            }
            ToShard::Offer { record } => {
                self.send(&ToServer::Accept { id: record.id, epoch: record.epoch });
            }
            ToShard::Commit { record, inputs } => {
                let (id, epoch) = (record.id, record.epoch);
                self.hold(place_ship(*record));
                self.send(&ToServer::Adopted { id, epoch, tick: self.now, waited_us: 0 });
                if let Some(ship) = self.ship_of(id) {
                    take_inputs(ship, &inputs);
                }
            }
            ToShard::Inputs(ships) => {
                for ShipInputs { id, boarding, inputs, .. } in ships {
                    let Some(ship) = self.ship_of(id) else { continue };
                    if ship.boarding < boarding {
                        *ship = Ship { boarding, last_input: SimTick(0), inputs_applied: 0 };
                    }
                    let applied = take_inputs(ship, &inputs);
                    self.inputs_applied += applied;
                }
            }
            ToShard::Withdraw { id } => {
                let Some(net_id) = self.by_id.remove(&id) else { return };
                self.ships.remove(&net_id);
                if let Some(mut record) = self.held.remove(&net_id) {
                    record.version += 1;
                    record.tick = self.now;
                    self.send(&ToServer::Withdrawn { record: Box::new(record) });
                }
            }
            ToShard::Drain => self.send(&ToServer::Drained),
            ToShard::Release { id, .. } => {
                if let Some(net_id) = self.by_id.remove(&id) {
                    self.held.remove(&net_id);
                    self.ships.remove(&net_id);
                }
            }
            ToShard::Abort { .. }
            | ToShard::Impact(_)
            | ToShard::Shot(_)
            | ToShard::Deal { .. }
            | ToShard::Settled { .. }
            | ToShard::Holdings { .. } => {}
        }
    }

    fn ship_of(&mut self, id: EntityId) -> Option<&mut Ship> {
        self.ships.get_mut(self.by_id.get(&id)?)
    }

    fn hold(&mut self, record: EntityRecord) {
        if let Some(pilot) = record.pilot() {
            let ship =
                Ship { boarding: pilot.boarding, last_input: pilot.last_input, inputs_applied: pilot.inputs_applied };
            self.ships.insert(record.net_id, ship);
        }
        self.by_id.insert(record.id, record.net_id);
        self.held.insert(record.net_id, record);
    }

    fn run_tick(&mut self, tick: SimTick) {
        if tick <= self.now {
            return;
        }
        self.now = tick;
        self.sample.ticks += 1;
        if !self.has_sector {
            return;
        }
        self.create_movers();
        self.publish();
        if tick.0.is_multiple_of(u64::from(TICK_HZ)) {
            let entities = self.held.values().map(|record| (record.net_id, record.epoch)).collect();
            self.send(&ToServer::Census { tick, entities, inputs_applied: self.inputs_applied });
        }
        self.sample.entities = self.movers.len() as u64;
        self.sample.ships = self.ships.len() as u64;
    }

    fn create_movers(&mut self) {
        for _ in 0..CREATED_PER_TICK {
            let number = self.movers.len() as u32;
            if number >= self.options.entities {
                return;
            }
            let net_id = loop {
                let Some(block) = self.net_ids.front_mut() else { return };
                match block.take() {
                    Some(net_id) => break net_id,
                    None => drop(self.net_ids.pop_front()),
                }
            };
            let path = Path::of(number);
            let state = path.at(self.now.0);
            let mut record = EntityRecord::at_rest(EntityId::new(), EntityKind::Asteroid, state.position, self.now)
                .with(Structure::whole(8.0, 32));
            (record.net_id, record.epoch, record.version) = (net_id, 1, 1);
            (record.sector, record.state) = (SECTOR, state);
            self.send(&ToServer::Record(Box::new(record.clone())));
            self.movers.insert(net_id, path);
            self.hold(record);
        }
    }

    fn publish(&mut self) {
        let (now, rate_hz) = (self.now, self.options.rate_hz);
        let mut motions: Vec<Motion> = Vec::new();
        let is_due = mover::changes_at(now.0, rate_hz);
        for (net_id, record) in &self.held {
            let state = match self.movers.get(net_id) {
                Some(path) if is_due => path.at(now.0),
                Some(_) => continue,
                // A ship at rest: once a second.
                None if self.ships.contains_key(net_id) && refreshes(now, *net_id) => record.state,
                None => continue,
            };
            motions.push(Motion { net_id: *net_id, state, glow: EngineGlow::default() });
        }
        if is_due {
            self.sample.changes += self.movers.len() as u64;
        }
        let news = SectorNews { motions: &motions, ..SectorNews::default() };
        for packet in encode_sector_update(SECTOR, now, news) {
            self.link.handle().send_lane(packet.bytes.into());
        }
        let states: Vec<OwnState> = self
            .ships
            .iter()
            .filter_map(|(net_id, ship)| {
                Some(OwnState {
                    net_id: *net_id,
                    boarding: ship.boarding,
                    tick: now,
                    input_tick: ship.last_input,
                    inputs_applied: ship.inputs_applied,
                    state: self.held.get(net_id)?.state,
                })
            })
            .collect();
        for packet in encode_own_states(&states) {
            self.link.handle().send_lane(packet.into());
        }
    }
}

fn refreshes(now: SimTick, net_id: NetId) -> bool {
    (now.0 + u64::from(net_id.0)).is_multiple_of(u64::from(TICK_HZ))
}

/// Counts inputs as applied, each once.
fn take_inputs(ship: &mut Ship, inputs: &[Input]) -> u64 {
    let mut applied = 0;
    for input in inputs {
        if input.tick > ship.last_input {
            ship.last_input = input.tick;
            applied += 1;
        }
    }
    ship.inputs_applied += applied;
    applied
}

/// A ship at rest in the entities' sector, at a place that follows from its net id.
fn place_ship(mut record: EntityRecord) -> EntityRecord {
    let number = record.net_id.0;
    let place = DVec2::new(f64::from(60 + number * 37 % 880), f64::from(60 + number * 211 % 880));
    record.state = FlightState { position: SECTOR.origin() + place, ..FlightState::default() };
    record.sector = SECTOR;
    record
}
