//! Peers that connect and go: credentials, connections reported by naia and the transport, silence.

use crate::{
    audit::{setting_aside::Asides, tally::Tally},
    clock::Clock,
    handoff::{effects::HandoffEffects, machine::Event},
    players::{logins::Logins, ships::Ships},
    replication::space::Space,
    territory::shard_lives::ShardLives,
    traffic::{
        admission::Admitted,
        link::{Connected, Link},
    },
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{MessageReader, ParamSet, Res, ResMut},
};
use naia_bevy_server::{
    UserKey,
    events::{ConnectEvent, DisconnectEvent},
};
use sidereal_process::log_limited;
use sidereal_protocol::{frames::messages::TAKEN_OVER, world::tick::TICK_HZ};
use sidereal_transport::{EndCause, SessionEnd};
use std::net::SocketAddr;
use tracing::debug;

/// Silence after which a peer's session ends, s. naia's client sends a heartbeat each second in any case; a session
/// whose network has failed ends sooner (the transport's idle timeout).
const SILENCE_S: u32 = 15;

/// The capabilities involved when a peer connects or goes, one at a time.
#[derive(SystemParam)]
pub struct Capabilities<'w, 's> {
    one: ParamSet<'w, 's, (ResMut<'w, Link>, Logins<'w>, ShardLives<'w>, HandoffEffects<'w>, Ships<'w>, Asides<'w>)>,
}

impl Capabilities<'_, '_> {
    fn link(&mut self) -> ResMut<'_, Link> {
        self.one.p0()
    }

    fn logins(&mut self) -> Logins<'_> {
        self.one.p1()
    }

    fn shard_lives(&mut self) -> ShardLives<'_> {
        self.one.p2()
    }

    fn handoffs(&mut self) -> HandoffEffects<'_> {
        self.one.p3()
    }

    fn ships(&mut self) -> Ships<'_> {
        self.one.p4()
    }

    fn asides(&mut self) -> Asides<'_> {
        self.one.p5()
    }

    fn peer_connected(&mut self, space: &mut Space, user: UserKey) {
        let Some(address) = space.replicas.naia.user_opt(&user).map(|user| user.address()) else { return };
        let mut link = self.link();
        link.transport.note_connected(&address);
        let admitted = link.admissions.take(&address);
        if admitted.is_some() {
            link.users.insert(address, Connected::new(user));
        }
        match admitted {
            Some(Admitted::Player { account, name }) => {
                self.logins().player_connected(space, address, account, name);
            }
            Some(Admitted::Shard { name }) => self.shard_lives().shard_connected(space, address, name),
            // Its session has ended during naia's handshake, which the transport finished for it; or just now.
            None => {
                debug!(%address, "a peer connected that is not waited for (any more)");
                link.transport.close(&address, "not admitted");
                if let Some(mut user) = space.replicas.naia.user_mut_opt(&user) {
                    user.disconnect();
                }
            }
        }
    }

    /// Removes a peer, whether naia or the transport noticed first.
    fn peer_gone(&mut self, space: &mut Space, address: SocketAddr, end: &SessionEnd) {
        let mut link = self.link();
        link.admissions.take(&address);
        let Some(Connected { user, .. }) = link.users.remove(&address) else { return };
        self.logins().player_gone(space, address, end);
        self.shard_gone(space, address, &end.reason);
        if let Some(mut user) = space.replicas.naia.user_mut_opt(&user) {
            user.disconnect();
        }
    }

    /// A peer has gone that may be a shard.
    fn shard_gone(&mut self, space: &mut Space, address: SocketAddr, reason: &str) {
        let Some(lost) = self.shard_lives().shard_gone(address) else { return };
        let news = self.handoffs().step(space, Event::ShardLost(lost.id));
        self.ships().on_news(space, news);
        let Some(crash) = self.shard_lives().orphan_entities(space, lost, reason) else { return };
        let fates = self.asides().shard_crashed(space, crash);
        self.ships().on_fates(space, fates);
    }
}

/// Checks waiting credentials, before naia gets the peers' packets.
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

/// Handles peers that have connected or gone.
pub fn track_peers(
    mut space: Space,
    mut capabilities: Capabilities,
    mut connected: MessageReader<ConnectEvent>,
    mut disconnected: MessageReader<DisconnectEvent>,
) {
    for ConnectEvent(user) in connected.read() {
        capabilities.peer_connected(&mut space, *user);
    }
    for DisconnectEvent(_, address, reason) in disconnected.read() {
        capabilities.link().transport.close(address, "disconnected");
        // Of naia's causes only the client's own is left: the transport sends naia traffic for its peers in time, and
        // a user that the server disconnects is already removed.
        capabilities.peer_gone(&mut space, *address, &SessionEnd::new(EndCause::ClosedByPeer, format!("{reason:?}")));
    }
    let now = space.clock.tick;
    while let Some(address) = capabilities.link().admissions.overdue(now) {
        let remote = capabilities.link().transport.remote_addr(&address);
        log_limited!(info, ?remote, "an admitted peer does not connect; closing it");
        space.tally.admissions_overdue += 1;
        capabilities.link().transport.close(&address, "the connection was not finished in time: connect again");
    }
    while let Some((address, end)) = capabilities.link().transport.poll_closed() {
        capabilities.peer_gone(&mut space, address, &end);
    }
}

/// Ends the sessions of peers whose program is frozen: naia and QUIC take them for alive.
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
