//! Ships come and go with their players: from the database into the world, to another session, and back.

use crate::{
    audit::aside::Why,
    core::Core,
    handoff::machine::Event,
    players::{
        input_log::InputLog,
        rewind,
        session::{Adrift, INPUT_PACKETS_PER_SECOND, Player, Ship},
    },
    replication::mirror::Holder,
    territory::{seeds, worldgen},
};
use sidereal_process::log_limited;
use sidereal_protocol::{
    control::ToShard,
    ids::{AccountId, EntityId, NetId, ShardId},
    messages::{self, RespawnReply, ShipAssigned, TAKEN_OVER, ToPlayer, Welcome},
    record::{EntityRecord, Pilot},
    tick::{SimTick, TICK_HZ},
};
use sidereal_transport::{EndCause, SessionEnd};
use std::net::SocketAddr;

/// How long a ship stays in the world without its player, ticks: 5 s.
const GRACE_TICKS: u64 = 5 * TICK_HZ as u64;

/// What a player is told whose ship was set aside...
const SET_ASIDE: &str = "your ship makes the world's servers fail, so it was set aside: it is kept as it is, and whoever \
    runs this world can give it back; you get another one to go on with";

/// ...and whose ship is only held back.
const HELD_BACK: &str = "part of the world has failed, and your ship is held back until it is known why: wait a moment";

impl Core<'_, '_> {
    /// A player has connected. A session that the account still has is taken over.
    pub fn player_connected(&mut self, address: SocketAddr, account: AccountId, name: String) {
        log_limited!(info, %name, %account, "player connected");
        let before = self.players.by_account.get(&account).copied().and_then(|old| {
            self.link.transport.close(&old, TAKEN_OVER);
            self.end_session(old, &SessionEnd::new(EndCause::ClosedHere, TAKEN_OVER))
        });
        let ship = self.ship_for(account, before.map(|player| player.ship));
        let welcome = Welcome {
            sim_tick: self.space.clock.tick.0,
            naia_tick: self.space.clock.naia_tick,
            account_high: account.0.as_u64_pair().0,
            account_low: account.0.as_u64_pair().1,
            sky_seed: seeds::sky(self.space.storage.world_seed),
        };
        let in_the_world = match &ship {
            Ship::Flying(id) => Some(*id),
            _ => None,
        };
        let is_held_back = matches!(ship, Ship::HeldBack(_));
        let rewind = rewind::measured(&self.link, &self.space.naia, &address).unwrap_or(0);
        self.players.by_account.insert(account, address);
        self.players.by_address.insert(
            address,
            Player {
                account,
                name,
                ship,
                boarding: 0,
                rewind,
                inputs: InputLog::default(),
                own_states: Vec::new(),
                own_tick: SimTick(0),
                packet_allowance: INPUT_PACKETS_PER_SECOND,
                violations: 0,
                ships_flown: 0,
            },
        );
        self.space.tally.players_max = self.space.tally.players_max.max(self.players.len() as u64);
        self.link.notify(&address, ToPlayer::Welcome(welcome));
        if let Some(id) = in_the_world {
            self.take_helm(account, id);
        }
        if is_held_back {
            self.tell(account, HELD_BACK);
        }
    }

    /// Where the ship of an account is whose session begins: wherever the session before had it, or where it drifts.
    fn ship_for(&mut self, account: AccountId, before: Option<Ship>) -> Ship {
        let adrift = self.players.adrift.iter().find(|(_, (owner, _))| *owner == account).map(|(id, _)| *id);
        let id = match before {
            Some(Ship::Flying(id)) => Some(id),
            Some(Ship::Lost) | None => adrift,
            Some(ship) => return ship,
        };
        match id {
            Some(id) if self.is_given_back(id) => Ship::Returning(id),
            Some(id) if self.space.mirror.get(id).is_some() => Ship::Flying(id),
            Some(id) if self.transfers.machine.is_offered(id) => {
                self.players.adrift.remove(&id);
                Ship::Admitting(id)
            }
            _ => Ship::Loading(self.space.storage.request_ship(account)),
        }
    }

    /// Whether the shard that has a ship was asked to give it back.
    fn is_given_back(&self, id: EntityId) -> bool {
        let asked = self.players.asked_for(id);
        asked.is_some_and(|asked| self.space.mirror.get(id).is_some_and(|entry| entry.holder == Holder::Shard(asked)))
    }

    /// An account's session takes the helm of the ship that it has in the world. The ship stays where it is, whatever
    /// befalls it there; what an earlier session has sent is void.
    fn take_helm(&mut self, account: AccountId, id: EntityId) {
        let boarding = self.players.next_boarding();
        let Some(player) = self.players.of_mut(account) else { return };
        let rewind = player.rewind;
        player.inputs.clear();
        let Some(entry) = self.space.mirror.get_mut(id) else { return };
        entry.record.pilot = Some(Pilot::aboard(boarding, rewind));
        let (holder, net_id) = (entry.holder, entry.record.net_id);
        #[cfg(feature = "journal")]
        self.journal.taken_over(id, boarding);
        if let Holder::Shard(shard) = holder {
            self.link.to_shard(shard, &ToShard::Inputs { id, boarding, rewind, inputs: Vec::new() });
        }
        self.space.tally.takeovers += 1;
        self.ship_admitted(account, id, net_id);
        self.trades.tell_offers_to(account, &self.players, &mut self.link);
    }

    /// Forgets a session; what it was.
    fn end_session(&mut self, address: SocketAddr, end: &SessionEnd) -> Option<Player> {
        let player = self.players.by_address.remove(&address)?;
        if self.players.by_account.get(&player.account) == Some(&address) {
            self.players.by_account.remove(&player.account);
        }
        self.space.tally.inputs_received += player.inputs.received;
        self.interest.forget(&address);
        log_limited!(info, name = %player.name, cause = ?end.cause, reason = %end.reason, "player left");
        if end.cause.is_drop() {
            self.space.tally.sessions_dropped += 1;
        }
        Some(player)
    }

    /// A player has gone: the ship stays for a while.
    pub fn player_gone(&mut self, address: SocketAddr, end: &SessionEnd) {
        let Some(player) = self.end_session(address, end) else { return };
        let waiting = match &player.ship {
            Ship::Waiting(record) => Some(record.id),
            Ship::HeldBack(id) => Some(*id),
            _ => None,
        };
        self.goods.leaving.account_left(player.account, waiting);
        if let Ship::Flying(id) | Ship::Admitting(id) | Ship::Returning(id) = player.ship {
            let adrift = Adrift { since: self.space.clock.tick, asked: None };
            // One that is given back is there already.
            self.players.adrift.entry(id).or_insert((player.account, adrift));
        }
    }

    /// The database has answered for a player's ship.
    pub fn ship_loaded(&mut self, token: u64, record: Option<EntityRecord>) {
        let found = self
            .players
            .by_address
            .values()
            .find(|player| player.ship == Ship::Loading(token))
            .map(|player| player.account);
        let Some(account) = found else { return };
        match record {
            Some(record) => match self.aside.why(record.id) {
                None => self.board(account, record),
                Some(Why::Guilty) => {
                    self.tell(account, SET_ASIDE);
                    self.new_ship(account);
                }
                Some(Why::Suspect) => {
                    if let Some(player) = self.players.of_mut(account) {
                        player.ship = Ship::HeldBack(record.id);
                    }
                    self.tell(account, HELD_BACK);
                }
            },
            None => self.new_ship(account),
        }
    }

    /// A ship was set aside: its player is told, and gets another one like after its end. One that is only held back
    /// is waited for.
    pub fn ship_set_aside(&mut self, record: &EntityRecord, why: Why) {
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
                    victim_hull: record.hull_kind.map_or(u8::MAX, |hull| hull as u8),
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

    /// A ship that was held back is free: who waits for it gets it. It is in the database for everybody else.
    pub fn ship_put_back(&mut self, record: EntityRecord) {
        let Some(owner) = record.owner else { return };
        if self.players.of(owner).is_some_and(|player| player.ship == Ship::HeldBack(record.id)) {
            self.board(owner, record);
        }
    }

    fn tell(&mut self, account: AccountId, text: &str) {
        if let Some(address) = self.players.by_account.get(&account).copied() {
            self.link.notify(&address, ToPlayer::Said(messages::Said::notice(text.to_owned())));
        }
    }

    /// A read of a ship failed: it is asked for again, so that no second ship is made.
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
        let token = self.space.storage.request_ship(account);
        if let Some(player) = self.players.of_mut(account) {
            player.ship = Ship::Loading(token);
        }
    }

    fn new_ship(&mut self, account: AccountId) {
        let tick = self.space.clock.tick;
        let Some(player) = self.players.of_mut(account) else { return };
        player.ships_flown += 1;
        let record = worldgen::new_ship(account, &player.name, tick, tick.0);
        self.space.tally.created += 1;
        #[cfg(feature = "journal")]
        self.journal.ship_made(account, record.id);
        self.space.storage.set_ship(account, record.id);
        self.board(account, record);
    }

    /// Puts a player aboard and the ship on its way into the world.
    fn board(&mut self, account: AccountId, mut record: EntityRecord) {
        let Some(net_id) = self.space.mirror.new_net_id() else {
            log_limited!(warn, "all net ids of this run are used up: restart the server");
            return;
        };
        let boarding = self.players.next_boarding();
        let rewind = self.players.of(account).map_or(0, |player| player.rewind);
        record.net_id = net_id;
        record.tick = self.space.clock.tick;
        record.owner = Some(account);
        record.pilot = Some(Pilot::aboard(boarding, rewind));
        record.settled_at = SimTick(0);
        record.weapon_ready = SimTick(0);
        #[cfg(feature = "journal")]
        self.journal.boarded(account, &record);
        if let Some(player) = self.players.of_mut(account) {
            player.inputs.clear();
            player.ship = Ship::Waiting(Box::new(record));
        }
    }

    /// The ship has found an authority and is in the world, or was there: its owner flies it from now on.
    pub fn ship_admitted(&mut self, owner: AccountId, id: EntityId, net_id: NetId) {
        let boarding = self.space.mirror.get(id).and_then(|entry| entry.record.pilot).map_or(0, |pilot| pilot.boarding);
        match self.players.by_account.get(&owner).copied() {
            Some(address) => {
                // It may be another session than the one that the ship was brought in for: nobody is to fetch it then.
                self.players.adrift.remove(&id);
                if let Some(player) = self.players.by_address.get_mut(&address) {
                    player.ship = Ship::Flying(id);
                    player.boarding = boarding;
                    log_limited!(info, name = %player.name, %id, "in space");
                }
                self.link.notify(&address, ToPlayer::ShipAssigned(ShipAssigned::of(id, net_id)));
                self.goods.tell(owner);
            }
            // Left while the ship was on its way in.
            None => {
                let adrift = Adrift { since: self.space.clock.tick, asked: None };
                self.players.adrift.insert(id, (owner, adrift));
            }
        }
    }

    /// No shard took the ship: it waits for another try.
    pub fn ship_homeless(&mut self, record: EntityRecord) {
        let Some(owner) = record.owner else { return };
        if self.space.mirror.get(record.id).is_some() {
            // Its shard died before the commit: the mirror's orphans are found a home.
            return;
        }
        match self.players.of_mut(owner) {
            Some(player) => player.ship = Ship::Waiting(Box::new(record)),
            None => {
                self.goods.leaving.account_left(owner, Some(record.id));
                self.store_ship(record);
            }
        }
    }

    /// A ship's hull has gone.
    pub fn ship_destroyed(&mut self, owner: AccountId, id: EntityId) {
        self.goods.leaving.account_left(owner, None);
        self.players.adrift.remove(&id);
        if let Some(player) = self.players.of_mut(owner)
            && (player.ship == Ship::Flying(id) || player.ship == Ship::Returning(id))
        {
            player.ship = Ship::Lost;
        }
    }

    /// A shard has given a ship back.
    pub fn on_withdrawn(&mut self, shard: ShardId, record: EntityRecord) {
        let id = record.id;
        if !self.space.mirror.is_authority(shard, id, record.epoch) || record.validate().is_err() {
            self.space.tally.stale += 1;
            return;
        }
        // Of before a deal that is done: what was paid for stays, only where it was is newer.
        let known = self.space.mirror.get(id).map(|entry| &entry.record).filter(|known| known.fence() > record.fence());
        let record = match known {
            Some(known) => {
                EntityRecord { state: record.state, tick: record.tick, pilot: record.pilot, ..known.clone() }
            }
            None => record,
        };
        self.transfer(Event::Gone { id });
        self.space.leave_mirror(id);
        self.space.tally.impacts_lost += self.transfers.forget_kept(id);
        self.space.tally.stored += 1;
        #[cfg(feature = "journal")]
        self.journal.stored(&record);
        let owner = self.players.adrift.remove(&id).map(|(owner, _)| owner);
        self.store_ship(record.clone());
        // The player is back already: straight into the world again.
        let returning =
            owner.filter(|owner| self.players.of(*owner).is_some_and(|player| player.ship == Ship::Returning(id)));
        match (returning, record.owner) {
            (Some(owner), _) => self.board(owner, record),
            (None, Some(owner)) => self.goods.leaving.account_left(owner, Some(id)),
            (None, None) => {}
        }
    }

    fn store_ship(&mut self, record: EntityRecord) {
        self.space.storage.put(&record);
    }

    /// A player wants another ship.
    pub fn on_respawn(&mut self, address: SocketAddr) {
        let Some(player) = self.players.by_address.get(&address) else { return };
        let account = player.account;
        let mut refused = String::new();
        if player.ship == Ship::Lost {
            self.space.tally.respawns += 1;
            self.new_ship(account);
        } else {
            "your ship is still there".clone_into(&mut refused);
        }
        self.link.notify(&address, ToPlayer::RespawnReply(RespawnReply { refused }));
    }

    /// Looks how long the way to each player is; shards are told with the next inputs.
    fn measure_links(&mut self) {
        let addresses: Vec<SocketAddr> = self.players.addresses().collect();
        for address in addresses {
            if let Some(rewind) = rewind::measured(&self.link, &self.space.naia, &address)
                && let Some(player) = self.players.by_address.get_mut(&address)
            {
                player.rewind = rewind;
            }
        }
    }
}

/// Sends waiting ships into the world, and ships without a player out of it.
pub fn tend_ships(mut core: Core) {
    let now = core.space.clock.tick;
    let whole_second = now.0.is_multiple_of(u64::from(TICK_HZ));
    if whole_second {
        core.measure_links();
    }
    let mut waiting: Vec<AccountId> = Vec::new();
    for player in core.players.by_address.values_mut() {
        if whole_second {
            player.packet_allowance = INPUT_PACKETS_PER_SECOND;
        }
        if matches!(player.ship, Ship::Waiting(_)) {
            waiting.push(player.account);
        }
    }
    for account in waiting {
        let Some(player) = core.players.of_mut(account) else { continue };
        let Ship::Waiting(record) = &player.ship else { continue };
        let record = (**record).clone();
        let id = record.id;
        player.ship = Ship::Admitting(id);
        if let Some(record) = core.admit(record)
            && let Some(player) = core.players.of_mut(account)
        {
            player.ship = Ship::Waiting(Box::new(record));
        }
    }
    let adrift: Vec<(EntityId, AccountId, Adrift)> =
        core.players.adrift.iter().map(|(id, (account, adrift))| (*id, *account, *adrift)).collect();
    for (id, account, adrift) in adrift {
        // The shard that was to give it back is not its shard any more: whoever waits for it has it where it is.
        let waits = core.players.of(account).is_some_and(|player| player.ship == Ship::Returning(id));
        if waits && core.space.mirror.get(id).is_some() && !core.is_given_back(id) {
            core.take_helm(account, id);
            continue;
        }
        if now.since(adrift.since) < GRACE_TICKS || core.transfers.machine.is_offered(id) {
            continue;
        }
        match core.space.mirror.get(id).map(|entry| entry.holder) {
            // Its deal ends first.
            Some(_) if core.deals.concern(id) => {}
            Some(Holder::Shard(shard)) if adrift.asked != Some(shard) => {
                if let Some((_, adrift)) = core.players.adrift.get_mut(&id) {
                    adrift.asked = Some(shard);
                }
                core.link.to_shard(shard, &ToShard::Withdraw { id });
            }
            Some(_) => {}
            // Never came in, or was destroyed: nothing to wait for.
            None => {
                if let Some((owner, _)) = core.players.adrift.remove(&id) {
                    core.goods.leaving.account_left(owner, Some(id));
                }
                if waits {
                    let token = core.space.storage.request_ship(account);
                    if let Some(player) = core.players.of_mut(account) {
                        player.ship = Ship::Loading(token);
                    }
                }
            }
        }
    }
}
