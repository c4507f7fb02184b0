//! A small naia protocol, and Apps that speak it over any transport.
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
use naia_bevy_server::events::{AuthEvents, ConnectEvent, MessageEvents, RequestEvents};
use naia_bevy_server::{CommandsExt, Plugin as ServerPlugin, RoomKey, Server, UserKey};
use naia_bevy_shared::{
    Channel, ChannelDirection, ChannelMode, HandleWorldEvents, Message, Property, Protocol, ReliableSettings,
    Replicate, Request, Response, ResponseReceiveKey,
};
use sidereal_transport::{
    ClientHandle, ClientMessages, ClientNetwork, ClientSocket, ConnectOptions, Field, Identity, Limits, LinkStatus,
    ListenerConfig, PeerKind, ServerConfig, ServerHandle, ServerSocket, Waker,
};

pub const VERSION: u32 = 3;

#[derive(Component, Replicate)]
pub struct Place {
    pub x: Property<u32>,
    pub y: Property<u32>,
}

#[derive(Message)]
pub struct Auth {
    pub name: String,
}

#[derive(Message)]
pub struct Shout {
    pub number: u32,
}

#[derive(Message)]
pub struct Ask;

impl Request for Ask {
    type Response = Answer;
}

#[derive(Message)]
pub struct Answer {
    pub number: u32,
}

impl Response for Answer {}

#[derive(Channel)]
pub struct Orders;

pub struct Main;

pub fn client_messages() -> ClientMessages {
    ClientMessages::new(&protocol())
        .auth::<Auth>(&[Field::Bytes(64)])
        .message::<Shout>(&[Field::Bits(32)])
        .request::<Ask>(&[])
}

pub fn protocol() -> Protocol {
    let mut protocol = Protocol::builder();
    protocol
        .tick_interval(Duration::from_millis(10))
        .add_message::<Auth>()
        .add_message::<Shout>()
        .add_request::<Ask>()
        .add_component::<Place>()
        .add_channel::<Orders>(
            ChannelDirection::Bidirectional,
            ChannelMode::OrderedReliable(ReliableSettings::default()),
        );
    protocol.build()
}

#[derive(Resource)]
pub struct Room(pub RoomKey);

#[derive(Resource, Default)]
pub struct Seen {
    pub users: Vec<UserKey>,
    pub shouts: Vec<u32>,
    pub auths: Vec<(UserKey, Option<SocketAddr>)>,
}

#[derive(Resource, Clone)]
struct Handle(ServerHandle);

fn judge(mut server: Server, handle: Res<Handle>, mut events: MessageReader<AuthEvents>, mut seen: ResMut<Seen>) {
    for events in events.read() {
        for (user, auth) in events.read::<Auth>() {
            let session = handle.0.session_of(&user);
            seen.auths.push((user, session));
            match auth.name.as_str() {
                "" => {
                    let session = session.expect("an auth event has a session");
                    handle.0.set_reject_reason(&session, "a name must not be empty");
                    server.reject_connection(&user);
                }
                "slow" => {}
                _ => server.accept_connection(&user),
            }
        }
    }
}

fn welcome(mut server: Server, room: Res<Room>, mut events: MessageReader<ConnectEvent>, mut seen: ResMut<Seen>) {
    for ConnectEvent(user) in events.read() {
        server.user_mut(user).enter_room(&room.0);
        seen.users.push(*user);
    }
}

fn listen(mut events: MessageReader<MessageEvents>, mut seen: ResMut<Seen>) {
    for events in events.read() {
        for (_, shout) in events.read::<Orders, Shout>() {
            seen.shouts.push(shout.number);
        }
    }
}

fn answer(mut server: Server, mut events: MessageReader<RequestEvents>) {
    for events in events.read() {
        for (_, key, _) in events.read::<Orders, Ask>() {
            server.send_response(&key, &Answer { number: 41 });
        }
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
        handle.set_client_messages(client_messages());
        let mut app = App::new();
        app.add_plugins(ServerPlugin::new(naia_bevy_server::ServerConfig::default(), protocol()))
            .insert_resource(Handle(handle.clone()))
            .init_resource::<Seen>()
            .add_systems(Update, (judge, welcome, listen, answer).in_set(HandleWorldEvents));
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

    pub fn update(&mut self) {
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
        Self::with_socket(handle, socket, name)
    }

    pub fn with_socket(
        handle: ClientHandle,
        socket: impl Into<Box<dyn naia_bevy_client::transport::Socket>> + Send + Sync + 'static,
        name: &str,
    ) -> Self {
        let mut app = App::new();
        let config = ClientConfig {
            send_handshake_interval: Duration::from_millis(5),
            handshake_pings: 2,
            ..Default::default()
        };
        app.add_plugins(ClientPlugin::<Main>::new(config, protocol()));
        let name = name.to_owned();
        let mut socket = Some(socket);
        let start = app.register_system(move |mut client: Client<Main>| {
            client.auth(Auth { name: name.clone() });
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
        let shout = self.app.register_system(move |mut client: Client<Main>| {
            client.send_message::<Orders, Shout>(&Shout { number }).unwrap();
        });
        self.app.world_mut().run_system(shout).unwrap();
    }

    pub fn ask(&mut self) -> ResponseReceiveKey<Answer> {
        let ask =
            self.app.register_system(|mut client: Client<Main>| client.send_request::<Orders, Ask>(&Ask).unwrap());
        self.app.world_mut().run_system(ask).unwrap()
    }

    pub fn answer(&mut self, key: &ResponseReceiveKey<Answer>) -> Option<u32> {
        let key = key.clone();
        let receive = self
            .app
            .register_system(move |mut client: Client<Main>| client.receive_response(&key).map(|answer| answer.number));
        self.app.world_mut().run_system(receive).unwrap()
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

/// How long a test waits for what must happen, on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Steps until `done` says so, waiting on `waker` between steps. Panics with what `dump` says when that
/// takes far too long.
#[track_caller]
pub fn wait_until<T>(waker: &Waker, state: &mut T, mut done: impl FnMut(&mut T) -> bool, dump: impl Fn(&T) -> String) {
    let start = Instant::now();
    while !done(state) {
        assert!(start.elapsed() < PATIENCE, "it never happened: {}", dump(state));
        // naia's timers need the loop to turn without packets too.
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
