//! The order of the client's systems in one update of the app, from received packets to the view.
//!
//! naia's own sets run in between: its receiving sets find nothing left to do, its sending sets run before the flush.

use crate::{
    chat,
    economy::dealing,
    flight::piloting,
    replication::{compose, remote_entities},
    session::{flow, lane_reader, news, pump},
};
use bevy::{
    app::{App, Startup, Update},
    prelude::{IntoScheduleConfigs, SystemSet},
};
use naia_bevy_client::{HandleTickEvents, HandleWorldEvents};
use naia_bevy_shared::{ReceivePackets, SendPackets, TranslateTickEvents, WorldUpdate};

/// The steps of an update, in their order.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientSystems {
    /// naia reads its packets, one at a time (`pump.rs` explains why), and the server's messages are read.
    Pump,
    /// The clocks advance and the lane is read before the tick, so that an input is predicted on the newest state.
    TakeIn,
    /// For each due tick: the controls are sampled, the own ship steps, the input is sent.
    Pilot,
    /// The server's messages and naia's entities are applied: welcome, ship, notices, entities in view.
    Follow,
    /// Everything for the server is sent in one burst, before time is spent on drawing.
    Flush,
    /// The view is composed.
    Compose,
}

/// Adds all systems in their order.
pub(crate) fn configure(app: &mut App) {
    app.configure_sets(
        Update,
        (
            ClientSystems::Pump.before(ReceivePackets),
            ClientSystems::TakeIn.after(ReceivePackets).before(TranslateTickEvents),
            ClientSystems::Pilot.in_set(HandleTickEvents),
            ClientSystems::Follow.in_set(HandleWorldEvents).before(WorldUpdate),
            ClientSystems::Flush.after(SendPackets),
            ClientSystems::Compose.after(ClientSystems::Flush),
        ),
    );
    app.add_systems(Startup, flow::start_connecting).add_systems(
        Update,
        (
            (lane_reader::pass_time, lane_reader::receive_lane).chain().in_set(ClientSystems::TakeIn),
            (pump::pump_packets, news::receive_news).chain().in_set(ClientSystems::Pump),
            piloting::pilot_ticks.in_set(ClientSystems::Pilot),
            (
                flow::follow_messages,
                dealing::follow_purse,
                remote_entities::follow_roster,
                remote_entities::end_missiles,
                remote_entities::sweep_orphans,
                flow::ask_for_ship,
                dealing::deal,
                chat::talk,
                flow::follow_link,
            )
                .chain()
                .in_set(ClientSystems::Follow),
            flow::flush.in_set(ClientSystems::Flush),
            compose::compose_view.in_set(ClientSystems::Compose),
        ),
    );
}
