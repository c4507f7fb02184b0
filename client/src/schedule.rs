//! When everything of the client runs: one update of the app, from what arrived to what is drawn.
//!
//! naia's own sets stand between these; those that receive find nothing left to do, those that send come
//! before the flush.

use crate::{
    chat, compose, dealing, piloting, pump, roster,
    session::{flow, news},
    take_in,
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
    /// naia takes in its packets, one at a time (why, stands in `pump.rs`), and what the server tells is read.
    Pump,
    /// Time goes on and the lane is read, before the tick: an input is predicted on the newest state.
    TakeIn,
    /// For each of naia's ticks: the hands are sampled, the own ship steps, the input is sent.
    Pilot,
    /// What the server told, and naia's entities: welcome, ship, news, who is in sight.
    Follow,
    /// Everything for the server leaves in one burst, before time is spent on drawing.
    Flush,
    /// The view is put together.
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
            (take_in::pass_time, take_in::take_in_lane).chain().in_set(ClientSystems::TakeIn),
            (pump::pump_packets, news::receive_news).chain().in_set(ClientSystems::Pump),
            piloting::pilot_ticks.in_set(ClientSystems::Pilot),
            (
                flow::follow_messages,
                dealing::follow_purse,
                roster::follow_roster,
                roster::end_missiles,
                roster::sweep_orphans,
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
