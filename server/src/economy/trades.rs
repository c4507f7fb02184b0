//! Offers of trades between two pilots, until they are accepted or end otherwise.
//!
//! An offer moves nothing and is not stored. An accepted offer becomes a deal under its key, whose postings are one
//! transaction: both sides or none, whichever shards the two ships are on.

use super::deals::{NO_OFFER, OTHER_DEAL, Terms, room_of};
use crate::{
    db::{Commodity, Holder, Posting},
    persistence::storage::signed,
    players::session::Players,
    replication::mirror::{Holder as Authority, Mirror},
    traffic::link::Link,
};
use bevy::prelude::Resource;
use sidereal_protocol::{
    frames::messages::{ToPlayer, TradeNews},
    rules::economy::{Bargain, DealKey, Goods},
    world::{
        ids::{AccountId, EntityId, NetId},
        tick::{SimTick, TICK_HZ},
    },
};
use std::collections::BTreeMap;

/// How long an offer is open, ticks: half a minute.
const OFFER_TICKS: u64 = 30 * TICK_HZ as u64;

/// Maximum number of open offers of one pilot.
const MAX_OFFERS: usize = 3;

/// One side of a trade.
#[derive(Debug, Clone)]
struct Side {
    account: AccountId,
    ship: EntityId,
    name: String,
    gives: Goods,
}

/// An offer.
#[derive(Debug)]
struct Trade {
    /// The pilot that made it.
    maker: Side,
    /// The other pilot.
    taker: Side,
    /// The request.
    bargain: Bargain,
    since: SimTick,
    /// It is being settled and does not expire.
    taken: bool,
}

/// Open offers.
#[derive(Debug, Default, Resource)]
pub struct Trades {
    open: BTreeMap<DealKey, Trade>,
}

impl Trades {
    /// Whether an account is a party of an open offer.
    pub fn concern_account(&self, account: AccountId) -> bool {
        self.open.values().any(|trade| [&trade.maker, &trade.taker].iter().any(|side| side.account == account))
    }

    /// Whether a ship is a party of an open offer.
    pub fn concern_ship(&self, ship: EntityId) -> bool {
        self.open.values().any(|trade| [&trade.maker, &trade.taker].iter().any(|side| side.ship == ship))
    }

    /// The number of open offers.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// The stage of a trade, as in [`TradeNews::stage`].
#[derive(Debug, Clone, Copy)]
enum Stage {
    Offered = 0,
    Done = 1,
    Over = 2,
}

impl Trades {
    /// Makes an offer, or finds the one under this key. Returns the answer to its maker.
    pub fn offer_trade(
        &mut self,
        (mirror, players, link, now): (&Mirror, &Players, &mut Link, SimTick),
        key: DealKey,
        account: AccountId,
        (to, give, want): (NetId, Goods, Goods),
    ) -> Result<String, &'static str> {
        let bargain = Bargain::Offer { to, give, want };
        if let Some(trade) = self.open.get(&key) {
            return if trade.maker.account == account && trade.bargain == bargain {
                Ok(format!("offered to {}", trade.taker.name))
            } else {
                Err(OTHER_DEAL)
            };
        }
        if self.open.values().filter(|trade| trade.maker.account == account).count() >= MAX_OFFERS {
            return Err("you have too many offers open: wait until they end");
        }
        let other = mirror.id_of(to).and_then(|id| mirror.get(id)).and_then(|entry| entry.record.owner);
        let other = other.filter(|other| *other != account).ok_or("that is not another pilot's ship")?;
        let maker = side(mirror, players, account, give).ok_or("you have no ship in space")?;
        let taker = side(mirror, players, other, want).ok_or("its pilot is not there")?;
        if mirror.id_of(to) != Some(taker.ship) {
            return Err("its pilot is not aboard");
        }
        let text = format!("offered to {}", taker.name);
        let trade = Trade { maker, taker, bargain, since: now, taken: false };
        self.open.insert(key, trade);
        self.send_trade_news(players, link, key, Stage::Offered, "");
        Ok(text)
    }

    /// Whether an offer is open for this account.
    pub fn is_offered_to(&self, key: DealKey, account: AccountId) -> bool {
        self.open.get(&key).is_some_and(|trade| trade.taker.account == account)
    }

    /// The ships of a trade; empty when it is over.
    pub fn trade_ships(&self, key: DealKey) -> Vec<EntityId> {
        self.open.get(&key).map(|trade| vec![trade.maker.ship, trade.taker.ship]).unwrap_or_default()
    }

    /// The account and request under which a trade is stored.
    pub fn trade_asked(&self, key: DealKey) -> Option<(AccountId, Bargain)> {
        self.open.get(&key).map(|trade| (trade.maker.account, trade.bargain))
    }

    /// The postings of a trade, the room it needs, and the answer to both.
    pub(crate) fn trade_terms(&self, mirror: &Mirror, key: DealKey) -> Result<Terms, String> {
        let trade = self.open.get(&key).ok_or(NO_OFFER)?;
        let mut lines = Vec::new();
        for (from, to) in [(&trade.maker, &trade.taker), (&trade.taker, &trade.maker)] {
            let gives = from.gives;
            if gives.ore > 0 {
                let ends = (Holder::entity(from.ship.0), Holder::entity(to.ship.0));
                lines.extend(Posting::pair(ends.0, ends.1, Commodity::Ore, i64::from(gives.ore)));
            }
            if gives.credits > 0 {
                let ends = (Holder::wallet(from.account.0), Holder::wallet(to.account.0));
                lines.extend(Posting::pair(ends.0, ends.1, Commodity::Credits, signed(gives.credits)));
            }
        }
        let mut rooms = Vec::new();
        for (side, gets) in [(&trade.maker, trade.taker.gives), (&trade.taker, trade.maker.gives)] {
            if gets.ore > 0 {
                let hull = mirror.get(side.ship).and_then(|entry| entry.record.hull_kind());
                rooms.push(room_of(side.ship, hull.ok_or(NO_OFFER)?));
            }
        }
        let (maker, taker) = (&trade.maker.name, &trade.taker.name);
        let told = |gives: Goods| format!("{} ore and {} credits", gives.ore, gives.credits);
        let answer = format!("{maker} gave {}, {taker} gave {}", told(trade.maker.gives), told(trade.taker.gives));
        Ok(Terms { lines, rooms, answer })
    }

    /// Either side declines an offer.
    pub fn decline_trade(
        &mut self,
        players: &Players,
        link: &mut Link,
        key: DealKey,
        account: AccountId,
    ) -> &'static str {
        let part = self
            .open
            .get(&key)
            .is_some_and(|trade| !trade.taken && (trade.taker.account == account || trade.maker.account == account));
        if !part {
            return NO_OFFER;
        }
        self.send_trade_news(players, link, key, Stage::Over, "the offer was turned down");
        self.open.remove(&key);
        "turned down"
    }

    /// Sets whether a trade is being settled; meanwhile it does not expire.
    pub fn trade_taken(&mut self, key: DealKey, taken: bool) {
        if let Some(trade) = self.open.get_mut(&key) {
            trade.taken = taken;
        }
    }

    /// The deal of a trade has ended. After a rejection the offer can be accepted again while it is open.
    pub fn trade_ended(&mut self, players: &Players, link: &mut Link, key: DealKey, done: bool, text: &str) {
        if done {
            self.send_trade_news(players, link, key, Stage::Done, text);
            self.open.remove(&key);
        } else {
            self.trade_taken(key, false);
        }
    }

    /// Sends the open offers to a pilot whose session has just started.
    pub fn send_offers_to(&self, account: AccountId, players: &Players, link: &mut Link) {
        let offered = |trade: &Trade| !trade.taken && trade.taker.account == account;
        let keys: Vec<DealKey> = self.open.iter().filter(|(_, trade)| offered(trade)).map(|(key, _)| *key).collect();
        for key in keys {
            self.send_trade_news(players, link, key, Stage::Offered, "");
        }
    }

    fn send_trade_news(&self, players: &Players, link: &mut Link, key: DealKey, stage: Stage, text: &str) {
        let Some(trade) = self.open.get(&key) else { return };
        let (maker, taker) = (trade.maker.clone(), trade.taker.clone());
        let to_taker = (&taker, &maker);
        let to_maker = (&maker, &taker);
        let told = if matches!(stage, Stage::Offered) { vec![to_taker] } else { vec![to_taker, to_maker] };
        for (side, other) in told {
            let Some((address, _)) = players.flying_of(side.account) else { continue };
            let (key_high, key_low) = key.0.as_u64_pair();
            let news = TradeNews {
                key_high,
                key_low,
                stage: stage as u8,
                partner: other.name.clone(),
                get_ore: other.gives.ore,
                get_credits: other.gives.credits,
                give_ore: side.gives.ore,
                give_credits: side.gives.credits,
                text: text.to_owned(),
            };
            link.notify(&address, ToPlayer::TradeNews(news));
        }
    }

    /// Ends offers that have expired, or whose ship is gone.
    pub fn tend(&mut self, mirror: &Mirror, players: &Players, link: &mut Link, now: SimTick) {
        let flies = |side: &Side| {
            let there = mirror.get(side.ship).is_some_and(|entry| entry.holder != Authority::Server);
            there && players.flying_of(side.account).is_some_and(|(_, ship)| ship == side.ship)
        };
        let over: Vec<DealKey> = self
            .open
            .iter()
            .filter(|(_, trade)| !trade.taken)
            .filter(|(_, trade)| now.since(trade.since) > OFFER_TICKS || !flies(&trade.maker) || !flies(&trade.taker))
            .map(|(key, _)| *key)
            .collect();
        for key in over {
            self.send_trade_news(players, link, key, Stage::Over, "the offer has expired");
            self.open.remove(&key);
        }
    }
}

fn side(mirror: &Mirror, players: &Players, account: AccountId, gives: Goods) -> Option<Side> {
    let (_, ship) = players.flying_of(account)?;
    let name = mirror.get(ship)?.record.name.clone();
    Some(Side { account, ship, name, gives })
}
