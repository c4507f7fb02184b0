//! The way to the peers: who may come in, who has come and gone, and frames to shards.

use crate::{core::Core, tickets::TicketOffice};
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
    limits::MAX_SAY_BYTES,
    messages::{Credential, Deal, Respawn, Say},
    schema::protocol,
};
use sidereal_transport::{ClientMessages, Field, PeerKind, ServerHandle};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

/// A peer whose credential was good, until naia says that it is connected.
#[derive(Debug, Clone)]
enum Admitted {
    Player { account: AccountId, name: String },
    Shard { name: String },
}

/// The transport, and what decides who may use it.
#[derive(Resource)]
pub struct Link {
    /// The transport.
    pub transport: ServerHandle,
    tickets: TicketOffice,
    /// The digest, so that comparing it tells nothing of the secret by its time.
    shard_secret: [u8; 32],
    /// Bounded by the transport's sessions.
    admitted: HashMap<SocketAddr, Admitted>,
    users: BTreeMap<SocketAddr, UserKey>,
}

impl Link {
    /// A link over `transport`, which judges players by tickets and shards by the secret.
    pub fn new(transport: ServerHandle, tickets: TicketOffice, shard_secret: &str) -> Self {
        transport.gate_auth();
        // As `Deal` stands there: a key in two halves, kind and item, ship, ore, credits, ore and credits wanted, again.
        let deal = [64, 64, 8, 8, 32, 32, 64, 32, 64, 1].map(Field::Bits);
        let say = [Field::Bits(8), Field::Bytes(MAX_SAY_BYTES)];
        let messages =
            ClientMessages::new(&protocol()).request::<Respawn>(&[]).request::<Deal>(&deal).message::<Say>(&say);
        transport.set_client_messages(messages);
        Self {
            transport,
            tickets,
            shard_secret: Sha256::digest(shard_secret).into(),
            admitted: HashMap::new(),
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

    /// naia's key for a connected peer.
    pub fn user_key(&self, address: &SocketAddr) -> Option<UserKey> {
        self.link.users.get(address).copied()
    }

    fn peer_connected(&mut self, user: UserKey) {
        let address = self.naia.user(&user).address();
        match self.link.admitted.remove(&address) {
            Some(Admitted::Player { account, name }) => {
                self.link.users.insert(address, user);
                self.player_connected(address, user, account, name);
            }
            Some(Admitted::Shard { name }) => {
                self.link.users.insert(address, user);
                self.shard_connected(address, name);
            }
            None => {
                log_limited!(warn, %address, "a peer connected that was not admitted; closing it");
                self.link.transport.close(&address, "not admitted");
            }
        }
    }

    /// Forgets a peer, whichever of naia and the transport noticed first.
    fn peer_gone(&mut self, address: SocketAddr, reason: &str) {
        self.link.admitted.remove(&address);
        let Some(user) = self.link.users.remove(&address) else { return };
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
                core.link.admitted.insert(address, admitted);
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
    while let Some((address, reason)) = core.link.transport.poll_closed() {
        core.peer_gone(address, &reason);
    }
}

/// Hands everything of this update to the network in one go.
pub fn flush(core: Core<'_, '_>) {
    core.link.transport.flush();
}
