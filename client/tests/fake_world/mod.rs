//! A server and a shard in one, the smallest that a client can use: one ship per player, one drone that flies a circle,
//! a crate at rest, inputs applied by the shards' rule, and deals that are applied once for each key. Over the
//! in-memory network.
//!
//! naia's clock is the real one here, so time passes by itself; no test depends on how much.

// Each test program uses a part of it.
#![allow(dead_code, clippy::unwrap_used, missing_docs, elided_lifetimes_in_paths)]

use bevy::{
    app::{App, Update},
    ecs::{
        entity::Entity,
        message::MessageReader,
        resource::Resource,
        schedule::IntoScheduleConfigs,
        system::{Commands, Query, Res, ResMut},
    },
    math::DVec2,
};
use naia_bevy_server::{
    CommandsExt, Plugin as NaiaPlugin, RoomKey, Server, ServerConfig, UserKey,
    events::{ConnectEvent, TickEvent},
};
use naia_bevy_shared::{HandleTickEvents, HandleWorldEvents, SendPackets};
use sidereal_client::{
    ClientConfig, FrameDelta, build_app,
    economy::deals::DealBook,
    session::{self, SessionState},
    view::PurseShown,
};
use sidereal_protocol::{
    components::{Identity, OreDeposit, Vitals},
    frames::{
        control::{decode_frame, encode_frame},
        messages::{
            Credential, Deal, DealOutcome, DealReply, Destroyed, FromPlayer, Purse, RespawnReply, Said, Say,
            ShipAssigned, ToPlayer, TradeNews, Welcome,
        },
    },
    limits::PROTOCOL_VERSION,
    packets::{
        input::{Input, InputPacket},
        motion::{EngineGlow, Motion, SectorNews, encode_sector_update},
        own_state::{OwnState, encode_own_states},
    },
    record::EntityKind,
    rules::{
        economy::{Bargain, DealKey},
        flight::{Controls, FlightState, HullKind, step},
        shot::{BEAM_INTERVAL_TICKS, BEAM_RANGE, Beam, SHOT_REPEATS, ShotId},
    },
    schema,
    world::{
        ids::{EntityId, NetId},
        sector::SectorId,
        tick::{SimTick, TICK_SECONDS, TickSync},
    },
};
use sidereal_transport::{
    ClientHandle, PeerKind, ServerHandle,
    network::memory::{LinkConditions, MemoryNetwork},
};
use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

pub const TICKET: &str = "let me in";
pub const START_TICK: u64 = 5_000;
pub const DRONE: NetId = NetId(77);
pub const MISSILE: NetId = NetId(66);
pub const CRATE: NetId = NetId(90);
pub const STATION: NetId = NetId(91);
const INPUT_DELAY: u64 = 2;

/// The missile's state this many ticks after its launch.
fn missile_after(ticks: u64) -> FlightState {
    let velocity = DVec2::new(0.0, 300.0);
    FlightState { position: DVec2::new(600.0, 100.0), velocity, ..Default::default() }
        .coast(ticks as f64 * TICK_SECONDS)
}

/// The drone's state after a tick.
pub fn drone_at(tick: u64) -> FlightState {
    let angle = tick as f64 / 30.0;
    FlightState {
        position: DVec2::new(300.0, 300.0) + DVec2::from_angle(angle) * 80.0,
        velocity: DVec2::from_angle(angle).perp() * 80.0,
        ..Default::default()
    }
}

/// The server's answer to a deal that was not done yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Done,
    Refused,
    Undecided,
    Silent,
}

struct Ship {
    hull: HullKind,
    net_id: NetId,
    id: EntityId,
    state: FlightState,
    held: Controls,
    queue: VecDeque<Input>,
    seen: SimTick,
    last_input: SimTick,
    applied: u64,
    entity: Entity,
}

/// The state that tests read and change.
#[derive(Resource)]
pub struct World {
    handle: ServerHandle,
    sync: Option<TickSync>,
    room: Option<RoomKey>,
    player: Option<(UserKey, SocketAddr)>,
    ship: Option<Ship>,
    next_net_id: u32,
    pub tick: SimTick,
    /// Destroys the ship at the next tick.
    pub destroy: bool,
    /// Moves the ship's state by this at the next tick.
    pub blow: DVec2,
    /// The player's texts, in order; each is sent back.
    pub said: Vec<String>,
    /// Applies this many inputs twice.
    pub double: u64,
    pub refuse: bool,
    /// Spawns a rock, and despawns it three ticks later.
    pub flash: bool,
    rock: Option<(SimTick, Entity)>,
    /// Every received input with the beam held.
    pub beam_inputs: Vec<Input>,
    beam_ready: SimTick,
    /// Every beam that was fired; each hits the drone.
    pub beams: Vec<Beam>,
    /// Launches a missile at the next tick, which flies for this many.
    pub launch: Option<u64>,
    missiles: Vec<Missile>,
    next_missile: u32,
    /// Hits every missile in every tick until its entity is despawned.
    pub hit_missiles: bool,
    /// How long a missile that has ended is still replicated, ticks.
    pub wreck_ticks: u64,
    /// Where the last missile ended.
    pub missile_end: Option<DVec2>,
    /// The answer to deals.
    pub mood: Mood,
    /// Every received request for a deal.
    pub asked: Vec<(DealKey, Bargain)>,
    /// The completed deals, each once.
    pub done: BTreeSet<DealKey>,
    /// Sent to the player at the next tick.
    pub purse: Option<PurseShown>,
    pub news: Option<TradeNews>,
    /// The ship gets this hull at the next tick.
    pub refit: Option<HullKind>,
    /// The content of the crate from the next tick on.
    pub lode: Option<u32>,
    crate_entity: Option<Entity>,
    /// The ship is docked: held in place.
    pub docked: bool,
    /// The controls of every applied input.
    pub felt: Vec<Controls>,
}

struct Missile {
    net_id: NetId,
    launched: SimTick,
    ends: SimTick,
    has_ended: bool,
    entity: Entity,
}

impl World {
    pub fn ship_state(&self) -> Option<FlightState> {
        self.ship.as_ref().map(|ship| ship.state)
    }

    pub fn is_without_missiles(&self) -> bool {
        self.missiles.is_empty()
    }

    pub fn close_player(&self, reason: &str) {
        self.handle.close(&self.player.unwrap().1, reason);
    }
}

/// The client under test and its world.
pub struct Game {
    pub client: App,
    pub handle: ClientHandle,
    pub server: App,
    pub network: MemoryNetwork,
    started: Instant,
    last_s: f64,
}

impl Game {
    pub fn new(conditions: LinkConditions, ticket: &str) -> Self {
        // Logs with RUST_LOG and --nocapture; another test may have started the log already.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let network = MemoryNetwork::new(7, conditions);
        let (server_handle, server_socket) = network.server(PROTOCOL_VERSION);
        let mut server = App::new();
        let config = ServerConfig { require_auth: false, ..Default::default() };
        server
            .add_plugins(NaiaPlugin::new(config, schema::protocol()))
            .insert_resource(World {
                handle: server_handle,
                sync: None,
                room: None,
                player: None,
                ship: None,
                next_net_id: 100,
                tick: SimTick(0),
                destroy: false,
                blow: DVec2::ZERO,
                said: Vec::new(),
                double: 0,
                refuse: false,
                flash: false,
                rock: None,
                beam_inputs: Vec::new(),
                beam_ready: SimTick(0),
                beams: Vec::new(),
                launch: None,
                missiles: Vec::new(),
                next_missile: MISSILE.0,
                hit_missiles: false,
                wreck_ticks: 60,
                missile_end: None,
                mood: Mood::Done,
                asked: Vec::new(),
                done: BTreeSet::new(),
                purse: None,
                news: None,
                refit: None,
                lode: None,
                crate_entity: None,
                docked: false,
                felt: Vec::new(),
            })
            .add_systems(Update, judge)
            .add_systems(Update, (welcome, listen).chain().in_set(HandleWorldEvents))
            .add_systems(Update, (tell, tick, fly_missiles, hit_missiles).chain().in_set(HandleTickEvents))
            .add_systems(Update, include_all.before(SendPackets))
            .add_systems(Update, flush.after(SendPackets));
        let mut socket = Some(server_socket);
        let start =
            server.register_system(move |mut commands: Commands, mut naia: Server, mut world: ResMut<World>| {
                naia.listen(socket.take().unwrap());
                let room = naia.create_room().key();
                world.room = Some(room);
                let drone =
                    spawn(&mut commands, &mut naia, &identity(EntityKind::Drone, DRONE, EntityId::new(), "drone"));
                naia.room_mut(&room).add_entity(&drone);
                let found = spawn(&mut commands, &mut naia, &identity(EntityKind::Crate, CRATE, EntityId::new(), ""));
                commands.entity(found).insert(OreDeposit::new_complete(12));
                naia.room_mut(&room).add_entity(&found);
                world.crate_entity = Some(found);
            });
        server.world_mut().run_system(start).unwrap();
        let (handle, socket) = network.connector(PeerKind::Player, PROTOCOL_VERSION);
        let client = build_app(ClientConfig { ticket: ticket.to_owned() }, handle.clone(), socket);
        Self { client, handle, server, network, started: Instant::now(), last_s: 0.0 }
    }

    pub fn get<T: Resource>(&self) -> &T {
        self.client.world().resource::<T>()
    }

    pub fn world(&mut self) -> bevy::ecs::change_detection::Mut<'_, World> {
        self.server.world_mut().resource_mut::<World>()
    }

    /// The session ends, and another one begins with the open deals of the book.
    pub fn reconnect(&mut self) {
        let book: DealBook = sidereal_client::economy::deals::take_book(&mut self.client);
        let chat = sidereal_client::chat::take_book(&mut self.client);
        session::close(&mut self.client);
        session::update(&mut self.client);
        let (handle, socket) = self.network.connector(PeerKind::Player, PROTOCOL_VERSION);
        self.handle = handle.clone();
        self.client = build_app(ClientConfig { ticket: TICKET.to_owned() }, handle, socket);
        self.client.insert_resource(book).insert_resource(chat);
    }

    /// The server continues for `ticks`; the client stands still.
    pub fn freeze_client(&mut self, ticks: u64) {
        let until = self.world().tick + ticks;
        while self.world().tick < until {
            self.network.advance(self.started.elapsed().as_millis() as u64);
            self.server.update();
            self.handle.waker().wait(Duration::from_millis(2));
        }
    }

    pub fn is_rock_gone(&mut self) -> bool {
        let world = self.world();
        !world.flash && world.rock.is_none()
    }

    /// One update of everything.
    pub fn update(&mut self) {
        let now_s = self.started.elapsed().as_secs_f64();
        self.network.advance((now_s * 1000.0) as u64);
        self.server.update();
        self.network.advance((now_s * 1000.0) as u64);
        self.client.insert_resource(FrameDelta(now_s - self.last_s));
        self.last_s = now_s;
        self.client.update();
        // Yields the processor until naia's clock has advanced.
        self.handle.waker().wait(Duration::from_millis(2));
    }

    /// Updates until `done`; panics with the state after far too long.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done(self) {
            self.update();
            assert!(
                Instant::now() < deadline && self.get::<SessionState>().failure().is_none() || done(self),
                "never: {what}; session {:?}, link {:?}, server tick {}",
                self.get::<SessionState>(),
                self.handle.status(),
                self.server.world().resource::<World>().tick,
            );
        }
    }
}

fn identity(kind: EntityKind, net_id: NetId, id: EntityId, name: &str) -> Identity {
    let (high, low) = id.to_halves();
    let hull = match kind {
        EntityKind::Ship => HullKind::Scout as u8,
        EntityKind::Missile => HullKind::Missile as u8,
        EntityKind::Crate => 255,
        _ => HullKind::Drone as u8,
    };
    Identity::new_complete(high, low, net_id.0, kind as u8, hull, 0, 0, 9.0, name.to_owned())
}

fn spawn(commands: &mut Commands, naia: &mut Server, identity: &Identity) -> Entity {
    commands.spawn_empty().enable_replication(naia).insert(identity.clone()).insert(Vitals::new_complete(80, 100)).id()
}

fn judge(world: Res<World>) {
    while let Some((address, _, credential)) = world.handle.poll_auth() {
        let credential = Credential::decode(&credential).unwrap();
        if credential.secret == TICKET {
            world.handle.admit(&address);
        } else {
            world.handle.refuse(&address, "no such ticket: log in again");
        }
    }
    while world.handle.poll_closed().is_some() {}
}

fn welcome(
    mut commands: Commands,
    mut naia: Server,
    mut connected: MessageReader<ConnectEvent>,
    mut world: ResMut<World>,
) {
    for ConnectEvent(user) in connected.read() {
        let naia_tick = naia.current_tick();
        let sync = *world.sync.get_or_insert(TickSync::new(naia_tick, SimTick(START_TICK)));
        let sim_tick = sync.clone().sim_tick(naia_tick);
        let welcome = Welcome { sim_tick: sim_tick.0, naia_tick, account_high: 1, account_low: 2, sky_seed: 99 };
        naia.user_mut(user).enter_room(&world.room.unwrap());
        let address = naia.user(user).address();
        world.player = Some((*user, address));
        world.tell(ToPlayer::Welcome(welcome));
        give_ship(&mut commands, &mut naia, &mut world);
    }
}

fn give_ship(commands: &mut Commands, naia: &mut Server, world: &mut World) {
    let (net_id, id) = (NetId(world.next_net_id), EntityId::new());
    world.next_net_id += 1;
    let entity = spawn(commands, naia, &identity(EntityKind::Ship, net_id, id, "ada"));
    naia.room_mut(&world.room.unwrap()).add_entity(&entity);
    world.tell(ToPlayer::ShipAssigned(ShipAssigned::of(id, net_id)));
    world.ship = Some(Ship {
        hull: HullKind::Scout,
        net_id,
        id,
        state: FlightState { position: DVec2::new(500.0, 500.0), ..Default::default() },
        held: Controls::default(),
        queue: VecDeque::new(),
        seen: SimTick(0),
        last_input: SimTick(0),
        applied: 0,
        entity,
    });
}

impl World {
    fn tell(&self, told: ToPlayer) {
        let (_, address) = self.player.unwrap();
        self.handle.send_stream(&address, encode_frame(&told).unwrap().into()).unwrap();
    }
}

fn listen(mut commands: Commands, mut naia: Server, mut world: ResMut<World>) {
    while let Some((_, frame)) = world.handle.recv_stream() {
        match decode_frame(&frame).unwrap() {
            FromPlayer::Respawn => {
                let refused = if world.refuse { "not yet".to_owned() } else { String::new() };
                world.tell(ToPlayer::RespawnReply(RespawnReply { refused }));
                if !world.refuse {
                    give_ship(&mut commands, &mut naia, &mut world);
                }
            }
            // The player's text is sent back.
            FromPlayer::Say(Say { scope, text }) => {
                world.said.push(text.clone());
                world.tell(ToPlayer::Said(Said { scope, speaker: "ada".to_owned(), text, yours: true }));
            }
            FromPlayer::Deal(request) => deal(&mut world, &request),
        }
    }
}

/// A completed deal is answered again; other answers depend on the mood.
fn deal(world: &mut World, request: &Deal) {
    let (key, bargain) = (request.key(), request.bargain().unwrap());
    world.asked.push((key, bargain));
    let mood = if world.done.contains(&key) { Mood::Done } else { world.mood };
    let outcome = match mood {
        Mood::Done => {
            world.done.insert(key);
            DealOutcome::Done
        }
        Mood::Refused => DealOutcome::Refused,
        Mood::Undecided => DealOutcome::Undecided,
        Mood::Silent => return,
    };
    world.tell(ToPlayer::DealReply(DealReply::new(key, outcome, format!("{bargain:?}: {mood:?}"))));
}

/// The server's messages besides the ticks.
fn tell(mut world: ResMut<World>, mut identities: Query<&mut Identity>, mut lodes: Query<&mut OreDeposit>) {
    let world = &mut *world;
    if world.player.is_none() {
        return;
    }
    if let Some(purse) = world.purse.take() {
        let purse = Purse {
            credits: purse.credits,
            ore: purse.ore,
            hold: purse.hold,
            fitted: purse.fitted.0,
            docked: purse.docked.map_or(0, |station| station.0),
            stored: purse.stored,
        };
        world.tell(ToPlayer::Purse(purse));
    }
    if let Some(news) = world.news.take() {
        world.tell(ToPlayer::TradeNews(news));
    }
    if let (Some(hull), Some(ship)) = (world.refit, &mut world.ship)
        && let Ok(mut identity) = identities.get_mut(ship.entity)
    {
        *identity.hull_kind = hull as u8;
        *identity.radius = hull.spec().radius as f32;
        ship.hull = hull;
        world.refit = None;
    }
    if let Some(mut lode) = world.crate_entity.and_then(|entity| lodes.get_mut(entity).ok())
        && let Some(ore) = world.lode.take()
    {
        *lode.ore = ore;
    }
}

fn tick(mut commands: Commands, mut naia: Server, mut ticks: MessageReader<TickEvent>, mut world: ResMut<World>) {
    for TickEvent(naia_tick) in ticks.read() {
        let Some(sync) = &mut world.sync else { continue };
        // Like a shard's, this clock is ahead of the server's.
        world.tick = sync.sim_tick(*naia_tick) + 5;
        let Some((_, address)) = world.player else { continue };
        take_inputs(&mut world);
        if world.destroy {
            world.destroy = false;
            if let Some(ship) = world.ship.take() {
                commands.entity(ship.entity).despawn();
                let news = Destroyed {
                    victim: ship.net_id.0,
                    victim_name: "ada".to_owned(),
                    victim_kind: EntityKind::Ship as u8,
                    victim_hull: HullKind::Scout as u8,
                    by_name: "drone".to_owned(),
                    by_kind: EntityKind::Drone as u8,
                    by_you: false,
                    yours: true,
                };
                world.tell(ToPlayer::Destroyed(news));
            }
        }
        flash(&mut commands, &mut naia, &mut world);
        step_and_send(&mut world, &address);
    }
}

fn flash(commands: &mut Commands, naia: &mut Server, world: &mut World) {
    match world.rock {
        Some((since, rock)) if world.tick.since(since) >= 3 => {
            commands.entity(rock).despawn();
            world.rock = None;
        }
        None if world.flash => {
            let identity = identity(EntityKind::Asteroid, NetId(55), EntityId::new(), "rock");
            let rock = spawn(commands, naia, &identity);
            naia.room_mut(&world.room.unwrap()).add_entity(&rock);
            world.flash = false;
            world.rock = Some((world.tick, rock));
        }
        _ => {}
    }
}

fn hit_missiles(world: Res<World>, mut vitals: Query<&mut Vitals>) {
    for missile in world.missiles.iter().filter(|_| world.hit_missiles) {
        if let Ok(mut vitals) = vitals.get_mut(missile.entity) {
            let hull = vitals.hull.wrapping_add(1);
            *vitals.hull = hull;
        }
    }
}

fn fly_missiles(mut commands: Commands, mut naia: Server, mut world: ResMut<World>) {
    let world = &mut *world;
    let (tick, wreck_ticks) = (world.tick, world.wreck_ticks);
    world.missiles.retain_mut(|missile| {
        if !missile.has_ended && tick >= missile.ends {
            missile.has_ended = true;
            world.missile_end = Some(missile_after(missile.ends.since(missile.launched) - 1).position);
        }
        let gone = missile.has_ended && tick >= missile.ends + wreck_ticks;
        if gone {
            commands.entity(missile.entity).despawn();
        }
        !gone
    });
    if let Some(ticks) = world.launch.take() {
        let net_id = NetId(world.next_missile);
        // Downwards: the next one up is the drone.
        world.next_missile -= 1;
        let identity = identity(EntityKind::Missile, net_id, EntityId::new(), "missile");
        let entity = spawn(&mut commands, &mut naia, &identity);
        naia.room_mut(&world.room.unwrap()).add_entity(&entity);
        world.missiles.push(Missile { net_id, launched: tick, ends: tick + ticks, has_ended: false, entity });
    }
}

fn take_inputs(world: &mut World) {
    while let Some((_, bytes)) = world.handle.recv_lane() {
        let Some(ship) = &mut world.ship else { continue };
        for input in InputPacket::decode(&bytes).unwrap().inputs {
            if input.tick > ship.seen {
                ship.seen = input.tick;
                if input.controls.holds(Controls::BEAM) {
                    world.beam_inputs.push(input);
                }
                ship.queue.push_back(input);
            }
        }
    }
}

fn step_and_send(world: &mut World, address: &SocketAddr) {
    let tick = world.tick;
    let mut motions = Vec::new();
    for missile in world.missiles.iter().rev().filter(|missile| tick < missile.ends) {
        let (glow, ticks) = (EngineGlow { thrust: true, ..EngineGlow::default() }, tick.since(missile.launched));
        motions.push(Motion { net_id: missile.net_id, state: missile_after(ticks), glow });
    }
    // Ordered by their ids, as always in an update.
    motions.push(Motion { net_id: DRONE, state: drone_at(tick.0), glow: EngineGlow::default() });
    let rest = FlightState { position: DVec2::new(480.0, 560.0), ..Default::default() };
    motions.push(Motion { net_id: CRATE, state: rest, glow: EngineGlow::default() });
    let blow = std::mem::take(&mut world.blow);
    if let Some(ship) = &mut world.ship {
        while ship.queue.front().is_some_and(|input| input.tick + INPUT_DELAY <= tick) {
            let input = ship.queue.pop_front().unwrap();
            ship.held = input.controls;
            world.felt.push(input.controls);
            ship.last_input = input.tick;
            ship.applied += 1 + u64::from(world.double > 0);
            world.double = world.double.saturating_sub(1);
        }
        if !world.docked {
            ship.state = step(&ship.state, ship.held, &ship.hull.spec());
        } else {
            ship.state = FlightState { velocity: DVec2::ZERO, angular_velocity: 0.0, ..ship.state };
        }
        ship.state.position += blow;
        if ship.held.holds(Controls::BEAM) && tick >= world.beam_ready {
            world.beam_ready = tick + BEAM_INTERVAL_TICKS;
            let id = ShotId { shooter: ship.net_id, tick };
            let origin = ship.state.position;
            let end = origin + (drone_at(tick.0).position - origin).clamp_length_max(BEAM_RANGE);
            world.beams.push(Beam { id, origin, end, target: Some(DRONE) });
        }
        motions.push(Motion { net_id: ship.net_id, state: ship.state, glow: EngineGlow::default() });
        let own = OwnState {
            net_id: ship.net_id,
            boarding: 1,
            tick,
            input_tick: ship.last_input,
            inputs_applied: ship.applied,
            state: ship.state,
        };
        debug_assert_ne!(ship.id, EntityId::from_halves(0, 0));
        for packet in encode_own_states(&[own]) {
            world.handle.send_lane(address, packet.into());
        }
    }
    let recent = world.beams.partition_point(|beam| tick.since(beam.id.tick) >= SHOT_REPEATS);
    let news = SectorNews { motions: &motions, beams: &world.beams[recent..], ..Default::default() };
    for packet in encode_sector_update(SectorId::new(0, 0), tick, news) {
        world.handle.send_lane(address, packet.bytes.into());
    }
}

fn include_all(mut naia: Server) {
    for (_, user, entity) in naia.scope_checks_pending() {
        naia.user_scope_mut(&user).include(&entity);
    }
    naia.mark_scope_checks_pending_handled();
}

fn flush(world: Res<World>) {
    world.handle.flush();
}
