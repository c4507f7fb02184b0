//! naia's access to the server's sessions: its `Socket` traits over the same queues.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use naia_bevy_server::transport::{
    AuthReceiver, AuthSender, ListenResult, PacketReceiver, PacketSender, RecvError, SendError, Socket,
};

use super::core::Core;
use crate::naia::acks::HEARTBEAT_BYTES;
use crate::session::hub::Inbound;

/// naia's `ClientConnectRequest`, as its clients send it: the kind of packet, an empty header, the kind of handshake.
const CONNECT_REQUEST: [u8; 9] = [2, 0, 0, 0, 0, 0, 0, 0, 0x10];

/// The socket for naia's `Server::listen`.
pub struct ServerSocket {
    pub(super) core: Arc<Core>,
}

impl Socket for ServerSocket {
    fn listen(self: Box<Self>) -> ListenResult {
        let core = self.core;
        (
            Box::new(Verdicts { core: core.clone() }),
            Box::new(AuthRequests { core: core.clone() }),
            Box::new(PacketsOut { core: core.clone() }),
            Box::new(PacketsIn { core, current: Bytes::new(), heartbeat: [0; HEARTBEAT_BYTES] }),
        )
    }
}

impl From<ServerSocket> for Box<dyn Socket> {
    fn from(socket: ServerSocket) -> Self {
        Box::new(socket)
    }
}

struct Verdicts {
    core: Arc<Core>,
}

impl AuthSender for Verdicts {
    fn accept(&self, address: &SocketAddr, identity_token: &String) -> Result<(), SendError> {
        let session = self.core.registry.get(address).ok_or(SendError)?;
        if !session.accept(identity_token) {
            return Err(SendError);
        }
        self.core.registry.admission.accepted.one();
        self.core.backend.flush();
        Ok(())
    }

    fn reject(&self, address: &SocketAddr) -> Result<(), SendError> {
        let session = self.core.registry.get(address).ok_or(SendError)?;
        if !session.reject() {
            return Err(SendError);
        }
        self.core.registry.admission.rejected.one();
        self.core.backend.flush();
        Ok(())
    }
}

#[derive(Clone)]
struct AuthRequests {
    core: Arc<Core>,
}

impl AuthReceiver for AuthRequests {
    fn receive(&mut self) -> Result<Option<(SocketAddr, &[u8])>, RecvError> {
        let registry = &self.core.registry;
        // naia gets no session that has disconnected meanwhile.
        let next =
            std::iter::from_fn(|| self.core.gate.take_admitted()).find(|address| registry.get(address).is_some());
        Ok(next.map(|address| {
            registry.note_user(address);
            (address, &[][..])
        }))
    }
}

#[derive(Clone)]
struct PacketsOut {
    core: Arc<Core>,
}

impl PacketSender for PacketsOut {
    /// Only queues. A session that has ended is no error for naia, which would log each packet: its user is about to be
    /// disconnected through `poll_closed`.
    fn send(&self, address: &SocketAddr, payload: &[u8]) -> Result<(), SendError> {
        self.core.registry.for_each([address], |session| session.send_naia(payload));
        Ok(())
    }
}

#[derive(Clone)]
struct PacketsIn {
    core: Arc<Core>,
    current: Bytes,
    heartbeat: [u8; HEARTBEAT_BYTES],
}

impl PacketReceiver for PacketsIn {
    fn receive(&mut self) -> Result<Option<(SocketAddr, &[u8])>, RecvError> {
        let registry = &self.core.registry;
        // Before anything else: delivery must be confirmed to naia before it sends again.
        if let Some((address, heartbeat)) = registry.pop_heartbeat() {
            self.heartbeat = heartbeat;
            return Ok(Some((address, &self.heartbeat)));
        }
        let unfinished = || registry.pop_unfinished().map(|address| (address, Bytes::from_static(&CONNECT_REQUEST)));
        Ok(registry.pop(Inbound::Naia).or_else(unfinished).map(|(address, packet)| {
            self.current = packet;
            (address, &self.current[..])
        }))
    }
}

#[cfg(test)]
mod tests {
    use naia_shared::handshake::HandshakeHeader;
    use naia_shared::{BitWriter, PacketType, Serde, StandardHeader};

    #[test]
    fn the_packet_that_finishes_a_handshake_is_naias() {
        let mut writer = BitWriter::new();
        StandardHeader::new(PacketType::Handshake, 0, 0, 0).ser(&mut writer);
        HandshakeHeader::ClientConnectRequest.ser(&mut writer);
        assert_eq!(*writer.to_bytes(), super::CONNECT_REQUEST);
    }
}
