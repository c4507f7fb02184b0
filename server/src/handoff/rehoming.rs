//! The handoffs' work per tick: timeouts, and new holders for entities that no shard holds.

use super::{
    effects::{HandoffEffects, ShipNews},
    machine::Event,
};
use crate::{
    economy::deals::Deals,
    players::ships::Ships,
    replication::{mirror::Holder, space::Space},
};
use bevy::prelude::{ParamSet, Res};
use sidereal_protocol::world::{
    ids::EntityId,
    tick::{SimTick, TICK_HZ},
};

/// Interval at which orphans are offered to a new holder, ticks.
const REHOME_INTERVAL_TICKS: u64 = TICK_HZ as u64 / 3;

/// Handles timeouts of handoffs, and offers orphans to new holders.
pub fn update_transfers(mut space: Space, mut both: ParamSet<(HandoffEffects, Ships)>, deals: Res<Deals>) {
    let news = both.p0().step(&mut space, Event::Tick);
    both.p1().on_news(&mut space, news);
    let SimTick(now) = space.clock.tick;
    if !now.is_multiple_of(REHOME_INTERVAL_TICKS) {
        return;
    }
    let news = rehome_orphans(&mut space, &mut both.p0(), &deals);
    both.p1().on_news(&mut space, news);
}

fn rehome_orphans(space: &mut Space, handoffs: &mut HandoffEffects, deals: &Deals) -> Vec<ShipNews> {
    let mut news = Vec::new();
    let orphans: Vec<EntityId> = space
        .mirror
        .iter()
        .filter(|(id, entry)| entry.holder == Holder::Server && !handoffs.transfers.machine.is_offered(*id))
        .filter(|(id, _)| !deals.concern(*id))
        .map(|(id, _)| id)
        .collect();
    for id in orphans {
        if let Some(mut record) = space.current_record(id) {
            // No shard has moved it since: it continues from its position, not from where it could have drifted to.
            record.tick = space.clock.tick;
            // Without a holder it stays an orphan and is tried again later.
            news.extend(handoffs.admit(space, Box::new(record)).unwrap_or_default());
        }
    }
    news
}
