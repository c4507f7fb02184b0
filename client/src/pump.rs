//! Gives naia its packets one at a time.
//!
//! Runs in the player client and in bots. naia 0.25 handles all packets of an update together, and
//! panics when an entity came and went among them (`local_world_manager.rs`, `remote_spawn_entity`:
//! the despawn has already taken out of its map what the spawn is still to be noted in). A client that
//! stood still for a moment, or a border where entities come and go, is enough. So naia sees one
//! packet, handles it to the end, and then sees the next. What this cannot part is a spawn and a
//! despawn within one packet, or that a retransmission brings together: the server keeps what came
//! into a player's sight there for longer than that takes.
//!
//! It also is what moves naia's events into Bevy: naia's own system for that panics on an entity that
//! is gone again by the end of the update.

use bevy::{
    ecs::{
        message::Messages,
        world::{Mut, World},
    },
    prelude::Resource,
};
use naia_bevy_client::{
    ClientWrapper, DefaultClientTag, Instant,
    events::{ClientTickEvent, ConnectEvent, DisconnectEvent, MessageEvents},
    transport::{IdentityReceiver, PacketReceiver, PacketSender, RecvError, ServerAddr, Socket},
};
use naia_bevy_shared::WorldProxyMut;
use sidereal_transport::ClientSocket;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Packets given to naia in one update at most; the rest waits in the transport's bounded queue. Some
/// 15 seconds of ordinary naia traffic.
const MAX_PACKETS: usize = 512;

type Tag = DefaultClientTag;

/// How many more packets naia may take.
#[derive(Resource, Clone, Default)]
pub(crate) struct Valve {
    open_for: Arc<AtomicU32>,
}

impl Valve {
    /// `socket`, with this valve before its packets.
    pub(crate) fn guard(&self, socket: ClientSocket) -> Box<dyn Socket> {
        Box::new(GuardedSocket { socket: socket.into(), valve: self.clone() })
    }

    fn open_for_one(&self) {
        self.open_for.store(1, Ordering::Relaxed);
    }

    /// Closes it; true when a packet went through.
    fn close(&self) -> bool {
        self.open_for.swap(0, Ordering::Relaxed) == 0
    }
}

/// The session's socket behind the valve.
struct GuardedSocket {
    socket: Box<dyn Socket>,
    valve: Valve,
}

type Halves = (Box<dyn IdentityReceiver>, Box<dyn PacketSender>, Box<dyn PacketReceiver>);

impl GuardedSocket {
    fn guard(valve: Valve, (identity, sender, receiver): Halves) -> Halves {
        (identity, sender, Box::new(GuardedReceiver { receiver, valve }))
    }
}

impl Socket for GuardedSocket {
    fn connect(self: Box<Self>) -> Halves {
        Self::guard(self.valve, self.socket.connect())
    }

    fn connect_with_auth(self: Box<Self>, auth_bytes: Vec<u8>) -> Halves {
        Self::guard(self.valve, self.socket.connect_with_auth(auth_bytes))
    }

    fn connect_with_auth_headers(self: Box<Self>, auth_headers: Vec<(String, String)>) -> Halves {
        Self::guard(self.valve, self.socket.connect_with_auth_headers(auth_headers))
    }

    fn connect_with_auth_and_headers(
        self: Box<Self>,
        auth_bytes: Vec<u8>,
        auth_headers: Vec<(String, String)>,
    ) -> Halves {
        Self::guard(self.valve, self.socket.connect_with_auth_and_headers(auth_bytes, auth_headers))
    }
}

#[derive(Clone)]
struct GuardedReceiver {
    receiver: Box<dyn PacketReceiver>,
    valve: Valve,
}

impl PacketReceiver for GuardedReceiver {
    fn receive(&mut self) -> Result<Option<&[u8]>, RecvError> {
        if self.valve.open_for.load(Ordering::Relaxed) == 0 {
            return Ok(None);
        }
        let packet = self.receiver.receive()?;
        if packet.is_some() {
            self.valve.open_for.store(0, Ordering::Relaxed);
        }
        Ok(packet)
    }

    fn server_addr(&self) -> ServerAddr {
        self.receiver.server_addr()
    }
}

/// Lets naia take in everything that arrived, packet by packet.
pub(crate) fn pump_packets(world: &mut World) {
    let valve = world.resource::<Valve>().clone();
    world.resource_scope(|world, mut naia: Mut<ClientWrapper<Tag>>| {
        for _ in 0..MAX_PACKETS {
            valve.open_for_one();
            naia.client.receive_all_packets();
            let went_through = valve.close();
            let now = Instant::now();
            let mut ticks = naia.client.take_tick_events(&now);
            for tick in ticks.read::<naia_client::ClientTickEvent>() {
                world.resource_mut::<Messages<ClientTickEvent<Tag>>>().write(ClientTickEvent::new(tick));
            }
            naia.client.process_all_packets(world.proxy_mut(), &now);
            pass_on_events(world, &mut naia);
            if !went_through {
                break;
            }
        }
    });
}

/// What the library listens to. Entities are found by their components ([`crate::roster`]), a reject by
/// the transport's status.
fn pass_on_events(world: &mut World, naia: &mut ClientWrapper<Tag>) {
    let mut events = naia.client.take_world_events();
    if events.is_empty() {
        return;
    }
    for _ in events.read::<naia_client::ConnectEvent>() {
        world.resource_mut::<Messages<ConnectEvent<Tag>>>().write(ConnectEvent::new());
    }
    for (_, reason) in events.read::<naia_client::DisconnectEvent>() {
        world.resource_mut::<Messages<DisconnectEvent<Tag>>>().write(DisconnectEvent::new(reason));
    }
    if events.has_messages() {
        world.resource_mut::<Messages<MessageEvents<Tag>>>().write(MessageEvents::from(&mut events));
    }
}
