//! The rules of the economy that more than one process computes: the ore in rocks, prices, what a deal moves.
//!
//! Shards judge the rules of space (near enough, slow enough, alive); the server's ledger owns the amounts. Ore comes
//! out of rocks and ends at a market or in the void. Credits come from the market that buys ore and return to the one
//! that sells. Nothing else creates or removes either.

use crate::{
    DecodeError,
    rules::flight::{FlightState, HullKind, wrap_angle},
    world::{
        ids::{EntityId, NetId},
        tick::TICK_HZ,
    },
};
use bevy::math::DVec2;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// Ore in a rock of `radius` units that was never mined, units of ore. It is proportional to the area: 36 for the
/// smallest, 784 for the largest.
pub fn ore_of_rock(radius: f64) -> u32 {
    (radius * radius / 4.0).clamp(0.0, f64::from(u32::MAX)) as u32
}

/// How far from a rock's edge a ship can mine it, units.
pub const MINING_RANGE: f64 = 120.0;
/// Ticks between two requests of a mining ship: half a second.
pub const MINING_INTERVAL_TICKS: u64 = TICK_HZ as u64 / 2;
/// Ore per request.
pub const MINING_BITE: u32 = 4;

/// Selects the rock that a ship mines out of `rocks` (position and radius in units, and the caller's own value): of
/// those within [`MINING_RANGE`] the one nearest to its heading. The laser turns to every side. Of two at the same
/// angle the first is taken.
pub fn mined_rock<T>(ship: &FlightState, rocks: impl IntoIterator<Item = (DVec2, f64, T)>) -> Option<T> {
    let in_range = rocks.into_iter().filter_map(|(position, radius, rock)| {
        let towards = position - ship.position;
        let off = wrap_angle(towards.to_angle() - ship.angle).abs();
        (towards.length() - radius <= MINING_RANGE).then_some((off, rock))
    });
    in_range.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, rock)| rock)
}

/// How near a ship must be to a crate to collect its content, units from centre to centre.
pub const SCOOP_RANGE: f64 = 40.0;
/// Radius of a crate, units.
pub const CRATE_RADIUS: f64 = 4.0;
/// How long a crate drifts before it is lost, ticks: 10 minutes.
pub const CRATE_TICKS: u64 = 600 * TICK_HZ as u64;

/// Radius of a station, units.
pub const STATION_RADIUS: f64 = 46.0;
/// How far from a station's edge a ship can dock, units.
pub const DOCKING_RANGE: f64 = 90.0;
/// How fast a ship may be to dock, units/s.
pub const DOCKING_SPEED: f64 = 60.0;
/// How far apart two ships may be to trade, units.
pub const TRADING_RANGE: f64 = 600.0;

/// The price that a station pays for a unit of ore, credits.
pub const ORE_PRICE: u64 = 3;
/// The price of repairing a hull point, credits.
pub const REPAIR_PRICE: u64 = 1;

/// The largest amount that one deal may move: far above any balance, far below where sums overflow.
pub const MAX_AMOUNT: u64 = 1 << 40;

/// A weapon that is bought once and fitted to a ship: it improves one of the ship's tools (see
/// [`ToolSpec::improvements`](crate::rules::tool::ToolSpec::improvements)). It is lost with the ship.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, PartialOrd, Ord)]
#[repr(u8)]
pub enum Weapon {
    /// The gun fires at one and a half times the rate.
    RapidGun = 1,
    /// The beam does twice the damage.
    HeavyBeam = 2,
    /// The launcher is ready in half the time.
    FastLauncher = 4,
}

/// What stations and players must know of a weapon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeaponSpec {
    /// Whose row this is.
    pub weapon: Weapon,
    /// Its name for players.
    pub name: &'static str,
    /// Its price, credits.
    pub price: u64,
    /// What players read of its effect.
    pub advantage: &'static str,
}

/// The table, by the weapons' bits in [`Fitted`].
const WEAPONS: [WeaponSpec; 3] = [
    WeaponSpec { weapon: Weapon::RapidGun, name: "rapid gun", price: 240, advantage: "fires half as often again" },
    WeaponSpec { weapon: Weapon::HeavyBeam, name: "heavy beam", price: 320, advantage: "twice the damage" },
    WeaponSpec { weapon: Weapon::FastLauncher, name: "fast launcher", price: 400, advantage: "ready in half the time" },
];

const _: () = {
    let mut place = 0;
    while place < WEAPONS.len() {
        assert!(WEAPONS[place].weapon as usize == 1 << place, "the rows stand in the order of the weapons' bits");
        place += 1;
    }
};

impl Weapon {
    /// All of them.
    pub const ALL: [Self; WEAPONS.len()] = {
        let (mut all, mut place) = ([WEAPONS[0].weapon; WEAPONS.len()], 0);
        while place < WEAPONS.len() {
            all[place] = WEAPONS[place].weapon;
            place += 1;
        }
        all
    };

    /// The weapon for a number from outside.
    pub fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|weapon| *weapon as u8 == value)
    }

    /// Its row.
    pub fn spec(self) -> &'static WeaponSpec {
        &WEAPONS[(self as u8).trailing_zeros() as usize]
    }
}

/// The weapons that are fitted to a ship.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fitted(pub u8);

impl Fitted {
    /// Whether `weapon` is among them.
    pub fn has(self, weapon: Weapon) -> bool {
        self.0 & weapon as u8 != 0
    }

    /// These and `weapon`.
    #[must_use]
    pub fn with(self, weapon: Weapon) -> Self {
        Self(self.0 | weapon as u8)
    }

    /// Whether it contains only weapons that exist.
    pub fn is_known(self) -> bool {
        let all = Weapon::ALL.into_iter().fold(0, |all, weapon| all | weapon as u8);
        self.0 & !all == 0
    }
}

impl HullKind {
    /// Its price at a station, credits; `None` for hulls that are not sold. The station keeps the old hull.
    pub fn price(self) -> Option<u64> {
        match self {
            Self::Scout => Some(50),
            Self::Hauler => Some(600),
            Self::Gunship => Some(900),
            Self::Drone | Self::Missile => None,
        }
    }

    /// Ore that fits into its hold, units of ore.
    pub fn hold(self) -> u32 {
        match self {
            Self::Scout => 60,
            Self::Hauler => 300,
            Self::Gunship => 40,
            Self::Drone | Self::Missile => 0,
        }
    }

    /// Its name for players.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scout => "scout",
            Self::Hauler => "hauler",
            Self::Gunship => "gunship",
            Self::Drone => "drone",
            Self::Missile => "missile",
        }
    }
}

/// How long a client may repeat a deal under its key, by its wall clock. A client without a result by then gives the
/// deal up. A server remembers the keys of completed deals for longer.
pub const DEAL_KEY_LIFE: Duration = Duration::from_secs(600);

/// The key of a deal, chosen by the client. A deal that is requested several times within [`DEAL_KEY_LIFE`] is applied
/// once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DealKey(pub Uuid);

impl DealKey {
    /// A new one.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl std::fmt::Display for DealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One side of a trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Goods {
    /// Units of ore, out of the ship's hold.
    pub ore: u32,
    /// Credits, out of the account's wallet.
    pub credits: u64,
}

impl Goods {
    /// Whether it is empty.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// A player's request. The shard judges it (may the ship do this now?) and the server's ledger settles it (is the
/// amount there, and in one transaction with the ship's new state).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bargain {
    /// Dock at the nearest station within [`DOCKING_RANGE`].
    Dock,
    /// Leave the station.
    Undock,
    /// Sell ore out of the hold.
    Sell {
        /// Units of ore, at least one.
        ore: u32,
    },
    /// Buy another hull. The old one and its fitted weapons are given up for nothing.
    BuyHull(HullKind),
    /// Buy a weapon and have it fitted.
    BuyWeapon(Weapon),
    /// Repair the hull as far as the credits suffice.
    Repair,
    /// Put ore into the account's store at this station.
    Store {
        /// Units of ore, at least one.
        ore: u32,
    },
    /// Take ore out of it.
    Take {
        /// Units of ore, at least one.
        ore: u32,
    },
    /// Offer a trade to the player of another ship; the offer is open for half a minute.
    Offer {
        /// The other ship.
        to: NetId,
        /// The goods that are given...
        give: Goods,
        /// ...and the goods that are wanted for them.
        want: Goods,
    },
    /// Accept an offer. The deal's key is the offer's.
    Accept,
    /// Decline an offer. The deal's key is the offer's.
    Decline,
}

impl Bargain {
    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// [`DecodeError::OutOfRange`] names the field.
    pub fn validate(&self) -> Result<(), DecodeError> {
        let goods_fit = |goods: &Goods| goods.credits <= MAX_AMOUNT;
        match self {
            Self::Sell { ore: 0 } | Self::Store { ore: 0 } | Self::Take { ore: 0 } => {
                Err(DecodeError::OutOfRange("ore"))
            }
            Self::BuyHull(hull) if hull.price().is_none() => Err(DecodeError::OutOfRange("hull")),
            Self::Offer { give, want, .. } if !goods_fit(give) || !goods_fit(want) => {
                Err(DecodeError::OutOfRange("credits"))
            }
            Self::Offer { give, want, .. } if give.is_nothing() && want.is_nothing() => {
                Err(DecodeError::OutOfRange("goods"))
            }
            _ => Ok(()),
        }
    }

    /// The bytes that are stored with the deal's key, so that the reuse of a key for another request is detected.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, Vec::new()).expect("plain numbers are always written")
    }
}

/// Why a shard refuses a ship's deal. The text is for the player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum DealRefusal {
    /// The ship is not (or no longer) this shard's.
    #[error("your ship is just crossing a border: try again")]
    NotMine,
    /// Another deal of the ship is pending.
    #[error("your last deal is not settled yet: wait for it")]
    Busy,
    /// No station is near enough.
    #[error("no station is near enough: fly up to one")]
    NoStation,
    /// The ship is too fast.
    #[error("you are too fast to dock: brake first")]
    TooFast,
    /// The ship is docked, and would have to be in space.
    #[error("you are docked: undock first")]
    Docked,
    /// The ship is in space, and would have to be docked.
    #[error("you are not docked: dock at a station first")]
    NotDocked,
    /// The ship has this already.
    #[error("your ship has this already")]
    HasIt,
    /// The hull is undamaged.
    #[error("your hull is undamaged: there is nothing to repair")]
    Whole,
    /// The other ship is not within [`TRADING_RANGE`].
    #[error("the other ship is too far away to trade")]
    TooFar,
    /// The hold would be too small.
    #[error("your cargo does not fit into that hull: sell or store it first")]
    HoldTooSmall,
}

/// A move of ore in space: out of a rock or a crate into a ship. The server limits it to the amount that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OreMove {
    /// The rock or the crate.
    pub from: EntityId,
    /// The ship, of which the sender has the authority.
    pub to: EntityId,
    /// Units of ore, at most.
    pub ore: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fitted_is_told_apart_and_strange_bits_are_seen() {
        for weapon in Weapon::ALL {
            assert_eq!(Weapon::from_u8(weapon as u8), Some(weapon));
            assert_eq!(weapon.spec().weapon, weapon);
            let only = Fitted::default().with(weapon);
            assert!(only.is_known());
            assert_eq!(Weapon::ALL.into_iter().filter(|other| only.has(*other)).collect::<Vec<_>>(), [weapon]);
        }
        assert_eq!(Weapon::ALL.map(|weapon| weapon as u8), [1, 2, 4]);
        assert!(!Fitted(0x80).is_known());
        assert_eq!(Weapon::from_u8(3), None);
    }

    #[test]
    fn the_rock_that_is_mined_is_in_range_and_nearest_to_the_heading() {
        let ship = FlightState { angle: 3.0, ..FlightState::default() };
        let at = |angle: f64, distance: f64| DVec2::from_angle(angle) * distance;
        let (near, beside) = ((at(-3.1, 100.0), 20.0, 1), (at(2.0, 50.0), 20.0, 2));
        let (far, at_the_edge) = ((at(3.0, 141.0), 20.0, 3), (at(3.0, 139.0), 20.0, 4));
        assert_eq!(mined_rock(&ship, [beside, near, far]), Some(1));
        assert_eq!(mined_rock(&ship, [beside, near, far, at_the_edge]), Some(4));
        assert_eq!(mined_rock(&ship, [far]), None);
    }

    #[test]
    fn a_bargain_out_of_range_is_refused_by_its_field() {
        let offer = |give, want| Bargain::Offer { to: NetId(1), give, want };
        let rich = Goods { ore: 0, credits: MAX_AMOUNT + 1 };
        for (bargain, field) in [
            (Bargain::Sell { ore: 0 }, "ore"),
            (Bargain::BuyHull(HullKind::Missile), "hull"),
            (offer(rich, Goods::default()), "credits"),
            (offer(Goods::default(), Goods::default()), "goods"),
        ] {
            assert_eq!(bargain.validate(), Err(DecodeError::OutOfRange(field)));
        }
        Bargain::Take { ore: 1 }.validate().expect("in range");
    }
}
