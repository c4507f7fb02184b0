//! A small naia protocol, and Apps that use it over any transport.
#![allow(dead_code, unused_imports, clippy::unwrap_used, missing_docs, elided_lifetimes_in_paths)]

pub mod raw;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bevy::app::{App, Update};
use bevy::ecs::component::Component;
use bevy::ecs::entity::Entity;
use bevy::ecs::message::MessageReader;
use bevy::ecs::resource::Resource;
use bevy::ecs::schedule::IntoScheduleConfigs;
use bevy::ecs::system::{Commands, Query, Res, ResMut};
use naia_bevy_client::{Client, ClientConfig, Plugin as ClientPlugin};
use naia_bevy_server::events::ConnectEvent;
use naia_bevy_server::{CommandsExt, Plugin as ServerPlugin, RoomKey, Server, UserKey};
use naia_bevy_shared::{HandleWorldEvents, Property, Protocol, Replicate};
use sidereal_transport::{
    ClientHandle, ClientNetwork, ClientSocket, ConnectOptions, Identity, Limits, LinkStatus, ListenerConfig, PeerKind,
    ServerConfig, ServerHandle, ServerSocket, Waker,
};

pub const VERSION: u32 = 3;

#[derive(Component, Replicate)]
pub struct Place {
    pub x: Property<u32>,
    pub y: Property<u32>,
}

pub struct Main;

pub fn protocol() -> Protocol {
    let mut protocol = Protocol::builder();
    protocol.tick_interval(Duration::from_millis(10)).add_component::<Place>();
    protocol.build()
}

#[derive(Resource)]
pub struct Room(pub RoomKey);

#[derive(Resource, Default)]
pub struct Seen {
    pub users: Vec<UserKey>,
    pub shouts: Vec<u32>,
    /// The admitted peers.
    pub admitted: Vec<SocketAddr>,
}

fn welcome(mut server: Server, room: Res<Room>, mut events: MessageReader<ConnectEvent>, mut seen: ResMut<Seen>) {
    for ConnectEvent(user) in events.read() {
        server.user_mut(user).enter_room(&room.0);
        seen.users.push(*user);
    }
}

fn include_all(mut server: Server) {
    for (_, user, entity) in server.scope_checks_pending() {
        server.user_scope_mut(&user).include(&entity);
    }
    server.mark_scope_checks_pending_handled();
}

fn naia_connected(client: Client<Main>) -> bool {
    client.connection_status().is_connected()
}

pub struct TestServer {
    pub app: App,
    pub handle: ServerHandle,
    pub entity: Entity,
}

impl TestServer {
    pub fn new((handle, socket): (ServerHandle, ServerSocket)) -> Self {
        let mut app = App::new();
        let config = naia_bevy_server::ServerConfig { require_auth: false, ..Default::default() };
        app.add_plugins(ServerPlugin::new(config, protocol()))
            .init_resource::<Seen>()
            .add_systems(Update, welcome.in_set(HandleWorldEvents));
        let mut socket = Some(socket);
        let start = app.register_system(move |mut commands: Commands, mut server: Server| {
            server.listen(socket.take().unwrap());
            commands.spawn_empty().enable_replication(&mut server).insert(Place::new_complete(1, 2)).id()
        });
        let entity = app.world_mut().run_system(start).unwrap();
        let make_room = app.register_system(move |mut commands: Commands, mut server: Server| {
            let key = server.create_room().key();
            server.room_mut(&key).add_entity(&entity);
            commands.insert_resource(Room(key));
        });
        app.world_mut().run_system(make_room).unwrap();
        Self { app, handle, entity }
    }

    /// With real sockets on free ports.
    pub fn bind() -> Self {
        Self::bind_with(Limits::default())
    }

    pub fn bind_with(limits: Limits) -> Self {
        Self::new(sidereal_transport::bind(config(limits)).unwrap())
    }

    /// Admits every name of letters and digits except "slow", and reads the shouts.
    pub fn update(&mut self) {
        while let Some((address, _, name)) = self.handle.poll_auth() {
            match &name[..] {
                b"" => self.handle.refuse(&address, "a name must not be empty"),
                b"slow" => {}
                name if name.len() <= 16 && name.iter().all(u8::is_ascii_alphanumeric) => {
                    self.handle.admit(&address);
                    self.app.world_mut().resource_mut::<Seen>().admitted.push(address);
                }
                _ => self.handle.refuse(&address, "that is no name"),
            }
        }
        while let Some((_, frame)) = self.handle.recv_stream() {
            if let Ok(number) = frame[..].try_into() {
                self.app.world_mut().resource_mut::<Seen>().shouts.push(u32::from_le_bytes(number));
            }
        }
        self.app.world_mut().run_system_cached(include_all).unwrap();
        self.app.update();
        self.handle.flush();
    }

    pub fn seen(&self) -> &Seen {
        self.app.world().resource::<Seen>()
    }

    pub fn seen_mut(&mut self) -> bevy::ecs::world::Mut<'_, Seen> {
        self.app.world_mut().resource_mut::<Seen>()
    }

    pub fn set_place(&mut self, x: u32) {
        *self.app.world_mut().get_mut::<Place>(self.entity).unwrap().x = x;
    }

    pub fn options(&self, kind: PeerKind) -> ConnectOptions {
        let address = self.handle.local_addr(kind).unwrap();
        ConnectOptions::new(address, kind, self.handle.certificate_hash(), VERSION)
    }
}

pub fn config(limits: Limits) -> ServerConfig {
    let any = "127.0.0.1:0".parse().unwrap();
    ServerConfig {
        listeners: vec![
            ListenerConfig { kind: PeerKind::Player, addr: any },
            ListenerConfig { kind: PeerKind::Shard, addr: any },
        ],
        identity: Identity::self_signed(&["localhost", "127.0.0.1"]).unwrap(),
        player_certificate: None,
        allowed_origins: Default::default(),
        protocol_version: VERSION,
        limits,
    }
}

pub struct TestClient {
    pub app: App,
    pub handle: ClientHandle,
}

impl TestClient {
    pub fn new((handle, socket): (ClientHandle, ClientSocket), name: &str) -> Self {
        Self::with_socket(handle, socket.with_credential(name.as_bytes().to_vec().into()))
    }

    /// The socket has the name as its credential.
    pub fn with_socket(
        handle: ClientHandle,
        socket: impl Into<Box<dyn naia_bevy_client::transport::Socket>> + Send + Sync + 'static,
    ) -> Self {
        let mut app = App::new();
        let config = ClientConfig {
            send_handshake_interval: Duration::from_millis(5),
            handshake_pings: 2,
            ..Default::default()
        };
        app.add_plugins(ClientPlugin::<Main>::new(config, protocol()));
        let mut socket = Some(socket);
        let start = app.register_system(move |mut client: Client<Main>| {
            client.connect(socket.take().unwrap());
        });
        app.world_mut().run_system(start).unwrap();
        Self { app, handle }
    }

    pub fn connect(network: &ClientNetwork, options: ConnectOptions, name: &str) -> Self {
        Self::new(network.connector(options), name)
    }

    pub fn update(&mut self) {
        self.app.update();
        self.handle.flush();
    }

    /// The replicated component's x, if it is there.
    pub fn place(&mut self) -> Option<u32> {
        let world = self.app.world_mut();
        let mut query = world.query::<&Place>();
        query.iter(world).next().map(|place| *place.x)
    }

    pub fn places(&mut self) -> usize {
        let world = self.app.world_mut();
        let mut query = world.query::<&Place>();
        query.iter(world).count()
    }

    pub fn shout(&mut self, number: u32) {
        self.handle.send_stream(number.to_le_bytes().to_vec().into()).unwrap();
    }

    pub fn is_connected(&mut self) -> bool {
        self.app.world_mut().run_system_cached(naia_connected).unwrap()
    }

    pub fn was_rejected(&self) -> bool {
        !self
            .app
            .world()
            .resource::<bevy::ecs::message::Messages<naia_bevy_client::events::RejectEvent<Main>>>()
            .is_empty()
    }
}

/// How long a test waits for an expected event, on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Steps until `done` returns true, waiting on `waker` between steps. Panics with the result of `dump` after far too
/// long.
#[track_caller]
pub fn wait_until<T>(waker: &Waker, state: &mut T, mut done: impl FnMut(&mut T) -> bool, dump: impl Fn(&T) -> String) {
    let start = Instant::now();
    while !done(state) {
        assert!(start.elapsed() < PATIENCE, "it never happened: {}", dump(state));
        // naia's timers need updates without packets too.
        waker.wait(Duration::from_millis(2));
    }
}

pub type World = (TestServer, Vec<TestClient>);

/// Updates the server and all clients until `done`.
#[track_caller]
pub fn run_until(
    server: &mut TestServer,
    clients: &mut [&mut TestClient],
    mut done: impl FnMut(&mut TestServer, &mut [&mut TestClient]) -> bool,
) {
    let start = Instant::now();
    let waker = server.handle.waker();
    loop {
        server.update();
        for client in clients.iter_mut() {
            client.update();
        }
        if done(server, clients) {
            return;
        }
        if start.elapsed() > PATIENCE {
            let statuses: Vec<_> = clients.iter().map(|c| (c.handle.status(), c.handle.stats())).collect();
            panic!("it never happened; server {:#?}, clients {statuses:#?}", server.handle.stats());
        }
        waker.wait(Duration::from_millis(2));
    }
}
