//! Messages between the server and a player, as frames of the session's stream, reliable and in order.
//!
//! They are not naia's messages: naia 0.25 keeps a record of every message that it ever sent (`message_manager.rs`,
//! `packet_to_message_map`), and trusts a player's acknowledgements.

use crate::{
    DecodeError,
    frames::chat::Scope,
    record::EntityKind,
    rules::{
        economy::{Bargain, DealKey, Fitted, Goods, Weapon},
        flight::HullKind,
    },
    world::{
        ids::{AccountId, EntityId, NetId},
        tick::SimTick,
    },
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A message from the server to a player.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToPlayer {
    /// The first message.
    Welcome(Welcome),
    /// The player now has this ship.
    ShipAssigned(ShipAssigned),
    /// Something was destroyed.
    Destroyed(Destroyed),
    /// The answer to [`FromPlayer::Respawn`].
    RespawnReply(RespawnReply),
    /// The player's balances.
    Purse(Purse),
    /// News of a trade.
    TradeNews(TradeNews),
    /// The answer to [`FromPlayer::Deal`].
    DealReply(DealReply),
    /// A chat text.
    Said(Said),
}

/// A message or request of a player. Its frame is at most [`crate::limits::MAX_REQUEST_BYTES`] long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromPlayer {
    /// A chat text.
    Say(Say),
    /// A request for a new ship after the last one was destroyed. The answer is [`RespawnReply`].
    Respawn,
    /// A request for a deal. The answer is [`DealReply`].
    Deal(Deal),
}

/// The reason with which a player's session is closed when the same account connects again. A client that receives it
/// does not reconnect automatically: the two would replace each other for ever.
pub const TAKEN_OVER: &str = "this account has logged in elsewhere";

/// The first data that a peer sends, on the transport's auth stream: a player's ticket, or the shards' secret. naia
/// does not see it. Protocol version and kind of peer are checked before.
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
            // Both are far shorter in use. The transport refuses requests over its auth limit.
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

/// The first message to a player. `sim_tick` is the world's tick at naia's `naia_tick`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The world's tick at...
    pub sim_tick: u64,
    /// ...this tick of naia's.
    pub naia_tick: u16,
    /// The player's account, upper half.
    pub account_high: u64,
    /// The player's account, lower half.
    pub account_low: u64,
    /// Seed of the starfield. The world's own seed is not sent: see `seeds` in the server.
    pub sky_seed: u64,
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

/// The player now has this ship (at login, and after each respawn).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// A ship or drone near the player was destroyed, or the player's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destroyed {
    /// Compact id of the destroyed entity.
    pub victim: u32,
    /// Its name.
    pub victim_name: String,
    /// What it was: the number of its [`EntityKind`]...
    pub victim_kind: u8,
    /// ...and of its hull; 255 for entities that do not fly.
    pub victim_hull: u8,
    /// Name of the entity that destroyed it; empty if there is none.
    pub by_name: String,
    /// The number of that one's [`EntityKind`]; 255 if there is none.
    pub by_kind: u8,
    /// The player's ship destroyed it.
    pub by_you: bool,
    /// It was the player's ship: request another one with [`FromPlayer::Respawn`].
    pub yours: bool,
}

impl Destroyed {
    /// What was destroyed; `None` for a number of a newer build.
    pub fn victim_kind(&self) -> Option<EntityKind> {
        EntityKind::from_u8(self.victim_kind)
    }

    /// Its hull, if it flew.
    pub fn victim_hull(&self) -> Option<HullKind> {
        HullKind::from_u8(self.victim_hull)
    }

    /// The kind of the entity that destroyed it; `None` if there is none.
    pub fn by_kind(&self) -> Option<EntityKind> {
        EntityKind::from_u8(self.by_kind)
    }
}

/// A chat text of a player. Its receivers, the speaker included, get it as [`Said`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Say {
    /// Its receivers: the number of a [`Scope`].
    pub scope: u8,
    /// The text, see [`crate::frames::chat::clean`]; at most [`crate::limits::MAX_SAY_BYTES`] bytes.
    pub text: String,
}

impl Say {
    /// The message that sends `text` to `scope`.
    pub fn to(scope: Scope, text: String) -> Self {
        Self { scope: scope as u8, text }
    }

    /// Its receivers.
    ///
    /// # Errors
    /// For a number that is no scope.
    pub fn scope(&self) -> Result<Scope, DecodeError> {
        Scope::from_u8(self.scope).ok_or(DecodeError::OutOfRange("scope"))
    }
}

/// A chat text, or a notice of the server to one player about that player's own texts or ship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The number of a [`Scope`]; 255 for a notice of the server to this player alone.
    pub scope: u8,
    /// The speaker's name; empty for a notice of the server.
    pub speaker: String,
    /// The text, cleaned.
    pub text: String,
    /// The receiver is the speaker.
    pub yours: bool,
}

impl Said {
    /// A notice of the server to one player.
    pub fn notice(text: String) -> Self {
        Self { scope: u8::MAX, speaker: String::new(), text, yours: false }
    }

    /// Its scope; `None` for a notice of the server.
    pub fn scope(&self) -> Option<Scope> {
        Scope::from_u8(self.scope)
    }
}

/// The answer to [`FromPlayer::Respawn`]: the ship follows as [`ShipAssigned`], or there is a reason why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RespawnReply {
    /// Empty when a ship is on its way.
    pub refused: String,
}

/// Requests a [`Bargain`]. The same key again, in this session or in a later one, is the same deal: it is applied once,
/// and answered with its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deal {
    /// The deal's key, upper half.
    pub key_high: u64,
    /// The deal's key, lower half.
    pub key_low: u64,
    /// Which bargain: its index in [`Bargain`], from 0.
    pub kind: u8,
    /// A hull's or a weapon's number.
    pub item: u8,
    /// For an offer: the other ship's compact id.
    pub to: u32,
    /// Units of ore: sold, stored, taken, or given in a trade.
    pub ore: u32,
    /// Credits given in a trade.
    pub credits: u64,
    /// Units of ore wanted in a trade.
    pub want_ore: u32,
    /// Credits wanted in a trade.
    pub want_credits: u64,
    /// The deal was requested before under this key, so it may be done already. The server may refuse a first request
    /// at once.
    pub again: bool,
}

impl Deal {
    /// Makes the request for `bargain`.
    pub fn of(key: DealKey, bargain: &Bargain) -> Self {
        let (key_high, key_low) = key.0.as_u64_pair();
        let mut deal = Self {
            key_high,
            key_low,
            kind: 0,
            item: 0,
            to: 0,
            ore: 0,
            credits: 0,
            want_ore: 0,
            want_credits: 0,
            again: false,
        };
        match *bargain {
            Bargain::Dock => deal.kind = 0,
            Bargain::Undock => deal.kind = 1,
            Bargain::Sell { ore } => (deal.kind, deal.ore) = (2, ore),
            Bargain::BuyHull(hull) => (deal.kind, deal.item) = (3, hull as u8),
            Bargain::BuyWeapon(weapon) => (deal.kind, deal.item) = (4, weapon as u8),
            Bargain::Repair => deal.kind = 5,
            Bargain::Store { ore } => (deal.kind, deal.ore) = (6, ore),
            Bargain::Take { ore } => (deal.kind, deal.ore) = (7, ore),
            Bargain::Offer { to, give, want } => {
                (deal.kind, deal.to) = (8, to.0);
                (deal.ore, deal.credits) = (give.ore, give.credits);
                (deal.want_ore, deal.want_credits) = (want.ore, want.credits);
            }
            Bargain::Accept => deal.kind = 9,
            Bargain::Decline => deal.kind = 10,
        }
        deal
    }

    /// The same request, marked as a repetition.
    #[must_use]
    pub fn again(self, again: bool) -> Self {
        Self { again, ..self }
    }

    /// The deal's key.
    pub fn key(&self) -> DealKey {
        DealKey(Uuid::from_u64_pair(self.key_high, self.key_low))
    }

    /// The requested bargain, validated.
    ///
    /// # Errors
    /// Any [`DecodeError`].
    pub fn bargain(&self) -> Result<Bargain, DecodeError> {
        let ore = self.ore;
        let bargain = match self.kind {
            0 => Bargain::Dock,
            1 => Bargain::Undock,
            2 => Bargain::Sell { ore },
            3 => Bargain::BuyHull(HullKind::from_u8(self.item).ok_or(DecodeError::OutOfRange("hull"))?),
            4 => Bargain::BuyWeapon(Weapon::from_u8(self.item).ok_or(DecodeError::OutOfRange("weapon"))?),
            5 => Bargain::Repair,
            6 => Bargain::Store { ore },
            7 => Bargain::Take { ore },
            8 => Bargain::Offer {
                to: NetId(self.to),
                give: Goods { ore, credits: self.credits },
                want: Goods { ore: self.want_ore, credits: self.want_credits },
            },
            9 => Bargain::Accept,
            10 => Bargain::Decline,
            other => return Err(DecodeError::UnknownKind(other)),
        };
        bargain.validate()?;
        Ok(bargain)
    }
}

/// The state of a deal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DealOutcome {
    /// It is in the database: final.
    Done,
    /// Nothing has changed, and nothing will.
    Refused,
    /// The database has not answered: request it again later with the same key.
    Undecided,
}

/// The answer to [`Deal`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealReply {
    /// The deal's key, upper half.
    pub key_high: u64,
    /// The deal's key, lower half.
    pub key_low: u64,
    /// 0 done, 1 refused, 2 undecided.
    pub outcome: u8,
    /// One sentence for the player: the result, or why it was refused.
    pub text: String,
}

impl DealReply {
    /// Makes an answer.
    pub fn new(key: DealKey, outcome: DealOutcome, text: String) -> Self {
        let (key_high, key_low) = key.0.as_u64_pair();
        let outcome = match outcome {
            DealOutcome::Done => 0,
            DealOutcome::Refused => 1,
            DealOutcome::Undecided => 2,
        };
        Self { key_high, key_low, outcome, text }
    }

    /// The deal's key.
    pub fn key(&self) -> DealKey {
        DealKey(Uuid::from_u64_pair(self.key_high, self.key_low))
    }

    /// The state of the deal; a number of a newer build counts as undecided.
    pub fn outcome(&self) -> DealOutcome {
        match self.outcome {
            0 => DealOutcome::Done,
            1 => DealOutcome::Refused,
            _ => DealOutcome::Undecided,
        }
    }
}

/// A player's balances, sent at login and after each change, at most a few times a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purse {
    /// Credits in the account's wallet.
    pub credits: u64,
    /// Units of ore in the ship's hold.
    pub ore: u32,
    /// Units of ore that fit into it.
    pub hold: u32,
    /// Weapons fitted to the ship, see [`Fitted`].
    pub fitted: u8,
    /// Compact id of the station that the ship is docked at; 0 in space.
    pub docked: u32,
    /// Units of ore in the account's store at that station.
    pub stored: u32,
}

impl Purse {
    /// The weapons that are fitted.
    pub fn fitted(&self) -> Fitted {
        Fitted(self.fitted)
    }
}

/// News of a trade that the player takes part in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TradeNews {
    /// The trade's key, upper half.
    pub key_high: u64,
    /// The trade's key, lower half.
    pub key_low: u64,
    /// 0: an offer to this player, to be answered with [`Bargain::Accept`] or [`Bargain::Decline`] under its key. 1:
    /// done. 2: it has ended without effect.
    pub stage: u8,
    /// The other player's name.
    pub partner: String,
    /// The receiver gets: units of ore.
    pub get_ore: u32,
    /// The receiver gets: credits.
    pub get_credits: u64,
    /// The receiver gives: units of ore.
    pub give_ore: u32,
    /// The receiver gives: credits.
    pub give_credits: u64,
    /// One sentence for the player.
    pub text: String,
}

impl TradeNews {
    /// The trade's key.
    pub fn key(&self) -> DealKey {
        DealKey(Uuid::from_u64_pair(self.key_high, self.key_low))
    }
}
