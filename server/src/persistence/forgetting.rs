//! Frees unused state, so that a long-running server is only as large as its present world: balances of holders that
//! have left, empty naia rooms and motion plane cells, times of handoffs that failed.
//!
//! The list of everything that can grow, with its limits, is in docs/ARCHITECTURE.md.

use crate::{
    economy::{deals::Deals, goods::Goods, trades::Trades},
    handoff::transfers::HandoffState,
    persistence::storage::Storage,
    players::session::Players,
    replication::space::Space,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Res, ResMut},
};
use sidereal_protocol::world::{sector::SectorId, tick::TICK_HZ};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Interval, ticks: once a second.
const INTERVAL_TICKS: u64 = TICK_HZ as u64;

/// What may still need the balances of a holder that has left.
#[derive(SystemParam)]
pub struct Leavers<'w, 's> {
    space: Space<'w, 's>,
    storage: Res<'w, Storage>,
    goods: ResMut<'w, Goods>,
    deals: Res<'w, Deals>,
    trades: Res<'w, Trades>,
    players: Res<'w, Players>,
}

impl Leavers<'_, '_> {
    /// Removes unneeded balances from the ledger's memory. A balance that is not in memory counts as zero, so those
    /// that a deal, a ship or a running read may need are kept.
    fn forget_goods(&mut self) {
        let mut left: Vec<Uuid> = Vec::new();
        for id in std::mem::take(&mut self.goods.leaving.entities) {
            self.goods.forget_old_requests(id);
            if self.deals.concern(id) || self.trades.concern_ship(id) {
                self.goods.leaving.entities.insert(id);
            } else if self.space.mirror.get(id).is_none() {
                left.push(id.0);
            }
        }
        for (account, ship) in std::mem::take(&mut self.goods.leaving.accounts) {
            // The player returned, or the ship is still there: they will leave again.
            if self.players.is_here(account) {
                continue;
            }
            if self.deals.concern_account(account) || self.trades.concern_account(account) {
                self.goods.leaving.accounts.insert((account, ship));
                continue;
            }
            left.push(account.0);
            left.extend(ship.filter(|ship| self.space.mirror.get(*ship).is_none()).map(|ship| ship.0));
        }
        if let Some(store) = self.storage.store().filter(|_| !left.is_empty()) {
            store.leave(left);
        }
    }
}

/// Destroys naia's rooms that were empty at two consecutive checks. By then the departures were sent: until naia's
/// next sending, a room holds which peers must be sent that an entity left their scope.
fn close_rooms(space: &mut Space) {
    let mut empty: BTreeSet<SectorId> = BTreeSet::new();
    for (sector, room) in space.replicas.rooms.iter() {
        let room = space.replicas.naia.room(&room);
        if room.users_count() == 0 && room.entities_count() == 0 {
            empty.insert(sector);
        }
    }
    for sector in space.replicas.rooms.empty_again(empty) {
        if let Some(room) = space.replicas.rooms.remove(sector) {
            space.replicas.naia.room_mut(&room).destroy();
        }
    }
}

/// Runs once a second.
pub fn forget_what_is_over(mut leavers: Leavers, mut transfers: ResMut<HandoffState>) {
    let now = leavers.space.clock.tick;
    if !now.0.is_multiple_of(INTERVAL_TICKS) {
        return;
    }
    leavers.forget_goods();
    close_rooms(&mut leavers.space);
    leavers.space.motion.tidy(now);
    transfers.forget_times();
}
