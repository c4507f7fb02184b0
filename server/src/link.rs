//! The way to the peers: who may come in, who has come and gone, and frames to shards.

use crate::{
    admission::{Admissions, Admitted},
    core::Core,
    tickets::TicketOffice,
};
use bevy::prelude::{MessageReader, Resource};
use bytes::Bytes;
use naia_bevy_server::{
    UserKey,
    events::{ConnectEvent, DisconnectEvent},
};
use sha2::{Digest, Sha256};
use sidereal_process::log_limited;
use sidereal_protocol::{
    control::{ToShard, encode_frame},
    ids::{AccountId, ShardId},
    messages::{Credential, TAKEN_OVER, ToPlayer},
    tick::TICK_HZ,
};
use sidereal_transport::{PeerKind, ServerHandle};
use std::{collections::BTreeMap, net::SocketAddr};
use tracing::debug;

/// The transport, and what decides who may use it.
#[derive(Resource)]
pub struct Link {
    /// The transport.
    pub transport: ServerHandle,
    tickets: TicketOffice,
    /// The digest, so that comparing it tells nothing of the secret by its time.
    shard_secret: [u8; 32],
    /// Who is not connected yet.
    pub admissions: Admissions,
    users: BTreeMap<SocketAddr, Connected>,
}

/// A peer that naia has connected.
#[derive(Debug)]
struct Connected {
    user: UserKey,
    /// Whole seconds in which nothing was heard of it.
    silent_s: u32,
}

impl Connected {
    fn new(user: UserKey) -> Self {
        Self { user, silent_s: 0 }
    }
}

/// After how long a silence a peer's session is over, s. naia's client sends a heartbeat each second, whatever else
/// there is to say; a session whose network has gone is over sooner (the transport's idle timeout).
const SILENCE_S: u32 = 15;

impl Link {
    /// A link over `transport`, which judges players by tickets and shards by the secret.
    pub fn new(transport: ServerHandle, tickets: TicketOffice, shard_secret: &str) -> Self {
        Self {
            transport,
            tickets,
            shard_secret: Sha256::digest(shard_secret).into(),
            admissions: Admissions::default(),
            users: BTreeMap::new(),
        }
    }

    fn judge(&self, kind: PeerKind, credential: &[u8]) -> Result<Admitted, String> {
        let credential =
            Credential::decode(credential).map_err(|error| format!("the credential is malformed ({error})"))?;
        match kind {
            PeerKind::Player => {
                let ticket = self
                    .tickets
                    .redeem(&credential.secret, self.tickets.now_ms())
                    .map_err(|error| error.to_string())?;
                Ok(Admitted::Player { account: AccountId(ticket.account_id), name: ticket.name })
            }
            PeerKind::Shard => {
                let digest: [u8; 32] = Sha256::digest(&credential.secret).into();
                if digest == self.shard_secret {
                    let name = credential.name.chars().take(48).collect();
                    Ok(Admitted::Shard { name })
                } else {
                    Err("the shard secret is not the server's: start both with the same \
                         SIDEREAL_SHARD_SECRET"
                        .to_owned())
                }
            }
        }
    }
}

impl Core<'_, '_> {
    /// Sends a frame to a shard. A shard that does not take its frames is closed: it has lost the
    /// thread, and comes back from scratch.
    pub fn to_shard(&mut self, shard: ShardId, message: &ToShard) {
        let Some(address) = self.shards.address(shard) else { return };
        let frame = match encode_frame(message) {
            Ok(frame) => frame,
            Err(problem) => {
                log_limited!(error, %shard, %problem, "a frame could not be encoded; it is not sent");
                self.tally.violations += 1;
                return;
            }
        };
        if let Err(problem) = self.link.transport.send_stream(&address, Bytes::from(frame)) {
            log_limited!(warn, %shard, %problem, "shard does not take its frames; closing it");
            self.link.transport.close(&address, "the control stream is stuck: connect again");
        }
    }

    /// Tells a player something, reliably and in order. Who does not read is closed by the transport.
    pub fn notify(&mut self, address: &SocketAddr, message: ToPlayer) {
        match encode_frame(&message) {
            // A session that has ended is told nothing.
            Ok(frame) => drop(self.link.transport.send_stream(address, Bytes::from(frame))),
            Err(problem) => {
                log_limited!(error, %address, %problem, "a notice could not be encoded; it is not sent");
                self.tally.violations += 1;
            }
        }
    }

    /// naia's key for a connected peer.
    pub fn user_key(&self, address: &SocketAddr) -> Option<UserKey> {
        self.link.users.get(address).map(|connected| connected.user)
    }

    fn peer_connected(&mut self, user: UserKey) {
        let Some(address) = self.naia.user_opt(&user).map(|user| user.address()) else { return };
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
                if let Some(mut user) = self.naia.user_mut_opt(&user) {
                    user.disconnect();
                }
            }
        }
    }

    /// Forgets a peer, whichever of naia and the transport noticed first.
    fn peer_gone(&mut self, address: SocketAddr, reason: &str) {
        self.link.admissions.take(&address);
        let Some(Connected { user, .. }) = self.link.users.remove(&address) else { return };
        self.player_gone(address, reason);
        self.shard_gone(address, reason);
        if let Some(mut user) = self.naia.user_mut_opt(&user) {
            user.disconnect();
        }
    }
}

/// Judges waiting credentials, before naia hears of the peers.
pub fn judge_credentials(mut core: Core<'_, '_>) {
    while let Some((address, kind, credential)) = core.link.transport.poll_auth() {
        match core.link.judge(kind, &credential) {
            Ok(admitted) => {
                let now = core.clock.tick;
                if let Some(first) = core.link.admissions.admit(address, admitted, now) {
                    core.tally.admissions_displaced += 1;
                    core.link.transport.close(&first, TAKEN_OVER);
                }
                core.link.transport.admit(&address);
            }
            Err(reason) => {
                let remote = core.link.transport.remote_addr(&address);
                log_limited!(info, ?remote, %kind, %reason, "refused");
                core.tally.refused += 1;
                core.link.transport.refuse(&address, &reason);
            }
        }
    }
}

/// Takes note of who has come and gone.
pub fn track_peers(
    mut core: Core<'_, '_>,
    mut connected: MessageReader<'_, '_, ConnectEvent>,
    mut disconnected: MessageReader<'_, '_, DisconnectEvent>,
) {
    for ConnectEvent(user) in connected.read() {
        core.peer_connected(*user);
    }
    for DisconnectEvent(_, address, reason) in disconnected.read() {
        core.link.transport.close(address, "disconnected");
        core.peer_gone(*address, &format!("{reason:?}"));
    }
    let now = core.clock.tick;
    while let Some(address) = core.link.admissions.overdue(now) {
        let remote = core.link.transport.remote_addr(&address);
        log_limited!(info, ?remote, "a peer was let in and does not connect; closing it");
        core.tally.admissions_overdue += 1;
        core.link.transport.close(&address, "the connection was not finished in time: connect again");
    }
    while let Some((address, reason)) = core.link.transport.poll_closed() {
        core.peer_gone(address, &reason);
    }
}

/// Ends the sessions of peers whose program stands still: naia and QUIC see them alive.
pub fn end_silent_sessions(mut core: Core<'_, '_>) {
    if !core.clock.tick.0.is_multiple_of(u64::from(TICK_HZ)) {
        return;
    }
    let Link { transport, users, .. } = &mut *core.link;
    for (address, connected) in users {
        connected.silent_s = if transport.take_heard(address) { 0 } else { connected.silent_s + 1 };
        if connected.silent_s == SILENCE_S {
            transport.close(address, "nothing was heard of you: the program stands still");
        }
    }
}

/// Hands everything of this update to the network in one go.
pub fn flush(core: Core<'_, '_>) {
    core.link.transport.flush();
}
