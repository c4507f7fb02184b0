//! naia's acknowledgements, written by the transport. Runs in the server.
//!
//! naia 0.25 resends packets that its peer does not acknowledge, and trusts the peer's acknowledgements. A peer that
//! withholds acknowledgements, or chooses among them, ends the server: a resent despawn looks for an entity that a
//! later one has removed from the map (`world_writer.rs`, `global_entity_to_owned_entity(..).unwrap()`). On an honest
//! but lossy connection a spawn that is resent after its despawn becomes a *no-op* that never counts as delivered
//! (`local_world_manager.rs`, `deliver_message`); after 32,768 further commands naia sends no more updates and frees no
//! more ids.
//!
//! But naia's data packets use the session's QUIC stream, in order and without loss, as long as the session lives. So
//! the transport confirms their delivery to naia by heartbeats of its own, before naia sends again, and overwrites the
//! acknowledgements of the peer. naia never resends, and its windows stay empty. The session of a peer that does not
//! read its stream is closed at the limit of its queue.

use crate::naia::bits::Bits;

/// Bits of an acknowledgement: the newest packet, and the 32 before it.
const INDEX_BITS: usize = 16;
const EARLIER: u16 = 32;
/// A heartbeat of naia's: its type (3 bits), its index, and the acknowledgement.
pub(crate) const HEARTBEAT_BYTES: usize = (3 + INDEX_BITS + INDEX_BITS + EARLIER as usize).div_ceil(8);

/// naia's `PacketType`, after the bit that marks packets without data.
const TYPE_HEARTBEAT: u32 = 0;
const TYPE_PING: u32 = 2;

/// Whether a naia packet contains data: entities, components, messages.
pub(crate) fn is_data(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & 1 == 1)
}

/// Whether a naia packet is the last one of a client's handshake: naia's `ServerConnectResponse`, the fourth.
pub(crate) fn is_connect_response(packet: &[u8]) -> bool {
    const TYPE_HANDSHAKE: u32 = 1;
    const CONNECT_RESPONSE: u32 = 3;
    let at = 3 + 2 * INDEX_BITS + usize::from(EARLIER);
    take(packet, 0, 3) == Some(TYPE_HANDSHAKE << 1) && take(packet, at, 3) == Some(CONNECT_RESPONSE)
}

/// The packets that naia has sent to one peer, and how many of them were confirmed to naia.
#[derive(Debug)]
pub(crate) struct Acks {
    /// The first index that is not confirmed yet.
    next: u16,
    /// One past the newest index that naia has sent.
    end: u16,
    /// The newest index that the peer has used. The transport's heartbeats repeat it.
    newest_of_peer: u16,
}

impl Default for Acks {
    fn default() -> Self {
        // The state in which naia begins.
        Self { next: 0, end: 0, newest_of_peer: u16::MAX }
    }
}

impl Acks {
    /// naia sends a packet. True if it is the only one that is not confirmed yet.
    pub(crate) fn on_sent(&mut self, packet: &[u8]) -> bool {
        let Some(index) = index_of_counted(packet) else { return false };
        let was_told_all = self.next == self.end;
        self.end = index.wrapping_add(1);
        was_told_all
    }

    /// The next heartbeat for naia, which acknowledges up to 33 packets; `None` when all are confirmed.
    pub(crate) fn next_heartbeat(&mut self) -> Option<[u8; HEARTBEAT_BYTES]> {
        let waiting = self.end.wrapping_sub(self.next);
        if waiting == 0 {
            return None;
        }
        self.next = self.next.wrapping_add(waiting.min(EARLIER + 1));
        let mut packet = [0; HEARTBEAT_BYTES];
        put(&mut packet, 1, 2, TYPE_HEARTBEAT);
        put(&mut packet, 3, INDEX_BITS, u32::from(self.newest_of_peer));
        self.acknowledge(&mut packet, 3 + INDEX_BITS);
        Some(packet)
    }

    /// Whether any packet is not confirmed yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.next != self.end
    }

    /// Replaces the acknowledgements in a peer's packet by what is confirmed already. Packets that are too short are
    /// left to the guard.
    pub(crate) fn stamp(&mut self, packet: &mut [u8]) {
        let header_bits = if is_data(packet) { 1 } else { 3 };
        if packet.len() * 8 < header_bits + 2 * INDEX_BITS + usize::from(EARLIER) {
            return;
        }
        if let Some(index) = index_of_counted(packet)
            && matches!(index.wrapping_sub(self.newest_of_peer), 1..0x8000)
        {
            self.newest_of_peer = index;
        }
        self.acknowledge(packet, header_bits + INDEX_BITS);
    }

    /// Writes the acknowledgement of all confirmed packets at bit `at`.
    fn acknowledge(&self, packet: &mut [u8], at: usize) {
        put(packet, at, INDEX_BITS, u32::from(self.next.wrapping_sub(1)));
        put(packet, at + INDEX_BITS, usize::from(EARLIER), u32::MAX);
    }
}

/// The index of a packet that naia counts: data, heartbeats and pings. Handshakes and pongs have none.
fn index_of_counted(packet: &[u8]) -> Option<u16> {
    let at = match packet.first()? {
        first if first & 1 == 1 => 1,
        first if matches!(u32::from(first >> 1 & 3), TYPE_HEARTBEAT | TYPE_PING) => 3,
        _ => return None,
    };
    take(packet, at, INDEX_BITS).map(|index| index as u16)
}

/// The number of `width` bits at bit `at`; `None` if the packet is too short.
fn take(bytes: &[u8], at: usize, width: usize) -> Option<u32> {
    let mut bits = Bits::new(bytes);
    bits.skip(at)?;
    bits.number(width as u32).map(|number| number as u32)
}

fn put(bytes: &mut [u8], at: usize, width: usize, value: u32) {
    for bit in 0..width {
        let mask = 1 << ((at + bit) % 8);
        let byte = &mut bytes[(at + bit) / 8];
        *byte = if value >> bit & 1 == 1 { *byte | mask } else { *byte & !mask };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use naia_bevy_shared::BitWriter;
    use naia_shared::{PacketType, Serde, StandardHeader};

    fn packet(kind: PacketType, index: u16) -> Vec<u8> {
        let mut writer = BitWriter::new();
        StandardHeader::new(kind, index, 7, 0b101).ser(&mut writer);
        writer.to_bytes().to_vec()
    }

    fn header(packet: &[u8]) -> StandardHeader {
        StandardHeader::de(&mut naia_shared::BitReader::new(packet)).expect("naia reads it")
    }

    fn acknowledged(header: &StandardHeader) -> Vec<u16> {
        let earlier = (0..32).filter(|bit| header.sender_ack_bitfield >> bit & 1 == 1);
        std::iter::once(header.sender_ack_index)
            .chain(earlier.map(|bit| header.sender_ack_index.wrapping_sub(bit + 1)))
            .collect()
    }

    #[test]
    fn everything_that_was_sent_is_acknowledged_once_in_naias_own_words() {
        let mut acks = Acks::default();
        let mut told = std::collections::BTreeSet::new();
        // Beyond the wrap of the index, in bursts of all lengths.
        let (mut sent, mut burst) = (0u32, 0);
        while sent < 70_000 {
            burst = (burst + 1) % 100;
            for _ in 0..=burst {
                let kind = [PacketType::Data, PacketType::Ping, PacketType::Heartbeat][sent as usize % 3];
                acks.on_sent(&packet(kind, sent as u16));
                sent += 1;
            }
            told.clear();
            while let Some(heartbeat) = acks.next_heartbeat() {
                let header = header(&heartbeat);
                assert_eq!(header.packet_type, PacketType::Heartbeat);
                told.extend(acknowledged(&header));
            }
            for index in sent - burst - 1..sent {
                assert!(told.contains(&(index as u16)), "{index}");
            }
        }
    }

    #[test]
    fn the_word_that_a_client_is_connected_is_told_from_all_others() {
        use naia_shared::handshake::HandshakeHeader;
        let handshake = |header: HandshakeHeader| {
            let mut writer = BitWriter::new();
            StandardHeader::new(PacketType::Handshake, 0, 0, 0).ser(&mut writer);
            header.ser(&mut writer);
            writer.to_bytes().to_vec()
        };
        assert!(is_connect_response(&handshake(HandshakeHeader::ServerConnectResponse)));
        for other in [HandshakeHeader::ServerIdentifyResponse, HandshakeHeader::Disconnect] {
            assert!(!is_connect_response(&handshake(other)));
        }
        for kind in [PacketType::Data, PacketType::Heartbeat, PacketType::Ping, PacketType::Pong, PacketType::Handshake]
        {
            assert!(!is_connect_response(&packet(kind, 0xffff)), "{kind:?}");
        }
        assert!(!is_connect_response(&[]) && !is_connect_response(&[2; 8]));
    }

    #[test]
    fn what_has_no_index_is_not_acknowledged() {
        let mut acks = Acks::default();
        assert!(!acks.on_sent(&packet(PacketType::Handshake, 0)) && !acks.on_sent(&packet(PacketType::Pong, 0)));
        assert!(acks.next_heartbeat().is_none());
        assert!(acks.on_sent(&packet(PacketType::Data, 0)) && !acks.on_sent(&packet(PacketType::Data, 1)));
        assert!(acks.next_heartbeat().is_some() && acks.next_heartbeat().is_none());
        assert!(acks.on_sent(&packet(PacketType::Data, 2)));
    }

    #[test]
    fn what_a_peer_acknowledges_is_overwritten() {
        let mut acks = Acks::default();
        for index in 0..3 {
            acks.on_sent(&packet(PacketType::Data, index));
        }
        acks.next_heartbeat().expect("three wait");
        acks.on_sent(&packet(PacketType::Data, 3));
        for kind in [PacketType::Data, PacketType::Heartbeat, PacketType::Ping, PacketType::Pong, PacketType::Handshake]
        {
            let mut bytes = packet(kind, 900);
            acks.stamp(&mut bytes);
            let stamped = header(&bytes);
            assert_eq!((stamped.packet_type, stamped.sender_packet_index), (kind, 900));
            assert_eq!((stamped.sender_ack_index, stamped.sender_ack_bitfield), (2, u32::MAX), "not the fourth yet");
        }
        let heartbeat = acks.next_heartbeat().expect("the fourth waits");
        assert_eq!(header(&heartbeat).sender_packet_index, 900, "the peer's own index, which changes nothing");
        for length in 0..9 {
            acks.stamp(&mut vec![0xff; length]);
            acks.on_sent(&vec![0xff; length]);
        }
    }
}
