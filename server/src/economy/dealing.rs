//! The stages of a deal: see [`super::deals`].

use super::{
    deals::{Deals, NO_OFFER, OTHER_DEAL, Open, Stage, Terms, room_of},
    goods::Goods,
    trades::Trades,
};
use crate::{
    db::{Change, Commodity, Deal as LedgerDeal, DoneDeal, Holder, Posting, Submission},
    persistence::storage::{Storage, row_of, signed},
    players::session::Players,
    replication::{mirror::Holder as Authority, space::Space},
    traffic::link::Link,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Res, ResMut},
};
use sidereal_process::log_limited;
use sidereal_protocol::{
    frames::{
        control::ToShard,
        messages::{Deal, DealOutcome, DealReply, ToPlayer},
    },
    record::{EntityKind, EntityRecord},
    rules::{
        economy::{Bargain, DealKey, DealRefusal, ORE_PRICE, REPAIR_PRICE, WeaponSpec},
        flight::HullKind,
    },
    world::{
        ids::{AccountId, EntityId, ShardId},
        tick::TICK_HZ,
    },
};
use std::net::SocketAddr;
use tracing::debug;

/// Maximum number of open deals of one account.
const MAX_OPEN_DEALS: usize = 4;

/// Maximum number of requests of one account per second; further ones are rejected.
const DEALS_PER_SECOND: u32 = 10;

/// Time limit of a shard's verdict, ticks: 3 s.
const VERDICT_TICKS: u64 = 3 * TICK_HZ as u64;

/// Time limit of the database before the pilot gets *undecided*, ticks: 3 s.
const PATIENCE_TICKS: u64 = 3 * TICK_HZ as u64;

/// The answer while the database is unavailable.
const AWAY: &str = "deals are unavailable (the database does not respond): nothing has changed, try again later";

/// The answer when a shard's and the server's state of a ship differ.
const STRANGE_SHIP: &str = "your ship's state is inconsistent: try again";

/// The answer while the result of a deal is unknown.
const UNDECIDED: &str = "the database has not answered yet: it is not decided, ask again";

/// Deals, from their requests to their ends.
#[derive(SystemParam)]
pub struct DealDesk<'w> {
    /// Deals that have not ended.
    deals: ResMut<'w, Deals>,
    /// Open offers.
    trades: ResMut<'w, Trades>,
    /// Holdings to send.
    goods: ResMut<'w, Goods>,
    /// The requesting sessions and their ships.
    players: Res<'w, Players>,
    /// Sends to players and shards.
    link: ResMut<'w, Link>,
    /// The ledger.
    storage: ResMut<'w, Storage>,
}

impl DealDesk<'_> {
    /// A player requests a deal.
    pub fn on_deal(&mut self, space: &mut Space, asker: SocketAddr, request: &Deal) {
        let unknown = not_looked_up(request.again);
        let key = request.key();
        let Some((account, ship)) = self.players.flying_at(&asker) else {
            return self.answer(asker, key, unknown, "you have no ship in space");
        };
        let asked = self.deals.asked.entry(account).or_default();
        *asked += 1;
        if *asked > DEALS_PER_SECOND {
            return self.answer(asker, key, unknown, "you ask too often: wait a second");
        }
        let bargain = match request.bargain() {
            Ok(bargain) => bargain,
            Err(problem) => {
                space.tally.bad_packets += 1;
                return self.answer(asker, key, DealOutcome::Refused, &format!("there is no such deal ({problem})"));
            }
        };
        if let Some(open) = self.deals.open.get_mut(&key) {
            if open.account == account && open.bargain == bargain {
                open.again |= request.again;
                open.asker = Some(asker);
            } else {
                self.answer(asker, key, DealOutcome::Refused, OTHER_DEAL);
            }
            return;
        }
        if bargain == Bargain::Decline {
            let text = self.trades.decline_trade(&self.players, &mut self.link, key, account);
            return self.answer(asker, key, DealOutcome::Done, text);
        }
        if self.deals.open.values().filter(|open| open.account == account).count() >= MAX_OPEN_DEALS {
            return self.answer(asker, key, unknown, "too many deals at once: wait for their results");
        }
        let needs_books = bargain != Bargain::Undock;
        if needs_books && self.storage.store().is_none_or(crate::db::Store::is_away) {
            space.tally.deals_refused_away += 1;
            return self.answer(asker, key, unknown, if request.again { UNDECIDED } else { AWAY });
        }
        // Undocking twice has the effect of undocking once, so its key is not stored.
        let token = if needs_books { self.storage.request_deal(key) } else { 0 };
        let open = Open {
            account,
            ship,
            bargain,
            again: request.again,
            asker: Some(asker),
            stage: Stage::LookingUp(token),
            since: space.clock.tick,
            answer: String::new(),
        };
        self.deals.open.insert(key, open);
        if !needs_books {
            self.judge_deal(space, key);
        }
    }

    fn answer(&mut self, asker: SocketAddr, key: DealKey, outcome: DealOutcome, text: &str) {
        // A client that is gone repeats the request after it has reconnected.
        self.link.notify(&asker, ToPlayer::DealReply(DealReply::new(key, outcome, text.to_owned())));
    }

    /// Ends a deal and sends its result to the requesting session, if any.
    fn close_deal(&mut self, space: &mut Space, key: DealKey, outcome: DealOutcome, text: &str) {
        let Some(open) = self.deals.open.remove(&key) else { return };
        if let Some(asker) = open.asker {
            self.answer(asker, key, outcome, text);
        }
        match outcome {
            DealOutcome::Done => space.tally.deals_done += 1,
            DealOutcome::Refused => space.tally.deals_refused += 1,
            DealOutcome::Undecided => {}
        }
        if matches!(open.bargain, Bargain::Accept) {
            self.trades.trade_ended(&self.players, &mut self.link, key, outcome == DealOutcome::Done, text);
        }
    }

    /// Rejects a deal without effect; shards that have accepted it are notified.
    fn refuse_deal(&mut self, space: &mut Space, key: DealKey, text: &str) {
        if let Some(open) = self.deals.open.get(&key) {
            let ships = self.parties(key, open.ship, &open.bargain);
            for ship in ships {
                self.send_settled(space, key, ship, false);
            }
        }
        self.close_deal(space, key, DealOutcome::Refused, text);
    }

    /// Rejects a deal that cannot be stored.
    fn refuse_as_away(&mut self, space: &mut Space, key: DealKey) {
        space.tally.deals_refused_away += 1;
        self.refuse_deal(space, key, AWAY);
    }

    fn send_settled(&mut self, space: &Space, key: DealKey, ship: EntityId, done: bool) {
        if let Some(Authority::Shard(shard)) = space.mirror.get(ship).map(|entry| entry.holder) {
            self.link.to_shard(shard, &ToShard::Settled { key, ship, done });
        }
    }

    /// The ships whose shards must accept the deal.
    fn parties(&self, key: DealKey, ship: EntityId, bargain: &Bargain) -> Vec<EntityId> {
        match bargain {
            Bargain::Accept => self.trades.trade_ships(key),
            _ => vec![ship],
        }
    }

    /// The database has returned whether the deal was completed before.
    pub fn deal_looked_up(&mut self, space: &mut Space, token: u64, found: Option<DoneDeal>) {
        let Some(key) = self.looking_up(token) else { return };
        let Some(open) = self.deals.open.get(&key) else { return };
        let (account, bargain) = (open.account, open.bargain);
        match found {
            Some(done) => {
                let same = done.account == account.0 && done.bargain == bargain.to_bytes();
                // The client that accepts an offer knows its key; the deal has the key of the offer's maker.
                if same || matches!(bargain, Bargain::Accept | Bargain::Offer { .. }) {
                    self.close_deal(space, key, DealOutcome::Done, &done.answer);
                } else {
                    self.close_deal(space, key, DealOutcome::Refused, OTHER_DEAL);
                }
            }
            None => match bargain {
                Bargain::Offer { to, give, want } => {
                    let around = (&*space.mirror, &*self.players, &mut *self.link, space.clock.tick);
                    match self.trades.offer_trade(around, key, account, (to, give, want)) {
                        Ok(text) => self.close_deal(space, key, DealOutcome::Done, &text),
                        Err(text) => self.close_deal(space, key, DealOutcome::Refused, text),
                    }
                }
                _ => self.judge_deal(space, key),
            },
        }
    }

    /// The lookup failed. Returns whether the token was a deal's.
    pub fn deal_read_failed(&mut self, space: &mut Space, token: u64) -> bool {
        let Some(key) = self.looking_up(token) else { return false };
        self.give_up_looking(space, key);
        true
    }

    /// The lookup failed: the deal's earlier result is unknown.
    fn give_up_looking(&mut self, space: &mut Space, key: DealKey) {
        space.tally.deals_refused_away += 1;
        let again = self.deals.open.get(&key).is_some_and(|open| open.again);
        self.close_deal(space, key, not_looked_up(again), if again { UNDECIDED } else { AWAY });
    }

    fn looking_up(&self, token: u64) -> Option<DealKey> {
        let at = |open: &Open| matches!(open.stage, Stage::LookingUp(of) if of == token);
        self.deals.open.iter().find(|(_, open)| at(open)).map(|(key, _)| *key)
    }

    /// Requests verdicts from the shards of all its ships.
    fn judge_deal(&mut self, space: &mut Space, key: DealKey) {
        let Some(open) = self.deals.open.get(&key) else { return };
        let (ship, bargain, account) = (open.ship, open.bargain, open.account);
        if bargain == Bargain::Accept && !self.trades.is_offered_to(key, account) {
            return self.close_deal(space, key, DealOutcome::Refused, NO_OFFER);
        }
        self.trades.trade_taken(key, true);
        let asked = self.parties(key, ship, &bargain);
        for &party in &asked {
            let Some(Authority::Shard(shard)) = space.mirror.get(party).map(|entry| entry.holder) else {
                return self.refuse_deal(space, key, &DealRefusal::NotMine.to_string());
            };
            let partner = asked.iter().copied().find(|other| *other != party);
            self.link.to_shard(shard, &ToShard::Deal { key, ship: party, bargain, partner });
        }
        let now = space.clock.tick;
        if let Some(open) = self.deals.open.get_mut(&key) {
            open.stage = Stage::Judging { asked, after: None };
            open.since = now;
        }
    }

    /// A shard's verdict on a ship.
    pub fn on_verdict(
        &mut self,
        space: &mut Space,
        shard: ShardId,
        key: DealKey,
        ship: EntityId,
        verdict: Result<Option<Box<EntityRecord>>, DealRefusal>,
    ) {
        let waits = self
            .deals
            .open
            .get(&key)
            .is_some_and(|open| matches!(&open.stage, Stage::Judging { asked, .. } if asked.contains(&ship)));
        if !waits {
            // It was rejected meanwhile. While it settles, a repeated verdict adds nothing.
            if verdict.is_ok() && !self.deals.is_open(key) {
                self.link.to_shard(shard, &ToShard::Settled { key, ship, done: false });
            }
            return;
        }
        let record = match verdict {
            Ok(record) => record,
            Err(refusal) => return self.refuse_deal(space, key, &refusal.to_string()),
        };
        if let Some(record) = &record
            && !self.is_good_after(space, shard, ship, record)
        {
            log_limited!(warn, %shard, %ship, %key, "the record after a deal does not match the ship");
            space.tally.violations += 1;
            return self.refuse_deal(space, key, STRANGE_SHIP);
        }
        let Some(open) = self.deals.open.get_mut(&key) else { return };
        let Stage::Judging { asked, after } = &mut open.stage else { return };
        asked.retain(|other| *other != ship);
        if record.is_some() {
            *after = record;
        }
        if asked.is_empty() {
            let after = after.take();
            self.settle(space, key, after);
        }
    }

    /// Whether a record can follow the present one of a ship: it comes from the ship's authority, and only fields that
    /// deals change differ.
    fn is_good_after(&self, space: &Space, shard: ShardId, ship: EntityId, after: &EntityRecord) -> bool {
        let Some(entry) = space.mirror.get(ship) else { return false };
        let known = &entry.record;
        after.id == ship
            && space.mirror.is_authority(shard, ship, after.epoch)
            && after.version > known.version
            && (after.net_id, after.owner) == (known.net_id, known.owner)
            && after
                .docked()
                .is_none_or(|at| space.mirror.get(at).is_some_and(|station| station.record.kind == EntityKind::Station))
            && space.mirror.check_record(after).is_ok()
    }

    /// All shards have accepted: passes the deal to the ledger.
    fn settle(&mut self, space: &mut Space, key: DealKey, after: Option<Box<EntityRecord>>) {
        let Some(open) = self.deals.open.get(&key) else { return };
        let (ship, bargain, account) = (open.ship, open.bargain, open.account);
        let after = after.map(|after| Box::new(self.with_sector(space, *after)));
        let Terms { lines, rooms, answer } = match self.terms_of(space, key, account, ship, &bargain, after.as_deref())
        {
            Ok(terms) => terms,
            Err(text) => return self.refuse_deal(space, key, &text),
        };
        if bargain == Bargain::Undock {
            self.adopt_after(space, after);
            self.send_settled(space, key, ship, true);
            return self.close_deal(space, key, DealOutcome::Done, &answer);
        }
        let (asker, written) = self.trades.trade_asked(key).unwrap_or((account, bargain));
        let deal = LedgerDeal {
            key: key.0,
            account: asker.0,
            bargain: written.to_bytes(),
            answer: answer.clone(),
            tick: signed(space.clock.tick.0),
            postings: lines,
        };
        let links = after.as_deref().and_then(row_of).map(Change::Put).into_iter().collect();
        let submission = self.storage.store().map_or(Submission::Away, |store| store.submit(deal, links, rooms));
        match submission {
            Submission::Accepted => {
                let now = space.clock.tick;
                if let Some(open) = self.deals.open.get_mut(&key) {
                    open.stage = Stage::Settling { after };
                    open.since = now;
                    open.answer = answer;
                }
            }
            Submission::Busy => self.refuse_deal(space, key, &DealRefusal::Busy.to_string()),
            Submission::Away => self.refuse_as_away(space, key),
            Submission::Poor(holder, commodity) => {
                let own = holder == Holder::wallet(account.0) || holder == Holder::entity(ship.0);
                self.refuse_deal(space, key, poor(own || !matches!(bargain, Bargain::Accept), commodity));
            }
            Submission::Full(holder) => {
                let text = match bargain {
                    Bargain::BuyHull(_) => DealRefusal::HoldTooSmall.to_string(),
                    Bargain::Accept => {
                        let name = space.mirror.get(EntityId(holder.id)).map_or("", |entry| entry.record.name.as_str());
                        format!("it does not fit into {name}'s hold")
                    }
                    _ => "that does not fit into your hold".to_owned(),
                };
                self.refuse_deal(space, key, &text);
            }
        }
    }

    /// Sets the sector, which the motion plane decides.
    fn with_sector(&self, space: &Space, mut record: EntityRecord) -> EntityRecord {
        if let Some(entry) = space.mirror.get(record.id) {
            record.sector = entry.record.sector;
        }
        record
    }

    /// The postings of a deal, the room it needs, and the answer to its pilot.
    fn terms_of(
        &self,
        space: &Space,
        key: DealKey,
        account: AccountId,
        ship: EntityId,
        bargain: &Bargain,
        after: Option<&EntityRecord>,
    ) -> Result<Terms, String> {
        use Commodity::{Credits, Ore};
        if *bargain == Bargain::Accept {
            return self.trades.trade_terms(&space.mirror, key);
        }
        let strange = || STRANGE_SHIP.to_owned();
        let after = after.ok_or_else(strange)?;
        let before = &space.mirror.get(ship).ok_or_else(strange)?.record;
        let (hold, wallet) = (Holder::entity(ship.0), Holder::wallet(account.0));
        let name_of = |at: EntityId| space.mirror.get(at).map_or(String::new(), |entry| entry.record.name.clone());
        if *bargain == Bargain::Undock {
            let undocked = Terms::new(Vec::new(), "undocked".to_owned());
            return if after.docked().is_none() { Ok(undocked) } else { Err(strange()) };
        }
        let station = after.docked().ok_or_else(|| DealRefusal::NotDocked.to_string())?;
        if *bargain == Bargain::Dock {
            return Ok(Terms::new(Vec::new(), format!("docked at {}", name_of(station))));
        }
        let (market, vault) = (Holder::market(station.0), Holder::vault(account.0, station.0));
        let pays = |amount: u64| Posting::pair(wallet, market, Credits, signed(amount)).to_vec();
        Ok(match *bargain {
            Bargain::Sell { ore } => {
                let credits = u64::from(ore) * ORE_PRICE;
                let mut lines = Posting::pair(hold, market, Ore, i64::from(ore)).to_vec();
                lines.extend(Posting::pair(market, wallet, Credits, signed(credits)));
                Terms::new(lines, format!("sold {ore} ore for {credits} credits"))
            }
            Bargain::BuyHull(hull) => {
                let price = hull.price().filter(|_| after.hull_kind() == Some(hull)).ok_or_else(strange)?;
                let answer = format!("bought a {} for {price} credits", HullKind::name(hull));
                Terms { lines: pays(price), rooms: vec![room_of(ship, hull)], answer }
            }
            Bargain::BuyWeapon(weapon) => {
                if before.fitted().has(weapon) || !after.fitted().has(weapon) {
                    return Err(DealRefusal::HasIt.to_string());
                }
                let WeaponSpec { name, price, .. } = *weapon.spec();
                Terms::new(pays(price), format!("bought a {name} for {price} credits"))
            }
            Bargain::Repair => {
                let points = u64::from(after.hull().saturating_sub(before.hull()));
                let cost = points * REPAIR_PRICE;
                if self.storage.balance(wallet, Credits) < signed(cost) {
                    return Err(format!("mending your hull costs {cost} credits, more than you have"));
                }
                Terms::new(pays(cost), format!("mended {points} points for {cost} credits"))
            }
            Bargain::Store { ore } => {
                Terms::new(Posting::pair(hold, vault, Ore, i64::from(ore)).to_vec(), format!("stored {ore} ore"))
            }
            Bargain::Take { ore } => {
                let rooms = vec![room_of(ship, after.hull_kind().ok_or_else(strange)?)];
                let lines = Posting::pair(vault, hold, Ore, i64::from(ore)).to_vec();
                Terms { lines, rooms, answer: format!("took {ore} ore") }
            }
            Bargain::Dock | Bargain::Undock | Bargain::Offer { .. } | Bargain::Accept | Bargain::Decline => {
                return Err(strange());
            }
        })
    }

    /// Applies the ship's state after the deal.
    fn adopt_after(&mut self, space: &mut Space, after: Option<Box<EntityRecord>>) {
        let Some(mut after) = after else { return };
        let Some(entry) = space.mirror.get(after.id) else { return };
        // Position and holder may have changed since; the kind has not.
        let known = &entry.record;
        if known.epoch != after.epoch {
            (after.epoch, after.version) = (known.epoch, known.version);
        }
        after.sector = known.sector;
        after.set_or_remove(known.pilot());
        space.mark_hull_changed(&after);
        if let Some(owner) = after.owner {
            self.goods.tell(owner);
        }
        space.replace_record(*after);
    }

    fn settled(&mut self, space: &mut Space, key: DealKey, done: bool) {
        let Some(open) = self.deals.open.get_mut(&key) else { return };
        if !done {
            return self.refuse_as_away(space, key);
        }
        let Stage::Settling { after } = &mut open.stage else { return };
        let after = after.take();
        let (ship, bargain, answer) = (open.ship, open.bargain, std::mem::take(&mut open.answer));
        debug!(%key, %ship, ?bargain, "deal done");
        self.adopt_after(space, after);
        for party in self.parties(key, ship, &bargain) {
            self.send_settled(space, key, party, true);
        }
        self.close_deal(space, key, DealOutcome::Done, &answer);
    }
}

/// The outcome before the key was looked up: a new deal certainly had no effect.
fn not_looked_up(again: bool) -> DealOutcome {
    if again { DealOutcome::Undecided } else { DealOutcome::Refused }
}

fn poor(own: bool, commodity: Commodity) -> &'static str {
    match (own, commodity) {
        (true, Commodity::Ore) => "you do not have that much ore there",
        (true, Commodity::Credits) => "you do not have enough credits",
        (false, Commodity::Ore) => "the other pilot does not have that much ore",
        (false, Commodity::Credits) => "the other pilot does not have enough credits",
    }
}

/// Handles the ledger's results, and deals past their time limits.
pub fn update_deals(mut space: Space, mut desk: DealDesk) {
    while let Some(settled) = desk.storage.store().and_then(crate::db::Store::poll_settled) {
        desk.settled(&mut space, DealKey(settled.key), settled.done);
    }
    let now = space.clock.tick;
    if now.0.is_multiple_of(u64::from(TICK_HZ)) {
        desk.deals.asked.clear();
    }
    let late = |open: &Open| match open.stage {
        Stage::LookingUp(_) | Stage::Judging { .. } => now.since(open.since) > VERDICT_TICKS,
        Stage::Settling { .. } => open.asker.is_some() && now.since(open.since) > PATIENCE_TICKS,
    };
    let late: Vec<DealKey> = desk.deals.open.iter().filter(|(_, open)| late(open)).map(|(key, _)| *key).collect();
    for key in late {
        let Some(open) = desk.deals.open.get_mut(&key) else { continue };
        match open.stage {
            Stage::LookingUp(_) => desk.give_up_looking(&mut space, key),
            Stage::Judging { .. } => desk.refuse_deal(&mut space, key, "there was no answer for your ship: try again"),
            // It may still be completed: a repeated request under its key gets the result.
            Stage::Settling { .. } => {
                if let Some(asker) = open.asker.take() {
                    desk.answer(asker, key, DealOutcome::Undecided, UNDECIDED);
                }
            }
        }
    }
    desk.trades.tend(&space.mirror, &desk.players, &mut desk.link, now);
}
