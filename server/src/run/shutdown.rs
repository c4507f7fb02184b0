//! The orderly end: shards hand in their last records, everything is given to the database.

use crate::{
    persistence::{hand_over::hand_over, storage::Storage},
    replication::space::Space,
    schedule::{ServerTick, TickSystems},
    territory::shards::Shards,
    traffic::link::Link,
};
use bevy::prelude::{App, IntoScheduleConfigs, Plugin, Res, ResMut, Resource};
use sidereal_protocol::{
    control::ToShard,
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

/// The orderly end.
pub struct ShutdownPlugin;

impl Plugin for ShutdownPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Shutdown>().add_systems(ServerTick, tend_shutdown.in_set(TickSystems::End));
    }
}

/// Asks the shards for their last records once, waits for them for a bounded time, hands everything to
/// the store.
pub fn tend_shutdown(
    mut space: Space,
    storage: Res<Storage>,
    mut link: ResMut<Link>,
    shards: Res<Shards>,
    mut shutdown: ResMut<Shutdown>,
) {
    if !shutdown.requested || shutdown.complete {
        return;
    }
    let now = space.clock.tick;
    let Some(since) = shutdown.since else {
        info!("ending: asking the shards for their last records");
        shutdown.since = Some(now);
        for shard in shards.ids() {
            link.to_shard(shard, &ToShard::Drain);
        }
        return;
    };
    let drained = shards.all_drained();
    if !drained && now.since(since) < DRAIN_TICKS {
        return;
    }
    if !drained {
        warn!("a shard has not handed in its last records in time; the mirror's are stored");
    }
    hand_over(&mut space, &storage);
    shutdown.complete = true;
}
