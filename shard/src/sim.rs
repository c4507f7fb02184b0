//! The simulation without a network: [`SimPlugin`].
//!
//! Runs in the shard, and alone in tests: control frames go into `Inbox<ToShard>`, due ticks into `Inbox<SimTick>`,
//! neighbours' motion into `Inbox<SectorUpdate>`; results come out of `Outbox<ToServer>` and `Outbox<LaneDatagram>`.
//!
//! A rock that drifts for a second:
//!
//! ```
//! use bevy::prelude::App;
//! use sidereal_protocol::frames::control::{Lease, ToServer, ToShard};
//! use sidereal_protocol::world::ids::{EntityId, NetId, NetIdBlock, ShardId};
//! use sidereal_protocol::record::{EntityKind, EntityRecord, Structure};
//! use sidereal_protocol::{DVec2, world::{sector::SectorId, tick::SimTick}};
//! use sidereal_shard::{SimPlugin, mailbox::{Inbox, Outbox}};
//!
//! let mut shard = App::new();
//! shard.add_plugins(SimPlugin);
//! shard.finish();
//! shard.cleanup();
//! let frames = |shard: &mut App, frame| shard.world_mut().resource_mut::<Inbox<ToShard>>().push(frame);
//!
//! let net_ids = NetIdBlock { next: 1_000, end: 2_000 };
//! frames(&mut shard, ToShard::Welcome { shard: ShardId(1), sim_tick: SimTick(0), naia_tick: 0, id_seed: 1, net_ids });
//! let (id, sector) = (EntityId::from_halves(1, 2), SectorId::new(0, 0));
//! let mut rock = EntityRecord::at_rest(id, EntityKind::Asteroid, DVec2::new(500.0, 500.0), SimTick(0))
//!     .with(Structure::whole(20.0, 80));
//! rock.net_id = NetId(7);
//! rock.epoch = 1;
//! rock.state.velocity = DVec2::new(30.0, 0.0);
//! frames(&mut shard, ToShard::Grant { leases: vec![Lease { sector, epoch: 1 }], records: vec![rock] });
//! for tick in 1..=30 {
//!     shard.world_mut().resource_mut::<Inbox<SimTick>>().push(SimTick(tick));
//!     shard.update();
//! }
//!
//! frames(&mut shard, ToShard::Withdraw { id });
//! shard.update();
//! let withdrawn = shard.world_mut().resource_mut::<Outbox<ToServer>>().drain().find_map(|frame| match frame {
//!     ToServer::Withdrawn { record } => Some(record.state.position),
//!     _ => None,
//! });
//! assert!(withdrawn.is_some_and(|at| at.distance(DVec2::new(530.0, 500.0)) < 1e-6), "{withdrawn:?}");
//! ```

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
            bodies::grid::GridPlugin,
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
