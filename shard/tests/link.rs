//! The link, over the in-memory network, to a minimal naia server.

#![allow(clippy::unwrap_used, elided_lifetimes_in_paths)]

mod common;

use bevy::prelude::*;
use bytes::Bytes;
use common::{id, rock, ship};
use naia_bevy_client::{DefaultClientTag, events::UpdateComponentEvent};
use naia_bevy_server::{
    CommandsExt, Plugin as ServerPlugin, RoomKey, Server, UserKey,
    events::{ConnectEvent, TickEvent},
};
use naia_bevy_server::{HandleTickEvents, HandleWorldEvents};
use sidereal_protocol::{
    DVec2,
    components::{Identity, OreDeposit, Vitals},
    frames::{
        control::{Lease, ToServer, ToShard, decode_frame, encode_frame},
        messages::Credential,
    },
    limits::PROTOCOL_VERSION,
    packets::{
        lane,
        motion::{EngineGlow, Motion, SectorNews, encode_sector_update},
    },
    rules::flight::FlightState,
    schema,
    world::{
        ids::{NetId, NetIdBlock, ShardId},
        sector::SectorId,
        tick::SimTick,
    },
};
use sidereal_shard::{
    ShardConfig,
    bodies::{Authority, Body},
    build_app,
    config::Secret,
    leases::Leases,
    link::LinkState,
    registry::Registry,
    report::Totals,
};
use sidereal_transport::{
    PeerKind, ServerHandle,
    network::memory::{LinkConditions, MemoryNetwork},
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// naia uses real time, so a test waits for it; this long at most.
const PATIENCE: Duration = Duration::from_secs(30);
const HOME: SectorId = SectorId::new(0, 0);
const BEYOND: SectorId = SectorId::new(1, 0);
const FIRST_TICK: u64 = 5000;

#[derive(Resource, Default)]
struct Peers {
    tick: u16,
    user: Option<UserKey>,
}

fn note_peers(mut peers: ResMut<Peers>, mut connected: MessageReader<ConnectEvent>) {
    for ConnectEvent(user) in connected.read() {
        peers.user = Some(*user);
    }
}

fn note_ticks(mut peers: ResMut<Peers>, mut ticks: MessageReader<TickEvent>) {
    for TickEvent(tick) in ticks.read() {
        peers.tick = *tick;
    }
}

fn include_all(mut server: Server) {
    for (_, user, entity) in server.scope_checks_pending() {
        server.user_scope_mut(&user).include(&entity);
    }
    server.mark_scope_checks_pending_handled();
}

struct Scene {
    network: MemoryNetwork,
    server: App,
    handle: ServerHandle,
    shard: App,
    start: Instant,
    peer: Option<SocketAddr>,
    frames: Vec<ToServer>,
    lane: Vec<Bytes>,
}

impl Scene {
    fn new(secret: &str, conditions: LinkConditions) -> Self {
        let network = MemoryNetwork::new(1, conditions);
        let (handle, socket) = network.server(PROTOCOL_VERSION);
        let config = naia_bevy_server::ServerConfig { require_auth: false, ..Default::default() };
        let mut server = App::new();
        server
            .add_plugins(ServerPlugin::new(config, schema::protocol()))
            .init_resource::<Peers>()
            .add_systems(Update, note_peers.in_set(HandleWorldEvents))
            .add_systems(Update, note_ticks.in_set(HandleTickEvents));
        let mut socket = Some(socket);
        let listen = server.register_system(move |mut server: Server| {
            server.listen(socket.take().expect("it runs once"));
        });
        server.world_mut().run_system(listen).unwrap();
        let config = ShardConfig { name: "test".to_owned(), secret: Secret(secret.to_owned()) };
        let (client, socket) = network.connector(PeerKind::Shard, PROTOCOL_VERSION);
        let shard = build_app(&config, client, socket);
        Self { network, server, handle, shard, start: Instant::now(), peer: None, frames: Vec::new(), lane: Vec::new() }
    }

    /// A shard that is connected and welcomed.
    fn welcomed(conditions: LinkConditions) -> Self {
        let mut scene = Self::new("secret", conditions);
        scene.until("naia connects", |scene| scene.server.world().resource::<Peers>().user.is_some());
        let naia_tick = scene.server.world().resource::<Peers>().tick;
        scene.send(&ToShard::Welcome {
            shard: ShardId(1),
            sim_tick: SimTick(FIRST_TICK),
            naia_tick,
            id_seed: 1,
            net_ids: NetIdBlock { next: 100_000, end: 165_536 },
        });
        scene
    }

    fn send(&mut self, frame: &ToShard) {
        let peer = self.peer.expect("the shard is admitted");
        self.handle.send_stream(&peer, Bytes::from(encode_frame(frame).unwrap())).unwrap();
    }

    fn step(&mut self) {
        self.network.advance(self.start.elapsed().as_millis() as u64);
        while let Some((peer, kind, credential)) = self.handle.poll_auth() {
            let credential = Credential::decode(&credential).unwrap();
            assert_eq!((kind, credential.name.as_str()), (PeerKind::Shard, "test"));
            if credential.secret == "secret" {
                self.handle.admit(&peer);
                self.peer = Some(peer);
            } else {
                self.handle.refuse(&peer, "the shard secret is not the server's");
            }
        }
        self.server.world_mut().run_system_cached(include_all).unwrap();
        self.server.update();
        while let Some((_, frame)) = self.handle.recv_stream() {
            self.frames.push(decode_frame(&frame).unwrap());
        }
        while let Some((_, datagram)) = self.handle.recv_lane() {
            self.lane.push(datagram);
        }
        self.handle.flush();
        sidereal_shard::link::update(&mut self.shard);
        self.handle.waker().wait(Duration::from_millis(1));
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "it never happened: {what}: {:?}, {:#?}, {:?}",
                self.shard.world().resource::<LinkState>(),
                self.shard.world().resource::<Totals>(),
                self.frames,
            );
            self.step();
        }
    }

    fn ghost(&self, number: u64) -> Option<Body> {
        let world = self.shard.world();
        let entity = world.resource::<Registry>().get(id(number))?;
        world.get::<Authority>(entity).is_none().then(|| world.get::<Body>(entity).unwrap().clone())
    }
}

fn lossy() -> LinkConditions {
    LinkConditions { latency_ms: 10, jitter_ms: 5, loss: 0.05, duplication: 0.02, reordering: 0.05 }
}

#[test]
fn a_welcomed_shard_takes_its_lease_and_simulates_it_tick_by_tick() {
    for conditions in [LinkConditions::default(), lossy()] {
        let mut scene = Scene::welcomed(conditions);
        let lease = Lease { sector: HOME, epoch: 1 };
        let records = vec![ship(1, DVec2::splat(300.0)), rock(2, DVec2::splat(700.0), 20.0)];
        scene.send(&ToShard::Grant { leases: vec![lease], records });
        scene.until("the grant is taken", |scene| scene.shard.world().resource::<Leases>().holds(HOME));
        scene.until("there is a census", |scene| {
            scene.frames.iter().any(|frame| {
                matches!(frame, ToServer::Census { entities, tick, .. }
                    if entities.len() == 2 && tick.0 > FIRST_TICK && tick.0 < FIRST_TICK + 300)
            })
        });
        let kinds: Vec<u8> = scene.lane.iter().map(|datagram| datagram[0]).collect();
        assert!(kinds.contains(&lane::OWN_STATES) && kinds.contains(&lane::SECTOR_UPDATE));
        assert_eq!(*scene.shard.world().resource::<LinkState>(), LinkState::Joined);
        assert_eq!(scene.shard.world().resource::<Totals>().ticks_skipped, 0);
    }
}

#[test]
fn an_entity_next_door_becomes_a_ghost_changes_and_goes() {
    let mut scene = Scene::welcomed(LinkConditions::default());
    let lease = Lease { sector: HOME, epoch: 1 };
    scene.send(&ToShard::Grant { leases: vec![lease], records: vec![] });
    let record = rock(7, DVec2::new(1050.0, 500.0), 25.0);
    let (identity, vitals) = (Identity::of(&record), Vitals::of(&record));
    let user = scene.server.world().resource::<Peers>().user.unwrap();
    let mut components = Some((identity, vitals));
    let spawn = scene.server.register_system(move |mut commands: Commands, mut server: Server| {
        let entity = commands
            .spawn_empty()
            .enable_replication(&mut server)
            .insert(components.take().expect("it runs once"))
            .id();
        let room = server.create_room().key();
        server.user_mut(&user).enter_room(&room);
        (entity, room)
    });
    let (entity, room): (Entity, RoomKey) = scene.server.world_mut().run_system(spawn).unwrap();
    let enter = scene.server.register_system(move |mut server: Server| {
        server.room_mut(&room).add_entity(&entity);
    });
    scene.server.world_mut().run_system(enter).unwrap();

    let motion = |scene: &mut Scene| {
        let ticks = scene.shard.world().resource::<sidereal_shard::clock::SimClock>().tick;
        let state = FlightState { position: DVec2::new(1050.0, 500.0), ..Default::default() };
        let motion = Motion { net_id: NetId(7), state, glow: EngineGlow::default() };
        for packet in encode_sector_update(BEYOND, ticks, SectorNews { motions: &[motion], ..Default::default() }) {
            scene.handle.send_lane(&scene.peer.unwrap(), Bytes::from(packet.bytes));
        }
    };
    scene.until("the ghost is there", |scene| {
        motion(scene);
        scene.ghost(7).is_some()
    });
    let ghost = scene.ghost(7).unwrap();
    assert_eq!((ghost.radius, ghost.hull, ghost.net_id), (25.0, 100, NetId(7)));

    *scene.server.world_mut().get_mut::<Vitals>(entity).unwrap().hull = 60;
    scene.until("its hull arrives", |scene| {
        motion(scene);
        scene.ghost(7).is_some_and(|ghost| ghost.hull == 60)
    });

    *scene.server.world_mut().get_mut::<Identity>(entity).unwrap().radius = 30.0;
    scene.until("its new size arrives", |scene| {
        motion(scene);
        scene.ghost(7).is_some_and(|ghost| ghost.radius == 30.0)
    });

    scene.server.world_mut().despawn(entity);
    scene.until("it is gone", |scene| {
        motion(scene);
        scene.ghost(7).is_none()
    });
}

#[test]
fn a_wrong_secret_is_refused_with_the_servers_reason() {
    let mut scene = Scene::new("wrong", LinkConditions::default());
    scene.until("it is refused", |scene| matches!(scene.shard.world().resource::<LinkState>(), LinkState::Refused(_)));
    let LinkState::Refused(reason) = scene.shard.world().resource::<LinkState>() else { panic!() };
    assert_eq!(reason, "the shard secret is not the server's");
}

#[test]
fn a_drained_shard_hands_in_its_records_in_order() {
    let mut scene = Scene::welcomed(lossy());
    let lease = Lease { sector: HOME, epoch: 1 };
    let records = (1..=50).map(|number| rock(number, DVec2::new(20.0 * f64::from(number), 500.0), 5.0));
    scene.send(&ToShard::Grant { leases: vec![lease], records: records.collect() });
    scene.send(&ToShard::Drain);
    scene.until("it is drained", |scene| scene.frames.contains(&ToServer::Drained));
    let records = scene.frames.iter().filter(|frame| matches!(frame, ToServer::Record(_))).count();
    assert_eq!(records, 50);
    assert_eq!(scene.frames.last(), Some(&ToServer::Drained));
}

#[test]
fn a_session_that_the_server_closes_is_lost() {
    let mut scene = Scene::welcomed(LinkConditions::default());
    scene.until("it is joined", |scene| *scene.shard.world().resource::<LinkState>() == LinkState::Joined);
    scene.handle.close(&scene.peer.unwrap(), "maintenance");
    scene.until("it is lost", |scene| matches!(scene.shard.world().resource::<LinkState>(), LinkState::Lost(_)));
}

#[test]
fn an_update_that_panics_ends_the_session_and_not_the_process() {
    let mut scene = Scene::welcomed(LinkConditions::default());
    scene.until("it is joined", |scene| *scene.shard.world().resource::<LinkState>() == LinkState::Joined);
    scene.shard.add_systems(Update, || panic!("planted"));
    scene.until("it is lost", |scene| matches!(scene.shard.world().resource::<LinkState>(), LinkState::Lost(_)));
    scene.until("the server detects it", |scene| scene.handle.poll_closed().is_some());
}

/// naia warns of every change of a component whose events are not registered: each bite out of a rock was a line in the
/// log.
#[test]
fn the_events_of_every_replicated_component_are_registered() {
    fn registered<C: naia_bevy_server::Replicate>(app: &App) -> bool {
        app.world().contains_resource::<Messages<UpdateComponentEvent<DefaultClientTag, C>>>()
    }
    let scene = Scene::new("secret", LinkConditions::default());
    let shard = &scene.shard;
    assert_eq!(
        [registered::<Identity>(shard), registered::<Vitals>(shard), registered::<OreDeposit>(shard)],
        [true; 3]
    );
}
