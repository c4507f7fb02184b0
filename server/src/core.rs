//! The server's state as one system parameter.
//!
//! Every resource has one owner file; each capability adds its methods to [`Core`] in its own file.
//! All systems that use it stand in one chain (see [`crate::schedule`]), so that no two of them run at
//! once.

use crate::{
    announced::Announced,
    aside::Aside,
    census::Audit,
    chat::Chat,
    clock::Clock,
    deals::Deals,
    goods::Goods,
    granting::LeaseBook,
    interest::Interest,
    link::Link,
    mirror::{Mirror, Rooms},
    motion_plane::MotionPlane,
    persist::Storage,
    players::Players,
    renewal::Renewals,
    report::Tally,
    shards::Shards,
    trades::Trades,
    transfers::Transfers,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Commands, Res, ResMut},
};
use naia_bevy_server::Server;

/// The server's state.
#[derive(SystemParam)]
pub struct Core<'w, 's> {
    /// What tick it is.
    pub clock: Res<'w, Clock>,
    /// The way to the peers.
    pub link: ResMut<'w, Link>,
    /// naia's entities.
    pub announced: ResMut<'w, Announced>,
    /// Every active entity.
    pub mirror: ResMut<'w, Mirror>,
    /// Their motion.
    pub motion: ResMut<'w, MotionPlane>,
    /// naia's rooms.
    pub rooms: ResMut<'w, Rooms>,
    /// What peers were told of.
    pub renewals: ResMut<'w, Renewals>,
    /// Who simulates what.
    pub leases: ResMut<'w, LeaseBook>,
    /// Handoffs under way.
    pub transfers: ResMut<'w, Transfers>,
    /// Connected shards.
    pub shards: ResMut<'w, Shards>,
    /// Connected players.
    pub players: ResMut<'w, Players>,
    /// Who is subscribed to what.
    pub interest: ResMut<'w, Interest>,
    /// The way to the database.
    pub storage: ResMut<'w, Storage>,
    /// Who is told of what changed hands.
    pub goods: ResMut<'w, Goods>,
    /// Deals that have not ended.
    pub deals: ResMut<'w, Deals>,
    /// Open offers.
    pub trades: ResMut<'w, Trades>,
    /// How much everybody has said just now.
    pub chat: ResMut<'w, Chat>,
    /// What makes shards fail.
    pub aside: ResMut<'w, Aside>,
    /// What the shards' censuses said.
    pub audit: ResMut<'w, Audit>,
    /// Counters.
    pub tally: ResMut<'w, Tally>,
    /// What happened, for tests.
    #[cfg(feature = "journal")]
    pub journal: ResMut<'w, crate::journal::Journal>,
    /// naia.
    pub naia: Server<'w>,
    /// Bevy's commands.
    pub commands: Commands<'w, 's>,
}
