//! Handoffs: how the authority over an entity moves from one shard to another.
//!
//! [`machine`] decides, without I/O; [`transfers`] holds the handoffs in progress; [`effects`] carries out the
//! machine's decisions; [`rehoming`] runs once a tick; [`figures`] measures the times.

pub mod effects;
pub mod figures;
pub mod machine;
pub mod rehoming;
pub mod transfers;

use crate::schedule::{ServerTick, TickSystems};
use bevy::prelude::{App, IntoScheduleConfigs, Plugin};

/// Handoffs between shards, and admissions into the world.
pub struct HandoffPlugin;

impl Plugin for HandoffPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<transfers::HandoffState>()
            .add_systems(ServerTick, rehoming::update_transfers.in_set(TickSystems::Handoffs));
    }
}
