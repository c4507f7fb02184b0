//! Which of the game's naia messages a client may send, and what they look like on the wire.

use std::collections::HashMap;

use naia_bevy_shared::{BitWriter, ChannelMode, Message, MessageKind, MessageKinds, Protocol, Request};

use super::Refused;
use super::bits::Bits;

/// naia's own first two kinds of message: a fragment of a long message, and the envelope of requests.
const FRAGMENT: u64 = 0;
const ENVELOPE: u64 = 1;

/// Bytes of a request in its envelope: what naia does not fragment.
const MAX_REQUEST_BYTES: usize = 400;

/// One field of a message, as naia writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A number or a `bool`: this many bits (`bool` has 1, `u32` and `f32` have 32).
    Bits(u32),
    /// A `String` or `Box<[u8]>` of at most this many bytes.
    Bytes(usize),
}

/// The naia messages that the server takes from its clients: everything else is refused before naia sees it.
///
/// naia 0.25 trusts what it reads: a length in a packet of ten bytes makes it allocate that much at once (which
/// ends the process), an unknown kind of message or a fragment out of order panics. So a client may send only
/// what is declared here, and the transport checks it bit by bit. A declaration that does not fit the message
/// refuses every one of them, which the first test that sends it shows.
///
/// Fragmented messages (over 400 bytes), responses to the server's requests, tick-buffered messages, and
/// entities of clients are never taken.
#[derive(Clone, Debug)]
pub struct ClientMessages {
    kind_bits: u32,
    channel_bits: u32,
    auth: HashMap<u64, Vec<Field>>,
    messages: HashMap<u64, Vec<Field>>,
    requests: HashMap<u64, Vec<Field>>,
    channels: HashMap<u64, ChannelShape>,
    protocol: ProtocolKinds,
}

#[derive(Clone)]
struct ProtocolKinds(MessageKinds);

impl std::fmt::Debug for ProtocolKinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MessageKinds")
    }
}

/// How messages stand in a packet on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ChannelShape {
    /// Each has its number.
    indexed: bool,
    /// It is read until it came, so that its number is bounded by what is unacknowledged.
    reliable: bool,
}

impl ClientMessages {
    /// Nothing may be sent yet, on the channels of `protocol`.
    pub fn new(protocol: &Protocol) -> Self {
        let protocol = protocol.inner();
        let channels = protocol.channel_kinds.channels();
        let channel_bits = bits_for(channels.len());
        let channels = channels
            .into_iter()
            .filter(|(_, settings)| settings.can_send_to_server())
            .filter_map(|(kind, settings)| {
                let shape = match settings.mode {
                    ChannelMode::UnorderedUnreliable => ChannelShape { indexed: false, reliable: false },
                    ChannelMode::SequencedUnreliable => ChannelShape { indexed: true, reliable: false },
                    ChannelMode::UnorderedReliable(_)
                    | ChannelMode::SequencedReliable(_)
                    | ChannelMode::OrderedReliable(_) => ChannelShape { indexed: true, reliable: true },
                    ChannelMode::TickBuffered(_) => return None,
                };
                let mut writer = BitWriter::new();
                kind.ser(&protocol.channel_kinds, &mut writer);
                Some((number_of(writer, channel_bits), shape))
            })
            .collect();
        Self {
            kind_bits: protocol.message_kinds.kind_bit_length(),
            channel_bits,
            auth: HashMap::new(),
            messages: HashMap::new(),
            requests: HashMap::new(),
            channels,
            protocol: ProtocolKinds(protocol.message_kinds.clone()),
        }
    }

    /// `M` may be the auth message that a client connects with.
    pub fn auth<M: Message>(mut self, fields: &[Field]) -> Self {
        self.auth.insert(self.kind::<M>(), fields.to_vec());
        self
    }

    /// Whether any auth message is declared, so that all others are refused.
    pub(crate) fn declares_auth(&self) -> bool {
        !self.auth.is_empty()
    }

    /// `M` may be sent by a client.
    pub fn message<M: Message>(mut self, fields: &[Field]) -> Self {
        self.messages.insert(self.kind::<M>(), fields.to_vec());
        self
    }

    /// `Q` may be requested by a client.
    pub fn request<Q: Request>(mut self, fields: &[Field]) -> Self {
        self.requests.insert(self.kind::<Q>(), fields.to_vec());
        self
    }

    fn kind<M: Message>(&self) -> u64 {
        let mut writer = BitWriter::new();
        MessageKind::of::<M>().ser(&self.protocol.0, &mut writer);
        number_of(writer, self.kind_bits)
    }

    /// Whether the payload of an auth request is one of the declared messages and nothing else. When none
    /// is declared the game judges credentials itself
    /// ([`gate_auth`](crate::ServerHandle::gate_auth)), and their form is its own.
    pub(crate) fn check_auth(&self, payload: &[u8]) -> Result<(), Refused> {
        if !self.declares_auth() {
            return Ok(());
        }
        let mut bits = Bits::new(payload);
        self.body(&mut bits, &self.auth)
            .filter(|()| bits.is_at_end())
            .ok_or(Refused("an auth message that is not declared, or malformed"))
    }

    /// The messages of a data packet, after its header and tick.
    pub(super) fn check_data(&self, bits: &mut Bits<'_>, windows: &mut Windows) -> Result<(), Refused> {
        const CUT: Refused = Refused("a data packet that is cut off");
        if bits.bit().ok_or(CUT)? {
            return Err(Refused("a tick-buffered message"));
        }
        while bits.bit().ok_or(CUT)? {
            let channel = bits.number(self.channel_bits).ok_or(CUT)?;
            let shape = self.channels.get(&channel).ok_or(Refused("a channel on which clients do not send"))?;
            let mut index: Option<u16> = None;
            while bits.bit().ok_or(CUT)? {
                if shape.indexed {
                    let next = match index {
                        None => bits.number(16).ok_or(CUT)? as u16,
                        Some(last) => last.wrapping_add(bits.variable(3).ok_or(CUT)? as u16),
                    };
                    if shape.reliable && !windows.take(channel, next) {
                        return Err(Refused("a message far ahead of what is acknowledged"));
                    }
                    index = Some(next);
                }
                self.message_in_packet(bits).ok_or(Refused("a message that is not declared, or malformed"))?;
            }
        }
        Ok(())
    }

    fn message_in_packet(&self, bits: &mut Bits<'_>) -> Option<()> {
        let mut ahead = *bits;
        match ahead.number(self.kind_bits)? {
            FRAGMENT => None,
            ENVELOPE => {
                *bits = ahead;
                let is_response = bits.bit()?;
                if is_response {
                    return None;
                }
                let _request_id = bits.number(8)?;
                let mut request = bits.bytes(MAX_REQUEST_BYTES)?;
                self.body(&mut request, &self.requests).filter(|()| request.is_at_end())
            }
            _ => self.body(bits, &self.messages),
        }
    }

    /// One message with its kind, of those that are allowed here.
    fn body(&self, bits: &mut Bits<'_>, allowed: &HashMap<u64, Vec<Field>>) -> Option<()> {
        let kind = bits.number(self.kind_bits)?;
        for field in allowed.get(&kind)? {
            match *field {
                Field::Bits(n) => bits.skip(n as usize)?,
                Field::Bytes(max) => bits.bytes(max).map(|_| ())?,
            }
        }
        Some(())
    }
}

/// Bits of a kind's number when there are `count` kinds (naia's `bit_width_for_kind_count`).
fn bits_for(count: usize) -> u32 {
    if count < 2 { 0 } else { count.next_power_of_two().trailing_zeros() }
}

fn number_of(writer: BitWriter, width: u32) -> u64 {
    Bits::new(&writer.to_bytes()).number(width).unwrap_or_default()
}

/// What of each reliable channel came: naia keeps a list from the oldest missing message to the newest, and
/// walks it for each message. An honest client has at most 1,024 unacknowledged ones.
#[derive(Debug, Default)]
pub(super) struct Windows {
    channels: HashMap<u64, Window>,
}

const WINDOW: usize = 1024;

#[derive(Debug)]
struct Window {
    oldest: u16,
    came: Box<[u64; WINDOW / 64]>,
}

impl Windows {
    /// Notes a message; false if it is too far ahead.
    fn take(&mut self, channel: u64, index: u16) -> bool {
        let window =
            self.channels.entry(channel).or_insert_with(|| Window { oldest: 0, came: Box::new([0; WINDOW / 64]) });
        let ahead = index.wrapping_sub(window.oldest);
        if ahead >= 1 << 15 {
            // Came before, and is sent again.
            return true;
        }
        if usize::from(ahead) >= WINDOW {
            return false;
        }
        window.set(index, true);
        while window.get(window.oldest) {
            window.set(window.oldest, false);
            window.oldest = window.oldest.wrapping_add(1);
        }
        true
    }
}

impl Window {
    fn get(&self, index: u16) -> bool {
        let at = usize::from(index) % WINDOW;
        self.came[at / 64] >> (at % 64) & 1 == 1
    }

    fn set(&mut self, index: u16, value: bool) {
        let at = usize::from(index) % WINDOW;
        let mask = 1 << (at % 64);
        if value {
            self.came[at / 64] |= mask;
        } else {
            self.came[at / 64] &= !mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_follows_what_came_and_bounds_what_is_ahead() {
        let mut windows = Windows::default();
        for index in 0..3000u16 {
            assert!(windows.take(1, index), "{index}");
        }
        assert!(windows.take(1, 2999), "a repetition is no violation");
        assert!(windows.take(1, 3000 + 1023));
        assert!(!windows.take(1, 3000 + 1024));
        assert!(windows.take(1, 3000));
        assert!(windows.take(1, 3000 + 1024), "the window moved on");
        assert!(!windows.take(2, 5000), "channels are apart");
    }

    #[test]
    fn a_window_wraps() {
        let mut windows = Windows::default();
        for index in (0..=u16::MAX).chain(0..100) {
            assert!(windows.take(0, index));
        }
    }
}
