//! The lane: small datagrams beside naia's packets on the same connection. The first byte is their kind.
//!
//! | kind | from | to | content |
//! |---|---|---|---|
//! | [`SECTOR_UPDATE`] | shard, server | server, players, shards | [`crate::packets::motion::SectorUpdate`] |
//! | [`OWN_STATES`] | shard, server | server, player | [`crate::packets::own_state::OwnState`]s |
//! | [`BUNDLE`] | server | players, shards | several of these ([`crate::packets::bundle`]) |
//! | [`INPUTS`] | player | server | [`crate::packets::input::InputPacket`] |

/// Motion and shots of one sector.
pub const SECTOR_UPDATE: u8 = 1;
/// Exact states of players' own ships.
pub const OWN_STATES: u8 = 2;
/// A player's unacknowledged inputs.
pub const INPUTS: u8 = 3;
/// Several datagrams in one.
pub const BUNDLE: u8 = 4;
