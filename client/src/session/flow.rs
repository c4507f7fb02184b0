//! Advances a session: connects, joins, requests a new ship, and detects the end.
//!
//! Runs in the player client and in bots. A lost session is reported, not restored: a reconnect is another ticket and
//! another session, see [`crate::session::player`].

use crate::{
    flight::{controls::PilotIntent, piloting::Piloting},
    replication::{clock::ClientClock, interpolation::Interpolation, remote_entities::RemoteEntities},
    session::{
        link::{Session, SessionState},
        news::{self, News},
        pump::PacketValve,
        stats::PlayStats,
    },
    view::{BlastEffect, NoticeKind, WorldView},
    weapons::{arms::Arms, beams::BeamBook, shots::ShotBook},
};
use bevy::{
    app::App,
    ecs::{
        message::MessageReader,
        system::{Res, ResMut},
    },
};
use naia_bevy_client::{
    Client, ClientWrapper, DefaultClientTag,
    events::{ConnectEvent, DisconnectEvent},
};
use sidereal_protocol::{
    frames::messages::{Credential, FromPlayer, ToPlayer},
    world::{ids::NetId, tick::TickSync},
};
use sidereal_transport::LinkStatus;

/// From the first update until the player has a ship, seconds. The server's own steps take less; only a world without a
/// shard takes longer.
pub const JOIN_DEADLINE_S: f64 = 30.0;

/// Seconds until a request for a new ship may be made again after it was refused...
const RESPAWN_REFUSED_S: f64 = 2.0;
/// ...and when it was not answered, or no ship came of it.
const RESPAWN_UNANSWERED_S: f64 = 10.0;

/// Ends the session from this side. The server receives a goodbye, so that it need not wait for the timeout. Further
/// updates are allowed and do nothing. The link itself ends a moment later: see
/// [`sidereal_transport::ClientHandle::is_finished`].
pub fn close(app: &mut App) {
    let world = app.world_mut();
    if world.resource::<SessionState>().is_over() {
        return;
    }
    world.insert_resource(SessionState::Closed);
    let mut naia = world.resource_mut::<ClientWrapper<DefaultClientTag>>();
    // naia panics on a disconnect before the connection is complete.
    if naia.client.connection_status().is_connected() {
        naia.client.disconnect();
    }
    let session = world.resource::<Session>();
    session.handle.flush();
    session.handle.close("the pilot left");
}

/// [`App::update`], with naia's panics contained: naia 0.25 panics on some orders of its own server's messages (an
/// entity that is spawned and despawned within one receive). Then the session is lost, but not the process and its
/// other sessions.
pub fn update(app: &mut App) {
    if matches!(app.world().get_resource(), Some(SessionState::Lost(_))) {
        return;
    }
    if contained(app).is_err() {
        let reason = "the client's replication failed: connect again".to_owned();
        app.insert_resource(SessionState::Lost(reason));
        let session = app.world().resource::<Session>();
        session.handle.close("the client failed");
    }
}

#[cfg(not(target_family = "wasm"))]
fn contained(app: &mut App) -> Result<(), sidereal_process::crash::Panicked> {
    sidereal_process::crash::contain(|| app.update())
}

/// There is no unwinding in wasm: a panic ends the program, and the page reports it.
#[cfg(target_family = "wasm")]
fn contained(app: &mut App) -> Result<(), std::convert::Infallible> {
    app.update();
    Ok(())
}

/// Starts to connect with the ticket.
pub(crate) fn start_connecting(
    mut client: Client<DefaultClientTag>,
    valve: Res<PacketValve>,
    mut session: ResMut<Session>,
) {
    let Some(socket) = session.socket.take() else { return };
    let credential = Credential { secret: std::mem::take(&mut session.ticket), name: String::new() };
    client.connect(valve.0.guard(socket.with_credential(credential.encode().into())));
}

/// Applies the server's messages: welcome, ship, news.
pub(crate) fn follow_messages(
    mut connects: MessageReader<ConnectEvent<DefaultClientTag>>,
    mut told: MessageReader<News>,
    clock: Res<ClientClock>,
    interpolation: Res<Interpolation>,
    remote_entities: Res<RemoteEntities>,
    mut session: ResMut<Session>,
    mut state: ResMut<SessionState>,
    mut piloting: ResMut<Piloting>,
    mut shots: ResMut<ShotBook>,
    mut beams: ResMut<BeamBook>,
    mut arms: ResMut<Arms>,
    mut stats: ResMut<PlayStats>,
    mut view: ResMut<WorldView>,
) {
    if connects.read().count() > 0 && *state == SessionState::Connecting {
        *state = SessionState::Joining;
    }
    for News(told) in told.read() {
        match told {
            ToPlayer::Welcome(welcome) => {
                session.sync = Some(TickSync::new(welcome.naia_tick, welcome.sim_tick()));
                view.sky_seed = welcome.sky_seed;
                view.account = Some(welcome.account());
            }
            ToPlayer::ShipAssigned(ship) => {
                if stats.deaths > stats.respawns {
                    stats.respawns += 1;
                }
                let net_id = NetId(ship.net_id);
                piloting.board(net_id, ship.entity_id());
                shots.board();
                beams.board();
                arms.board();
                stats.forget_own_ticks();
                tracing::info!(ship = %ship.entity_id(), %net_id, "aboard");
            }
            ToPlayer::Destroyed(news) => {
                let victim = NetId(news.victim);
                add_blast(&mut view, &interpolation, &remote_entities, &piloting, victim, clock.now_s);
                let own = news.yours && (piloting.is_own(victim) || piloting.own_net_id().is_none());
                view.add_kill(session.kill(news, own));
                if own {
                    piloting.leave();
                    stats.deaths += 1;
                    stats.forget_own_ticks();
                    if !state.is_over() {
                        *state = SessionState::Destroyed;
                    }
                    session.respawn_next_s = clock.now_s;
                }
            }
            ToPlayer::RespawnReply(reply) if !reply.refused.is_empty() => {
                session.respawn_next_s = clock.now_s + RESPAWN_REFUSED_S;
                let text = format!("No new ship yet: {}", reply.refused);
                session.announce(&mut view, NoticeKind::Warning, text);
            }
            ToPlayer::RespawnReply(_)
            | ToPlayer::Purse(_)
            | ToPlayer::TradeNews(_)
            | ToPlayer::DealReply(_)
            | ToPlayer::Said(_) => {}
        }
    }
    if let Some(hull) =
        piloting.own_net_id().and_then(|net_id| remote_entities.get(net_id)).and_then(|member| member.hull_kind)
    {
        piloting.set_hull(hull);
        arms.set_hull(hull);
    }
    let waits = matches!(*state, SessionState::Joining | SessionState::Destroyed);
    if waits && piloting.prediction().is_some() {
        *state = SessionState::InSpace;
    }
}

fn add_blast(
    view: &mut WorldView,
    interpolation: &Interpolation,
    remote_entities: &RemoteEntities,
    piloting: &Piloting,
    victim: NetId,
    now_s: f64,
) {
    let state = if piloting.is_own(victim) {
        piloting.prediction().map(|prediction| *prediction.state())
    } else {
        interpolation.drawn(victim, now_s).map(|drawn| drawn.state)
    };
    let Some(state) = state else { return };
    view.add_blast(BlastEffect {
        victim,
        position: state.position,
        velocity: state.velocity * 0.3,
        radius: remote_entities.get(victim).map_or(9.0, |member| member.radius),
        age_s: 0.0,
    });
}

/// Sends the player's request for a new ship.
pub(crate) fn ask_for_ship(
    clock: Res<ClientClock>,
    state: Res<SessionState>,
    mut session: ResMut<Session>,
    mut intent: ResMut<PilotIntent>,
) {
    if !intent.respawn {
        return;
    }
    if *state != SessionState::Destroyed {
        intent.respawn = false;
        return;
    }
    if clock.now_s < session.respawn_next_s {
        return;
    }
    match news::ask(&session, &FromPlayer::Respawn) {
        Ok(()) => {
            intent.respawn = false;
            session.respawn_next_s = clock.now_s + RESPAWN_UNANSWERED_S;
        }
        Err(error) => tracing::warn!(%error, "the request for a new ship failed"),
    }
}

/// Detects the end of the session, with its reason.
pub(crate) fn follow_link(
    mut disconnects: MessageReader<DisconnectEvent<DefaultClientTag>>,
    clock: Res<ClientClock>,
    session: Res<Session>,
    mut state: ResMut<SessionState>,
    mut piloting: ResMut<Piloting>,
    mut remote_entities: ResMut<RemoteEntities>,
) {
    let disconnected = disconnects.read().count() > 0;
    if state.is_over() {
        return;
    }
    let end = match session.handle.status() {
        LinkStatus::Rejected(reason) => Some(SessionState::Rejected(reason)),
        LinkStatus::Closed(reason) => Some(SessionState::Lost(reason)),
        _ if disconnected => Some(SessionState::Lost("the server ended the session".to_owned())),
        _ if is_waiting_for_ship(&state) && clock.awake_s > JOIN_DEADLINE_S => Some(SessionState::Lost(format!(
            "no ship within {JOIN_DEADLINE_S} s: is a shard running? See the server's /ready"
        ))),
        _ => None,
    };
    if let Some(end) = end {
        tracing::info!(reason = end.failure().unwrap_or_default(), "the session ended");
        *state = end;
        piloting.leave();
        remote_entities.clear();
        session.handle.close("the client saw the session end");
    }
}

fn is_waiting_for_ship(state: &SessionState) -> bool {
    matches!(state, SessionState::Connecting | SessionState::Joining)
}

/// Passes all output of this update to the network in one burst.
pub(crate) fn flush(session: Res<Session>) {
    session.handle.flush();
}
