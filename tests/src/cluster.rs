//! The harness: a mesh of real Apps, one step a tick.

mod lives;
mod world;

pub use world::{Setup, home_sectors};

use crate::checker::{Checker, inputs::PilotSide};
use bevy::prelude::App;
use naia_bevy_shared::TestClock;
use sidereal_client::{
    ClientConfig, FrameDelta,
    flight::{controls::PilotIntent, inputs::InputCounts, piloting::Piloting},
    session::{self, SessionState, stats::PlayStats},
    view::WorldView,
};
use sidereal_protocol::{
    DVec2,
    frames::control::{GhostImpact, ImpactCause},
    limits::PROTOCOL_VERSION,
    rules::{
        flight::{Controls, FlightState},
        shot::ShotId,
    },
    world::{
        ids::{EntityId, NetId},
        tick::{SimTick, TICK_DURATION},
    },
};
use sidereal_server::{
    ServerParts,
    accounts::tickets::TicketOffice,
    audit::tally::Tally,
    clock::Clock,
    db::{Database, Store},
    handle_arrivals,
    players::session::Players,
    replication::mirror::{Holder, Mirror},
    replication::motion_plane::MotionPlane,
};
use sidereal_shard::{
    bodies::{Authority, Body, Flight},
    damage::Impacts,
};
use sidereal_transport::{
    ClientHandle, PeerKind, ServerHandle,
    network::memory::{LinkConditions, MemoryNetwork},
};
use std::collections::BTreeSet;

const SECRET: &str = "the shards' own";

/// Updates of every App in one tick: messages are handled at once, as in the programs, not only at the next tick.
const UPDATES_PER_TICK: u64 = 3;

/// How long clients may take to receive a new scene, ticks: bodies at rest are sent once a second, and a datagram may
/// be lost.
const SCENE_TICKS: u64 = 75;

/// One player.
pub struct PlayerSide {
    /// The client's App.
    pub app: App,
    /// Its end of the link.
    pub handle: ClientHandle,
    /// Its name.
    pub name: String,
    /// The jumps in the client that were caused by new scenes.
    excused: u64,
}

/// A client that is not checked: its link may be tampered with.
pub struct Guest {
    /// The client's App; `None` when it was removed.
    pub app: Option<App>,
    /// Its end of the link.
    pub handle: ClientHandle,
}

/// The mesh.
pub struct Cluster {
    /// The network between all.
    pub network: MemoryNetwork,
    /// The server's App.
    pub server: App,
    server_handle: ServerHandle,
    /// The shards' Apps; `None` for one that was killed.
    pub shards: Vec<Option<App>>,
    /// Their ends of the links; a link dies with its last handle.
    shard_handles: Vec<Option<ClientHandle>>,
    /// The players.
    pub players: Vec<PlayerSide>,
    /// Other clients, which may break the rules.
    pub guests: Vec<Guest>,
    database: Database,
    tickets: TicketOffice,
    /// The names of all players so far.
    names: BTreeSet<String>,
    checker: Checker,
    setup: Setup,
    /// Until this step clients may see the jump of a new scene.
    scene_until: u64,
    /// Ticks stepped so far.
    pub step: u64,
    /// Sessions of shards that have panicked; see [`Setup::sessions_may_fail`].
    pub failed_sessions: u64,
}

/// A link without faults.
pub const PERFECT: LinkConditions =
    LinkConditions { latency_ms: 2, jitter_ms: 0, loss: 0.0, duplication: 0.0, reordering: 0.0 };

impl Cluster {
    /// A server with an in-memory database and `shards` shards, ready for players. Everything random follows from
    /// `seed`, which every failure prints.
    pub fn new(seed: u64, conditions: LinkConditions, shards: usize) -> Self {
        Self::of(Setup { seed, conditions, shards, ..Setup::default() })
    }

    /// The same, with `setup`.
    pub fn of(setup: Setup) -> Self {
        let database = setup.database();
        let network = MemoryNetwork::with_limits(setup.seed, setup.conditions, setup.limits());
        TestClock::init(1_000);
        network.advance(1_000);
        let (server, server_handle, tickets) = start_server(&network, &database, setup.shards);
        let mut cluster = Self {
            network,
            server,
            server_handle,
            shards: Vec::new(),
            shard_handles: Vec::new(),
            players: Vec::new(),
            guests: Vec::new(),
            database,
            tickets,
            names: BTreeSet::new(),
            checker: Checker::default(),
            setup,
            scene_until: 0,
            step: 0,
            failed_sessions: 0,
        };
        cluster.start_shards();
        cluster
    }

    /// Connects a player with the account `name`, which is created the first time; returns the player's index. The ship
    /// is on its way: see [`Cluster::until_flying`].
    pub fn join(&mut self, name: &str) -> usize {
        self.join_over(name, None)
    }

    /// The same over a link with its own conditions.
    pub fn join_with(&mut self, name: &str, conditions: LinkConditions) -> usize {
        self.join_over(name, Some(conditions))
    }

    fn join_over(&mut self, name: &str, conditions: Option<LinkConditions>) -> usize {
        let (app, handle) = self.connect(name);
        self.network.set_conditions_of(&handle, conditions);
        self.players.push(PlayerSide { app, handle, name: name.to_owned(), excused: 0 });
        self.players.len() - 1
    }

    /// Connects a client that is not checked; returns its index.
    pub fn invite(&mut self, name: &str) -> usize {
        let (app, handle) = self.connect(name);
        self.guests.push(Guest { app: Some(app), handle });
        self.guests.len() - 1
    }

    /// A ticket for the account `name`, which is created the first time.
    pub fn ticket(&self, name: &str) -> String {
        let account = match self.database.find_account(name).expect("the database answers") {
            Some(account) => account,
            None => {
                let account = world::account(name);
                self.database.add_account(&account).expect("the name is free");
                account
            }
        };
        self.tickets.issue(account.id, name, self.tickets.now_ms()).expect("there is room").token
    }

    fn connect(&mut self, name: &str) -> (App, ClientHandle) {
        self.names.insert(name.to_owned());
        let ticket = self.ticket(name);
        let (handle, socket) = self.network.connector(PeerKind::Player, PROTOCOL_VERSION);
        (sidereal_client::build_app(ClientConfig { ticket }, handle.clone(), socket), handle)
    }

    /// Connects a player and waits until the ship flies.
    pub fn join_and_fly(&mut self, name: &str) -> usize {
        let player = self.join(name);
        self.until_flying(player);
        player
    }

    /// Waits until a player's client draws the own ship.
    pub fn until_flying(&mut self, player: usize) {
        self.until("the ship is in space", 600, |cluster| cluster.view(player).own.is_some());
    }

    /// Ends a player's session in an orderly way.
    pub fn leave(&mut self, player: usize) {
        session::close(&mut self.players[player].app);
    }

    /// Sets a player's controls from now on.
    pub fn steer(&mut self, player: usize, controls: Controls) {
        self.players[player].app.insert_resource(PilotIntent { controls, respawn: false });
    }

    /// Stops stamping inputs and waits until every one is acknowledged; returns the counts.
    pub fn settle(&mut self, player: usize) -> InputCounts {
        self.players[player].app.world_mut().resource_mut::<Piloting>().pause(true);
        self.until("every input is acknowledged", 300, |cluster| {
            cluster.players[player].app.world().resource::<Piloting>().queue.is_empty()
        });
        let piloting = self.players[player].app.world().resource::<Piloting>();
        piloting.queue.counts()
    }

    /// A player's view.
    pub fn view(&self, player: usize) -> &WorldView {
        self.players[player].app.world().resource::<WorldView>()
    }

    /// A player's counters.
    pub fn stats(&self, player: usize) -> &PlayStats {
        self.players[player].app.world().resource::<PlayStats>()
    }

    /// The state of a player's session.
    pub fn session(&self, player: usize) -> &SessionState {
        self.players[player].app.world().resource::<SessionState>()
    }

    /// A player's ship.
    pub fn ship_of(&self, player: usize) -> Option<EntityId> {
        self.view(player).own.as_ref().map(|own| own.id)
    }

    /// The shard that simulates an entity, and its state there: the truth.
    pub fn truth(&mut self, id: EntityId) -> Option<(usize, FlightState)> {
        let epoch = self.server.world().resource::<Mirror>().get(id)?.record.epoch;
        self.shards.iter_mut().enumerate().find_map(|(index, app)| {
            let world = app.as_mut()?.world_mut();
            let mut query = world.query::<(&Body, &Authority, &Flight)>();
            query
                .iter(world)
                .find(|(body, authority, _)| body.id == id && authority.epoch == epoch)
                .map(|(_, _, flight)| (index, flight.0))
        })
    }

    /// Moves an entity, at rest, to `state`, to set a scene. A pending handoff would restore its old state, so it is
    /// placed again until it stays.
    ///
    /// # Panics
    /// When no shard simulates it, or it does not stay.
    pub fn place(&mut self, id: EntityId, state: FlightState) {
        for _ in 0..8 {
            self.scene_until = self.step + SCENE_TICKS;
            // During a handoff no shard simulates it for a moment.
            self.until("a shard simulates it", SCENE_TICKS, |cluster| {
                let mut shards = cluster.shards.iter_mut().flatten();
                shards.any(|app| sidereal_shard::bodies::set_state(app.world_mut(), id, state))
            });
            self.ticks(10);
            let there = self.truth(id).map(|(_, there)| there.position.distance(state.position));
            if there.is_some_and(|away| away < 100.0) {
                return;
            }
        }
        panic!("{}: {id} does not stay where it was placed", self.context());
    }

    /// Hits an entity in its shard. Returns whether there is one.
    pub fn strike(&mut self, id: EntityId, damage: u16) -> bool {
        let Some((shard, _)) = self.truth(id) else { return false };
        let Some(app) = &mut self.shards[shard] else { return false };
        app.world_mut().resource_mut::<Impacts>().push(GhostImpact {
            target: id,
            source: None,
            cause: ImpactCause::Bullet(ShotId { shooter: NetId(77_777), tick: SimTick(self.step) }),
            impulse: DVec2::ZERO,
            damage,
            tick: SimTick(1),
        });
        true
    }

    /// Whether the server has withdrawn the ship from its shard.
    pub fn is_given_back(&self, ship: EntityId) -> bool {
        self.server.world().resource::<Players>().asked_for(ship).is_some()
    }

    /// The authority in the mirror.
    pub fn holder(&self, id: EntityId) -> Option<Holder> {
        self.server.world().resource::<Mirror>().get(id).map(|entry| entry.holder)
    }

    /// A height without obstacles from `-reach` to `reach`, units.
    pub fn clear_lane(&self, reach: f64) -> f64 {
        let mirror = self.server.world().resource::<Mirror>();
        (1..90)
            .map(|step| f64::from(step) * 10.0)
            .find(|lane| {
                mirror.iter().all(|(_, entry)| {
                    let at = entry.record.state.position;
                    entry.record.owner.is_some()
                        || at.x.abs() > reach + 100.0
                        || (at.y - lane).abs() > entry.record.radius() + 30.0
                })
            })
            .expect("space is mostly empty")
    }

    /// The position of an entity in the mirror.
    pub fn mirrored(&self, id: EntityId) -> Option<FlightState> {
        let net_id = self.server.world().resource::<Mirror>().get(id)?.record.net_id;
        self.server.world().resource::<MotionPlane>().state_of(net_id).map(|(_, state, _)| state)
    }

    /// The server's counters.
    pub fn tally(&self) -> &Tally {
        self.server.world().resource::<Tally>()
    }

    /// The world's tick.
    pub fn tick(&self) -> SimTick {
        self.server.world().resource::<Clock>().tick
    }

    /// The server's end of the network.
    pub fn server_handle(&self) -> &ServerHandle {
        &self.server_handle
    }

    /// One tick of everything, then every invariant.
    ///
    /// # Panics
    /// When an invariant does not hold, with the seed and the fault.
    pub fn tick_once(&mut self) {
        if let Err(problem) = self.try_tick() {
            panic!("{}: {problem}", self.context());
        }
    }

    /// One tick of everything, then every invariant.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub fn try_tick(&mut self) -> Result<(), String> {
        self.begin_step();
        let tick_ms = TICK_DURATION.as_millis() as u64;
        for part in 0..UPDATES_PER_TICK {
            let delta = tick_ms * (part + 1) / UPDATES_PER_TICK - tick_ms * part / UPDATES_PER_TICK;
            self.pass_time(delta);
            self.update_mesh();
            for player in &mut self.players {
                player.app.insert_resource(FrameDelta(delta as f64 / 1e3));
                session::update(&mut player.app);
            }
            for app in self.guests.iter_mut().filter_map(|guest| guest.app.as_mut()) {
                app.insert_resource(FrameDelta(delta as f64 / 1e3));
                session::update(app);
            }
        }
        self.end_step()
    }

    /// One tick of everything like [`Cluster::tick_once`], but each player's frames are `frame_ms` long whatever a tick
    /// is, and begin at different moments. `seen` is called after each frame with the player's index.
    ///
    /// # Panics
    /// When an invariant does not hold, or `frame_ms` is zero.
    pub fn tick_in_frames(&mut self, frame_ms: u64, seen: impl FnMut(&mut Self, usize)) {
        let due = |now_ms: u64, index: usize| {
            // A third of a frame from one player to the next, about.
            (now_ms + index as u64 * frame_ms.div_ceil(3)).is_multiple_of(frame_ms).then_some(frame_ms)
        };
        self.tick_in_frames_of(due, seen);
    }

    /// The same with frames of any lengths: `due` is called in every millisecond for every player, and returns the
    /// length of the frame, ms, that ends there.
    ///
    /// # Panics
    /// When an invariant does not hold.
    pub fn tick_in_frames_of(
        &mut self,
        mut due: impl FnMut(u64, usize) -> Option<u64>,
        mut seen: impl FnMut(&mut Self, usize),
    ) {
        self.begin_step();
        let tick_ms = TICK_DURATION.as_millis() as u64;
        for passed in 1..=tick_ms {
            self.pass_time(1);
            if (passed * UPDATES_PER_TICK) % tick_ms < UPDATES_PER_TICK {
                self.update_mesh();
            }
            let now_ms = self.network.now_ms();
            for index in 0..self.players.len() {
                if let Some(frame_ms) = due(now_ms, index) {
                    let player = &mut self.players[index];
                    player.app.insert_resource(FrameDelta(frame_ms as f64 / 1e3));
                    session::update(&mut player.app);
                    seen(self, index);
                }
            }
        }
        if let Err(problem) = self.end_step() {
            panic!("{}: {problem}", self.context());
        }
    }

    fn begin_step(&mut self) {
        self.checker.begin_step(self.step + 1);
    }

    fn pass_time(&mut self, delta_ms: u64) {
        TestClock::advance(delta_ms);
        self.network.advance(TestClock::current_time_ms());
    }

    /// Updates server and shards once. Their journals are read in the order of causes.
    fn update_mesh(&mut self) {
        if self.step.is_multiple_of(2) {
            // As the main loop does between updates.
            handle_arrivals(&mut self.server);
        }
        self.server.update();
        self.checker.hear_server(&mut self.server);
        for index in 0..self.shards.len() {
            let Some(app) = &mut self.shards[index] else { continue };
            sidereal_shard::link::update(app);
            self.checker.hear_shard(index, app);
            self.tend_session(index);
        }
    }

    fn end_step(&mut self) -> Result<(), String> {
        self.step += 1;
        self.write_behind();
        let pilots = self.players.iter_mut().map(|player| {
            let piloting = player.app.world_mut().resource_mut::<Piloting>().into_inner();
            let boarding = piloting.prediction().map(|prediction| prediction.confirmed().boarding);
            let (ship, counts) = (piloting.own_id().zip(boarding), piloting.queue.counts());
            PilotSide { ship, counts, pending: piloting.queue.pending() }
        });
        self.checker.check(&mut self.server, &mut self.shards, pilots)?;
        let scene = self.step <= self.scene_until;
        for player in &mut self.players {
            let stats = player.app.world().resource::<PlayStats>();
            if scene {
                player.excused = stats.violations();
            }
            if stats.violations() != player.excused {
                return Err(format!("{}: {stats:?}", player.name));
            }
        }
        Ok(())
    }

    /// Steps `count` ticks.
    pub fn ticks(&mut self, count: u64) {
        for _ in 0..count {
            self.tick_once();
        }
    }

    /// Ticks until `done` returns true.
    ///
    /// # Panics
    /// After `limit` ticks, with the state of everything.
    pub fn until(&mut self, what: &str, limit: u64, done: impl Fn(&mut Self) -> bool) {
        for _ in 0..limit {
            if done(self) {
                return;
            }
            self.tick_once();
        }
        let sessions: Vec<String> = self
            .players
            .iter()
            .map(|player| {
                let state = player.app.world().resource::<SessionState>();
                let piloting = player.app.world().resource::<Piloting>();
                format!("{}: {state:?} {:?}", player.name, piloting.queue.counts())
            })
            .collect();
        panic!("{}: not in {limit} ticks: {what}\nplayers: {sessions:#?}\n{:?}", self.context(), self.tally());
    }

    fn context(&self) -> String {
        format!("seed {}, step {}", self.setup.seed, self.step)
    }
}

fn start_server(network: &MemoryNetwork, database: &Database, shards: usize) -> (App, ServerHandle, TicketOffice) {
    let (transport, socket) = network.server(PROTOCOL_VERSION);
    let tickets = TicketOffice::new();
    let stored = database.meta(sidereal_server::db::META_TICK).expect("the database answers");
    let start_tick = SimTick(stored.map_or(0, |tick| tick.parse().expect("a tick"))) + 30;
    let app = sidereal_server::build_app(ServerParts {
        transport: transport.clone(),
        socket,
        store: Store::start(database.clone(), world::STORE).answering_at_once(),
        tickets: tickets.clone(),
        shard_secret: SECRET.to_owned(),
        world_seed: world::WORLD_SEED,
        start_tick,
        expected_shards: shards,
    });
    (app, transport, tickets)
}
