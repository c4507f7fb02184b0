//! How the authority over an entity moves from one shard to another.
//!
//! [`machine`] decides, without I/O; [`transfers`] keeps what is under way; [`effects`] does what the machine says;
//! [`rehoming`] is what happens once a tick; [`figures`] measures it.

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
        app.init_resource::<transfers::Transfers>()
            .add_systems(ServerTick, rehoming::tend_transfers.in_set(TickSystems::Handoffs));
    }
}
