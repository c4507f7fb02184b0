//! A valve before naia's packets: naia reads one at a time.
//!
//! naia 0.25's client handles all packets of an update together, and panics when an entity is spawned and despawned
//! among them (`local_world_manager.rs`, `remote_spawn_entity`: the despawn has already removed the map entry in which
//! the spawn is still to be recorded). A process that stands still for a moment is enough. So shards and players'
//! clients let naia read one packet, handle it completely, and then read the next.
//!
//! The packets keep the order of the stream, which carries all packets with data.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use naia_bevy_client::transport::{IdentityReceiver, PacketReceiver, PacketSender, RecvError, ServerAddr, Socket};

use super::ClientSocket;

/// How many more packets naia may read.
#[derive(Clone, Default)]
pub struct SinglePacketGate {
    open_for: Arc<AtomicU32>,
}

impl SinglePacketGate {
    /// `socket` behind this valve.
    pub fn guard(&self, socket: ClientSocket) -> Box<dyn Socket> {
        Box::new(GuardedSocket { socket: socket.into(), valve: self.clone() })
    }

    /// Opens it for one packet.
    pub fn open_for_one(&self) {
        self.open_for.store(1, Ordering::Relaxed);
    }

    /// Closes it; true if a packet has passed.
    pub fn close(&self) -> bool {
        self.open_for.swap(0, Ordering::Relaxed) == 0
    }
}

/// The session's socket behind the valve.
struct GuardedSocket {
    socket: Box<dyn Socket>,
    valve: SinglePacketGate,
}

type Halves = (Box<dyn IdentityReceiver>, Box<dyn PacketSender>, Box<dyn PacketReceiver>);

impl GuardedSocket {
    fn guard(valve: SinglePacketGate, (identity, sender, receiver): Halves) -> Halves {
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
    valve: SinglePacketGate,
}

impl PacketReceiver for GuardedReceiver {
    fn receive(&mut self) -> Result<Option<&[u8]>, RecvError> {
        if self.valve.open_for.load(Ordering::Relaxed) == 0 {
            return Ok(None);
        }
        let Some(packet) = self.receiver.receive()? else { return Ok(None) };
        self.valve.open_for.store(0, Ordering::Relaxed);
        Ok(Some(packet))
    }

    fn server_addr(&self) -> ServerAddr {
        self.receiver.server_addr()
    }
}
