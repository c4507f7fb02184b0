//! Sidereal's replication server, to which all clients and shards connect.
//!
//! It keeps a mirror of every active entity, decides which player sees which entity, routes inputs to the shard with
//! the ship's authority, leases sectors to shards, moves authority between them, and is the only process that writes
//! to the database. It simulates nothing.
//!
//! The state machines (handoffs, leases, input logs, the motion plane, the write-behind) have no I/O; thin systems
//! around them are ordered in [`schedule`]. [`build_app`] makes the same App for the binary and for tests.

#![allow(elided_lifetimes_in_paths, reason = "a system is its parameters: their lifetimes say nothing")]

pub mod accounts;
pub mod audit;
pub mod clock;
pub mod db;
pub mod economy;
pub mod handoff;
pub mod http;
pub mod persistence;
pub mod players;
pub mod replication;
pub mod run;
pub mod schedule;
pub mod territory;
pub mod traffic;

use bevy::{
    ecs::schedule::{ExecutorKind, ScheduleLabel},
    prelude::{App, PostUpdate, Update},
};
use naia_bevy_server::{Plugin as NaiaServerPlugin, ServerConfig as NaiaServerConfig, listen_on_app};
use sidereal_protocol::{schema::protocol, world::tick::SimTick};
use sidereal_transport::{ServerHandle, ServerSocket};
use std::time::Duration;

/// The parts of a server's App.
pub struct ServerParts {
    /// The transport.
    pub transport: ServerHandle,
    /// The transport's socket for naia.
    pub socket: ServerSocket,
    /// The running store.
    pub store: db::Store,
    /// Redeems the HTTP API's tickets.
    pub tickets: accounts::tickets::TicketOffice,
    /// The secret that shards must present.
    pub shard_secret: String,
    /// Seed of unvisited sectors.
    pub world_seed: u64,
    /// The world's tick at the start.
    pub start_tick: SimTick,
    /// Shards to wait for before the first lease is given.
    pub expected_shards: usize,
}

/// Builds the server's App, already listening. Call `update` when a tick is due or naia has something to read, and
/// [`handle_arrivals`] when only frames or lane datagrams have arrived.
pub fn build_app(parts: ServerParts) -> App {
    let mut app = App::new();
    let mut config = NaiaServerConfig {
        require_auth: false,
        pending_auth_timeout: traffic::admission::CONNECT_DEADLINE,
        ..NaiaServerConfig::default()
    };
    // The transport detects a dead peer, and `link` a frozen one. naia gets traffic from the transport for each of its
    // peers (see `acks` there), so this only ends a session that the transport has dropped.
    config.connection.disconnection_timeout_duration = Duration::from_secs(15);
    config.connection.heartbeat_interval = Duration::from_secs(1);
    config.connection.bandwidth_measure_duration = None;
    // The stream's flow control limits it. An update that naia delays may be outdated later: a spawn of an entity that
    // is gone is a no-op that naia never counts as delivered.
    config.connection.bandwidth.target_bytes_per_sec = u32::MAX;
    app.add_plugins(NaiaServerPlugin::new(config, protocol()));
    for label in [Update.intern(), PostUpdate.intern()] {
        app.edit_schedule(label, |schedule| {
            schedule.set_executor_kind(ExecutorKind::SingleThreaded);
        });
    }
    schedule::build(&mut app);
    app.insert_resource(clock::Clock::new(parts.start_tick, 0))
        .insert_resource(traffic::link::Link::new(parts.transport, parts.tickets, &parts.shard_secret))
        .insert_resource(territory::lease_grants::LeaseGrants::new(parts.expected_shards))
        .insert_resource(persistence::storage::Storage::new(parts.store, parts.world_seed))
        .add_plugins((
            traffic::TrafficPlugin,
            territory::TerritoryPlugin,
            handoff::HandoffPlugin,
            players::PlayersPlugin,
            replication::ReplicationPlugin,
            economy::EconomyPlugin,
            persistence::PersistencePlugin,
            audit::AuditPlugin,
            run::shutdown::ShutdownPlugin,
        ));
    listen_on_app(&mut app, parts.socket);
    app
}

/// Handles the frames and lane datagrams that have arrived, and sends what follows from them: an update without naia and
/// without a tick.
pub fn handle_arrivals(app: &mut App) {
    let world = app.world_mut();
    world.run_schedule(schedule::Arrivals);
    world.resource::<traffic::link::Link>().transport.flush();
}
