//! naia's replication of entities to one peer: it survives any acknowledgements of the peer, and any number of spawns
//! and despawns. The real naia at both ends, over the in-memory network.
#![allow(clippy::unwrap_used)]

use bevy::prelude::{App, Commands, Component, Entity, IntoScheduleConfigs, PreUpdate, ResMut, Resource, Update};
use naia_bevy_client::{Client, ClientConfig, DefaultClientTag, DefaultPlugin, JitterBufferType};
use naia_bevy_server::{Plugin as ServerPlugin, RoomKey, Server, ServerConfig, UserKey, events::ConnectEvent};
use naia_bevy_shared::{HandleWorldEvents, Property, Protocol, ReceivePackets, Replicate, SendPackets, TestClock};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sidereal_server::replication::naia::announced::{Announced, despawn_leaving, mark_seen};
use sidereal_transport::{
    ClientHandle, PeerKind, ServerHandle, SinglePacketGate,
    network::memory::{LinkConditions, MemoryNetwork},
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

const VERSION: u32 = 1;
const TICK_MS: u64 = 33;
/// The most packets that the client reads in one step.
const MAX_PACKETS: usize = 512;

/// One test at a time: one of them measures the memory of the process, which all of them share.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Component, Replicate)]
struct Place {
    x: Property<u32>,
    y: Property<u32>,
}

fn protocol() -> Protocol {
    Protocol::builder().tick_interval(Duration::from_millis(TICK_MS)).add_component::<Place>().build()
}

#[derive(Resource, Default)]
struct Seen {
    user: Option<UserKey>,
    room: Option<RoomKey>,
}

fn note_user(mut events: bevy::prelude::MessageReader<'_, '_, ConnectEvent>, mut seen: ResMut<'_, Seen>) {
    for ConnectEvent(user) in events.read() {
        seen.user = Some(*user);
    }
}

/// A server with one room, and one peer in it.
struct Pair {
    network: MemoryNetwork,
    server: App,
    server_handle: ServerHandle,
    client: App,
    client_handle: ClientHandle,
    valve: SinglePacketGate,
    user: Option<UserKey>,
    room: RoomKey,
    now_ms: u64,
}

impl Pair {
    /// A connected peer, in the room.
    fn new(seed: u64, conditions: LinkConditions) -> Self {
        let network = MemoryNetwork::new(seed, conditions);
        TestClock::init(1_000);
        network.advance(1_000);
        let (server_handle, socket) = network.server(VERSION);
        let mut server = App::new();
        let mut config = ServerConfig { require_auth: false, ..ServerConfig::default() };
        config.connection.bandwidth.target_bytes_per_sec = u32::MAX;
        server
            .add_plugins(ServerPlugin::new(config, protocol()))
            .init_resource::<Seen>()
            .init_resource::<Announced>()
            .add_systems(
                Update,
                (
                    despawn_leaving.before(ReceivePackets),
                    note_user.in_set(HandleWorldEvents),
                    mark_seen.after(SendPackets),
                ),
            );
        let mut socket = Some(socket);
        let listen = server.register_system(move |mut naia: Server<'_>, mut seen: ResMut<'_, Seen>| {
            naia.listen(socket.take().unwrap());
            seen.room = Some(naia.create_room().key());
        });
        server.world_mut().run_system(listen).unwrap();
        let room = server.world().resource::<Seen>().room.unwrap();

        let (client_handle, socket) = network.connector(PeerKind::Player, VERSION);
        let valve = SinglePacketGate::default();
        let mut client = App::new();
        let config = ClientConfig {
            handshake_pings: 3,
            send_handshake_interval: Duration::from_millis(100),
            jitter_buffer: JitterBufferType::Bypass,
            ..ClientConfig::default()
        };
        let opened = valve.clone();
        client
            .add_plugins(DefaultPlugin::new(config, protocol()))
            .add_systems(PreUpdate, move || opened.open_for_one());
        let (mut socket, guarding) = (Some(socket), valve.clone());
        let connect = client.register_system(move |mut naia: Client<'_, DefaultClientTag>| {
            naia.connect(guarding.guard(socket.take().unwrap()));
        });
        client.world_mut().run_system(connect).unwrap();

        let mut pair =
            Self { network, server, server_handle, client, client_handle, valve, user: None, room, now_ms: 1_000 };
        for _ in 0..300 {
            pair.step();
            pair.user = pair.server.world().resource::<Seen>().user;
            if let Some(user) = pair.user {
                pair.with_server(move |naia| {
                    naia.user_mut(&user).enter_room(&room);
                });
                return pair;
            }
        }
        panic!("the peer did not connect: {:?}", pair.client_handle.status());
    }

    /// One tick of both ends.
    fn step(&mut self) {
        self.now_ms += TICK_MS;
        TestClock::advance(TICK_MS);
        self.network.advance(self.now_ms);
        while let Some((address, _, _)) = self.server_handle.poll_auth() {
            self.server_handle.admit(&address);
        }
        self.server.update();
        self.server_handle.flush();
        for _ in 0..MAX_PACKETS {
            self.client.update();
            if !self.valve.close() {
                break;
            }
        }
        self.client_handle.flush();
    }

    fn with_server<T: Send + 'static>(
        &mut self,
        mut act: impl FnMut(&mut Server<'_>) -> T + Send + Sync + 'static,
    ) -> T {
        let system = self.server.register_system(move |mut naia: Server<'_>| act(&mut naia));
        let given = self.server.world_mut().run_system(system).unwrap();
        self.server.world_mut().unregister_system(system).unwrap();
        given
    }

    /// A new entity that is in no room yet.
    fn spawn(&mut self, x: u32) -> Entity {
        self.with_announced(move |announced, commands, naia| {
            announced.spawn(commands, naia).insert(Place::new_complete(x, 0)).id()
        })
    }

    fn despawn(&mut self, entity: Entity) {
        self.with_announced(move |announced, commands, naia| announced.despawn::<Place>(entity, commands, naia));
    }

    fn with_announced<T: Send + 'static>(
        &mut self,
        mut act: impl FnMut(&mut Announced, &mut Commands<'_, '_>, &mut Server<'_>) -> T + Send + Sync + 'static,
    ) -> T {
        let system = self.server.register_system(
            move |mut announced: ResMut<'_, Announced>, mut commands: Commands<'_, '_>, mut naia: Server<'_>| {
                act(&mut announced, &mut commands, &mut naia)
            },
        );
        let given = self.server.world_mut().run_system(system).unwrap();
        self.server.world_mut().unregister_system(system).unwrap();
        given
    }

    /// The number of entities that naia has in the room.
    fn room_size(&mut self) -> usize {
        let room = self.room;
        self.with_server(move |naia| naia.room(&room).entities_count())
    }

    fn show(&mut self, entity: Entity) {
        let room = self.room;
        self.with_server(move |naia| {
            naia.room_mut(&room).add_entity(&entity);
        });
    }

    fn hide(&mut self, entity: Entity) {
        let room = self.room;
        self.with_server(move |naia| {
            naia.room_mut(&room).remove_entity(&entity);
        });
    }

    /// The client's entities, by their x.
    fn seen(&mut self) -> Vec<u32> {
        let world = self.client.world_mut();
        let mut places = world.query::<&Place>();
        let mut seen: Vec<u32> = places.iter(world).map(|place| *place.x).collect();
        seen.sort_unstable();
        seen
    }

    fn is_connected(&mut self) -> bool {
        let user = self.user;
        self.with_server(move |naia| user.is_some_and(|user| naia.user_exists(&user)))
    }
}

/// The first bit of the acknowledgements in a naia packet, which follows the datagram's prefix.
fn acknowledgements_at(datagram: &[u8]) -> usize {
    let is_data = datagram[1] & 1 == 1;
    8 + if is_data { 1 } else { 3 } + 16
}

fn number_at(bytes: &[u8], at: usize, width: usize) -> u32 {
    (0..width).map(|bit| u32::from(bytes[(at + bit) / 8] >> ((at + bit) % 8) & 1) << bit).sum()
}

fn set_number_at(bytes: &mut [u8], at: usize, width: usize, value: u32) {
    for bit in 0..width {
        let mask = 1 << ((at + bit) % 8);
        let byte = &mut bytes[(at + bit) / 8];
        *byte = if value >> bit & 1 == 1 { *byte | mask } else { *byte & !mask };
    }
}

/// Removes the packets selected by `withheld` from the acknowledgements in a datagram.
fn withhold(datagram: &[u8], withheld: impl Fn(u16) -> bool) -> Vec<u8> {
    let mut bytes = datagram.to_vec();
    if bytes[0] != 0 || bytes.len() < 10 {
        return bytes;
    }
    let at = acknowledgements_at(&bytes);
    let newest = number_at(&bytes, at, 16) as u16;
    let bits = number_at(&bytes, at + 16, 32);
    let acknowledged: Vec<u16> = std::iter::once(newest)
        .chain((0..32).filter(|bit| bits >> bit & 1 == 1).map(|bit| newest.wrapping_sub(bit + 1)))
        .filter(|index| !withheld(*index))
        .collect();
    let Some(&newest) = acknowledged.first() else {
        set_number_at(&mut bytes, at, 16, u32::from(newest.wrapping_sub(40)));
        set_number_at(&mut bytes, at + 16, 32, 0);
        return bytes;
    };
    let bits = acknowledged[1..].iter().fold(0, |bits, index| bits | 1 << (newest.wrapping_sub(*index) - 1));
    set_number_at(&mut bytes, at, 16, u32::from(newest));
    set_number_at(&mut bytes, at + 16, 32, bits);
    bytes
}

/// An entity leaves a peer's view, returns and leaves again, while the peer sends arbitrary acknowledgements.
#[test]
fn a_peer_that_withholds_acknowledgements_stops_nothing() {
    let _alone = alone();
    for seed in 0..12 {
        let mut pair = Pair::new(seed, LinkConditions { latency_ms: 20, jitter_ms: 5, ..LinkConditions::default() });
        pair.network.tamper(&pair.client_handle, move |datagram| {
            vec![withhold(datagram, |index| u64::from(index).wrapping_mul(0x9e37_79b9).wrapping_add(seed) % 100 < 40)]
        });
        let mut random = StdRng::seed_from_u64(seed);
        let entities: Vec<Entity> = (0..8).map(|x| pair.spawn(x)).collect();
        let mut shown = [false; 8];
        pair.step();
        for _ in 0..600 {
            for (entity, shown) in entities.iter().zip(&mut shown) {
                if random.random_bool(0.2) {
                    if *shown {
                        pair.hide(*entity)
                    } else {
                        pair.show(*entity)
                    }
                    *shown = !*shown;
                }
            }
            pair.step();
        }
        for _ in 0..60 {
            pair.step();
        }
        assert!(pair.is_connected(), "seed {seed}");
        let wanted: Vec<u32> = (0..8).filter(|x| shown[*x as usize]).collect();
        assert_eq!(pair.seen(), wanted, "seed {seed}");
    }
}

/// Tens of thousands of spawns and despawns on one connection, some of them before they are ever sent: naia frees ids,
/// continues to send changes, and keeps nothing. No more in a minute than the server admits into a view.
/// `SIDEREAL_SPAWNS` sets another number.
#[test]
fn as_many_comings_and_goings_as_there_are() {
    let _alone = alone();
    let spawns: u32 = std::env::var("SIDEREAL_SPAWNS").ok().and_then(|n| n.parse().ok()).unwrap_or(40_000);
    for loss in [0.0, 0.1] {
        let conditions = LinkConditions { latency_ms: 20, jitter_ms: 5, loss, ..LinkConditions::default() };
        let mut pair = Pair::new(7, conditions);
        let mut random = StdRng::seed_from_u64(7);
        let lasting = pair.spawn(u32::MAX);
        pair.show(lasting);
        // With the step in which each is despawned.
        let mut living: Vec<(u32, Entity, u32)> = Vec::new();
        let (mut spawned, mut step, mut warm_kib) = (0, 0u32, 0);
        while spawned < spawns {
            step += 1;
            for _ in 0..7 {
                let entity = pair.spawn(spawned);
                pair.show(entity);
                living.push((step + random.random_range(0..6), entity, spawned));
                spawned += 1;
            }
            let going: Vec<Entity> =
                living.extract_if(.., |(goes, _, _)| *goes <= step).map(|(_, entity, _)| entity).collect();
            for entity in going {
                pair.despawn(entity);
            }
            pair.step();
            if warm_kib == 0 && spawned >= spawns / 2 {
                warm_kib = sidereal_process::max_rss_kb().unwrap_or(0);
            }
        }
        for _ in 0..60 {
            pair.step();
        }
        assert!(pair.is_connected(), "{loss}");
        let mut wanted: Vec<u32> = living.iter().map(|(_, _, x)| *x).chain([u32::MAX]).collect();
        wanted.sort_unstable();
        assert_eq!(pair.seen(), wanted, "{loss}");
        *pair.server.world_mut().get_mut::<Place>(lasting).unwrap().x = u32::MAX - 1;
        for _ in 0..60 {
            pair.step();
        }
        assert_eq!(pair.seen().last(), Some(&(u32::MAX - 1)), "changes are sent, {loss}");
        assert_eq!(pair.room_size(), living.len() + 1, "naia keeps none that is gone, {loss}");
        let kib = sidereal_process::max_rss_kb().unwrap_or(0);
        println!(
            "{spawned} spawns and despawns at loss {loss}: resident {warm_kib} KiB half way, {kib} KiB at the end"
        );
        // Some 250 bytes of each would be 5 MB.
        assert!(kib < warm_kib + 2_500, "memory grows: {warm_kib} KiB half way, {kib} KiB at the end");
    }
}

/// The time from an entity's entrance into the view until the peer has it, over a delay of 30 ± 5 ms.
#[test]
#[ignore = "figures: cargo test -p sidereal-tests --features test-clock --test replication -- --ignored --nocapture figures"]
fn figures() {
    let _alone = alone();
    for loss in [0.0, 0.02, 0.1] {
        let mut pair = Pair::new(3, LinkConditions { latency_ms: 30, jitter_ms: 5, loss, ..LinkConditions::default() });
        let (mut waiting, mut delays): (Vec<(u32, u64)>, Vec<u64>) = (Vec::new(), Vec::new());
        for number in 0..2_000 {
            let entity = pair.spawn(number);
            pair.show(entity);
            waiting.push((number, pair.now_ms));
            for _ in 0..3 {
                pair.step();
                let (seen, now_ms) = (pair.seen(), pair.now_ms);
                delays.extend(waiting.extract_if(.., |(x, _)| seen.contains(x)).map(|(_, since)| now_ms - since));
            }
        }
        delays.sort_unstable();
        let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
        println!(
            "loss {loss}: {} of 2000 came; p50 {} ms, p95 {} ms, p99 {} ms, last {} ms",
            delays.len(),
            at(0.5),
            at(0.95),
            at(0.99),
            at(1.0)
        );
        assert!(delays.len() >= 1_990);
    }
}
