//! Who can have something, what there is to have, and a line of the ledger.

use uuid::Uuid;

/// What kind of holder. The numbers are the database's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum HolderKind {
    /// Where ore comes from: what it has given to rocks is its debt.
    World = 0,
    /// A rock, a ship's hold, a crate.
    Entity = 1,
    /// An account's credits.
    Wallet = 2,
    /// An account's ore at a station.
    Vault = 3,
    /// A station's market: the ore that it has bought, the credits that it has paid as its debt.
    Market = 4,
    /// What is lost.
    Void = 5,
}

/// Somebody who can have something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder {
    /// Of what kind.
    pub kind: HolderKind,
    /// The entity, the account or the station; nil for world and void.
    pub id: Uuid,
    /// The station of a vault; nil for all others.
    pub place: Uuid,
}

impl Holder {
    /// The one that ore comes from.
    pub const WORLD: Self = Self { kind: HolderKind::World, id: Uuid::nil(), place: Uuid::nil() };
    /// The one that lost things go to.
    pub const VOID: Self = Self { kind: HolderKind::Void, id: Uuid::nil(), place: Uuid::nil() };

    /// A rock, a ship or a crate.
    pub fn entity(id: Uuid) -> Self {
        Self { kind: HolderKind::Entity, id, place: Uuid::nil() }
    }

    /// The wallet of an account.
    pub fn wallet(account: Uuid) -> Self {
        Self { kind: HolderKind::Wallet, id: account, place: Uuid::nil() }
    }

    /// The store of an account at a station.
    pub fn vault(account: Uuid, station: Uuid) -> Self {
        Self { kind: HolderKind::Vault, id: account, place: station }
    }

    /// The market of a station.
    pub fn market(station: Uuid) -> Self {
        Self { kind: HolderKind::Market, id: station, place: Uuid::nil() }
    }

    /// Whether it may owe: it makes what it gives.
    pub fn may_owe(&self) -> bool {
        matches!(self.kind, HolderKind::World | HolderKind::Market)
    }

    /// Whether everybody deals with it, so that no deal may keep it for itself.
    pub fn is_shared(&self) -> bool {
        matches!(self.kind, HolderKind::World | HolderKind::Market | HolderKind::Void)
    }

    /// The holder in a row; `None` for a kind of a newer build, or an id that is none.
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

/// What there is to have. The numbers are the database's.
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

/// What somebody has of something.
pub type Balance = (Holder, Commodity, i64);

/// One line of a deal: what a holder gets, or gives when it is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Who.
    pub holder: Holder,
    /// Of what.
    pub commodity: Commodity,
    /// How much.
    pub delta: i64,
}

impl Posting {
    /// The two lines of `amount` that goes from one to another.
    pub fn pair(from: Holder, to: Holder, commodity: Commodity, amount: i64) -> [Self; 2] {
        [Self { holder: from, commodity, delta: -amount }, Self { holder: to, commodity, delta: amount }]
    }
}

/// What fits into a holder once a deal is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Whom.
    pub holder: Holder,
    /// Of what.
    pub commodity: Commodity,
    /// At most so much.
    pub amount: i64,
}

/// A deal as it goes into the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deal {
    /// Its name for ever.
    pub key: Uuid,
    /// Who asked for it.
    pub account: Uuid,
    /// What was asked for: a key that comes again for something else is refused.
    pub bargain: Vec<u8>,
    /// What the player is told when it is done.
    pub answer: String,
    /// When, on the world's clock.
    pub tick: i64,
    /// What it moves; sums to zero in each commodity.
    pub postings: Vec<Posting>,
}

/// A deal that was done once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoneDeal {
    /// Its name.
    pub key: Uuid,
    /// Who asked for it.
    pub account: Uuid,
    /// What was asked for.
    pub bargain: Vec<u8>,
    /// What the player was told.
    pub answer: String,
    /// The run of the server that did it.
    pub run: Uuid,
}
