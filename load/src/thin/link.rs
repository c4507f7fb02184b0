//! One connection of a thin peer: the transport's session and naia's client over a bare Bevy `World`, without an `App`.
//!
//! naia's client is updated in full: its handshake, clock, acknowledgements and entities are those of any client.

use bevy::ecs::{entity::Entity, world::World};
use bytes::Bytes;
use naia_bevy_shared::{Instant, Protocol, WorldProxy, WorldProxyMut};
use naia_client::{Client, ClientConfig, ClientTickEvent, Events, JitterBufferType};
use sidereal_transport::{ClientHandle, ClientNetwork, ConnectOptions, LinkStatus, SinglePacketGate};
use std::time::Duration;

/// naia packets that are handled in one update at most; the rest waits in the transport's bounded queue.
const MAX_PACKETS: usize = 1024;

/// A connection.
pub struct ThinLink {
    handle: ClientHandle,
    naia: Client<Entity>,
    world: World,
    valve: SinglePacketGate,
}

impl ThinLink {
    /// Starts to connect with `credential`.
    pub fn connect(
        network: &ClientNetwork,
        options: ConnectOptions,
        credential: Bytes,
        mut protocol: Protocol,
    ) -> Self {
        let (handle, socket) = network.connector(options);
        let mut world = World::new();
        world.insert_resource(protocol.take_world_data());
        let mut config = ClientConfig {
            // The same as a player's client.
            send_handshake_interval: Duration::from_millis(100),
            handshake_pings: 3,
            jitter_buffer: JitterBufferType::Bypass,
            ..ClientConfig::default()
        };
        // It must not hold back acknowledgements of a large scene.
        config.connection.bandwidth.target_bytes_per_sec = 4_000_000;
        let protocol: naia_client::shared::Protocol = protocol.into();
        let mut naia = Client::new(config, protocol);
        let valve = SinglePacketGate::default();
        naia.connect(valve.guard(socket.with_credential(credential)));
        Self { handle, naia, world, valve }
    }

    /// The transport's session.
    pub fn handle(&self) -> &ClientHandle {
        &self.handle
    }

    /// Whether naia's handshake is complete.
    pub fn is_connected(&self) -> bool {
        self.naia.connection_status().is_connected()
    }

    /// naia's present tick for inputs; `None` before the handshake is complete.
    pub fn client_tick(&self) -> Option<u16> {
        self.naia.client_tick()
    }

    /// The reason of the session's end, if it has ended.
    pub fn failure(&self) -> Option<String> {
        match self.handle.status() {
            LinkStatus::Rejected(reason) | LinkStatus::Closed(reason) => Some(reason),
            LinkStatus::Connecting | LinkStatus::Connected => None,
        }
    }

    /// Lets naia read what has arrived, one packet at a time (see [`SinglePacketGate`]), and answer. `on_events` gets
    /// the events of each packet. Returns naia's ticks that were due.
    pub fn update(&mut self, mut on_events: impl FnMut(&mut Events<Entity>)) -> Vec<u16> {
        let mut due = Vec::new();
        for _ in 0..MAX_PACKETS {
            self.valve.open_for_one();
            self.naia.receive_all_packets();
            let went_through = self.valve.close();
            let now = Instant::now();
            let mut ticks = self.naia.take_tick_events(&now);
            due.extend(ticks.read::<ClientTickEvent>());
            self.naia.process_all_packets(self.world.proxy_mut(), &now);
            let mut events = self.naia.take_world_events();
            if !events.is_empty() {
                on_events(&mut events);
            }
            if !went_through {
                break;
            }
        }
        self.naia.send_all_packets(self.world.proxy());
        due
    }

    /// Ends the session with a goodbye.
    pub fn close(&mut self) {
        if self.is_connected() {
            // naia panics on a disconnect before the connection is complete.
            self.naia.disconnect();
        }
        self.handle.flush();
        self.handle.close("the load test has ended");
    }
}
