//! A valve before naia's packets: it sees one at a time, and none that is late.
//!
//! naia 0.25's client handles all packets of an update together, and panics when an entity came and went
//! among them (`local_world_manager.rs`, `remote_spawn_entity`: the despawn has already taken out of its map
//! what the spawn is still to be noted in). A process that stood still for a moment is enough. So shards and
//! players' clients let naia see one packet, handle it to the end, and then see the next.
//!
//! It panics also when a component's change arrives after its entity has gone (`remote_world_waitlist.rs`,
//! `process_ready_updates`: a channel that an entity once had counts as the entity). Two packets that change
//! places on the way are enough, when a ship was hit just before it was destroyed. So a data packet that is older
//! than one that naia has seen counts as lost: what was in it and still matters is sent again.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use naia_bevy_client::transport::{IdentityReceiver, PacketReceiver, PacketSender, RecvError, ServerAddr, Socket};

use super::ClientSocket;

/// How many more packets naia may take.
#[derive(Clone, Default)]
pub struct Valve {
    open_for: Arc<AtomicU32>,
    /// Late packets that naia did not see.
    late: Arc<AtomicU64>,
}

impl Valve {
    /// `socket`, with this valve before its packets.
    pub fn guard(&self, socket: ClientSocket) -> Box<dyn Socket> {
        Box::new(GuardedSocket { socket: socket.into(), valve: self.clone() })
    }

    /// Packets that came later than a newer one, and were dropped for it.
    pub fn late_packets(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// Opens it for the next packet.
    pub fn open_for_one(&self) {
        self.open_for.store(1, Ordering::Relaxed);
    }

    /// Closes it; true when a packet went through.
    pub fn close(&self) -> bool {
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
        (identity, sender, Box::new(GuardedReceiver { receiver, valve, order: Arc::default() }))
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
    order: Arc<Order>,
}

/// The newest data packet that went through: its index plus one, zero before the first.
#[derive(Debug, Default)]
struct Order(AtomicU32);

impl Order {
    /// Whether `packet` is no data packet, or newer than all before it.
    fn is_in_order(&self, packet: &[u8]) -> bool {
        let Some(index) = data_index(packet) else { return true };
        let newest = self.0.load(Ordering::Relaxed);
        let is_newer = newest == 0 || matches!(index.wrapping_sub((newest - 1) as u16), 1..0x8000);
        if is_newer {
            self.0.store(u32::from(index) + 1, Ordering::Relaxed);
        }
        is_newer
    }
}

/// The index of a data packet: the 16 bits after the bit that says that it is one. `None` of other
/// packets, and of what is too short to be one.
fn data_index(packet: &[u8]) -> Option<u16> {
    let head = u32::from_le_bytes([*packet.first()?, *packet.get(1)?, *packet.get(2)?, 0]);
    (head & 1 == 1).then_some((head >> 1) as u16)
}

impl PacketReceiver for GuardedReceiver {
    fn receive(&mut self) -> Result<Option<&[u8]>, RecvError> {
        if self.valve.open_for.load(Ordering::Relaxed) == 0 {
            return Ok(None);
        }
        let Some(packet) = self.receiver.receive()? else { return Ok(None) };
        // A late one takes its turn as well: the caller goes on with the next.
        self.valve.open_for.store(0, Ordering::Relaxed);
        if self.order.is_in_order(packet) {
            return Ok(Some(packet));
        }
        self.valve.late.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }

    fn server_addr(&self) -> ServerAddr {
        self.receiver.server_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(index: u16) -> Vec<u8> {
        let head = (u32::from(index) << 1 | 1).to_le_bytes();
        // The bits after the index are not looked at.
        vec![head[0], head[1], head[2] | 0b1010_1010, 0xff]
    }

    #[test]
    fn a_data_packet_goes_through_once_and_only_when_it_is_newer() {
        let order = Order::default();
        let through: Vec<bool> =
            [65_534, 65_533, 65_535, 65_535, 1, 0, 2, 40].map(|index| order.is_in_order(&data(index))).into();
        assert_eq!(through, [true, false, true, false, true, false, true, true], "also where indices wrap");
    }

    #[test]
    fn the_first_data_packet_may_have_any_index() {
        for index in [0, 1, 0x7fff, 0x8000, u16::MAX] {
            let order = Order::default();
            assert!(order.is_in_order(&data(index)));
            assert!(!order.is_in_order(&data(index)));
            assert!(order.is_in_order(&data(index.wrapping_add(1))));
        }
    }

    #[test]
    fn what_is_no_data_packet_is_not_held_up() {
        let order = Order::default();
        assert!(order.is_in_order(&data(9)));
        for packet in [&[][..], &[1], &[1, 0], &[0, 0, 0, 0], &[0b110, 7, 7]] {
            assert!(order.is_in_order(packet) && order.is_in_order(packet), "{packet:?}");
        }
        assert!(!order.is_in_order(&data(8)));
    }
}
