//! Players in the test's own process, over real sockets: an honest one, and the bare ends for a hostile one.

use naia_bevy_client::transport::{IdentityReceiver, PacketReceiver, PacketSender, Socket};
use sidereal_client::{
    ClientConfig, FrameDelta,
    account::LoginTicket,
    build_app, connect,
    economy::deals::DealBook,
    flight::controls::PilotIntent,
    session::{self, SessionState},
    view::WorldView,
};
use sidereal_protocol::frames::messages::Credential;
use sidereal_transport::{ClientHandle, ClientNetwork, ConnectOptions};
use std::time::{Duration, Instant};

use super::{PATIENCE, Server};

/// An honest player's client.
pub struct Pilot {
    app: bevy::app::App,
    /// The handle beside the client, for data that an honest one does not send.
    pub handle: ClientHandle,
    last: Instant,
}

impl Pilot {
    /// Logs in as `user` and connects.
    pub fn connect(network: &ClientNetwork, server: &Server, user: &str) -> Self {
        Self::enter(network, server.ticket(user))
    }

    /// Connects with a ticket to the address in it.
    pub fn enter(network: &ClientNetwork, login: LoginTicket) -> Self {
        let (handle, socket) = connect(network, &login);
        let app = build_app(ClientConfig { ticket: login.ticket }, handle.clone(), socket);
        Self { app, handle, last: Instant::now() }
    }

    pub fn state(&self) -> &SessionState {
        self.app.world().resource()
    }

    pub fn view(&self) -> &WorldView {
        self.app.world().resource()
    }

    pub fn deals(&mut self) -> bevy::prelude::Mut<'_, DealBook> {
        self.app.world_mut().resource_mut()
    }

    pub fn steer(&mut self, intent: PilotIntent) {
        self.app.insert_resource(intent);
    }

    /// Updates until `done`.
    #[track_caller]
    pub fn fly_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what} never came: {:?}", self.state());
            self.fly_on();
        }
    }

    /// One update, when data have arrived or some time has passed.
    pub fn fly_on(&mut self) {
        self.handle.waker().wait(Duration::from_millis(10));
        let now = Instant::now();
        self.app.insert_resource(FrameDelta((now - self.last).as_secs_f64()));
        self.last = now;
        self.app.update();
    }

    /// Leaves like a player who closes the window.
    pub fn leave(mut self) {
        session::close(&mut self.app);
        let deadline = Instant::now() + PATIENCE;
        while !self.handle.is_finished() && Instant::now() < deadline {
            self.fly_on();
        }
    }
}

/// A peer without a client, which presents `ticket` and sends arbitrary data. naia's halves are kept only so that the
/// session stays open.
pub fn raw_player(network: &ClientNetwork, options: ConnectOptions, ticket: &str) -> RawPlayer {
    let credential = Credential { secret: ticket.to_owned(), name: String::new() };
    let (handle, socket) = network.connector(options);
    let socket = Box::new(socket.with_credential(credential.encode().into()));
    let (identity, packets_out, packets_in) = socket.connect();
    RawPlayer { handle, packets_out, _kept: (identity, packets_in) }
}

/// See [`raw_player`].
pub struct RawPlayer {
    pub handle: ClientHandle,
    pub packets_out: Box<dyn PacketSender>,
    _kept: (Box<dyn IdentityReceiver>, Box<dyn PacketReceiver>),
}

impl RawPlayer {
    /// Waits until `done`.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what} never came: {:?}", self.handle.status());
            self.handle.waker().wait(Duration::from_millis(20));
        }
    }
}
