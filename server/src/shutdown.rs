//! The orderly end: shards hand in their last records, everything is given to the database.

use crate::core::Core;
use bevy::prelude::{ResMut, Resource};
use sidereal_protocol::{
    control::ToShard,
    ids::ShardId,
    tick::{SimTick, TICK_HZ},
};
use tracing::{info, warn};

/// How long shards may take to hand in their last records, ticks: 5 s.
const DRAIN_TICKS: u64 = 5 * TICK_HZ as u64;

/// Whether the server is to end, and how far it is.
#[derive(Debug, Default, Resource)]
pub struct Shutdown {
    /// Somebody wants it to end.
    pub requested: bool,
    since: Option<SimTick>,
    /// Everything is handed in: the run loop may end.
    pub complete: bool,
}

/// Asks the shards for their last records once, waits for them for a bounded time, hands everything to
/// the store.
pub fn tend_shutdown(mut core: Core<'_, '_>, mut shutdown: ResMut<'_, Shutdown>) {
    if !shutdown.requested || shutdown.complete {
        return;
    }
    let now = core.clock.tick;
    let Some(since) = shutdown.since else {
        info!("ending: asking the shards for their last records");
        shutdown.since = Some(now);
        let shards: Vec<ShardId> = core.shards.ids().collect();
        for shard in shards {
            core.to_shard(shard, &ToShard::Drain);
        }
        return;
    };
    let drained = core.shards.all_drained();
    if !drained && now.since(since) < DRAIN_TICKS {
        return;
    }
    if !drained {
        warn!("a shard has not handed in its last records in time; the mirror's are stored");
    }
    core.hand_over();
    shutdown.complete = true;
}
