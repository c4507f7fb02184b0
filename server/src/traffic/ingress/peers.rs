//! Peers come and go: credentials, connections that naia and the transport report, silence.

use crate::{
    audit::tally::Tally,
    clock::Clock,
    core::Core,
    traffic::{
        admission::Admitted,
        link::{Connected, Link},
    },
};
use bevy::prelude::{MessageReader, Res, ResMut};
use naia_bevy_server::{
    UserKey,
    events::{ConnectEvent, DisconnectEvent},
};
use sidereal_process::log_limited;
use sidereal_protocol::{messages::TAKEN_OVER, tick::TICK_HZ};
use sidereal_transport::{EndCause, SessionEnd};
use std::net::SocketAddr;
use tracing::debug;

/// After how long a silence a peer's session is over, s. naia's client sends a heartbeat each second, whatever else
/// there is to say; a session whose network has gone is over sooner (the transport's idle timeout).
const SILENCE_S: u32 = 15;

impl Core<'_, '_> {
    fn peer_connected(&mut self, user: UserKey) {
        let Some(address) = self.space.naia.user_opt(&user).map(|user| user.address()) else { return };
        self.link.transport.note_connected(&address);
        match self.link.admissions.take(&address) {
            Some(Admitted::Player { account, name }) => {
                self.link.users.insert(address, Connected::new(user));
                self.player_connected(address, account, name);
            }
            Some(Admitted::Shard { name }) => {
                self.link.users.insert(address, Connected::new(user));
                self.shard_connected(address, name);
            }
            // Its session has ended within naia's handshake, which the transport finished for it; or just now.
            None => {
                debug!(%address, "a peer connected that is not waited for (any more)");
                self.link.transport.close(&address, "not admitted");
                if let Some(mut user) = self.space.naia.user_mut_opt(&user) {
                    user.disconnect();
                }
            }
        }
    }

    /// Forgets a peer, whichever of naia and the transport noticed first.
    fn peer_gone(&mut self, address: SocketAddr, end: &SessionEnd) {
        self.link.admissions.take(&address);
        let Some(Connected { user, .. }) = self.link.users.remove(&address) else { return };
        self.player_gone(address, end);
        self.shard_gone(address, &end.reason);
        if let Some(mut user) = self.space.naia.user_mut_opt(&user) {
            user.disconnect();
        }
    }
}

/// Judges waiting credentials, before naia hears of the peers.
pub fn judge_credentials(mut link: ResMut<Link>, mut tally: ResMut<Tally>, clock: Res<Clock>) {
    while let Some((address, kind, credential)) = link.transport.poll_auth() {
        match link.judge(kind, &credential) {
            Ok(admitted) => {
                let now = clock.tick;
                if let Some(first) = link.admissions.admit(address, admitted, now) {
                    tally.admissions_displaced += 1;
                    link.transport.close(&first, TAKEN_OVER);
                }
                link.transport.admit(&address);
            }
            Err(reason) => {
                let remote = link.transport.remote_addr(&address);
                log_limited!(info, ?remote, %kind, %reason, "refused");
                tally.refused += 1;
                link.transport.refuse(&address, &reason);
            }
        }
    }
}

/// Takes note of who has come and gone.
pub fn track_peers(
    mut core: Core,
    mut connected: MessageReader<ConnectEvent>,
    mut disconnected: MessageReader<DisconnectEvent>,
) {
    for ConnectEvent(user) in connected.read() {
        core.peer_connected(*user);
    }
    for DisconnectEvent(_, address, reason) in disconnected.read() {
        core.link.transport.close(address, "disconnected");
        // Of naia's causes only the client's own is left: the transport answers for its peers in time, and a user that
        // the server disconnects is already removed.
        core.peer_gone(*address, &SessionEnd::new(EndCause::ClosedByPeer, format!("{reason:?}")));
    }
    let now = core.space.clock.tick;
    while let Some(address) = core.link.admissions.overdue(now) {
        let remote = core.link.transport.remote_addr(&address);
        log_limited!(info, ?remote, "a peer was let in and does not connect; closing it");
        core.space.tally.admissions_overdue += 1;
        core.link.transport.close(&address, "the connection was not finished in time: connect again");
    }
    while let Some((address, end)) = core.link.transport.poll_closed() {
        core.peer_gone(address, &end);
    }
}

/// Ends the sessions of peers whose program stands still: naia and QUIC see them alive.
pub fn end_silent_sessions(mut link: ResMut<Link>, clock: Res<Clock>) {
    if !clock.tick.0.is_multiple_of(u64::from(TICK_HZ)) {
        return;
    }
    let Link { transport, users, .. } = &mut *link;
    for (address, connected) in users {
        connected.silent_s = if transport.take_heard(address) { 0 } else { connected.silent_s + 1 };
        if connected.silent_s == SILENCE_S {
            transport.close_for(address, EndCause::Silent, "nothing arrived from you: the program stands still");
        }
    }
}
