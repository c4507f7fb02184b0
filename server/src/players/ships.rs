//! Moves ships with their players: from the database into the world, to another session, and back.

use super::session::{DisconnectedShip, Players, Ship};
use crate::{
    audit::aside::{ShipFate, Why},
    economy::{deals::Deals, goods::Goods, trades::Trades},
    handoff::{
        effects::{HandoffEffects, ShipNews},
        transfers::HandoffState,
    },
    persistence::storage::Storage,
    replication::{mirror::Holder, space::Space},
    territory::worldgen,
    traffic::link::Link,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{ParamSet, Res, ResMut},
};
use sidereal_process::log_limited;
use sidereal_protocol::{
    frames::{
        control::{ShipInputs, ToShard},
        messages::{self, RespawnReply, ShipAssigned, ToPlayer},
    },
    record::{EntityRecord, GunReady, Pilot, SettledAt},
    world::{
        ids::{AccountId, EntityId, NetId, ShardId},
        tick::TICK_HZ,
    },
};
use std::net::SocketAddr;

/// How long a ship stays in the world without its player, ticks: 5 s.
const GRACE_TICKS: u64 = 5 * TICK_HZ as u64;

/// The notice to a player whose ship was set aside...
const SET_ASIDE: &str = "your ship makes the world's servers fail, so it was set aside: it is kept as it is, and whoever \
    runs this world can give it back; you get another one to go on with";

/// ...and whose ship is held back.
pub(super) const HELD_BACK: &str =
    "part of the world has failed, and your ship is held back until it is known why: wait a moment";

/// Players' ships, from the database into the world and back: for sessions, and for events from shards and the
/// database.
#[derive(SystemParam)]
pub struct Ships<'w> {
    /// Sessions, and the state of each one's ship.
    pub(super) players: ResMut<'w, Players>,
    /// Sends to players and shards.
    pub(super) link: ResMut<'w, Link>,
    /// Holdings to send, and holders that have left.
    pub(super) goods: ResMut<'w, Goods>,
    /// Reads and stores ships.
    pub(super) storage: ResMut<'w, Storage>,
    /// Ships entering the world.
    transfers: ResMut<'w, HandoffState>,
    /// Offers for a pilot that boards.
    trades: Res<'w, Trades>,
}

impl Ships<'_> {
    /// Handles the handoffs' effects on ships.
    pub fn on_news(&mut self, space: &mut Space, news: Vec<ShipNews>) {
        for news in news {
            match news {
                ShipNews::Admitted { owner, id, net_id } => self.ship_admitted(space, owner, id, net_id),
                ShipNews::Homeless(record) => self.ship_homeless(space, record),
            }
        }
    }

    /// Ships were set aside, or put back.
    pub fn on_fates(&mut self, space: &mut Space, fates: Vec<ShipFate>) {
        for fate in fates {
            match fate {
                ShipFate::SetAside(record, why) => self.ship_set_aside(&record, why),
                ShipFate::PutBack(record) => self.ship_put_back(space, *record),
            }
        }
    }

    /// Finds the ship for an account's new session: where the previous session had it, or where it drifts.
    pub(super) fn ship_for(&mut self, space: &mut Space, account: AccountId, before: Option<Ship>) -> Ship {
        let adrift = self.players.adrift.iter().find(|(_, (owner, _))| *owner == account).map(|(id, _)| *id);
        let id = match before {
            Some(Ship::Flying(id)) => Some(id),
            Some(Ship::Lost) | None => adrift,
            Some(ship) => return ship,
        };
        match id {
            Some(id) if self.is_given_back(space, id) => Ship::Returning(id),
            Some(id) if space.mirror.get(id).is_some() => Ship::Flying(id),
            Some(id) if self.transfers.machine.is_offered(id) => {
                self.players.adrift.remove(&id);
                Ship::Admitting(id)
            }
            _ => Ship::Loading(self.storage.request_ship(account)),
        }
    }

    /// Whether the shard of a ship was requested to withdraw it.
    fn is_given_back(&self, space: &Space, id: EntityId) -> bool {
        let asked = self.players.asked_for(id);
        asked.is_some_and(|asked| space.mirror.get(id).is_some_and(|entry| entry.holder == Holder::Shard(asked)))
    }

    /// An account's session takes control of its ship in the world. The ship stays where it is, in the same situation;
    /// inputs of an earlier session are void.
    pub(super) fn take_helm(&mut self, space: &mut Space, account: AccountId, id: EntityId) {
        let boarding = self.players.next_boarding();
        let Some(player) = self.players.of_mut(account) else { return };
        let rewind = player.rewind;
        player.inputs.clear();
        let Some(entry) = space.mirror.get_mut(id) else { return };
        entry.record.set(Pilot::aboard(boarding, rewind));
        let (holder, net_id) = (entry.holder, entry.record.net_id);
        #[cfg(feature = "journal")]
        space.journal.taken_over(id, boarding);
        if let Holder::Shard(shard) = holder {
            self.link.to_shard(shard, &ToShard::Inputs(vec![ShipInputs { id, boarding, rewind, inputs: Vec::new() }]));
        }
        space.tally.takeovers += 1;
        self.ship_admitted(space, account, id, net_id);
        self.trades.send_offers_to(account, &self.players, &mut self.link);
    }

    /// The database has returned a player's ship; it may have been set aside.
    pub fn ship_loaded(&mut self, space: &mut Space, token: u64, record: Option<(EntityRecord, Option<Why>)>) {
        let found = self
            .players
            .by_address
            .values()
            .find(|player| player.ship == Ship::Loading(token))
            .map(|player| player.account);
        let Some(account) = found else { return };
        match record {
            Some((record, why)) => match why {
                None => self.board(space, account, record),
                Some(Why::Guilty) => {
                    self.tell(account, SET_ASIDE);
                    self.new_ship(space, account);
                }
                Some(Why::Suspect) => {
                    if let Some(player) = self.players.of_mut(account) {
                        player.ship = Ship::HeldBack(record.id);
                    }
                    self.tell(account, HELD_BACK);
                }
            },
            None => self.new_ship(space, account),
        }
    }

    /// A ship was set aside: its player is notified, and gets another one as after its destruction. A ship that is
    /// only held back is waited for.
    fn ship_set_aside(&mut self, record: &EntityRecord, why: Why) {
        let id = record.id;
        self.players.adrift.remove(&id);
        let Some(owner) = record.owner else { return };
        let Some(player) = self.players.of_mut(owner) else {
            return self.goods.leaving.account_left(owner, Some(id));
        };
        if !matches!(player.ship, Ship::Flying(own) | Ship::Admitting(own) | Ship::Returning(own) if own == id) {
            return;
        }
        player.ship = match why {
            Why::Guilty => Ship::Lost,
            Why::Suspect => Ship::HeldBack(id),
        };
        match why {
            Why::Suspect => self.tell(owner, HELD_BACK),
            Why::Guilty => {
                self.tell(owner, SET_ASIDE);
                let news = messages::Destroyed {
                    victim: record.net_id.0,
                    victim_name: record.name.clone(),
                    victim_kind: record.kind as u8,
                    victim_hull: record.hull_number(),
                    by_name: String::new(),
                    by_kind: u8::MAX,
                    by_you: false,
                    yours: true,
                };
                if let Some(address) = self.players.by_account.get(&owner).copied() {
                    self.link.notify(&address, ToPlayer::Destroyed(news));
                }
            }
        }
    }

    /// A ship that was held back is released: a session that waits for it gets it. Otherwise it stays in the database.
    fn ship_put_back(&mut self, space: &mut Space, record: EntityRecord) {
        let Some(owner) = record.owner else { return };
        if self.players.of(owner).is_some_and(|player| player.ship == Ship::HeldBack(record.id)) {
            self.board(space, owner, record);
        }
    }

    pub(super) fn tell(&mut self, account: AccountId, text: &str) {
        if let Some(address) = self.players.by_account.get(&account).copied() {
            self.link.notify(&address, ToPlayer::Said(messages::Said::notice(text.to_owned())));
        }
    }

    /// A read of a ship failed: it is repeated, so that no second ship is made.
    pub fn ship_read_failed(&mut self, token: u64) {
        let Some(account) = self
            .players
            .by_address
            .values()
            .find(|player| player.ship == Ship::Loading(token))
            .map(|player| player.account)
        else {
            return;
        };
        let token = self.storage.request_ship(account);
        if let Some(player) = self.players.of_mut(account) {
            player.ship = Ship::Loading(token);
        }
    }

    fn new_ship(&mut self, space: &mut Space, account: AccountId) {
        let tick = space.clock.tick;
        let Some(player) = self.players.of_mut(account) else { return };
        player.ships_flown += 1;
        let record = worldgen::new_ship(account, &player.name, tick, tick.0);
        space.tally.created += 1;
        #[cfg(feature = "journal")]
        space.journal.ship_made(account, record.id);
        self.storage.set_ship(account, record.id);
        self.board(space, account, record);
    }

    /// Assigns the pilot and starts the ship's admission.
    fn board(&mut self, space: &mut Space, account: AccountId, mut record: EntityRecord) {
        let Some(net_id) = space.mirror.new_net_id() else {
            log_limited!(warn, "all net ids of this run are used up: restart the server");
            return;
        };
        let boarding = self.players.next_boarding();
        let rewind = self.players.of(account).map_or(0, |player| player.rewind);
        record.net_id = net_id;
        record.tick = space.clock.tick;
        record.owner = Some(account);
        record.set(Pilot::aboard(boarding, rewind));
        record.remove::<SettledAt>();
        record.remove::<GunReady>();
        #[cfg(feature = "journal")]
        space.journal.boarded(account, &record);
        if let Some(player) = self.players.of_mut(account) {
            player.inputs.clear();
            player.ship = Ship::Waiting(Box::new(record));
        }
    }

    /// The record of a waiting ship, whose admission starts now.
    fn start_admission(&mut self, account: AccountId) -> Option<Box<EntityRecord>> {
        let player = self.players.of_mut(account)?;
        let Ship::Waiting(record) = &player.ship else { return None };
        let record = record.clone();
        player.ship = Ship::Admitting(record.id);
        Some(record)
    }

    /// The ship has an authority and is in the world: its owner controls it from now on.
    fn ship_admitted(&mut self, space: &mut Space, owner: AccountId, id: EntityId, net_id: NetId) {
        let boarding = space.mirror.get(id).and_then(|entry| entry.record.pilot()).map_or(0, |pilot| pilot.boarding);
        match self.players.by_account.get(&owner).copied() {
            Some(address) => {
                // The session may differ from the one for which it was brought in. The ship must not be fetched then.
                self.players.adrift.remove(&id);
                if let Some(player) = self.players.by_address.get_mut(&address) {
                    player.ship = Ship::Flying(id);
                    player.boarding = boarding;
                    log_limited!(info, name = %player.name, %id, "in space");
                }
                self.link.notify(&address, ToPlayer::ShipAssigned(ShipAssigned::of(id, net_id)));
                self.goods.tell(owner);
            }
            // Its player left during the admission.
            None => {
                let adrift = DisconnectedShip { since: space.clock.tick, asked: None };
                self.players.adrift.insert(id, (owner, adrift));
            }
        }
    }

    /// No shard accepted the ship: it waits for another attempt.
    fn ship_homeless(&mut self, space: &Space, record: Box<EntityRecord>) {
        let Some(owner) = record.owner else { return };
        if space.mirror.get(record.id).is_some() {
            // Its shard was lost before the commit; the ship is one of the mirror's orphans, which are rehomed.
            return;
        }
        match self.players.of_mut(owner) {
            Some(player) => player.ship = Ship::Waiting(record),
            None => {
                self.goods.leaving.account_left(owner, Some(record.id));
                self.storage.put(&record);
            }
        }
    }

    /// A shard has withdrawn a ship.
    pub fn on_withdrawn(&mut self, space: &mut Space, shard: ShardId, record: EntityRecord) {
        let id = record.id;
        if !space.mirror.is_authority(shard, id, record.epoch) || space.mirror.check_record(&record).is_err() {
            space.tally.stale += 1;
            return;
        }
        // The record may be older than a completed deal: the deal's result stays, only the position is newer.
        let known = space.mirror.get(id).map(|entry| &entry.record).filter(|known| known.fence() > record.fence());
        let record = match known {
            Some(known) => {
                let mut newest = EntityRecord { state: record.state, tick: record.tick, ..known.clone() };
                newest.set_or_remove(record.pilot());
                newest
            }
            None => record,
        };
        self.transfers.entity_gone(id, space.clock.tick);
        space.leave_mirror(id);
        space.tally.impacts_lost += self.transfers.forget_kept(id);
        space.tally.stored += 1;
        #[cfg(feature = "journal")]
        space.journal.stored(&record);
        let owner = self.players.adrift.remove(&id).map(|(owner, _)| owner);
        self.storage.put(&record);
        // The player has returned already: the ship goes back into the world.
        let returning =
            owner.filter(|owner| self.players.of(*owner).is_some_and(|player| player.ship == Ship::Returning(id)));
        match (returning, record.owner) {
            (Some(owner), _) => self.board(space, owner, record),
            (None, Some(owner)) => self.goods.leaving.account_left(owner, Some(id)),
            (None, None) => {}
        }
    }

    /// A player requests another ship.
    pub fn on_respawn(&mut self, space: &mut Space, address: SocketAddr) {
        let Some(player) = self.players.by_address.get(&address) else { return };
        let account = player.account;
        let mut refused = String::new();
        if player.ship == Ship::Lost {
            space.tally.respawns += 1;
            self.new_ship(space, account);
        } else {
            "your ship is still there".clone_into(&mut refused);
        }
        self.link.notify(&address, ToPlayer::RespawnReply(RespawnReply { refused }));
    }
}

/// Offers waiting ships to shards.
pub fn admit_waiting_ships(mut space: Space, mut both: ParamSet<(HandoffEffects, Ships)>) {
    let is_waiting = |ship: &Ship| matches!(ship, Ship::Waiting(_));
    let waiting: Vec<AccountId> = both
        .p1()
        .players
        .by_address
        .values()
        .filter(|player| is_waiting(&player.ship))
        .map(|player| player.account)
        .collect();
    for account in waiting {
        let Some(record) = both.p1().start_admission(account) else { continue };
        let admitted = both.p0().admit(&mut space, record);
        let mut ships = both.p1();
        match admitted {
            Ok(news) => ships.on_news(&mut space, news),
            Err(record) => {
                if let Some(player) = ships.players.of_mut(account) {
                    player.ship = Ship::Waiting(record);
                }
            }
        }
    }
}

/// Withdraws ships from the world whose players have not returned in time.
pub fn fetch_adrift_ships(mut space: Space, mut ships: Ships, deals: Res<Deals>) {
    let now = space.clock.tick;
    let adrift: Vec<(EntityId, AccountId, DisconnectedShip)> =
        ships.players.adrift.iter().map(|(id, (account, adrift))| (*id, *account, *adrift)).collect();
    for (id, account, adrift) in adrift {
        // The shard that should withdraw it no longer has it: a session that waits for it gets it where it is.
        let waits = ships.players.of(account).is_some_and(|player| player.ship == Ship::Returning(id));
        if waits && space.mirror.get(id).is_some() && !ships.is_given_back(&space, id) {
            ships.take_helm(&mut space, account, id);
            continue;
        }
        if now.since(adrift.since) < GRACE_TICKS || ships.transfers.machine.is_offered(id) {
            continue;
        }
        match space.mirror.get(id).map(|entry| entry.holder) {
            // Its deal ends first.
            Some(_) if deals.concern(id) => {}
            Some(Holder::Shard(shard)) if adrift.asked != Some(shard) => {
                if let Some((_, adrift)) = ships.players.adrift.get_mut(&id) {
                    adrift.asked = Some(shard);
                }
                ships.link.to_shard(shard, &ToShard::Withdraw { id });
            }
            Some(_) => {}
            // It never entered, or was destroyed: there is nothing to wait for.
            None => {
                if let Some((owner, _)) = ships.players.adrift.remove(&id) {
                    ships.goods.leaving.account_left(owner, Some(id));
                }
                if waits {
                    let token = ships.storage.request_ship(account);
                    if let Some(player) = ships.players.of_mut(account) {
                        player.ship = Ship::Loading(token);
                    }
                }
            }
        }
    }
}
