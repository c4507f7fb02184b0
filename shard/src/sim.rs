//! The simulation without any network: [`SimPlugin`].
//!
//! Runs in the shard, and alone in tests: control frames go into `Inbox<ToShard>`, due ticks into
//! `Inbox<SimTick>`, neighbours' motion into `Inbox<SectorUpdate>`; answers come out of
//! `Outbox<ToServer>` and `Outbox<LaneDatagram>`.

use crate::{
    beams::Beams,
    clock::SimClock,
    damage::Impacts,
    ghosts::{Announced, GhostNews},
    handoff::Handoffs,
    impacts::Felt,
    leases::{Leases, NetIds},
    mailbox::{Inbox, LaneDatagram, Outbox},
    physics,
    registry::Registry,
    report::Totals,
    schedule,
    spawner::Losses,
    weapons::Shots,
};
use bevy::{
    app::{TaskPoolOptions, TaskPoolPlugin},
    prelude::*,
};
use sidereal_protocol::{
    control::{ToServer, ToShard},
    motion::SectorUpdate,
    tick::SimTick,
};

/// Everything that a shard simulates.
pub struct SimPlugin;

impl Plugin for SimPlugin {
    fn build(&self, app: &mut App) {
        // One thread: shards share a machine, and a sector's bodies are done in a millisecond.
        app.add_plugins(TaskPoolPlugin { task_pool_options: TaskPoolOptions::with_num_threads(1) })
            .init_resource::<Inbox<ToShard>>()
            .init_resource::<Inbox<SimTick>>()
            .init_resource::<Inbox<SectorUpdate>>()
            .init_resource::<Inbox<GhostNews>>()
            .init_resource::<Outbox<ToServer>>()
            .init_resource::<Outbox<LaneDatagram>>()
            .init_resource::<SimClock>()
            .init_resource::<Registry>()
            .init_resource::<Leases>()
            .init_resource::<NetIds>()
            .init_resource::<Announced>()
            .init_resource::<Handoffs>()
            .init_resource::<Impacts>()
            .init_resource::<Felt>()
            .init_resource::<Losses>()
            .init_resource::<Shots>()
            .init_resource::<Beams>()
            .init_resource::<Totals>();
        physics::configure(app);
        schedule::configure(app);
        #[cfg(feature = "journal")]
        app.add_plugins(crate::journal::JournalPlugin);
    }
}
