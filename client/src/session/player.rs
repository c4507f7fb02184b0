//! A player through several sessions: when one is lost, another one replaces it.
//!
//! Runs in the player client and in bots. A session is an App of its own ([`build_app`]), so that no state of a lost
//! one can get into the next. This is the state that outlives it: the token, the counters, the deal book and the chat
//! book, and [`Reconnect`].

use crate::{
    ClientConfig, FrameDelta,
    account::{AccountApi, AccountError, LoginTicket, ReconnectResult, SessionToken},
    build_app, chat, connect,
    economy::deals,
    flight::{inputs::InputCounts, piloting::Piloting},
    replication::clock::MAX_DELTA_S,
    session::{
        flow,
        link::{Session, SessionState},
        reconnect::{Patience, Reconnect, Step},
        stats::PlayStats,
    },
    view::WorldView,
};
use bevy::{app::App, prelude::Resource};
use sidereal_transport::{CERTIFICATES_DIFFER, ClientHandle, ClientNetwork};
use std::sync::{
    Arc,
    mpsc::{Receiver, TryRecvError},
};

/// The counters of the sessions before the present one, together.
#[derive(Debug, Clone, Default)]
struct Past {
    inputs: InputCounts,
    unacknowledged: u64,
    stats: PlayStats,
}

/// A player.
pub struct Player {
    app: App,
    network: Arc<ClientNetwork>,
    api: AccountApi,
    /// `None`: does not reconnect.
    way_back: Option<(SessionToken, Reconnect)>,
    asking: Option<Receiver<ReconnectResult>>,
    now_s: f64,
    /// The same without standstills, during which no reconnect is attempted.
    awake_s: f64,
    was_in_space: bool,
    losses: u64,
    returns: u64,
    /// The loss of the present session was handled.
    is_lost: bool,
    past: Past,
}

impl Player {
    /// Connects. With `patience` the player reconnects after losing a session that had a ship, or that found another
    /// certificate than the ticket's. `seed` makes its waits differ from others'.
    pub fn new(
        network: Arc<ClientNetwork>,
        api: AccountApi,
        login: LoginTicket,
        patience: Option<Patience>,
        seed: u64,
    ) -> Self {
        let way_back = patience.zip(login.session_token.clone());
        let way_back = way_back.map(|(patience, token)| (token, Reconnect::new(patience, seed)));
        Self {
            app: begin(&network, login),
            network,
            api,
            way_back,
            asking: None,
            now_s: 0.0,
            awake_s: 0.0,
            was_in_space: false,
            losses: 0,
            returns: 0,
            is_lost: false,
            past: Past::default(),
        }
    }

    /// The present session, or the last one that was lost.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// As [`Player::app`].
    pub fn app_mut(&mut self) -> &mut App {
        &mut self.app
    }

    /// A resource of the present session.
    pub fn resource<T: Resource>(&self) -> &T {
        self.app.world().resource::<T>()
    }

    /// The handle of the present session.
    pub fn handle(&self) -> ClientHandle {
        self.resource::<Session>().handle().clone()
    }

    /// Seconds since the first session began, by the frame deltas.
    pub fn now_s(&self) -> f64 {
        self.now_s
    }

    /// Whether there was a ship in any session.
    pub fn was_in_space(&self) -> bool {
        self.was_in_space
    }

    /// Sessions that ended without the player's request after there had been a ship.
    pub fn losses(&self) -> u64 {
        self.losses
    }

    /// How often the player had a ship again after that.
    pub fn returns(&self) -> u64 {
        self.returns
    }

    /// The state of the player: the session's, but `Returning` during a reconnect.
    pub fn state(&self) -> SessionState {
        let state = self.resource::<SessionState>();
        match &self.way_back {
            Some((_, reconnect)) if state.is_over() && reconnect.is_under_way() => {
                SessionState::Returning(reconnect.says(self.awake_s))
            }
            // It may be more precise than the end of the session.
            Some((_, reconnect)) if state.failure().is_some() => match (reconnect.gave_up(), state) {
                (Some(reason), SessionState::Lost(_)) => SessionState::Lost(reason.to_owned()),
                _ => state.clone(),
            },
            _ => state.clone(),
        }
    }

    /// Inputs of all sessions, and how many of them are unacknowledged: those of a lost session stay so.
    pub fn inputs(&self) -> (InputCounts, u64) {
        let queue = &self.resource::<Piloting>().queue;
        let mut counts = self.past.inputs;
        counts.add(&queue.counts());
        (counts, self.past.unacknowledged + queue.len() as u64)
    }

    /// The counters of all sessions.
    pub fn stats(&self) -> PlayStats {
        let mut stats = self.past.stats.clone();
        stats.absorb(self.resource::<PlayStats>());
        stats
    }

    /// One frame of `delta_s` seconds.
    pub fn update(&mut self, delta_s: f64) {
        self.now_s += delta_s;
        self.awake_s += delta_s.min(MAX_DELTA_S);
        self.app.insert_resource(FrameDelta(delta_s));
        flow::update(&mut self.app);
        let state = self.resource::<SessionState>().clone();
        if state == SessionState::InSpace {
            self.was_in_space = true;
            if self.is_lost {
                self.is_lost = false;
                self.returns += 1;
                tracing::info!("back in space");
            }
        }
        if self.was_in_space
            && !self.is_lost
            && let Some(reason) = state.failure()
        {
            tracing::warn!(reason, "the session was lost");
            self.is_lost = true;
            self.losses += 1;
        }
        // A player without a ship has lost nothing, and gets the reason at once.
        let is_on_the_way = self.way_back.as_ref().is_some_and(|(_, reconnect)| reconnect.is_under_way());
        if self.was_in_space || is_on_the_way || came_too_late(&state) {
            self.look_for_a_way_back(&state);
        }
    }

    fn look_for_a_way_back(&mut self, state: &SessionState) {
        let Some((token, reconnect)) = &mut self.way_back else { return };
        if *state == SessionState::InSpace {
            reconnect.in_space(self.awake_s);
        }
        reconnect.session_ended(state, self.awake_s);
        if reconnect.step(self.awake_s) == Step::AskForTicket {
            self.asking = Some(self.api.ask_for_way_in(token));
        }
        let answer = match self.asking.as_ref().map(Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => return,
            Some(Ok(ReconnectResult { session_token, ticket })) => {
                *token = session_token;
                ticket
            }
            Some(Err(TryRecvError::Disconnected)) => Err(AccountError::Busy("requesting a ticket failed".to_owned())),
        };
        self.asking = None;
        match answer {
            Ok(login) => {
                reconnect.ticket_came();
                let queue = &self.app.world().resource::<Piloting>().queue;
                self.past.inputs.add(&queue.counts());
                self.past.unacknowledged += queue.len() as u64;
                self.past.stats.absorb(self.app.world().resource::<PlayStats>());
                let old = self.app.world().resource::<WorldView>();
                let (focus, sector) = (old.focus, old.sector);
                let deals = deals::take_book(&mut self.app);
                let chat = chat::take_book(&mut self.app);
                self.app = begin(&self.network, login);
                // Requests without an answer are repeated under their keys.
                self.app.insert_resource(deals).insert_resource(chat);
                // The view must not show the middle of the world meanwhile.
                let mut view = self.app.world_mut().resource_mut::<WorldView>();
                (view.focus, view.sector) = (focus, sector);
            }
            Err(error) => {
                tracing::info!(%error, "no ticket to reconnect with");
                reconnect.ticket_failed(&error, self.awake_s);
            }
        }
    }

    /// Ends the session from this side, without a reconnect.
    pub fn close(&mut self) {
        self.way_back = None;
        self.asking = None;
        flow::close(&mut self.app);
    }
}

/// Whether the server's certificate has changed since the ticket was issued.
fn came_too_late(state: &SessionState) -> bool {
    matches!(state, SessionState::Rejected(reason) if reason.starts_with(CERTIFICATES_DIFFER))
}

fn begin(network: &ClientNetwork, login: LoginTicket) -> App {
    let (handle, socket) = connect(network, &login);
    build_app(ClientConfig { ticket: login.ticket }, handle, socket)
}
