//! What handoffs do once a tick: their timeouts, and a new home for what no shard holds.

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
use sidereal_protocol::{
    ids::EntityId,
    tick::{SimTick, TICK_HZ},
};

/// Orphans look for a new holder this often, ticks.
const REHOME_INTERVAL_TICKS: u64 = TICK_HZ as u64 / 3;

/// Timeouts of handoffs, and a new home for what no shard holds.
pub fn tend_transfers(mut space: Space, mut both: ParamSet<(HandoffEffects, Ships)>, deals: Res<Deals>) {
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
            // Nobody has moved it since: it goes on from where it is, not from where it might have come to.
            record.tick = space.clock.tick;
            // Without a holder it stays an orphan, which is looked at again.
            news.extend(handoffs.admit(space, Box::new(record)).unwrap_or_default());
        }
    }
    news
}
