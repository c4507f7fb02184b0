//! The server of way (a): the entities as naia's replicated components, in one room with all users.
//!
//! Runs in a process of its own. Its schedule's executor and naia's settings are those of the real server; its loop is a
//! plain one.

use super::mover::{self, Mover, Path};
use crate::children::conversation::{Conversation, answer};
use anyhow::{Context, Result};
use bevy::{
    ecs::schedule::{ExecutorKind, ScheduleLabel},
    prelude::{
        App, Commands, Component, IntoScheduleConfigs, MessageReader, PostUpdate, Query, Res, ResMut, Resource, Update,
    },
};
use clap::Args;
use naia_bevy_server::{
    CommandsExt, HandleTickEvents, HandleWorldEvents, Plugin as NaiaServerPlugin, RoomKey, Server,
    ServerConfig as NaiaServerConfig, UserKey, WorldUpdate,
    events::{ConnectEvent, DisconnectEvent, TickEvent},
    listen_on_app,
};
use naia_bevy_shared::{Protocol, ReceivePackets, SendPackets};
use serde::{Deserialize, Serialize};
use sidereal_protocol::{limits::PROTOCOL_VERSION, world::tick::TICK_DURATION};
use sidereal_transport::{
    AllowedOrigins, Identity, Limits, ListenerConfig, PeerKind, ServerConfig, ServerHandle, bind,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// The longest sleep: naia's tick is at most this late.
const MAX_SLEEP: Duration = Duration::from_millis(3);
/// The least time between two updates: packets that arrive within it are read together.
const MIN_INTERVAL: Duration = Duration::from_millis(2);

/// Sessions at most, all from this machine: four times the most clients of a case.
const MAX_SESSIONS: usize = 4_096;

/// The options of the role.
#[derive(Debug, Clone, Args)]
pub struct NaiaServerOptions {
    /// Moving entities
    #[arg(long)]
    pub entities: u32,
    /// Changes of each in 30 ticks
    #[arg(long)]
    pub rate_hz: u32,
}

/// The first line of the server's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listening {
    /// Its address.
    pub address: SocketAddr,
    /// SHA-256 of its certificate, in hexadecimal digits.
    pub certificate_hash: String,
}

/// The answer to each request.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, Resource)]
pub struct NaiaServerSample {
    /// Ticks so far.
    pub ticks: u64,
    /// Changes of entities so far: entities times ticks in which they changed.
    pub changes: u64,
    /// Connected users.
    pub users: u64,
}

/// naia's protocol of this way.
pub fn protocol() -> Protocol {
    Protocol::builder().tick_interval(TICK_DURATION).add_component::<Mover>().build()
}

#[derive(Resource)]
struct Transport(ServerHandle);

#[derive(Resource)]
struct Scene {
    entities: u32,
    rate_hz: u32,
    room: Option<RoomKey>,
    users: BTreeMap<SocketAddr, UserKey>,
    is_new_tick: bool,
}

#[derive(Component)]
struct Moves(Path);

/// Runs until the parent closes the standard input.
///
/// # Errors
/// When the network or the standard output fails.
pub fn run(options: &NaiaServerOptions) -> Result<()> {
    let conversation = Conversation::start()?;
    let limits = Limits {
        sessions_total: MAX_SESSIONS,
        sessions_per_address: MAX_SESSIONS,
        handshakes_per_network: 0,
        handshakes_total: 0,
        ..Limits::default()
    };
    let (transport, socket) = bind(ServerConfig {
        listeners: vec![ListenerConfig { kind: PeerKind::Player, addr: SocketAddr::from(([127, 0, 0, 1], 0)) }],
        identity: Identity::self_signed(&["127.0.0.1".to_owned()])?,
        player_certificate: None,
        allowed_origins: AllowedOrigins::default(),
        protocol_version: PROTOCOL_VERSION,
        limits,
    })?;
    let address = transport.local_addr(PeerKind::Player).context("the transport does not say where it listens")?;
    let certificate_hash = transport.certificate_hash().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut app = build_app(options, transport.clone());
    listen_on_app(&mut app, socket);
    app.finish();
    app.cleanup();
    answer(&Listening { address, certificate_hash })?;
    let waker = transport.waker();
    while let Ok(request) = conversation.next() {
        if request.is_some() {
            let users = app.world().resource::<Scene>().users.len() as u64;
            answer(&NaiaServerSample { users, ..*app.world().resource::<NaiaServerSample>() })?;
        }
        let started = Instant::now();
        app.update();
        let spent = started.elapsed();
        if spent < MIN_INTERVAL {
            std::thread::sleep(MIN_INTERVAL - spent);
        }
        waker.wait(MAX_SLEEP);
    }
    transport.shutdown("the comparison has ended");
    Ok(())
}

fn build_app(options: &NaiaServerOptions, transport: ServerHandle) -> App {
    let mut app = App::new();
    let mut config = NaiaServerConfig { require_auth: false, ..NaiaServerConfig::default() };
    config.connection.disconnection_timeout_duration = Duration::from_secs(15);
    config.connection.heartbeat_interval = Duration::from_secs(1);
    config.connection.bandwidth_measure_duration = None;
    config.connection.bandwidth.target_bytes_per_sec = u32::MAX;
    app.add_plugins(NaiaServerPlugin::new(config, protocol()));
    for label in [Update.intern(), PostUpdate.intern()] {
        app.edit_schedule(label, |schedule| {
            schedule.set_executor_kind(ExecutorKind::SingleThreaded);
        });
    }
    let Options { entities, rate_hz } = *options;
    app.insert_resource(Transport(transport))
        .insert_resource(Scene { entities, rate_hz, room: None, users: BTreeMap::new(), is_new_tick: false })
        .init_resource::<NaiaServerSample>()
        .add_systems(Update, admit_peers.before(ReceivePackets))
        .add_systems(Update, (spawn_entities, track_users).chain().in_set(HandleWorldEvents))
        .add_systems(Update, count_ticks.in_set(HandleTickEvents))
        .add_systems(Update, move_entities.in_set(WorldUpdate).after(HandleTickEvents))
        .add_systems(Update, flush.after(SendPackets));
    app
}

use NaiaServerOptions as Options;

fn admit_peers(transport: Res<'_, Transport>) {
    while let Some((address, ..)) = transport.0.poll_auth() {
        transport.0.admit(&address);
    }
}

/// Makes room and entities in the first update.
fn spawn_entities(mut commands: Commands<'_, '_>, mut naia: Server<'_>, mut scene: ResMut<'_, Scene>) {
    if scene.room.is_some() {
        return;
    }
    let room = naia.create_room().key();
    scene.room = Some(room);
    for number in 0..scene.entities {
        let path = Path::of(number);
        let entity =
            commands.spawn_empty().enable_replication(&mut naia).insert((Mover::of(&path.at(0)), Moves(path))).id();
        naia.room_mut(&room).add_entity(&entity);
    }
}

fn track_users(
    transport: Res<'_, Transport>,
    mut naia: Server<'_>,
    mut scene: ResMut<'_, Scene>,
    mut connected: MessageReader<'_, '_, ConnectEvent>,
    mut disconnected: MessageReader<'_, '_, DisconnectEvent>,
) {
    let Some(room) = scene.room else { return };
    for ConnectEvent(user) in connected.read() {
        let Some(address) = naia.user_opt(user).map(|user| user.address()) else { continue };
        transport.0.note_connected(&address);
        scene.users.insert(address, *user);
        naia.user_mut(user).enter_room(&room);
    }
    for DisconnectEvent(_, address, _) in disconnected.read() {
        scene.users.remove(address);
        transport.0.close(address, "disconnected");
    }
    while let Some((address, _)) = transport.0.poll_closed() {
        if let Some(user) = scene.users.remove(&address)
            && let Some(mut user) = naia.user_mut_opt(&user)
        {
            user.disconnect();
        }
    }
    naia.mark_scope_checks_pending_handled();
}

fn count_ticks(
    mut ticks: MessageReader<'_, '_, TickEvent>,
    mut scene: ResMut<'_, Scene>,
    mut sample: ResMut<'_, NaiaServerSample>,
) {
    let due = ticks.read().count() as u64;
    sample.ticks += due;
    scene.is_new_tick = due > 0;
}

fn move_entities(
    scene: Res<'_, Scene>,
    mut sample: ResMut<'_, NaiaServerSample>,
    mut entities: Query<'_, '_, (&Moves, &mut Mover)>,
) {
    if !scene.is_new_tick || !mover::changes_at(sample.ticks, scene.rate_hz) {
        return;
    }
    for (moves, mut mover) in &mut entities {
        mover.set(&moves.0.at(sample.ticks));
    }
    sample.changes += u64::from(scene.entities);
}

fn flush(transport: Res<'_, Transport>) {
    transport.0.flush();
}
