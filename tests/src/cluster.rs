//! The harness: a mesh of real Apps, one step a tick.

use crate::checker::Checker;
use bevy::prelude::App;
use naia_bevy_shared::TestClock;
use sidereal_client::{
    ClientConfig, FrameDelta,
    controls::PilotIntent,
    inputs::InputCounts,
    piloting::Piloting,
    session::{self, SessionState},
    stats::PlayStats,
    view::WorldView,
};
use sidereal_protocol::{
    flight::{Controls, FlightState},
    ids::EntityId,
    limits::PROTOCOL_VERSION,
    tick::{SimTick, TICK_DURATION},
};
use sidereal_server::{
    ServerParts,
    clock::Clock,
    db::{Database, Store, StoreConfig},
    granting::LeaseBook,
    mirror::{Holder, Mirror},
    motion_plane::MotionPlane,
    persist::Storage,
    report::Tally,
    shutdown::Shutdown,
    tickets::TicketOffice,
};
use sidereal_shard::{
    bodies::{Body, Flight, Owned},
    config::{Secret, ShardConfig},
};
use sidereal_transport::{
    ClientHandle, PeerKind, ServerHandle,
    memory::{LinkConditions, MemoryNetwork},
};
use std::time::Duration;

const SECRET: &str = "the shards' own";

/// Updates of every App in one tick: what arrives is handled at once, as in the binaries, not only at
/// the next tick.
const UPDATES_PER_TICK: u64 = 3;

/// How long clients may take to see that a scene was set, ticks: what rests is told of once a second, and a
/// datagram may be lost.
const SCENE_TICKS: u64 = 75;

/// One player.
pub struct PlayerSide {
    /// The client's App.
    pub app: App,
    /// Its end of the link.
    pub handle: ClientHandle,
    /// Its name.
    pub name: String,
    /// What the client saw of scenes being set: jumps that were meant.
    excused: u64,
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
    database: Database,
    tickets: TicketOffice,
    checker: Checker,
    seed: u64,
    /// Until this step clients may see the jump of a scene that was set.
    scene_until: u64,
    /// Ticks stepped so far.
    pub step: u64,
}

/// A link that nothing happens to.
pub const PERFECT: LinkConditions =
    LinkConditions { latency_ms: 2, jitter_ms: 0, loss: 0.0, duplication: 0.0, reordering: 0.0 };

impl Cluster {
    /// A server with a database in memory and `shards` shards, ready for players. Everything random
    /// follows from `seed`, which every failure prints.
    pub fn new(seed: u64, conditions: LinkConditions, shards: usize) -> Self {
        let database = Database::open(":memory:").expect("a database in memory");
        let mut cluster = Self::over(database, seed, conditions, shards);
        cluster.until("the centre is leased", 400, |cluster| {
            cluster.server.world().resource::<LeaseBook>().home_is_live()
        });
        cluster
    }

    fn over(database: Database, seed: u64, conditions: LinkConditions, shards: usize) -> Self {
        let network = MemoryNetwork::new(seed, conditions);
        TestClock::init(1_000);
        network.advance(1_000);
        let (server, server_handle, tickets) = start_server(&network, &database, shards);
        let mut cluster = Self {
            network,
            server,
            server_handle,
            shards: Vec::new(),
            shard_handles: Vec::new(),
            players: Vec::new(),
            database,
            tickets,
            checker: Checker::default(),
            seed,
            scene_until: 0,
            step: 0,
        };
        for _ in 0..shards {
            cluster.start_shard();
        }
        cluster
    }

    /// Starts another shard; returns its index.
    pub fn start_shard(&mut self) -> usize {
        let (handle, socket) = self.network.connector(PeerKind::Shard, PROTOCOL_VERSION);
        let config =
            ShardConfig { name: format!("shard-{}", self.shards.len() + 1), secret: Secret(SECRET.to_owned()) };
        self.shard_handles.push(Some(handle.clone()));
        self.shards.push(Some(sidereal_shard::build_app(&config, handle, socket)));
        self.shards.len() - 1
    }

    /// Gives a shard's link conditions of its own.
    pub fn set_shard_link(&mut self, index: usize, conditions: LinkConditions) {
        if let Some(handle) = &self.shard_handles[index] {
            self.network.set_conditions_of(handle, conditions);
        }
    }

    /// Ends a shard from one moment to the next. Its link dies with it.
    pub fn kill_shard(&mut self, index: usize) {
        self.shards[index] = None;
        self.shard_handles[index] = None;
    }

    /// Ends the server in good order and starts another on the same database, with fresh shards.
    /// Players are gone afterwards: they log in again.
    pub fn restart(&mut self) {
        let shards = self.shards.len();
        self.server.world_mut().resource_mut::<Shutdown>().requested = true;
        self.until("the server has ended", 400, |cluster| cluster.server.world().resource::<Shutdown>().complete);
        let store = self.server.world_mut().resource_mut::<Storage>().take();
        store
            .expect("a running server has its store")
            .flush_and_stop(Duration::from_secs(60))
            .expect("a database in memory takes everything");
        self.players.clear();
        self.shards.clear();
        self.shard_handles.clear();
        self.checker = Checker::default();
        let (server, handle, tickets) = start_server(&self.network, &self.database, shards);
        self.server = server;
        self.server_handle = handle;
        self.tickets = tickets;
        for _ in 0..shards {
            self.start_shard();
        }
        self.until("the centre is leased", 400, |cluster| {
            cluster.server.world().resource::<LeaseBook>().home_is_live()
        });
    }

    /// Connects a player who is known by `name` from the first time on; returns the player's index.
    /// The ship is on its way: see [`Cluster::until_flying`].
    pub fn join(&mut self, name: &str) -> usize {
        self.join_over(name, None)
    }

    /// The same over a link with conditions of its own.
    pub fn join_with(&mut self, name: &str, conditions: LinkConditions) -> usize {
        self.join_over(name, Some(conditions))
    }

    fn join_over(&mut self, name: &str, conditions: Option<LinkConditions>) -> usize {
        let account = match self.database.find_account(name).expect("the database answers") {
            Some(account) => account,
            None => self.database.create_account(name, "-").expect("the name is free"),
        };
        let ticket = self.tickets.issue(account.id, name, self.tickets.now_ms());
        let (handle, socket) = self.network.connector(PeerKind::Player, PROTOCOL_VERSION);
        self.network.set_conditions_of(&handle, conditions);
        let app = sidereal_client::build_app(ClientConfig { ticket }, handle.clone(), socket);
        self.players.push(PlayerSide { app, handle, name: name.to_owned(), excused: 0 });
        self.players.len() - 1
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

    /// Ends a player's session in good order.
    pub fn leave(&mut self, player: usize) {
        session::close(&mut self.players[player].app);
    }

    /// What a player's hands do from now on.
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

    /// What a player sees.
    pub fn view(&self, player: usize) -> &WorldView {
        self.players[player].app.world().resource::<WorldView>()
    }

    /// What a player has gone through.
    pub fn stats(&self, player: usize) -> &PlayStats {
        self.players[player].app.world().resource::<PlayStats>()
    }

    /// How a player's session is.
    pub fn session(&self, player: usize) -> &SessionState {
        self.players[player].app.world().resource::<SessionState>()
    }

    /// A player's ship.
    pub fn ship_of(&self, player: usize) -> Option<EntityId> {
        self.view(player).own.as_ref().map(|own| own.id)
    }

    /// Which shard simulates an entity, and how it moves there: the truth.
    pub fn truth(&mut self, id: EntityId) -> Option<(usize, FlightState)> {
        let epoch = self.server.world().resource::<Mirror>().get(id)?.record.epoch;
        self.shards.iter_mut().enumerate().find_map(|(index, app)| {
            let world = app.as_mut()?.world_mut();
            let mut query = world.query::<(&Body, &Owned, &Flight)>();
            query
                .iter(world)
                .find(|(body, owned, _)| body.id == id && owned.epoch == epoch)
                .map(|(_, _, flight)| (index, flight.0))
        })
    }

    /// Moves an entity, at rest, to where `state` says: to set a scene. A handoff that is under way would
    /// bring it back from where it was, so it is placed again until it stays.
    ///
    /// # Panics
    /// When no shard simulates it, or it does not stay.
    pub fn place(&mut self, id: EntityId, state: FlightState) {
        for _ in 0..8 {
            self.scene_until = self.step + SCENE_TICKS;
            // In the midst of a handoff it is nobody's for a moment.
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
        panic!("{}: {id} does not stay where it is put", self.context());
    }

    /// Who has the authority, as the mirror has it.
    pub fn holder(&self, id: EntityId) -> Option<Holder> {
        self.server.world().resource::<Mirror>().get(id).map(|entry| entry.holder)
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
    /// When an invariant does not hold, with the seed and what is wrong.
    pub fn tick_once(&mut self) {
        let tick_ms = TICK_DURATION.as_millis() as u64;
        for part in 0..UPDATES_PER_TICK {
            let delta = tick_ms * (part + 1) / UPDATES_PER_TICK - tick_ms * part / UPDATES_PER_TICK;
            self.pass_time(delta);
            self.update_mesh();
            for player in &mut self.players {
                player.app.insert_resource(FrameDelta(delta as f64 / 1e3));
                player.app.update();
            }
        }
        self.end_step();
    }

    /// One tick of everything like [`Cluster::tick_once`], but each player's frames are `frame_ms` long
    /// whatever a tick is, and begin at moments of their own. `seen` is told of each frame with the player's
    /// index.
    ///
    /// # Panics
    /// When an invariant does not hold, or `frame_ms` is zero.
    pub fn tick_in_frames(&mut self, frame_ms: u64, mut seen: impl FnMut(&mut Self, usize)) {
        let tick_ms = TICK_DURATION.as_millis() as u64;
        for passed in 1..=tick_ms {
            self.pass_time(1);
            if (passed * UPDATES_PER_TICK) % tick_ms < UPDATES_PER_TICK {
                self.update_mesh();
            }
            let now_ms = self.network.now_ms();
            for index in 0..self.players.len() {
                // A third of a frame from one player to the next, about.
                if (now_ms + index as u64 * frame_ms.div_ceil(3)).is_multiple_of(frame_ms) {
                    let player = &mut self.players[index];
                    player.app.insert_resource(FrameDelta(frame_ms as f64 / 1e3));
                    player.app.update();
                    seen(self, index);
                }
            }
        }
        self.end_step();
    }

    fn pass_time(&mut self, delta_ms: u64) {
        TestClock::advance(delta_ms);
        self.network.advance(TestClock::current_time_ms());
    }

    fn update_mesh(&mut self) {
        self.server.update();
        // What was asked from the database is answered before time goes on: a step does not depend
        // on how fast its threads are.
        while self.server.world().resource::<Storage>().is_waiting() {
            std::thread::yield_now();
            self.server.update();
        }
        for app in self.shards.iter_mut().flatten() {
            sidereal_shard::link::update(app);
        }
    }

    fn end_step(&mut self) {
        self.step += 1;
        if let Err(problem) = self.checker.check(self.step, &mut self.server, &mut self.shards) {
            panic!("{}: {problem}", self.context());
        }
        let scene = self.step <= self.scene_until;
        for player in &mut self.players {
            let stats = player.app.world().resource::<PlayStats>();
            if scene {
                player.excused = stats.violations();
            }
        }
        for player in &self.players {
            let stats = player.app.world().resource::<PlayStats>();
            assert_eq!(stats.violations(), player.excused, "{}: {}: {stats:?}", self.context(), player.name);
            let inputs = player.app.world().resource::<Piloting>().queue.counts();
            assert_eq!((inputs.lost, inputs.doubled), (0, 0), "{}: {inputs:?}", self.context());
        }
    }

    /// So many ticks.
    pub fn ticks(&mut self, count: u64) {
        for _ in 0..count {
            self.tick_once();
        }
    }

    /// Ticks until `done` says so.
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
        format!("seed {}, step {}", self.seed, self.step)
    }
}

fn start_server(network: &MemoryNetwork, database: &Database, shards: usize) -> (App, ServerHandle, TicketOffice) {
    let (transport, socket) = network.server(PROTOCOL_VERSION);
    let tickets = TicketOffice::new();
    let stored = database.meta(sidereal_server::persist::META_TICK).expect("the database answers");
    let start_tick = SimTick(stored.map_or(0, |tick| tick.parse().expect("a tick"))) + 30;
    let app = sidereal_server::build_app(ServerParts {
        transport: transport.clone(),
        socket,
        store: Store::start(database.clone(), StoreConfig::default()),
        tickets: tickets.clone(),
        shard_secret: SECRET.to_owned(),
        world_seed: 11,
        start_tick,
        expected_shards: shards,
    });
    (app, transport, tickets)
}
