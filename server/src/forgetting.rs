//! What is over is forgotten, so that a server of months is as large as the world that it has now: balances of who has
//! left, naia's rooms and the motion plane's cells that are empty, times of handoffs that came to nothing.
//!
//! The list of all that can grow, with its bounds, is in docs/ARCHITECTURE.md.

use crate::{core::Core, db::Store, http::MetricsText};
use sidereal_protocol::{
    ids::{AccountId, EntityId},
    sector::SectorId,
    tick::TICK_HZ,
};
use std::collections::BTreeSet;
use uuid::Uuid;

/// How often, ticks: once a second.
const INTERVAL_TICKS: u64 = TICK_HZ as u64;

/// Who has left, until it is sure that nothing needs what they have in memory.
#[derive(Debug, Default)]
pub struct Leaving {
    /// Destroyed: they never come back.
    entities: BTreeSet<EntityId>,
    /// Players who have gone, with the ship that was stored.
    accounts: BTreeSet<(AccountId, Option<EntityId>)>,
}

impl Leaving {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entities.len() + self.accounts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Core<'_, '_> {
    /// An entity was destroyed.
    pub fn entity_left(&mut self, id: EntityId) {
        self.goods.leaving.entities.insert(id);
    }

    /// A player's session or ship has left the world. It does no harm to say so of one who is still there.
    pub fn account_left(&mut self, account: AccountId, ship: Option<EntityId>) {
        self.goods.leaving.accounts.insert((account, ship));
    }

    /// Lets the ledger forget what is no longer needed. What is not in its memory counts as nothing, so that everything
    /// stays that a deal, a ship or a read under way may ask for.
    fn forget_goods(&mut self) {
        let mut left: Vec<Uuid> = Vec::new();
        for id in std::mem::take(&mut self.goods.leaving.entities) {
            self.goods.forget_askers(id);
            if self.deals.concern(id) || self.trades.concern_ship(id) {
                self.goods.leaving.entities.insert(id);
            } else if self.mirror.get(id).is_none() {
                left.push(id.0);
            }
        }
        for (account, ship) in std::mem::take(&mut self.goods.leaving.accounts) {
            // Back, or the ship is still there: they will leave again.
            if self.players.is_here(account) {
                continue;
            }
            if self.deals.concern_account(account) || self.trades.concern_account(account) {
                self.goods.leaving.accounts.insert((account, ship));
                continue;
            }
            left.push(account.0);
            left.extend(ship.filter(|ship| self.mirror.get(*ship).is_none()).map(|ship| ship.0));
        }
        if let Some(store) = self.storage.store().filter(|_| !left.is_empty()) {
            store.leave(left);
        }
    }

    /// Destroys naia's rooms in which nobody and nothing has been for two looks. What left in between has been told of: a
    /// room keeps until naia's next sending whom it has to tell that an entity is out of sight.
    fn close_rooms(&mut self) {
        let mut empty: BTreeSet<SectorId> = BTreeSet::new();
        for (sector, room) in self.rooms.iter() {
            let room = self.naia.room(&room);
            if room.users_count() == 0 && room.entities_count() == 0 {
                empty.insert(sector);
            }
        }
        for sector in self.rooms.empty_again(empty) {
            if let Some(room) = self.rooms.remove(sector) {
                self.naia.room_mut(&room).destroy();
            }
        }
    }
}

impl Core<'_, '_> {
    /// How much is in each map that a run can grow, and what was removed from the database.
    pub fn tell_sizes(&self, text: &mut MetricsText) {
        let store = self.storage.store();
        let (balances, leaving) = store.map(Store::known_balances).unwrap_or_default();
        let sizes = [
            ("mirror", self.mirror.len()),
            ("motion", self.motion.len()),
            ("motion_sectors", self.motion.sectors()),
            ("rooms", self.rooms.len()),
            ("lingering", self.rooms.lingering()),
            ("naia_rooms", self.naia.rooms_count()),
            ("naia_users", self.naia.users_count()),
            ("blocks", self.leases.table.len()),
            ("views", self.interest.len()),
            ("adrift", self.players.adrift()),
            ("transfers", self.transfers.machine.len()),
            ("transfer_times", self.transfers.times()),
            ("audit", self.audit.len()),
            ("deals", self.deals.len()),
            ("trades", self.trades.len()),
            ("leaving", self.goods.leaving.len() + leaving),
            ("balances", balances),
            ("reads", self.storage.reads()),
            ("chat", self.chat.len()),
            ("samples", self.tally.samples()),
        ];
        text.gauges("sidereal_entries", "Entries of what a run can grow, by map.", "map", &sizes);
        text.gauge("sidereal_resident_kib", "Resident memory.", sidereal_process::rss_kb().unwrap_or(0));
        text.counter("sidereal_blocks_refused_total", "Blocks that found no room.", self.leases.table.refused);
        let pruned = store.map(Store::pruned).unwrap_or_default();
        for (name, count) in [
            ("deals", pruned.deals),
            ("postings", pruned.postings),
            ("tombstones", pruned.tombstones),
            ("balances", pruned.balances),
            ("sessions", pruned.sessions),
            ("pages", pruned.pages),
        ] {
            text.counter(&format!("sidereal_pruned_{name}_total"), "Removed from the database.", count);
        }
    }
}

/// Forgets, once a second.
pub fn forget_what_is_over(mut core: Core<'_, '_>) {
    let now = core.clock.tick;
    if !now.0.is_multiple_of(INTERVAL_TICKS) {
        return;
    }
    core.forget_goods();
    core.close_rooms();
    core.motion.tidy(now);
    core.transfers.forget_times();
}
