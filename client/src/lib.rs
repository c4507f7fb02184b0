//! The player's client library: log in, connect, fly, and get the view to draw.
//!
//! One library for the window, for bots and for tests. It owns the session with the server, the player's inputs on
//! their way, the prediction of the own ship, the interpolation of everything else, and the [`view::WorldView`] that
//! combines them for drawing. It contains no rules of the game: shards decide. The window (feature `window`) only reads
//! the view and writes [`flight::controls::PilotIntent`].
//!
//! ```no_run
//! use sidereal_client::{ClientConfig, FrameDelta, account, build_app, connect};
//! use sidereal_transport::ClientNetwork;
//! # fn main() -> anyhow::Result<()> {
//! let api = account::AccountApi::new("http://127.0.0.1:7779")?;
//! let login = api.login("ada", "correct horse")?;
//! let network = ClientNetwork::new()?;
//! let (handle, socket) = connect(&network, &login);
//! let mut app = build_app(ClientConfig { ticket: login.ticket }, handle, socket);
//! app.insert_resource(FrameDelta(1.0 / 60.0));
//! app.update();
//! # Ok(())
//! # }
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]
// System parameters all have lifetimes, which say nothing to a reader.
#![allow(elided_lifetimes_in_paths)]

pub mod account;
pub mod chat;
pub mod economy;
pub mod flight;
pub mod replication;
#[cfg(not(target_family = "wasm"))]
pub mod run;
pub mod schedule;
pub mod session;
pub mod view;
pub mod weapons;
#[cfg(feature = "window")]
pub mod window;

use bevy::{
    app::{App, Plugin},
    prelude::Resource,
};
use sidereal_protocol::{limits::PROTOCOL_VERSION, schema};
use sidereal_transport::{ClientHandle, ClientNetwork, ClientSocket, ConnectOptions, PeerKind};
use std::sync::Mutex;

/// The configuration of the library.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The ticket from [`account::AccountApi::login`]; valid for one connection.
    pub ticket: String,
}

/// Seconds since the last update. The runner sets it before every update: from the real clock in programs, to exact
/// ticks in tests. Nothing else in the library uses a clock (naia has its own).
#[derive(Resource, Debug, Clone, Copy, Default)]
pub struct FrameDelta(pub f64);

/// A player's client without drawing. Add it to a headless app ([`build_app`]) or to a window's.
pub struct ClientPlugin {
    parts: Mutex<Option<(ClientConfig, ClientHandle, ClientSocket)>>,
}

impl ClientPlugin {
    /// A client that connects with `config.ticket` through `socket` at the first update.
    pub fn new(config: ClientConfig, handle: ClientHandle, socket: ClientSocket) -> Self {
        Self { parts: Mutex::new(Some((config, handle, socket))) }
    }
}

impl Plugin for ClientPlugin {
    fn build(&self, app: &mut App) {
        let (config, handle, socket) = self
            .parts
            .lock()
            .expect("nothing panics while it holds the lock")
            .take()
            .expect("Bevy builds a plugin once");
        app.add_plugins(naia_bevy_client::DefaultPlugin::new(session::link::naia_config(), schema::protocol()));
        app.init_resource::<FrameDelta>()
            .init_resource::<flight::controls::PilotIntent>()
            .init_resource::<session::pump::PacketValve>()
            .add_message::<session::news::News>()
            .init_resource::<replication::clock::ClientClock>()
            .init_resource::<view::WorldView>()
            .init_resource::<session::stats::PlayStats>()
            .init_resource::<replication::remote_entities::RemoteEntities>()
            .init_resource::<flight::piloting::Piloting>()
            .init_resource::<replication::interpolation::Interpolation>()
            .init_resource::<weapons::shots::ShotBook>()
            .init_resource::<weapons::beams::BeamBook>()
            .init_resource::<weapons::arms::Arms>()
            .init_resource::<economy::deals::DealBook>()
            .init_resource::<economy::dealing::Dealing>()
            .init_resource::<chat::ChatBook>()
            .init_resource::<session::SessionState>()
            .insert_resource(session::Session::new(config, handle, socket));
        schedule::configure(app);
    }
}

/// A client without a window: a Bevy app that contains only the library, run on the calling thread by [`App::update`].
/// Set [`FrameDelta`] before each update.
pub fn build_app(config: ClientConfig, handle: ClientHandle, socket: ClientSocket) -> App {
    let mut app = App::new();
    app.add_plugins(ClientPlugin::new(config, handle, socket));
    app.finish();
    app.cleanup();
    app
}

/// Opens a player's connection to the server of `login`.
pub fn connect(network: &ClientNetwork, login: &account::LoginTicket) -> (ClientHandle, ClientSocket) {
    #[cfg(not(target_family = "wasm"))]
    let (address, certificate) = (login.player_addr, login.certificate_hash);
    #[cfg(target_family = "wasm")]
    let (address, certificate) = (login.web.url.clone(), login.web.certificate_hashes.clone());
    network.connector(ConnectOptions::new(address, PeerKind::Player, certificate, PROTOCOL_VERSION))
}
