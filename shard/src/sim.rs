//! The simulation without a network: [`SimPlugin`].
//!
//! Runs in the shard, and alone in tests: control frames go into `Inbox<ToShard>`, due ticks into `Inbox<SimTick>`,
//! neighbours' motion into `Inbox<SectorUpdate>`; results come out of `Outbox<ToServer>` and `Outbox<LaneDatagram>`.

use crate::app::{report, ticks};
use crate::{authority, bodies, economy, flight, handoff, link, physics, schedule, weapons};
use bevy::{
    app::{TaskPoolOptions, TaskPoolPlugin},
    prelude::*,
};

/// The complete simulation of a shard: a plugin for each capability.
pub struct SimPlugin;

impl Plugin for SimPlugin {
    fn build(&self, shard: &mut App) {
        // One thread: shards share a machine, and a sector's bodies take a millisecond.
        shard.add_plugins(TaskPoolPlugin { task_pool_options: TaskPoolOptions::with_num_threads(1) });
        shard.add_plugins((
            schedule::SchedulePlugin,
            link::mailbox::MailboxPlugin,
            report::TotalsPlugin,
            ticks::TicksPlugin,
            bodies::registry::RegistryPlugin,
            bodies::ghosts::GhostsPlugin,
            bodies::past::PastPlugin,
        ));
        shard.add_plugins((flight::inputs::InputsPlugin, flight::drones::DronesPlugin, flight::motion::FlightPlugin));
        shard.add_plugins((
            physics::avian::PhysicsPlugin,
            physics::contacts::ContactsPlugin,
            physics::damage::DamagePlugin,
        ));
        shard.add_plugins((
            weapons::bullets::BulletsPlugin,
            weapons::missiles::MissilesPlugin,
            weapons::beams::BeamsPlugin,
            weapons::tractor::TractorPlugin,
        ));
        shard.add_plugins((
            economy::cargo::CargoPlugin,
            economy::mining::MiningPlugin,
            economy::crates::CratesPlugin,
            economy::docking::DockingPlugin,
            economy::spawner::SpawnerPlugin,
        ));
        shard.add_plugins((
            authority::leases::LeasesPlugin,
            authority::control::ControlPlugin,
            authority::borders::BordersPlugin,
            authority::publish::PublishPlugin,
            authority::census::CensusPlugin,
            handoff::effects::HandoffPlugin,
            handoff::adoptions::AdoptionsPlugin,
        ));
        #[cfg(feature = "journal")]
        shard.add_plugins(crate::journal::JournalPlugin);
        #[cfg(feature = "planted-faults")]
        shard.add_plugins(crate::app::poison::PoisonPlugin);
    }
}
