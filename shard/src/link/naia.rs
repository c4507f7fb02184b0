//! The link to the server: naia's client, the control stream and the lane on one side, plain queues to the simulation
//! on the other.
//!
//! Runs in the shard. It decodes, counts and passes on; it makes no decisions. One link is one session: it ends
//! together with its app (see [`crate::app::session`]).

use crate::{
    app::{
        report::Totals,
        suspect::{self, Doing},
    },
    bodies::{body::Body, ghosts::GhostNews},
    link::mailbox::{Inbox, LaneDatagram, Outbox},
    schedule::ShardSystems,
};
use bevy::{platform::collections::HashMap, prelude::*};
use bytes::Bytes;
use naia_bevy_client::{
    AppRegisterComponentEvents, Client, ClientConfig, DefaultClientTag, DefaultPlugin, HandleWorldEvents,
    JitterBufferType, WorldUpdate,
    events::{
        ClientTickEvent, ConnectEvent, DespawnEntityEvent, DisconnectEvent, InsertComponentEvent, RejectEvent,
        UpdateComponentEvent,
    },
};
use sidereal_process::crash::{contain, fault_point};
use sidereal_protocol::{
    components::{Identity, OreDeposit, Vitals},
    frames::{
        control::{ToServer, ToShard, decode_frame, encode_frame},
        messages::Credential,
    },
    packets::{bundle::parts, motion::SectorUpdate},
    rules::economy::Fitted,
    schema,
    world::{
        ids::EntityId,
        tick::{SimTick, TickSync},
    },
};
use sidereal_transport::{ClientHandle, ClientSocket, LinkStatus, SinglePacketGate, StreamError};
use std::{sync::Mutex, time::Duration};

/// naia's budget for this shard's packets, bytes/s. They are only acknowledgements and pings, but the default would
/// hold back those of a thousand ghosts that appear at once.
const NAIA_BYTES_PER_SECOND: u32 = 4_000_000;

/// naia's handshake: pings and the interval between messages. Half a second for all makes its clock accurate enough; it
/// continues to measure.
const HANDSHAKE_PINGS: u8 = 5;
const HANDSHAKE_INTERVAL: Duration = Duration::from_millis(50);

/// naia's tick is ahead of the server's by the travel time. This many of its ticks at most are read in one update. More
/// are due only after the process was stopped, and are skipped in any case.
const MAX_TICKS_PER_UPDATE: usize = 256;

/// The state of the session.
#[derive(Resource, Debug, Clone, PartialEq, Eq, Default)]
pub enum LinkState {
    /// Not yet welcomed.
    #[default]
    Connecting,
    /// Welcomed: simulating.
    Joined,
    /// Ended; a retry may help. The reason in one line.
    Lost(String),
    /// Ended; a retry would fail again. The reason in one line.
    Refused(String),
}

/// The link's systems for an app with [`crate::sim::SimPlugin`].
pub struct LinkPlugin {
    handle: ClientHandle,
    socket: Mutex<Option<ClientSocket>>,
}

impl LinkPlugin {
    /// A link through `socket` with this `credential`.
    pub fn new(handle: ClientHandle, socket: ClientSocket, credential: &Credential) -> Self {
        let socket = socket.with_credential(Bytes::from(credential.encode()));
        Self { handle, socket: Mutex::new(Some(socket)) }
    }
}

/// The transport's handle.
#[derive(Resource, Clone)]
pub struct Transport(pub ClientHandle);

#[derive(Resource)]
struct PendingSocket(Option<ClientSocket>);

/// Passes one packet per update to naia (for the reason see [`SinglePacketGate`]): see [`update`].
#[derive(Resource, Default)]
struct PacketValve(SinglePacketGate);

/// Limit of waiting packets that are passed to naia in as many updates at once; the rest waits in the transport's
/// bounded queue.
const MAX_PACKETS: usize = 64;

/// Present once naia has failed in this app: it is not updated any more.
#[derive(Resource)]
struct Failed;

/// Updates the app until everything that has arrived is handled. Call this instead of [`App::update`].
///
/// A spawn and a despawn that one retransmission carries cannot be separated; naia panics on them. That ends the
/// session, not the process: the server has this shard's entities, as after any lost session. A panic of the simulation
/// ends the session as well, and is reported to the server.
pub fn update(app: &mut App) {
    if app.world().contains_resource::<Failed>() {
        return;
    }
    for _ in 0..MAX_PACKETS {
        let update = || {
            fault_point("update");
            app.update();
        };
        if contain(update).is_err() {
            fail(app);
            return;
        }
        if !app.world().resource::<PacketValve>().0.close() {
            break;
        }
    }
}

/// Ends the session of an app that has panicked. A panic of the simulation is reported to the server with the entity.
fn fail(app: &mut App) {
    app.insert_resource(Failed);
    app.insert_resource(LinkState::Lost("an update of this shard failed; see the panic above".to_owned()));
    let transport = &app.world().resource::<Transport>().0;
    let at = match suspect::take() {
        Doing::Else => None,
        Doing::Simulation => Some(None),
        Doing::Entity(id) => Some(Some(id)),
    };
    // If the report cannot be sent, the server treats it as a lost session.
    if let Some(at) = at
        && let Ok(words) = encode_frame(&ToServer::Crashed { at })
    {
        let _ = transport.send_stream(Bytes::from(words));
    }
    transport.close("the shard has failed");
}

fn open_valve(valve: Res<PacketValve>) {
    valve.0.open_for_one();
}

/// Converts naia's ticks to the world's, from the welcome on.
#[derive(Resource, Default)]
struct NaiaClock(Option<TickSync>);

/// The ids of naia's entities: at a despawn their components are gone already.
#[derive(Resource, Default)]
struct Announcements(HashMap<Entity, EntityId>);

impl Plugin for LinkPlugin {
    fn build(&self, app: &mut App) {
        let socket = self.socket.lock().map_or(None, |mut socket| socket.take());
        app.add_plugins(DefaultPlugin::new(client_config(), schema::protocol()))
            .add_component_events::<DefaultClientTag, Identity>()
            .add_component_events::<DefaultClientTag, Vitals>()
            // Never read; naia warns of each change of a component whose events are not registered.
            .add_component_events::<DefaultClientTag, OreDeposit>()
            .insert_resource(Transport(self.handle.clone()))
            .insert_resource(PendingSocket(socket))
            .init_resource::<PacketValve>()
            .init_resource::<NaiaClock>()
            .init_resource::<Announcements>()
            .init_resource::<LinkState>()
            .configure_sets(
                Update,
                (
                    ShardSystems::Receive.in_set(HandleWorldEvents),
                    ShardSystems::Control.before(WorldUpdate),
                    ShardSystems::Simulate.before(WorldUpdate),
                    ShardSystems::Send.before(WorldUpdate),
                ),
            )
            .add_systems(Startup, connect)
            .add_systems(PreUpdate, open_valve)
            .add_systems(
                Update,
                (
                    (watch_link, receive_frames, receive_lane, receive_naia, receive_ticks)
                        .chain()
                        .in_set(ShardSystems::Receive),
                    send_out.in_set(ShardSystems::Send),
                ),
            )
            // After naia's SendPackets, so that all of an update is sent in one burst.
            .add_systems(PostUpdate, flush);
    }
}

fn client_config() -> ClientConfig {
    let mut config = ClientConfig {
        handshake_pings: HANDSHAKE_PINGS,
        send_handshake_interval: HANDSHAKE_INTERVAL,
        // naia's jitter buffer would put packets of several ticks, which arrive together late, into one update again: a
        // spawn and its despawn, on which it panics.
        jitter_buffer: JitterBufferType::Bypass,
        ..default()
    };
    config.connection.bandwidth.target_bytes_per_sec = NAIA_BYTES_PER_SECOND;
    config
}

fn connect(mut client: Client<DefaultClientTag>, valve: Res<PacketValve>, mut socket: ResMut<PendingSocket>) {
    if let Some(socket) = socket.0.take() {
        client.connect(valve.0.guard(socket));
    }
}

/// Detects the end of the session, by the transport or by naia.
fn watch_link(
    transport: Res<Transport>,
    outbox: Res<Outbox<ToServer>>,
    mut state: ResMut<LinkState>,
    mut connected: MessageReader<ConnectEvent<DefaultClientTag>>,
    mut rejected: MessageReader<RejectEvent<DefaultClientTag>>,
    mut disconnected: MessageReader<DisconnectEvent<DefaultClientTag>>,
) {
    if connected.read().next().is_some() {
        tracing::info!("connected");
    }
    let rejected = rejected.read().next().is_some();
    let disconnected = disconnected.read().next().is_some();
    if matches!(*state, LinkState::Lost(_) | LinkState::Refused(_)) {
        return;
    }
    match transport.0.status() {
        LinkStatus::Rejected(reason) => *state = LinkState::Refused(reason),
        LinkStatus::Closed(reason) => *state = LinkState::Lost(reason),
        LinkStatus::Connecting | LinkStatus::Connected if rejected => {
            *state = LinkState::Lost("naia's handshake was rejected".to_owned());
        }
        LinkStatus::Connecting | LinkStatus::Connected if disconnected => {
            *state = LinkState::Lost("naia's connection timed out".to_owned());
        }
        LinkStatus::Connecting | LinkStatus::Connected => {}
    }
    if outbox.is_overfull() {
        *state = LinkState::Lost("the server does not read what this shard sends".to_owned());
    }
}

fn receive_frames(
    transport: Res<Transport>,
    mut calendar: ResMut<NaiaClock>,
    mut state: ResMut<LinkState>,
    mut inbox: ResMut<Inbox<ToShard>>,
    mut totals: ResMut<Totals>,
) {
    while let Some(bytes) = transport.0.recv_stream() {
        match decode_frame::<ToShard>(&bytes) {
            Ok(frame) => {
                if let ToShard::Welcome { sim_tick, naia_tick, .. } = frame
                    && calendar.0.is_none()
                {
                    calendar.0 = Some(TickSync::new(naia_tick, sim_tick));
                    *state = LinkState::Joined;
                }
                inbox.push(frame);
            }
            Err(error) => {
                totals.frames_refused += 1;
                // A stream cannot be decoded further after an error.
                *state = LinkState::Lost(format!("the server sent an invalid frame: {error}"));
            }
        }
    }
}

fn receive_lane(transport: Res<Transport>, mut inbox: ResMut<Inbox<SectorUpdate>>, mut totals: ResMut<Totals>) {
    while let Some(bytes) = transport.0.recv_lane() {
        for part in parts(&bytes) {
            match part.and_then(SectorUpdate::decode) {
                Ok(update) => inbox.push(update),
                Err(error) => {
                    totals.datagrams_refused += 1;
                    tracing::debug!(%error, "a datagram was rejected");
                }
            }
        }
    }
}

/// Converts naia's entities to events of ghosts.
fn receive_naia(
    mut announcements: ResMut<Announcements>,
    mut inbox: ResMut<Inbox<GhostNews>>,
    mut inserted: MessageReader<InsertComponentEvent<DefaultClientTag, Identity>>,
    mut wounded: MessageReader<InsertComponentEvent<DefaultClientTag, Vitals>>,
    mut updated: MessageReader<UpdateComponentEvent<DefaultClientTag, Vitals>>,
    mut refitted: MessageReader<UpdateComponentEvent<DefaultClientTag, Identity>>,
    mut despawned: MessageReader<DespawnEntityEvent<DefaultClientTag>>,
    entities: Query<(&Identity, Option<&Vitals>)>,
) {
    for event in inserted.read() {
        let Ok((identity, vitals)) = entities.get(event.entity) else { continue };
        let Some(body) = ghost_body(identity, vitals) else { continue };
        announcements.0.insert(event.entity, body.id);
        inbox.push(GhostNews::Appeared(Box::new(body)));
    }
    let changed = wounded.read().map(|event| event.entity);
    for entity in changed.chain(updated.read().map(|event| event.entity)) {
        let Ok((identity, Some(vitals))) = entities.get(entity) else { continue };
        let (hull, hull_max) = (*vitals.hull, *vitals.hull_max);
        inbox.push(GhostNews::Vitals { id: identity.entity_id(), hull, hull_max });
    }
    for event in refitted.read() {
        let Ok((identity, _)) = entities.get(event.entity) else { continue };
        let (hull_kind, radius) = (identity.hull_kind(), f64::from(*identity.radius));
        inbox.push(GhostNews::Refitted { id: identity.entity_id(), hull_kind, radius });
    }
    for event in despawned.read() {
        let Some(id) = announcements.0.remove(&event.entity) else { continue };
        // The same entity may have been announced anew in the meantime.
        if !announcements.0.values().any(|&other| other == id) {
            inbox.push(GhostNews::Gone(id));
        }
    }
}

fn ghost_body(identity: &Identity, vitals: Option<&Vitals>) -> Option<Body> {
    let (hull, hull_max) = vitals.map_or((1, 1), |vitals| (*vitals.hull, *vitals.hull_max));
    Some(Body {
        id: identity.entity_id(),
        net_id: identity.net_id(),
        kind: identity.entity_kind()?,
        hull_kind: identity.hull_kind(),
        owner: identity.owner(),
        name: (*identity.name).clone(),
        radius: f64::from(*identity.radius),
        hull,
        hull_max,
        fitted: Fitted::default(),
    })
}

fn receive_ticks(
    mut calendar: ResMut<NaiaClock>,
    mut inbox: ResMut<Inbox<SimTick>>,
    mut ticks: MessageReader<ClientTickEvent<DefaultClientTag>>,
) {
    let Some(sync) = &mut calendar.0 else {
        ticks.clear();
        return;
    };
    let skipped = ticks.len().saturating_sub(MAX_TICKS_PER_UPDATE);
    for event in ticks.read().skip(skipped) {
        inbox.push(sync.sim_tick(event.tick));
    }
}

fn send_out(
    transport: Res<Transport>,
    mut state: ResMut<LinkState>,
    mut frames: ResMut<Outbox<ToServer>>,
    mut lane: ResMut<Outbox<LaneDatagram>>,
) {
    while let Some(frame) = frames.pop() {
        let bytes = match encode_frame(&frame) {
            Ok(bytes) => bytes,
            Err(error) => {
                *state = LinkState::Lost(format!("a frame of this shard is too long: {error}"));
                break;
            }
        };
        match transport.0.send_stream(Bytes::from(bytes)) {
            Ok(()) => {}
            Err(StreamError::Full) => {
                // It and its successors wait; the outbox has a limit.
                frames.push_front(frame);
                break;
            }
            Err(StreamError::Closed | StreamError::TooLarge) => break,
        }
    }
    for LaneDatagram(bytes) in lane.drain() {
        transport.0.send_lane(Bytes::from(bytes));
    }
}

fn flush(transport: Res<Transport>) {
    transport.0.flush();
}
