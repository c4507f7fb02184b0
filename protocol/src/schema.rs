//! naia's protocol: channels, messages and components, registered in one order for every process.

use crate::{
    components::{Identity, Lode, Vitals},
    messages::{Deal, DealReply, Destroyed, Purse, Respawn, RespawnReply, Said, Say, ShipAssigned, TradeNews, Welcome},
    tick::TICK_DURATION,
};
use naia_bevy_shared::{Channel, ChannelDirection, ChannelMode, Protocol, ReliableSettings};

/// What the server tells a player: welcome, ship, news. In order, reliable.
#[derive(Channel)]
pub struct NoticeChannel;

/// Requests of a player and their answers, and what the player says. In order, reliable.
#[derive(Channel)]
pub struct RequestChannel;

/// naia's protocol. Both ends must build the same one.
pub fn protocol() -> Protocol {
    Protocol::builder()
        .tick_interval(TICK_DURATION)
        .add_channel::<NoticeChannel>(
            ChannelDirection::ServerToClient,
            ChannelMode::OrderedReliable(ReliableSettings::default()),
        )
        .add_channel::<RequestChannel>(
            ChannelDirection::Bidirectional,
            ChannelMode::OrderedReliable(ReliableSettings::default()),
        )
        .add_message::<Welcome>()
        .add_message::<ShipAssigned>()
        .add_message::<Destroyed>()
        .add_message::<RespawnReply>()
        .add_message::<Purse>()
        .add_message::<TradeNews>()
        .add_message::<DealReply>()
        .add_message::<Say>()
        .add_message::<Said>()
        .add_request::<Respawn>()
        .add_request::<Deal>()
        .add_component::<Identity>()
        .add_component::<Vitals>()
        .add_component::<Lode>()
        .build()
}
