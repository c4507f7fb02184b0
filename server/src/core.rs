//! What those capabilities take together that cannot do their part alone: a handoff, a ship's way into the world and out of
//! it, a deal, an end.
//!
//! Every resource has one owner file. Systems that use this are ordered among themselves (see [`crate::schedule`]).

use crate::{
    audit::{aside::Aside, census::Audit},
    economy::{deals::Deals, goods::Goods, trades::Trades},
    handoff::transfers::Transfers,
    players::{chat::Spoken, session::Players},
    replication::{interest::Interest, space::Space},
    territory::{lease_book::LeaseBook, shards::Shards},
    traffic::link::Link,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{MessageWriter, ResMut},
};

/// The server's state, as far as its capabilities reach into each other's.
#[derive(SystemParam)]
pub struct Core<'w, 's> {
    /// Every active entity, and who has the authority over it.
    pub space: Space<'w, 's>,
    /// The way to the peers.
    pub link: ResMut<'w, Link>,
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
    /// Who is told of what changed hands.
    pub goods: ResMut<'w, Goods>,
    /// Deals that have not ended.
    pub deals: ResMut<'w, Deals>,
    /// Open offers.
    pub trades: ResMut<'w, Trades>,
    /// What makes shards fail.
    pub aside: ResMut<'w, Aside>,
    /// What the shards' censuses said.
    pub audit: ResMut<'w, Audit>,
    /// What players say.
    pub spoken: MessageWriter<'w, Spoken>,
    /// What happened, for tests.
    #[cfg(feature = "journal")]
    pub journal: ResMut<'w, crate::audit::journal::Journal>,
}
