//! Limits that more than one process enforces, each with its reason.

/// Version of everything in this crate that crosses a wire. Raised with every change to it. Peers of another version
/// are refused when they connect, with a reason that names both versions.
pub const PROTOCOL_VERSION: u32 = 10;

/// The longest lane datagram, bytes: with the transport's prefix it fits a QUIC datagram on every path with an MTU of
/// 1,280, and Chromium's `maxDatagramSize` of 1,211.
pub const MAX_LANE_BYTES: usize = 1_150;

/// Inputs that a client keeps until they are acknowledged, and the most that one packet repeats: two seconds of flight.
/// Older ones are given up and counted when a link recovers.
pub const MAX_UNACKNOWLEDGED_INPUTS: usize = 60;

/// Inputs per player that the server keeps to replay to the next authority in a handoff: twice the client's window, so
/// that every input that the client may still repeat is there.
pub const INPUT_HISTORY: usize = 128;

/// The longest encoded [`crate::record::EntityRecord`], bytes. A ship's takes about 200.
pub const MAX_RECORD_BYTES: usize = 16 * 1024;

/// The longest control frame, bytes: the transport's stream frames hold 1 MiB.
pub const MAX_CONTROL_BYTES: usize = 1024 * 1024;

/// The longest sections of one record, bytes. It leaves room in [`MAX_RECORD_BYTES`] for the header, and for what the
/// server adds to a record that it has accepted (a pilot, an amount of ore).
pub const MAX_SECTIONS_BYTES: usize = 8 * 1024;

/// The longest encoded header and motion of a record, bytes.
pub const MAX_HEADER_BYTES: usize = 256;

/// Records in one grant frame at most.
pub const RECORDS_PER_LEASE_FRAME: usize = 256;

/// Bytes of records in one grant frame at most: well under [`MAX_CONTROL_BYTES`], with room for the leases.
pub const RECORD_BYTES_PER_LEASE_FRAME: usize = MAX_CONTROL_BYTES / 2;

/// The longest entity or player name, bytes in UTF-8.
pub const MAX_NAME_BYTES: usize = 48;

/// The longest chat text, letters: two lines of the window.
pub const MAX_SAY_CHARS: usize = 200;

/// The same, bytes in UTF-8: enough for two lines in every alphabet.
pub const MAX_SAY_BYTES: usize = 320;

/// The longest frame of a player, bytes: a chat text is the longest of them. The transport refuses longer ones.
pub const MAX_REQUEST_BYTES: usize = 1024;

/// Net ids that the server assigns to a shard at once.
pub const NET_ID_BLOCK: u32 = 65_536;
