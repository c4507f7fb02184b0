//! Every limit of the transport, with its reason. Runs in every process.

#[cfg_attr(target_family = "wasm", allow(dead_code))]
pub(crate) mod rate;

use std::time::Duration;

use crate::PeerKind;
pub use crate::limits::rate::Rate;

/// Longest lane payload. With the lane's prefix, the WebTransport session id and QUIC's own header it fits the 1,200
/// bytes that every QUIC path must support, so that it needs no MTU discovery.
pub const MAX_LANE_BYTES: usize = 1150;

/// Longest stream frame: a sector's records in a few frames, and small enough to be buffered as a whole.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// Longest frame of a player: chat texts and requests are far shorter.
pub const MAX_PLAYER_FRAME_BYTES: usize = 1024;

/// Longest auth payload (a ticket or a secret, and names).
pub const MAX_AUTH_BYTES: usize = 2048;

/// Longest reason of a reject or a close, in bytes of UTF-8. Longer ones are cut.
pub const MAX_REASON_BYTES: usize = 1024;

/// Longest naia packet accepted from a peer. naia 0.25 writes at most its `MTU_SIZE_BYTES`, so a longer one is not
/// naia's.
pub const MAX_NAIA_PACKET_BYTES: usize = 430;

/// The resources that the transport lets a peer, and its own process, use.
///
/// The defaults suit a public server; tests and special deployments change single fields.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first packet until the auth request is read; then the same time again for the verdict.
    pub connect_deadline: Duration,
    /// A session from which nothing was received for this long ends.
    pub idle_timeout: Duration,
    /// How often an idle side sends a sign of life. Well under the idle timeout, so that two may be lost.
    pub keep_alive: Duration,
    /// How long a closing side waits for its stream to reach the peer.
    pub drain_deadline: Duration,

    /// Connections of players, and of shards, that are not yet sessions, at all listeners. More are refused and counted.
    pub pending_total: usize,
    /// Above this many pending connections, unvalidated addresses must be validated (QUIC retry).
    pub pending_retry_above: usize,
    /// Sessions and pending connections of one IPv4 address, or of one IPv6 network of 64 bits. Bots share one.
    pub sessions_per_address: usize,
    /// Sessions and pending connections of players.
    pub sessions_total: usize,
    /// Sessions and pending connections of shards, separate from the players' places. More than there are shards,
    /// because of those that reconnect.
    pub shard_sessions_total: usize,

    /// Handshakes that one network (as above) may start in a second, with a burst of ten seconds' worth. More are not
    /// answered, and counted. 0 means no limit.
    pub handshakes_per_network: u32,
    /// Handshakes that all listeners of players, and that of shards, accept in a second, and as a burst. More are not
    /// answered, and counted. Each costs the server half a millisecond or more. 0 means no limit.
    pub handshakes_total: u32,
    /// Handshakes in a second with unvalidated addresses, which may be forged. Above it they must be validated (QUIC
    /// retry).
    pub unproven_handshakes: u32,

    /// Datagrams (naia's and the lane's) of one session that wait for the main loop. Beyond it the newest is dropped
    /// and counted. Four ticks of a busy shard.
    pub inbound_datagrams_per_session: usize,
    /// The same over all players, and over all shards: the memory that a crowd can use.
    pub inbound_datagrams_total: usize,
    /// Bytes of stream frames of one session that wait for the main loop. Beyond it nothing more is read from the peer,
    /// and QUIC's flow control stops it.
    pub inbound_stream_bytes: usize,
    /// naia packets of one player that are read. An honest client sends one for each tick of the server and some pings.
    /// The burst covers what a network delays for some seconds. More are dropped and counted.
    pub player_naia_packets: Rate,
    /// Lane datagrams of one player that are read: inputs, where every packet repeats the earlier ones. An honest
    /// client sends one for each of its ticks, or frames.
    pub player_lane_datagrams: Rate,
    /// Frames of one player that are read: chat texts and requests.
    pub player_frames: Rate,
    /// By how much all these may exceed their rates before the session is closed.
    pub player_excess: Rate,
    /// Bytes of frames of one player that wait for the main loop.
    pub inbound_player_stream_bytes: usize,
    /// Datagrams of one session that wait for the next flush. Beyond it the oldest of the same kind is dropped and
    /// counted. Several times a tick's worth.
    pub outbound_datagrams: usize,
    /// Bytes of stream frames of one session that wait to be sent. Beyond it `send_stream` returns `Full`.
    pub outbound_stream_bytes: usize,
    /// The same of a player: entities and messages that the peer does not read. Beyond it the session is closed,
    /// because none of it may be left out. A view of some ten thousand entities at once.
    pub outbound_player_stream_bytes: usize,
    /// Violations (packets that no honest peer sends) after which a session is closed. Above zero, because a late
    /// packet of an earlier phase is no attack.
    pub violations_before_close: u32,

    /// quinn's queue of datagrams, which drops the oldest: half a second of stale state is worth less than the newest
    /// state.
    pub datagram_send_buffer_bytes: usize,
    /// Requested size of the UDP socket's buffers. 208 KiB (Linux' default) lose a quarter of what 100 sessions send in
    /// one burst. The system may grant less.
    pub udp_socket_buffer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_deadline: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(3),
            drain_deadline: Duration::from_secs(3),
            pending_total: 1024,
            pending_retry_above: 64,
            sessions_per_address: 512,
            sessions_total: 4096,
            shard_sessions_total: 256,
            handshakes_per_network: 50,
            handshakes_total: 500,
            unproven_handshakes: 32,
            inbound_datagrams_per_session: 512,
            inbound_datagrams_total: 65_536,
            inbound_stream_bytes: 8 << 20,
            player_naia_packets: Rate { per_second: 120, burst: 600 },
            player_lane_datagrams: Rate { per_second: 150, burst: 600 },
            player_frames: Rate { per_second: 20, burst: 60 },
            player_excess: Rate { per_second: 20, burst: 2000 },
            inbound_player_stream_bytes: 64 << 10,
            outbound_datagrams: 1024,
            outbound_stream_bytes: 64 << 20,
            outbound_player_stream_bytes: 2 << 20,
            violations_before_close: 100,
            datagram_send_buffer_bytes: 64 << 10,
            udp_socket_buffer_bytes: 4 << 20,
        }
    }
}

impl Limits {
    /// Sessions and pending connections of one kind of peers.
    pub fn sessions_of(&self, kind: PeerKind) -> usize {
        match kind {
            PeerKind::Player => self.sessions_total,
            PeerKind::Shard => self.shard_sessions_total,
        }
    }
}
