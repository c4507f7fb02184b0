//! Takes in what the database has answered: each answer goes to who has asked.

use crate::{core::Core, db::StoreReply};
use sidereal_process::log_limited;
use sidereal_protocol::{ids::EntityId, sector::SectorId};
use tracing::error;

/// Takes in what the database has answered.
pub fn take_answers(mut core: Core) {
    while let Some(reply) = core.space.storage.poll() {
        if let StoreReply::Ship { token, .. } | StoreReply::Failed { token, .. } = &reply
            && let Some(account) = core.space.storage.ships.remove(token)
            && !core.players.is_here(account)
        {
            // It was read for somebody who has gone meanwhile.
            let ship = match &reply {
                StoreReply::Ship { ship: Some(row), .. } => Some(EntityId(row.id)),
                _ => None,
            };
            core.goods.leaving.account_left(account, ship);
        }
        match reply {
            StoreReply::Sectors { token, sectors } => {
                let Some(block) = core.space.storage.blocks.remove(&token) else { continue };
                let rows = sectors
                    .into_iter()
                    .map(|((x, y), generated, rows)| {
                        let records = rows.iter().filter_map(|row| core.space.storage.readable(row)).collect();
                        (SectorId::new(x, y), generated, records)
                    })
                    .collect();
                core.block_loaded(block, rows);
            }
            StoreReply::Ship { token, ship: Some(row) } => match core.space.storage.readable(&row) {
                Some(record) => core.ship_loaded(token, Some(record)),
                // A ship that cannot be read is not replaced: that would lose it.
                None => error!(id = %row.id, "a player's ship cannot be read; see the line above"),
            },
            StoreReply::Ship { token, ship: None } => core.ship_loaded(token, None),
            StoreReply::Deal { token, found } => core.deal_looked_up(token, found),
            StoreReply::Failed { token, error } => {
                log_limited!(warn, %error, "a read from the database failed");
                match core.space.storage.blocks.remove(&token) {
                    Some(block) => core.space.storage.request_block(block),
                    None if core.deal_read_failed(token) => {}
                    None => core.ship_read_failed(token),
                }
            }
        }
    }
}
