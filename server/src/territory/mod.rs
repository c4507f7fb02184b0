//! Which shard simulates which sectors, and what is in a sector at first.

pub mod granting;
pub mod lease_book;
pub mod leases;
pub mod loading;
pub mod seeds;
pub mod shard_lives;
pub mod shards;
pub mod worldgen;

use crate::schedule::{ServerTick, TickSystems};
use bevy::prelude::{App, IntoScheduleConfigs, Plugin};

/// Connected shards and their leases. [`lease_book::LeaseBook`] comes with the number of shards to wait for.
pub struct TerritoryPlugin;

impl Plugin for TerritoryPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<shards::Shards>()
            .add_systems(ServerTick, granting::assign_leases.in_set(TickSystems::Leases));
    }
}
