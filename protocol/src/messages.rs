//! naia's messages and requests between the server and its peers.

use crate::{
    DecodeError,
    ids::{AccountId, EntityId, NetId},
    tick::SimTick,
};
use naia_bevy_shared::{Message, Request, Response};
use uuid::Uuid;

/// Why a player's session is closed when the same account connects anew. A client that reads this does not come back by
/// itself: the two would take each other's place for ever.
pub const TAKEN_OVER: &str = "this account has logged in elsewhere";

/// The first thing a peer sends, on the transport's auth stream: a player's ticket, or the shards'
/// secret. naia does not see it. The protocol's version and the kind of the peer are checked before.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Ticket or secret.
    pub secret: String,
    /// A shard's name for the logs; empty from a player.
    pub name: String,
}

impl Credential {
    /// The bytes for the auth stream.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.secret.len() + self.name.len() + 4);
        for text in [&self.secret, &self.name] {
            // Both are far shorter in use; the transport refuses more than its auth limit as a whole.
            let length = text.len().min(usize::from(u16::MAX));
            bytes.extend_from_slice(&(length as u16).to_le_bytes());
            bytes.extend_from_slice(&text.as_bytes()[..length]);
        }
        bytes
    }

    /// Reads what [`Credential::encode`] wrote.
    ///
    /// # Errors
    /// Any [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = bytes;
        let mut text = || {
            let (length, tail) = rest.split_first_chunk::<2>().ok_or(DecodeError::Truncated)?;
            let length = usize::from(u16::from_le_bytes(*length));
            let (text, tail) = tail.split_at_checked(length).ok_or(DecodeError::Truncated)?;
            rest = tail;
            String::from_utf8(text.to_vec()).map_err(|_| DecodeError::OutOfRange("credential text"))
        };
        let credential = Self { secret: text()?, name: text()? };
        match rest.is_empty() {
            true => Ok(credential),
            false => Err(DecodeError::OutOfRange("credential length")),
        }
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential {{ secret: (hidden), name: {:?} }}", self.name)
    }
}

/// The first thing a player is told. `sim_tick` is the world's tick at naia's `naia_tick`.
#[derive(Message)]
pub struct Welcome {
    /// The world's tick at...
    pub sim_tick: u64,
    /// ...this tick of naia's.
    pub naia_tick: u16,
    /// The player's account, upper half.
    pub account_high: u64,
    /// The player's account, lower half.
    pub account_low: u64,
    /// Seed of the starfield.
    pub world_seed: u64,
}

impl Welcome {
    /// The player's account.
    pub fn account(&self) -> AccountId {
        AccountId(Uuid::from_u64_pair(self.account_high, self.account_low))
    }

    /// The world's tick of the pair.
    pub fn sim_tick(&self) -> SimTick {
        SimTick(self.sim_tick)
    }
}

/// This ship is yours from now on (at log in, and after each respawn).
#[derive(Message)]
pub struct ShipAssigned {
    /// Entity id, upper half.
    pub id_high: u64,
    /// Entity id, lower half.
    pub id_low: u64,
    /// Compact id.
    pub net_id: u32,
}

impl ShipAssigned {
    /// For the ship `id`.
    pub fn of(id: EntityId, net_id: NetId) -> Self {
        let (id_high, id_low) = id.to_halves();
        Self { id_high, id_low, net_id: net_id.0 }
    }

    /// The ship's id.
    pub fn entity_id(&self) -> EntityId {
        EntityId::from_halves(self.id_high, self.id_low)
    }
}

/// A ship or drone near you was destroyed (or your own).
#[derive(Message)]
pub struct Destroyed {
    /// Compact id of what is gone.
    pub victim: u32,
    /// Its name.
    pub victim_name: String,
    /// Name of who did it; empty when nobody did.
    pub by_name: String,
    /// It was your ship: ask for a [`Respawn`].
    pub yours: bool,
}

/// Asks for a new ship after the last one was destroyed.
#[derive(Message)]
pub struct Respawn;

impl Request for Respawn {
    type Response = RespawnReply;
}

/// The answer to [`Respawn`]: the ship follows as [`ShipAssigned`], or the reason why not.
#[derive(Message)]
pub struct RespawnReply {
    /// Empty when a ship is on its way.
    pub refused: String,
}

impl Response for RespawnReply {}
