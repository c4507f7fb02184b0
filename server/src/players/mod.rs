//! Players: their sessions, their ships, their inputs, their chat.

pub mod chat;
pub mod input_log;
pub mod logins;
pub mod rewind;
pub mod session;
pub mod ships;

use crate::schedule::{ArrivalSystems, Arrivals, ServerTick, TickSystems};
use bevy::prelude::{App, IntoScheduleConfigs, Plugin};

/// Players' sessions and ships, and their chat.
pub struct PlayersPlugin;

impl Plugin for PlayersPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<session::Players>()
            .init_resource::<chat::Chat>()
            .add_message::<chat::ChatSent>()
            .add_systems(Arrivals, chat::pass_on_spoken.in_set(ArrivalSystems::Chat))
            .add_systems(
                ServerTick,
                (
                    rewind::measure_links,
                    session::refill_packet_allowances,
                    ships::admit_waiting_ships,
                    ships::fetch_adrift_ships,
                )
                    .chain()
                    .in_set(TickSystems::Ships),
            );
    }
}
