//! Checks a peer's naia packets before naia sees them. Runs in the server.
//!
//! naia 0.25 assumes well-behaved peers. These packets of a hostile one end the server (found in naia's source, and
//! reproduced):
//!
//! | packet | where in naia |
//! |---|---|
//! | a ping without its number | `world_server.rs`, `process_ping(..).unwrap()` |
//! | a kind of message or channel that is not registered (also in the auth payload: before any credential) | `message_kinds.rs`, `channel_kinds.rs`, `net_id_to_kind(..).expect(..)` |
//! | a `String`, `Vec` or `Box<[u8]>` with a huge length (also in the auth payload and the handshake's token) | `naia-serde`, `Vec::with_capacity(length)` |
//! | a variable integer of more than 128 bits | `naia-serde`, `number.rs`, shift overflow (with overflow checks) |
//! | fragments: out of range, twice the first, a total of a million | `fragment_receiver.rs` |
//! | a response to no request | `message_manager.rs`, `process_incoming_response(..).unwrap()` |
//! | tick-buffered messages on another channel | `tick_buffer_receiver.rs`, `get_mut(..).unwrap()` |
//! | a reliable message 30,000 ahead: a list of that length, walked for each message | `reliable_receiver.rs` |
//! | acknowledgements that are withheld or invented | see [`acks`](crate::naia::acks) |
//!
//! An honest client of this protocol sends naia only its handshake, heartbeats, pings and pongs: all messages of
//! players and shards are frames of the stream and lane datagrams. So the guard accepts these four, in their order, and
//! no data packet at all.

use crate::limits::MAX_NAIA_PACKET_BYTES;
use crate::naia::acks;
use crate::naia::bits::Bits;

/// naia's token has 32 characters.
const MAX_TOKEN_BYTES: usize = 32;

/// Why a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) &'static str);

const CUT: Refused = Refused("a packet that is cut off");

/// The state of one session by which its packets are checked.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    identified: bool,
}

/// naia's kinds of packet without data, as the bits of its `PacketType`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Heartbeat,
    Handshake,
    Ping,
    Pong,
}

/// naia's `HandshakeHeader`, by its number.
const IDENTIFY: u64 = 0;
const CONNECT: u64 = 2;
const DISCONNECT: u64 = 5;

impl Guard {
    /// Whether a packet with the peer's token was accepted.
    pub(crate) fn has_identified(&self) -> bool {
        self.identified
    }

    /// Checks whether naia may read this packet of a client.
    pub(crate) fn check(&mut self, packet: &[u8]) -> Result<(), Refused> {
        if packet.len() > MAX_NAIA_PACKET_BYTES {
            return Err(Refused("longer than naia's packets are"));
        }
        if acks::is_data(packet) {
            return Err(Refused("a naia data packet: clients send frames"));
        }
        let mut bits = Bits::new(packet);
        let _is_data = bits.bit().ok_or(CUT)?;
        let kind = match bits.number(2).ok_or(CUT)? {
            0 => Kind::Heartbeat,
            1 => Kind::Handshake,
            2 => Kind::Ping,
            _ => Kind::Pong,
        };
        // The packet's index, the last received one, and a bit for each of the 32 before it.
        bits.skip(16 + 16 + 32).ok_or(CUT)?;
        if kind != Kind::Handshake && !self.identified {
            return Err(Refused("a packet before the handshake"));
        }
        match kind {
            Kind::Heartbeat => {}
            // Its number.
            Kind::Ping | Kind::Pong => bits.skip(16).ok_or(CUT)?,
            Kind::Handshake => self.handshake(&mut bits)?,
        }
        if bits.is_at_end() { Ok(()) } else { Err(Refused("a packet with something behind its end")) }
    }

    fn handshake(&mut self, bits: &mut Bits<'_>) -> Result<(), Refused> {
        match bits.number(3).ok_or(CUT)? {
            IDENTIFY => {
                let _protocol_id = bits.number(64).ok_or(CUT)?;
                bits.bytes(MAX_TOKEN_BYTES).ok_or(CUT)?;
                self.identified = true;
                Ok(())
            }
            CONNECT if self.identified => Ok(()),
            DISCONNECT if self.identified => bits.bytes(MAX_TOKEN_BYTES).ok_or(CUT).map(|_| ()),
            _ => Err(Refused("a handshake packet of another phase")),
        }
    }
}
