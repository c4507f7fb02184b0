//! The traffic with players and shards: admission, ingress, egress.

pub mod admission;
pub mod egress;
pub mod ingress;
pub mod link;

use crate::schedule::{ArrivalSystems, Arrivals, ServerSystems, ServerTick, TickSystems};
use bevy::prelude::{App, IntoScheduleConfigs, Plugin, Update};

/// Admission, ingress and egress. Its resource, [`link::Link`], is inserted with the transport.
pub struct TrafficPlugin;

impl Plugin for TrafficPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Update, ingress::peers::judge_credentials.in_set(ServerSystems::Admit))
            .add_systems(Arrivals, ingress::frames::handle_frames.in_set(ArrivalSystems::Frames))
            .add_systems(Update, ingress::peers::track_peers.in_set(ServerSystems::Peers))
            .add_systems(Arrivals, ingress::datagrams::handle_lane.in_set(ArrivalSystems::Datagrams))
            .add_systems(ServerTick, ingress::peers::end_silent_sessions.in_set(TickSystems::Silence))
            .add_systems(
                ServerTick,
                (egress::publish_own_states, egress::publish_motion).chain().in_set(TickSystems::Publish),
            )
            .add_systems(Update, egress::flush.in_set(ServerSystems::Flush));
    }
}
