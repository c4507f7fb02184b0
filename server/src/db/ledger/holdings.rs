//! Holders, commodities, and the parts of a deal.

use uuid::Uuid;

/// The kind of a holder. The numbers are stored in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum HolderKind {
    /// The source of ore: the ore given to rocks is its debt.
    World = 0,
    /// A rock, a ship's hold, a crate.
    Entity = 1,
    /// An account's credits.
    Wallet = 2,
    /// An account's ore at a station.
    Vault = 3,
    /// A station's market: the ore that it has bought, and the credits that it has paid as its debt.
    Market = 4,
    /// The sink for lost goods.
    Void = 5,
}

/// A holder of ore or credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder {
    /// The kind.
    pub kind: HolderKind,
    /// The entity, the account or the station; nil for world and void.
    pub id: Uuid,
    /// The station of a vault; nil for all others.
    pub place: Uuid,
}

impl Holder {
    /// The source of ore.
    pub const WORLD: Self = Self { kind: HolderKind::World, id: Uuid::nil(), place: Uuid::nil() };
    /// The sink for lost goods.
    pub const VOID: Self = Self { kind: HolderKind::Void, id: Uuid::nil(), place: Uuid::nil() };

    /// A rock, a ship or a crate.
    pub fn entity(id: Uuid) -> Self {
        Self { kind: HolderKind::Entity, id, place: Uuid::nil() }
    }

    /// The wallet of an account.
    pub fn wallet(account: Uuid) -> Self {
        Self { kind: HolderKind::Wallet, id: account, place: Uuid::nil() }
    }

    /// The vault of an account at a station.
    pub fn vault(account: Uuid, station: Uuid) -> Self {
        Self { kind: HolderKind::Vault, id: account, place: station }
    }

    /// The market of a station.
    pub fn market(station: Uuid) -> Self {
        Self { kind: HolderKind::Market, id: station, place: Uuid::nil() }
    }

    /// Whether its balance may be negative: it creates what it gives.
    pub fn may_owe(&self) -> bool {
        matches!(self.kind, HolderKind::World | HolderKind::Market)
    }

    /// Whether it takes part in everybody's deals, so that a deal must not lock it.
    pub fn is_shared(&self) -> bool {
        matches!(self.kind, HolderKind::World | HolderKind::Market | HolderKind::Void)
    }

    /// The holder in a row; `None` for a kind of a newer build, or a malformed id.
    pub fn from_row(kind: i16, id: &[u8], place: &[u8]) -> Option<Self> {
        let kind = match kind {
            0 => HolderKind::World,
            1 => HolderKind::Entity,
            2 => HolderKind::Wallet,
            3 => HolderKind::Vault,
            4 => HolderKind::Market,
            5 => HolderKind::Void,
            _ => return None,
        };
        Some(Self { kind, id: Uuid::from_slice(id).ok()?, place: Uuid::from_slice(place).ok()? })
    }
}

/// A commodity. The numbers are stored in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum Commodity {
    /// Units of ore.
    Ore = 1,
    /// Credits.
    Credits = 2,
}

impl Commodity {
    /// The commodity for a number from the database.
    pub fn from_i16(value: i16) -> Option<Self> {
        match value {
            1 => Some(Self::Ore),
            2 => Some(Self::Credits),
            _ => None,
        }
    }
}

/// The amount of a commodity that a holder has.
pub type Balance = (Holder, Commodity, i64);

/// One line of a deal: the change of a holder's amount, negative if it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The holder.
    pub holder: Holder,
    /// The commodity.
    pub commodity: Commodity,
    /// The change.
    pub delta: i64,
}

impl Posting {
    /// The two lines that move `amount` from one holder to another.
    pub fn pair(from: Holder, to: Holder, commodity: Commodity, amount: i64) -> [Self; 2] {
        [Self { holder: from, commodity, delta: -amount }, Self { holder: to, commodity, delta: amount }]
    }
}

/// The limit of a holder's amount after a deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The holder.
    pub holder: Holder,
    /// The commodity.
    pub commodity: Commodity,
    /// Maximum amount.
    pub amount: i64,
}

/// A deal as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deal {
    /// Its permanent key.
    pub key: Uuid,
    /// The account that requested it.
    pub account: Uuid,
    /// The encoded request: the same key with another request is rejected.
    pub bargain: Vec<u8>,
    /// The answer to the player when it is done.
    pub answer: String,
    /// The world's tick.
    pub tick: i64,
    /// What it moves; sums to zero in each commodity.
    pub postings: Vec<Posting>,
}

/// A completed deal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoneDeal {
    /// Its key.
    pub key: Uuid,
    /// The account that requested it.
    pub account: Uuid,
    /// The encoded request.
    pub bargain: Vec<u8>,
    /// The answer to the player.
    pub answer: String,
    /// The run of the server that completed it.
    pub run: Uuid,
}
