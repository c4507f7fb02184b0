//! Handles the database's replies and passes each to its requester.

use super::storage::Storage;
use crate::{
    audit::aside::Aside,
    db::StoreReply,
    economy::{dealing::DealDesk, goods::Goods},
    players::{session::Players, ships::Ships},
    replication::space::Space,
    territory::{granting::Grants, loading::Blocks},
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{ParamSet, Res, ResMut},
};
use sidereal_process::log_limited;
use sidereal_protocol::world::{ids::EntityId, sector::SectorId};
use tracing::error;

/// Replies of the database.
#[derive(SystemParam)]
pub struct Reads<'w> {
    /// The reads in progress.
    storage: ResMut<'w, Storage>,
    /// The players that are still connected.
    players: Res<'w, Players>,
    /// The holders that have left.
    goods: ResMut<'w, Goods>,
}

impl Reads<'_> {
    /// The next reply. The player of a requested ship may have left meanwhile.
    fn next(&mut self) -> Option<StoreReply> {
        let reply = self.storage.poll()?;
        if let StoreReply::Ship { token, .. } | StoreReply::Failed { token, .. } = &reply
            && let Some(account) = self.storage.ships.remove(token)
            && !self.players.is_here(account)
        {
            let ship = match &reply {
                StoreReply::Ship { ship: Some(row), .. } => Some(EntityId(row.id)),
                _ => None,
            };
            self.goods.leaving.account_left(account, ship);
        }
        Some(reply)
    }
}

/// Handles the database's replies.
pub fn take_answers(
    mut space: Space,
    aside: Res<Aside>,
    mut capabilities: ParamSet<(Reads, Blocks, Grants, Ships, DealDesk)>,
) {
    loop {
        let mut reads = capabilities.p0();
        let Some(reply) = reads.next() else { return };
        match reply {
            StoreReply::Sectors { token, sectors } => {
                let Some(block) = reads.storage.blocks.remove(&token) else { continue };
                let rows = sectors
                    .into_iter()
                    .map(|((x, y), generated, rows)| {
                        let records = rows.iter().filter_map(|row| reads.storage.readable(row)).collect();
                        (SectorId::new(x, y), generated, records)
                    })
                    .collect();
                if capabilities.p1().block_loaded(&mut space, block, rows) {
                    capabilities.p2().block_entered(&mut space, block);
                }
            }
            StoreReply::Ship { token, ship: Some(row) } => match reads.storage.readable_ship(&row) {
                Some(record) => {
                    let why = aside.why(record.id);
                    capabilities.p3().ship_loaded(&mut space, token, Some((record, why)));
                }
                // A ship that cannot be read is not replaced: that would lose it.
                None => error!(id = %row.id, "a player's ship cannot be read; see the line above"),
            },
            StoreReply::Ship { token, ship: None } => capabilities.p3().ship_loaded(&mut space, token, None),
            StoreReply::Deal { token, found } => capabilities.p4().deal_looked_up(&mut space, token, found),
            StoreReply::Failed { token, error } => {
                log_limited!(warn, %error, "a read from the database failed");
                match reads.storage.blocks.remove(&token) {
                    Some(block) => reads.storage.request_block(block),
                    None if capabilities.p4().deal_read_failed(&mut space, token) => {}
                    None => capabilities.p3().ship_read_failed(token),
                }
            }
        }
    }
}
