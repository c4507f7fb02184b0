//! The parts of a session: the transport's handle, naia's settings, the tick's offset, and the state.
//!
//! Contains no systems; those that advance a session are in `flow`.

use crate::{
    ClientConfig,
    view::{Kill, NoticeKind, Part, WorldView},
};
use bevy::prelude::Resource;
use naia_bevy_client::{ClientConfig as NaiaConfig, JitterBufferType};
use sidereal_protocol::{
    frames::messages::Destroyed,
    world::{
        ids::NetId,
        tick::{SimTick, TickSync},
    },
};
use sidereal_transport::{ClientHandle, ClientSocket};
use std::time::Duration;

/// The state of the session. Windows show it, bots and programs act on it.
#[derive(Resource, Debug, Clone, PartialEq, Eq, Default)]
pub enum SessionState {
    /// Connecting to the server.
    #[default]
    Connecting,
    /// Admitted by the server; the ship is on its way.
    Joining,
    /// Flying.
    InSpace,
    /// The ship was destroyed; see [`crate::flight::controls::PilotIntent::respawn`].
    Destroyed,
    /// Rejected by the server; a retry with the same input gives the same result. One line with the reason.
    Rejected(String),
    /// The session has ended without our request. One line with the reason.
    Lost(String),
    /// The session has ended, and a reconnect is in progress. One line with the reason. Never the state of a session
    /// itself, only of a [`crate::session::player::Player`].
    Returning(String),
    /// Ended by [`crate::session::close`].
    Closed,
}

impl SessionState {
    /// Whether the session is over.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Rejected(_) | Self::Lost(_) | Self::Closed)
    }

    /// The reason of its end, unless it was ended by this side.
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
        // The transport has connected already, so a resend covers lost datagrams only. Few pings are enough to start,
        // because the clock continues to adjust.
        send_handshake_interval: Duration::from_millis(100),
        handshake_pings: 3,
        // Packets are handled one by one as they arrive (see `crate::session::pump`): naia's buffer would join those of
        // several ticks again.
        jitter_buffer: JitterBufferType::Bypass,
        ..NaiaConfig::default()
    }
}

/// The state of the session.
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

    /// The world's tick for naia's, after the welcome.
    pub fn sim_tick(&mut self, naia_tick: u16) -> Option<SimTick> {
        self.sync.as_mut().map(|sync| sync.sim_tick(naia_tick))
    }

    pub(crate) fn announce(&mut self, view: &mut WorldView, kind: NoticeKind, text: String) {
        self.notices += 1;
        view.announce(self.notices, kind, text);
    }

    /// The news of a kill in the form to show.
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
