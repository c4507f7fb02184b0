//! Connects the ledger with shards and players: ore that moves in space, and updates of changed holdings.
//!
//! The ledger (`db::Store`) decides. Shards propose moves and get the results; players see the ore of rocks and crates
//! through [`OreDeposit`], and their own holdings in their [`Purse`].

use super::leaving::Leaving;
use crate::{
    clock::Clock,
    db::{Change, Commodity, Fence, Holder, HolderKind, Move},
    economy::ore::units,
    persistence::storage::{Storage, row_of, signed},
    players::session::Players,
    replication::{
        mirror::{Holder as Authority, Mirror},
        space::Space,
    },
    traffic::link::Link,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Query, Res, ResMut, Resource},
};
use sidereal_process::log_limited;
use sidereal_protocol::{
    components::OreDeposit,
    frames::{
        control::ToShard,
        messages::{Purse, ToPlayer},
    },
    record::EntityRecord,
    rules::economy::{OreMove, ore_of_rock},
    world::{
        ids::{AccountId, EntityId, ShardId},
        kind::Ore,
        tick::SimTick,
    },
};
use std::{collections::BTreeSet, net::SocketAddr};

/// Interval of purse updates, ticks: five a second.
const PURSE_INTERVAL_TICKS: u64 = 6;

/// Holdings whose updates must be sent.
#[derive(Debug, Default, Resource)]
pub struct Goods {
    /// Rocks and crates that ore was moved from, with the shard that proposed the move, until the update is sent: it
    /// may not be the rock's own shard.
    askers: BTreeSet<(EntityId, ShardId)>,
    stale_lodes: BTreeSet<EntityId>,
    stale_purses: BTreeSet<AccountId>,
    /// Holders that have left, for [`crate::persistence::forgetting`].
    pub(crate) leaving: Leaving,
}

impl Goods {
    /// Cancels updates about this entity.
    pub(crate) fn forget_old_requests(&mut self, id: EntityId) {
        let range = (id, ShardId(0))..=(id, ShardId(u32::MAX));
        self.askers.extract_if(range, |_| true).for_each(drop);
    }

    /// Marks an account's purse for an update.
    pub fn tell(&mut self, account: AccountId) {
        self.stale_purses.insert(account);
    }
}

/// Sends updates of holdings to shards and pilots.
#[derive(SystemParam)]
pub struct Holdings<'w> {
    clock: Res<'w, Clock>,
    storage: Res<'w, Storage>,
    mirror: Res<'w, Mirror>,
    players: Res<'w, Players>,
    goods: ResMut<'w, Goods>,
    link: ResMut<'w, Link>,
}

/// Ore that moves in space.
#[derive(SystemParam)]
pub struct OreMoves<'w> {
    /// The shards that get the results.
    goods: ResMut<'w, Goods>,
    /// The ledger.
    storage: Res<'w, Storage>,
}

impl OreMoves<'_> {
    /// A shard's ship has mined a rock, or picked up a crate.
    pub fn on_ore_move(&mut self, space: &mut Space, shard: ShardId, order: OreMove) {
        let ship = space.mirror.get(order.to).filter(|entry| entry.holder == Authority::Shard(shard));
        let from = space.mirror.get(order.from);
        let (Some(ship), Some(from)) = (ship, from) else {
            space.tally.stale += 1;
            return;
        };
        let born_with = match from.record.kind.spec().ore {
            Ore::Deposit => ore_of_rock(from.record.radius()),
            Ore::Cargo => 0,
            Ore::None | Ore::Hold => {
                log_limited!(warn, %shard, from = %order.from, "ore can be taken from rocks and crates only");
                space.tally.violations += 1;
                return;
            }
        };
        let hold =
            ship.record.hull_kind().filter(|_| ship.record.kind.spec().ore == Ore::Hold).map_or(0, |hull| hull.hold());
        self.goods.askers.insert((order.from, shard));
        if let Some(store) = self.storage.store() {
            // A holder of a balance needs a row: it is stored in the same transaction as its first balance.
            for record in [&from.record, &ship.record] {
                if store.balance(Holder::entity(record.id.0), Commodity::Ore).is_none()
                    && let Some(row) = row_of(record)
                {
                    store.link(Change::Put(row), false);
                }
            }
            store.move_goods(Move {
                from: Holder::entity(order.from.0),
                to: Holder::entity(order.to.0),
                commodity: Commodity::Ore,
                amount: i64::from(order.ore),
                room: i64::from(hold),
                born_with: i64::from(born_with),
                links: Vec::new(),
            });
        }
    }
}

/// An entity was destroyed: its cargo moves to its wreck, or is lost, in one transaction with its tombstone and the
/// wreck.
pub fn move_cargo_to_wreck(
    storage: &Storage,
    gone: &EntityRecord,
    (epoch, version): (u64, u64),
    tick: SimTick,
    wreck: Option<&EntityRecord>,
) {
    let holder = Holder::entity(gone.id.0);
    let Some(store) = storage.store() else { return };
    if wreck.is_none() && store.balance(holder, Commodity::Ore).is_none() {
        return;
    }
    let fence = Fence { epoch: signed(epoch), version: signed(version), tick: signed(tick.0), deleted: true };
    let mut links = vec![Change::Tombstone { id: gone.id.0, fence }];
    links.extend(wreck.and_then(row_of).map(Change::Put));
    store.move_goods(Move {
        from: holder,
        to: wreck.map_or(Holder::VOID, |wreck| Holder::entity(wreck.id.0)),
        commodity: Commodity::Ore,
        amount: i64::MAX,
        room: i64::MAX,
        born_with: 0,
        links,
    });
}

impl Holdings<'_> {
    fn send_holdings(&mut self) {
        let changed = self.storage.store().map(|store| store.take_changed()).unwrap_or_default();
        for holder in changed {
            match holder.kind {
                HolderKind::Entity => self.send_to_entity(EntityId(holder.id)),
                HolderKind::Wallet | HolderKind::Vault => self.goods.tell(AccountId(holder.id)),
                HolderKind::World | HolderKind::Market | HolderKind::Void => {}
            }
        }
    }

    fn send_to_entity(&mut self, id: EntityId) {
        let range = (id, ShardId(0))..=(id, ShardId(u32::MAX));
        let askers: Vec<(EntityId, ShardId)> = self.goods.askers.range(range).copied().collect();
        for asker in &askers {
            self.goods.askers.remove(asker);
        }
        let Some(entry) = self.mirror.get(id) else { return };
        let ore = self.storage.ore_in(&entry.record);
        let authority = entry.holder.shard();
        if let Some(owner) = entry.record.owner {
            self.goods.tell(owner);
        }
        if entry.record.kind.spec().shows_ore() {
            self.goods.stale_lodes.insert(id);
        }
        let told: BTreeSet<ShardId> = askers.into_iter().map(|(_, shard)| shard).chain(authority).collect();
        for shard in told {
            self.link.to_shard(shard, &ToShard::Holdings { id, ore });
        }
    }

    /// An account's purse; `None` while it has no ship in space.
    fn purse(&self, account: AccountId) -> Option<(SocketAddr, Purse)> {
        let (address, ship) = self.players.flying_of(account)?;
        let record = &self.mirror.get(ship)?.record;
        let station = record.docked().and_then(|station| self.mirror.get(station));
        let stored =
            record.docked().map_or(0, |at| self.storage.balance(Holder::vault(account.0, at.0), Commodity::Ore));
        let purse = Purse {
            credits: self.storage.balance(Holder::wallet(account.0), Commodity::Credits).max(0) as u64,
            ore: self.storage.ore_in(record),
            hold: record.hull_kind().map_or(0, |hull| hull.hold()),
            fitted: record.fitted().0,
            docked: station.map_or(0, |station| station.record.net_id.0),
            stored: units(stored),
        };
        Some((address, purse))
    }
}

/// Sends changed holdings to shards and players.
pub fn send_balances(mut news: Holdings) {
    news.send_holdings();
    if !news.clock.tick.0.is_multiple_of(PURSE_INTERVAL_TICKS) {
        return;
    }
    for account in std::mem::take(&mut news.goods.stale_purses) {
        if let Some((address, purse)) = news.purse(account) {
            news.link.notify(&address, ToPlayer::Purse(purse));
        }
    }
}

/// Writes the remaining ore of rocks and crates into their naia components.
pub fn sync_lodes(
    mut goods: ResMut<Goods>,
    mirror: Res<Mirror>,
    storage: Res<Storage>,
    mut lodes: Query<&mut OreDeposit>,
) {
    for id in std::mem::take(&mut goods.stale_lodes) {
        let Some(entry) = mirror.get(id) else { continue };
        let (entity, ore) = (entry.entity, storage.ore_in(&entry.record));
        match lodes.get_mut(entity) {
            Ok(mut lode) => *lode.ore = ore,
            // It entered the mirror in this update: its components are added in the next one.
            Err(_) => {
                goods.stale_lodes.insert(id);
            }
        }
    }
}
