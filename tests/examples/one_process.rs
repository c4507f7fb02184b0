//! A replication server, a shard and a player in one process, over a network in memory.
//!
//! `cargo run -p sidereal-tests --example one_process`
//!
//! Each is a Bevy `App` that its owner updates: the same Apps as in the three programs.

use sidereal_client::{ClientConfig, FrameDelta, flight::controls::PilotIntent, view::WorldView};
use sidereal_protocol::{limits::PROTOCOL_VERSION, rules::flight::Controls, world::tick::SimTick};
use sidereal_server::{
    ServerParts,
    accounts::tickets::TicketOffice,
    db::{Database, Store, StoreConfig},
    replication::mirror::Mirror,
};
use sidereal_shard::config::{Secret, ShardConfig};
use sidereal_transport::{
    PeerKind,
    network::memory::{LinkConditions, MemoryNetwork},
};
use std::time::{Duration, Instant};
use uuid::Uuid;

const SECRET: &str = "only these two need to know it";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let link = LinkConditions { latency_ms: 20, jitter_ms: 5, loss: 0.01, duplication: 0.0, reordering: 0.0 };
    let network = MemoryNetwork::new(1, link);

    let (transport, socket) = network.server(PROTOCOL_VERSION);
    let tickets = TicketOffice::new();
    let mut server = sidereal_server::build_app(ServerParts {
        transport,
        socket,
        store: Store::start(Database::open(":memory:")?, StoreConfig::default()),
        tickets: tickets.clone(),
        shard_secret: SECRET.to_owned(),
        world_seed: 42,
        start_tick: SimTick(1),
        expected_shards: 1,
    });

    let (handle, socket) = network.connector(PeerKind::Shard, PROTOCOL_VERSION);
    let config = ShardConfig { name: "shard-1".to_owned(), secret: Secret(SECRET.to_owned()) };
    let mut shard = sidereal_shard::build_app(&config, handle, socket);

    // A ticket stands for a login; HTTP is not needed here.
    let ticket = tickets.issue(Uuid::from_u128(7), "ada", tickets.now_ms()).map_err(|_| "no room for a ticket")?.token;
    let (handle, socket) = network.connector(PeerKind::Player, PROTOCOL_VERSION);
    let mut player = sidereal_client::build_app(ClientConfig { ticket }, handle, socket);
    player.insert_resource(PilotIntent { controls: Controls { thrust: 100, ..Controls::default() }, respawn: true });

    let began = Instant::now();
    let mut next_line = 1;
    while began.elapsed() < Duration::from_secs(8) {
        network.advance(began.elapsed().as_millis() as u64);
        player.insert_resource(FrameDelta(0.005));
        for app in [&mut server, &mut shard, &mut player] {
            app.update();
        }
        if began.elapsed().as_secs() >= next_line {
            next_line += 1;
            let mirrored = server.world().resource::<Mirror>().len();
            let view = player.world().resource::<WorldView>();
            match &view.own {
                Some(own) => println!(
                    "{mirrored} entities in the mirror; the player is in sector {} at {:.0}, sees {} others",
                    view.sector,
                    own.state.position,
                    view.others.len()
                ),
                None => println!("{mirrored} entities in the mirror; the player's ship is on its way"),
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
