//! The network threads of a server, one for each listener (one for shards, one or more for players): QUIC, HTTP/3 and
//! WebTransport in an event loop of their own.
//!
//! A client's end is `quinn` and `wtransport` on tokio, whose tasks and channels cost little there. A server has
//! hundreds of connections that all send in every tick, and pays them hundreds of times. So it drives QUIC's state
//! machines (`quinn_proto`) itself: no task, no channel and no lock stands between a packet and its session's queues.
//!
//! Not here: who is let in (`door`), the sessions' queues ([`crate::session`]).

mod connections;
mod datagrams;
mod desk;
mod event_loop;
mod frames;
mod h3;
mod http;
mod peer;
mod serving;
mod socket;
mod timers;
mod wake;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use quinn_proto::ServerConfig as QuicConfig;
use quinn_proto::crypto::rustls::QuicServerConfig;
use wtransport::tls::WEBTRANSPORT_ALPN;

use self::desk::{Desk, Entrance};
use self::event_loop::EventLoop;
use self::wake::NetworkWaker;
use super::core::{Backend, Core, thread_name};
use super::registry::Registry;
use super::{ListenerConfig, ServerConfig};
use crate::PeerKind;
use crate::cert::LiveCertificate;
use crate::error::{BindError, TransportError};
use crate::network::link;
use crate::session::ending::EndCause;
use crate::session::hub::lock;

pub(super) fn bind(config: ServerConfig) -> Result<Core, TransportError> {
    let player_listeners = config.listeners.iter().filter(|listener| listener.kind == PeerKind::Player).count();
    let registry = Registry::new(&config.limits, config.protocol_version, player_listeners);
    let players = Entrance::new(&config.limits, PeerKind::Player);
    let shards = Entrance::new(&config.limits, PeerKind::Shard);
    let certificate_hash = config.identity.certificate_hash();
    let own_certificate = LiveCertificate::new(&config.identity)?;

    // All are bound before the first runs.
    let mut bound = Vec::new();
    let mut addresses: Vec<(PeerKind, SocketAddr)> = Vec::new();
    for &ListenerConfig { kind, addr } in &config.listeners {
        let bind_error = |source| BindError::new(kind, addr, source);
        let socket = link::udp_socket(addr, &config.limits).map_err(bind_error)?;
        let index = addresses.iter().filter(|(of, _)| *of == kind).count();
        addresses.push((kind, socket.local_addr().map_err(bind_error)?));
        let Some(hub) = registry.hubs_of(kind).get(index).cloned() else {
            return Err(TransportError::Network(io::Error::other("there can be one listener of shards only")));
        };
        let entrance = match kind {
            PeerKind::Player => &players,
            PeerKind::Shard => &shards,
        };
        let certificate = match &config.player_certificate {
            Some(certificate) if kind == PeerKind::Player => certificate,
            _ => &own_certificate,
        };
        let tls = QuicServerConfig::try_from(certificate.tls_config(WEBTRANSPORT_ALPN))
            .map_err(|error| TransportError::Identity(error.to_string()))?;
        let mut quic = QuicConfig::with_crypto(Arc::new(tls));
        quic.transport_config(Arc::new(link::transport_config(&config.limits, kind)))
            .max_incoming(config.limits.pending_total);
        let desk = Desk::new(kind, registry.clone(), hub.clone(), config.allowed_origins.clone(), entrance);
        let event_loop = EventLoop::new(socket, quic, desk).map_err(TransportError::Network)?;
        hub.set_network(event_loop.waker().clone().into());
        bound.push((thread_name(kind, index), event_loop));
    }

    let mut backend = Network {
        registry: registry.clone(),
        addresses,
        certificate_hash,
        wakers: bound.iter().map(|(_, event_loop)| event_loop.waker().clone()).collect(),
        threads: Mutex::default(),
    };
    for (name, event_loop) in bound {
        // Each listener has one, so that no crowd of strangers at the players' ports delays the shards' packets.
        let thread =
            std::thread::Builder::new().name(name).spawn(move || event_loop.run()).map_err(TransportError::Network)?;
        backend.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
    }
    Ok(Core { registry, backend: Box::new(backend), gate: Default::default() })
}

/// The server's side of the network threads.
struct Network {
    registry: Arc<Registry>,
    addresses: Vec<(PeerKind, SocketAddr)>,
    certificate_hash: [u8; 32],
    wakers: Vec<Arc<NetworkWaker>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Backend for Network {
    fn local_addrs(&self, kind: PeerKind) -> Vec<SocketAddr> {
        self.addresses.iter().filter(|(of, _)| *of == kind).map(|&(_, address)| address).collect()
    }

    fn certificate_hash(&self) -> [u8; 32] {
        self.certificate_hash
    }

    fn flush(&self) {
        for hub in self.registry.hubs() {
            hub.wake_network();
        }
    }

    fn is_running(&self) -> bool {
        let threads = lock(&self.threads);
        !threads.is_empty() && threads.iter().all(|thread| !thread.is_finished())
    }

    fn shutdown(&self) {
        for waker in &self.wakers {
            waker.stop();
        }
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a network thread panicked");
            }
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for session in self.registry.all() {
            session.request_close(EndCause::ClosedHere, "the server ended");
        }
        self.flush();
        self.shutdown();
    }
}
