//! The orderly shutdown: shards send their last records, and all changes go to the database.

use crate::{
    persistence::{hand_over::hand_over, storage::Storage},
    replication::space::Space,
    schedule::{ServerTick, TickSystems},
    territory::shards::Shards,
    traffic::link::Link,
};
use bevy::prelude::{App, IntoScheduleConfigs, Plugin, Res, ResMut, Resource};
use sidereal_protocol::{
    frames::control::ToShard,
    world::tick::{SimTick, TICK_HZ},
};
use tracing::{info, warn};

/// Time limit for the shards' last records, ticks: 5 s.
const DRAIN_TICKS: u64 = 5 * TICK_HZ as u64;

/// The state of the shutdown.
#[derive(Debug, Default, Resource)]
pub struct Shutdown {
    /// A shutdown was requested.
    pub requested: bool,
    since: Option<SimTick>,
    /// All changes are passed to the store: the run loop may end.
    pub complete: bool,
}

/// The orderly shutdown.
pub struct ShutdownPlugin;

impl Plugin for ShutdownPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Shutdown>().add_systems(ServerTick, update_shutdown.in_set(TickSystems::End));
    }
}

/// Requests the shards' last records once, waits for them up to the time limit, and passes all changes to the store.
pub fn update_shutdown(
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
        info!("shutting down: requesting the shards' last records");
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
        warn!("a shard has not sent its last records in time; the mirror's are stored");
    }
    hand_over(&mut space, &storage);
    shutdown.complete = true;
}
