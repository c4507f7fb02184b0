//! Which shard simulates which sectors, and the initial contents of a sector.

pub mod granting;
pub mod lease_grants;
pub mod leases;
pub mod loading;
pub mod seeds;
pub mod shard_lives;
pub mod shards;
pub mod worldgen;

use crate::schedule::{ServerTick, TickSystems};
use bevy::prelude::{App, IntoScheduleConfigs, Plugin};

/// Connected shards and their leases. [`lease_grants::LeaseGrants`] is inserted with the number of shards to wait for.
pub struct TerritoryPlugin;

impl Plugin for TerritoryPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<shards::Shards>()
            .add_systems(ServerTick, granting::assign_leases.in_set(TickSystems::Leases));
    }
}
