//! Every bound of the transport, with its reason. Runs in every process.

use std::time::Duration;

use crate::PeerKind;
pub use crate::rate::Rate;

/// Longest lane payload. With the lane's prefix, the WebTransport session id and QUIC's own header
/// it fits the 1,200 bytes that every QUIC path must carry, so that it needs no MTU discovery.
pub const MAX_LANE_BYTES: usize = 1150;

/// Longest stream frame: a sector's records in a few frames, and still small enough to buffer whole.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// Longest frame of a player: what a pilot says or asks for is far under it.
pub const MAX_PLAYER_FRAME_BYTES: usize = 1024;

/// Longest auth payload (a ticket or a secret, and names).
pub const MAX_AUTH_BYTES: usize = 2048;

/// Longest reason of a reject or a close, in bytes of UTF-8. Longer ones are cut.
pub const MAX_REASON_BYTES: usize = 1024;

/// Longest naia packet taken from a peer: naia 0.25 writes at most its `MTU_SIZE_BYTES`; what is longer
/// did not come from it.
pub const MAX_NAIA_PACKET_BYTES: usize = 430;

/// What the transport lets a peer, and its own process, use.
///
/// The defaults suit a public server; tests and special deployments change single fields.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first packet until the auth request is read; after it, as long again for the verdict.
    pub connect_deadline: Duration,
    /// A session from which nothing was heard for this long is over.
    pub idle_timeout: Duration,
    /// How often an idle side says that it lives. Well under the idle timeout, so that two may be lost.
    pub keep_alive: Duration,
    /// How long a closing side waits for its stream to reach the peer.
    pub drain_deadline: Duration,

    /// Connections of one listener that are not yet sessions; more are refused and counted.
    pub pending_total: usize,
    /// Above this many pending connections, unvalidated addresses must prove themselves (QUIC retry).
    pub pending_retry_above: usize,
    /// Sessions and pending connections of one IPv4 address, or of one IPv6 network of 64 bits. Bots share one.
    pub sessions_per_address: usize,
    /// Sessions and pending connections of players.
    pub sessions_total: usize,
    /// Those of shards, whose places no player takes: more than there are shards, for those that come again.
    pub shard_sessions_total: usize,

    /// Handshakes that one network (as above) may start in a second, and ten seconds' worth at once; more are not
    /// answered, and counted. 0 is no limit.
    pub handshakes_per_network: u32,
    /// Handshakes that a listener takes in a second and at once; more are not answered, and counted. Each costs
    /// the server half a millisecond or more. 0 is no limit.
    pub handshakes_total: u32,
    /// Handshakes in a second with addresses that are not validated, which may be made up; above it they must
    /// prove themselves (QUIC retry).
    pub unproven_handshakes: u32,

    /// Datagrams (naia's and the lane's) of one session that wait for the main loop; the newest is
    /// dropped past it, and counted. Four ticks of a busy shard.
    pub inbound_datagrams_per_session: usize,
    /// The same over all players, and over all shards: the memory that a crowd can fill.
    pub inbound_datagrams_total: usize,
    /// Bytes of stream frames of one session that wait for the main loop; past it the peer is not
    /// read from, and QUIC's flow control stops it.
    pub inbound_stream_bytes: usize,
    /// naia packets of one player that are read. An honest client sends one for each tick of the server's and some pings;
    /// the burst is what a network holds up for some seconds. What is beyond is dropped and counted.
    pub player_naia_packets: Rate,
    /// Lane datagrams of one player that are read: inputs, of which every packet holds those before. An honest client
    /// sends one for each of its ticks, or frames.
    pub player_lane_datagrams: Rate,
    /// Frames of one player that are read: what is said and asked for.
    pub player_frames: Rate,
    /// What of all these may be beyond their rates before the session is closed.
    pub player_excess: Rate,
    /// Bytes of frames of one player that wait for the main loop.
    pub inbound_player_stream_bytes: usize,
    /// Datagrams of one session that wait for the next flush; past it the oldest of the same kind
    /// is dropped and counted. A tick's worth and a lot of room.
    pub outbound_datagrams: usize,
    /// Bytes of stream frames of one session that wait to be sent; past it `send_stream` says `Full`.
    pub outbound_stream_bytes: usize,
    /// The same of a player: entities and news that the peer does not read. Past it the session is closed, for nothing
    /// of it may be left out. A view of some ten thousand entities at once.
    pub outbound_player_stream_bytes: usize,
    /// Violations (what no honest peer sends) after which a session is closed. Above zero because a
    /// late packet of an earlier phase is no attack.
    pub violations_before_close: u32,

    /// quinn's queue of datagrams, which drops the oldest: half a second of stale state is worth less
    /// than the newest state now.
    pub datagram_send_buffer_bytes: usize,
    /// Wanted size of the UDP socket's buffers. 208 KiB (Linux' default) loses a quarter of what 100
    /// sessions send in one burst. The system may give less.
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
