//! An entity's end: it leaves the mirror, its cargo goes to its wreck, and peers that see it are notified.

use super::{interest::Interest, records::Records, space::Space};
use crate::{
    economy::goods::{Goods, move_cargo_to_wreck},
    handoff::transfers::HandoffState,
    players::session::Players,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Res, ResMut},
};
use sidereal_process::log_limited;
use sidereal_protocol::{
    frames::messages::{Destroyed, ToPlayer},
    record::EntityRecord,
    world::{
        ids::{EntityId, ShardId},
        tick::SimTick,
    },
};

/// Handles the end of entities: what wrecks need as new entities, and all capabilities that hold state of an entity.
#[derive(SystemParam)]
pub struct Ends<'w> {
    /// Adds the wreck; access to the database and to players.
    records: Records<'w>,
    /// Its handoff, and the kept impacts on it.
    transfers: ResMut<'w, HandoffState>,
    /// The session of its owner.
    players: ResMut<'w, Players>,
    /// Balances that the ledger may remove.
    goods: ResMut<'w, Goods>,
    /// The peers that see it.
    interest: Res<'w, Interest>,
}

/// The end of an entity, as its authority reports it.
pub struct End {
    /// The entity.
    pub id: EntityId,
    /// Its epoch and its last version.
    pub fence: (u64, u64),
    /// The tick of its end.
    pub tick: SimTick,
    /// The entity that destroyed it, if any.
    pub by: Option<EntityId>,
    /// Its wreck.
    pub wreck: Option<Box<EntityRecord>>,
}

impl Ends<'_> {
    /// An authority has destroyed an entity.
    pub fn on_destroyed(&mut self, space: &mut Space, shard: ShardId, end: End) {
        let End { id, fence, tick, by, wreck } = end;
        self.transfers.entity_gone(id, space.clock.tick);
        let sector = space.mirror.get(id).map(|entry| entry.record.sector);
        let by = by.and_then(|by| space.mirror.get(by)).map(|entry| &entry.record);
        let by = by.map(|by| (by.name.clone(), by.kind as u8, by.owner));
        let (by_name, by_kind, by_owner) = by.unwrap_or((String::new(), u8::MAX, None));
        let Some(gone) = space.leave_mirror(id) else { return };
        space.tally.impacts_lost += self.transfers.forget_kept(id);
        space.tally.destroyed += 1;
        #[cfg(feature = "journal")]
        space.journal.destroyed(id, fence.0);
        self.records.storage.tombstone(&gone.record, fence, tick);
        let wreck = wreck.filter(|wreck| {
            let good = self.records.is_good_wreck(space, shard, wreck);
            if !good {
                log_limited!(warn, %shard, %id, wreck = %wreck.id, "a wreck was rejected");
                space.tally.violations += 1;
            }
            good
        });
        if let Some(wreck) = &wreck {
            self.records.create(space, shard, (**wreck).clone());
        }
        move_cargo_to_wreck(&self.records.storage, &gone.record, fence, tick, wreck.as_deref());
        self.goods.leaving.entity_left(id);
        let owner = gone.record.owner;
        if gone.record.name.is_empty() {
            return;
        }
        for address in self.interest.players_seeing(sector.unwrap_or(gone.record.sector)) {
            let account = self.players.account_at(&address);
            let yours = owner.is_some() && account == owner;
            let news = ToPlayer::Destroyed(Destroyed {
                victim: gone.record.net_id.0,
                victim_name: gone.record.name.clone(),
                victim_kind: gone.record.kind as u8,
                victim_hull: gone.record.hull_number(),
                by_name: by_name.clone(),
                by_kind,
                by_you: by_owner.is_some() && account == by_owner,
                yours,
            });
            self.records.link.notify(&address, news);
        }
        if let Some(owner) = owner {
            self.goods.leaving.account_left(owner, None);
            self.players.ship_destroyed(owner, id);
        }
    }
}
