//! What a session is made of: the transport's handle, naia's settings, the tick's offset, and how it is.
//!
//! Owns no systems; those that move a session along are in `flow`.

use crate::{
    ClientConfig,
    view::{Kill, NoticeKind, Part, WorldView},
};
use bevy::prelude::Resource;
use naia_bevy_client::{ClientConfig as NaiaConfig, JitterBufferType};
use sidereal_protocol::{
    ids::NetId,
    messages::Destroyed,
    tick::{SimTick, TickSync},
};
use sidereal_transport::{ClientHandle, ClientSocket};
use std::time::Duration;

/// How the session is. Windows show it, bots and binaries act on it.
#[derive(Resource, Debug, Clone, PartialEq, Eq, Default)]
pub enum SessionState {
    /// On the way to the server.
    #[default]
    Connecting,
    /// The server knows us; the ship is on its way.
    Joining,
    /// Flying.
    InSpace,
    /// The ship was destroyed; see [`crate::controls::PilotIntent::respawn`].
    Destroyed,
    /// The server said no; trying again with the same input gives the same. One line on why.
    Rejected(String),
    /// The session is over without our doing. One line on why.
    Lost(String),
    /// The session is over, and a way back is looked for. One line on why. Never a session's own state:
    /// [`crate::player::Player`] says it of the player.
    Returning(String),
    /// Over because [`crate::session::close`] was called.
    Closed,
}

impl SessionState {
    /// Whether the session is over.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Rejected(_) | Self::Lost(_) | Self::Closed)
    }

    /// Why it is over, if it is and not by our own doing.
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Rejected(reason) | Self::Lost(reason) | Self::Returning(reason) => Some(reason),
            _ => None,
        }
    }
}

/// naia's settings for a player.
pub(crate) fn naia_config() -> NaiaConfig {
    NaiaConfig {
        // The transport has connected already, so a resend covers lost datagrams only; and few pings
        // are enough to start, since the clock goes on adjusting.
        send_handshake_interval: Duration::from_millis(100),
        handshake_pings: 3,
        // Packets are handled as they come, each by itself (see `crate::pump`): naia's buffer would put
        // those of several ticks together again.
        jitter_buffer: JitterBufferType::Bypass,
        ..NaiaConfig::default()
    }
}

/// The session's own things.
#[derive(Resource)]
pub struct Session {
    pub(super) ticket: String,
    pub(super) handle: ClientHandle,
    pub(super) socket: Option<ClientSocket>,
    pub(super) sync: Option<TickSync>,
    pub(super) respawn_next_s: f64,
    pub(super) notices: u64,
    pub(super) kills: u64,
}

impl Session {
    pub(crate) fn new(config: ClientConfig, handle: ClientHandle, socket: ClientSocket) -> Self {
        Self {
            ticket: config.ticket,
            handle,
            socket: Some(socket),
            sync: None,
            respawn_next_s: 0.0,
            notices: 0,
            kills: 0,
        }
    }

    /// The transport's handle.
    pub fn handle(&self) -> &ClientHandle {
        &self.handle
    }

    /// The world's tick for naia's, once the welcome came.
    pub fn sim_tick(&mut self, naia_tick: u16) -> Option<SimTick> {
        self.sync.as_mut().map(|sync| sync.sim_tick(naia_tick))
    }

    pub(crate) fn announce(&mut self, view: &mut WorldView, kind: NoticeKind, text: String) {
        self.notices += 1;
        view.announce(self.notices, kind, text);
    }

    /// The news of an end as it is shown.
    pub(super) fn kill(&mut self, news: &Destroyed, own: bool) -> Kill {
        self.kills += 1;
        Kill {
            number: self.kills,
            victim: NetId(news.victim),
            victim_name: news.victim_name.clone(),
            victim_kind: news.victim_kind(),
            victim_hull: news.victim_hull(),
            by: (!news.by_name.is_empty()).then(|| news.by_name.clone()),
            by_kind: news.by_kind(),
            part: match (own, news.by_you) {
                (true, _) => Part::Victim,
                (_, true) => Part::Killer,
                _ => Part::None,
            },
            age_s: 0.0,
        }
    }
}
