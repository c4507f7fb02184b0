//! The active entities, their authority, and what each peer sees of them.

pub mod audience;
pub mod ends;
pub mod interest;
pub mod mirror;
pub mod motion_plane;
pub mod naia;
pub mod records;
pub mod space;

use crate::schedule::{ServerSystems, ServerTick, TickSystems};
use bevy::prelude::{App, IntoScheduleConfigs, Plugin, Update};

/// The mirror, naia's rooms and entities, and the peers' views.
pub struct ReplicationPlugin;

impl Plugin for ReplicationPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<naia::announced::Announced>()
            .init_resource::<mirror::Mirror>()
            .init_resource::<motion_plane::MotionPlane>()
            .init_resource::<naia::rooms::Rooms>()
            .init_resource::<naia::renewal::Renewals>()
            .init_resource::<interest::Interest>()
            .add_systems(Update, naia::announced::despawn_leaving.in_set(ServerSystems::Begin))
            .add_systems(Update, naia::announced::mark_seen.in_set(ServerSystems::Flush))
            .add_systems(ServerTick, space::leave_rooms.in_set(TickSystems::Rooms))
            .add_systems(ServerTick, naia::renew::renew_entities.in_set(TickSystems::Renewals))
            .add_systems(ServerTick, interest::follow_ships.in_set(TickSystems::Views))
            .add_systems(ServerTick, mirror::sync_vitals.in_set(TickSystems::Components));
    }
}
