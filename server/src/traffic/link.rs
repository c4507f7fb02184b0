//! The connections to the peers: admission, connecting and going, and frames to shards.

use super::admission::{Admissions, Admitted};
use crate::accounts::tickets::TicketOffice;
use bevy::prelude::Resource;
use bytes::Bytes;
use naia_bevy_server::UserKey;
use sha2::{Digest, Sha256};
use sidereal_process::log_limited;
use sidereal_protocol::{
    frames::{
        control::{ToShard, encode_frame},
        messages::{Credential, ToPlayer},
    },
    world::ids::{AccountId, ShardId},
};
use sidereal_transport::{PeerKind, ServerHandle};
use std::{collections::BTreeMap, net::SocketAddr};

/// The transport, and the admission of peers.
#[derive(Resource)]
pub struct Link {
    /// The transport.
    pub transport: ServerHandle,
    tickets: TicketOffice,
    /// The digest, so that the time of a comparison reveals nothing of the secret.
    shard_secret: [u8; 32],
    /// Admitted peers that are not connected yet.
    pub admissions: Admissions,
    pub(crate) users: BTreeMap<SocketAddr, Connected>,
    shards: BTreeMap<ShardId, SocketAddr>,
    /// Frames that could not be encoded and were not sent.
    pub unencodable: u64,
}

/// A peer that naia has connected.
#[derive(Debug)]
pub(crate) struct Connected {
    pub user: UserKey,
    /// Whole seconds without a packet from it.
    pub silent_s: u32,
}

impl Connected {
    pub fn new(user: UserKey) -> Self {
        Self { user, silent_s: 0 }
    }
}

impl Link {
    /// A link over `transport`, which admits players by ticket and shards by secret.
    pub fn new(transport: ServerHandle, tickets: TicketOffice, shard_secret: &str) -> Self {
        Self {
            transport,
            tickets,
            shard_secret: Sha256::digest(shard_secret).into(),
            admissions: Admissions::default(),
            users: BTreeMap::new(),
            shards: BTreeMap::new(),
            unencodable: 0,
        }
    }

    /// Checks a peer's credential.
    pub(crate) fn judge(&self, kind: PeerKind, credential: &[u8]) -> Result<Admitted, String> {
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

impl Link {
    /// The address of a connected shard.
    pub fn address_of(&self, shard: ShardId) -> Option<SocketAddr> {
        self.shards.get(&shard).copied()
    }

    /// Sets or removes the address of a shard.
    pub fn name_shard(&mut self, shard: ShardId, address: Option<SocketAddr>) {
        match address {
            Some(address) => drop(self.shards.insert(shard, address)),
            None => drop(self.shards.remove(&shard)),
        }
    }

    /// Sends a frame to a shard. A shard whose frames cannot be sent is closed: its state is incomplete, and it
    /// reconnects from scratch.
    pub fn to_shard(&mut self, shard: ShardId, message: &ToShard) {
        let Some(address) = self.address_of(shard) else { return };
        let frame = match encode_frame(message) {
            Ok(frame) => frame,
            Err(problem) => {
                log_limited!(error, %shard, %problem, "a frame could not be encoded; it is not sent");
                self.unencodable += 1;
                return;
            }
        };
        if let Err(problem) = self.transport.send_stream(&address, Bytes::from(frame)) {
            log_limited!(warn, %shard, %problem, "shard does not receive its frames; closing it");
            self.transport.close(&address, "the control stream is stuck: connect again");
        }
    }

    /// Sends a player a message, reliably and in order. The transport closes a player that does not read.
    pub fn notify(&mut self, address: &SocketAddr, message: ToPlayer) {
        match encode_frame(&message) {
            // The session may have ended.
            Ok(frame) => drop(self.transport.send_stream(address, Bytes::from(frame))),
            Err(problem) => {
                log_limited!(error, %address, %problem, "a notice could not be encoded; it is not sent");
                self.unencodable += 1;
            }
        }
    }

    /// naia's key for a connected peer.
    pub fn user_key(&self, address: &SocketAddr) -> Option<UserKey> {
        self.users.get(address).map(|connected| connected.user)
    }
}
