//! The native network of a process's clients: one thread, and one UDP endpoint per pinned certificate and address
//! family (in practice one).

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use sidereal_process::crash::{contain_task, fault_point};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use wtransport::endpoint::endpoint_side::Client;
use wtransport::error::{ConnectingError, ConnectionError};
use wtransport::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};

use super::SESSION_PATH;
use super::handle::{Backend, ClientHandle, ClientSocket, Core};
use super::opening::{Failure, opened};
use crate::PeerKind;
use crate::cert::PinnedCertificate;
use crate::error::TransportError;
use crate::limits::Limits;
use crate::network::link;
use crate::network::quic::QuicLink;
use crate::session::ending::EndCause;
use crate::session::hub::lock;
use crate::session::wire::{AuthReply, AuthRequest, CERTIFICATES_DIFFER, MAX_REPLY_BYTES};
use crate::session::{End, Hub, Session};

/// How long the network thread continues after the last handle, to deliver what is queued.
const LINGER: Duration = Duration::from_secs(4);

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The server's address for this kind of peer.
    pub server: SocketAddr,
    /// The kind of this client.
    pub kind: PeerKind,
    /// SHA-256 of the DER form of the pinned certificate.
    pub certificate_hash: [u8; 32],
    /// Must equal the server's.
    pub protocol_version: u32,
    /// Limits of this client's session.
    pub limits: Limits,
}

impl ConnectOptions {
    /// Options with the default limits.
    pub fn new(server: SocketAddr, kind: PeerKind, certificate_hash: [u8; 32], protocol_version: u32) -> Self {
        Self { server, kind, certificate_hash, protocol_version, limits: Limits::default() }
    }
}

/// The network thread of all clients in a process. Cheap to clone. The thread ends after the last clone and the last
/// client are dropped.
#[derive(Clone)]
pub struct ClientNetwork {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: tokio::runtime::Handle,
    endpoints: Mutex<HashMap<EndpointKey, PinnedEndpoint>>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct EndpointKey {
    certificate_hash: [u8; 32],
    kind: PeerKind,
    ipv4: bool,
}

#[derive(Clone)]
struct PinnedEndpoint {
    endpoint: Arc<Endpoint<Client>>,
    pin: Arc<PinnedCertificate>,
}

impl ClientNetwork {
    /// Starts the network thread.
    ///
    /// # Errors
    /// When the system cannot create a thread or an event queue.
    pub fn new() -> Result<Self, TransportError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TransportError::Network)?;
        let handle = runtime.handle().clone();
        let (stop, mut stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("sidereal-net".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    // An error means that the network was dropped, which also stops it.
                    let _ = stopped.wait_for(|stop| *stop).await;
                });
            })
            .map_err(TransportError::Network)?;
        Ok(Self {
            shared: Arc::new(Shared {
                runtime: handle,
                endpoints: Mutex::default(),
                stop,
                thread: Mutex::new(Some(thread)),
            }),
        })
    }

    /// A client that connects when naia's `Client::connect` gets its socket. Failures appear in
    /// [`ClientHandle::status`].
    pub fn connector(&self, options: ConnectOptions) -> (ClientHandle, ClientSocket) {
        let hub = Hub::new(options.limits.clone());
        let session = Session::new(hub, End::Client, options.kind, options.server);
        let server_addr = options.server;
        let backend = Box::new(Native { shared: self.shared.clone(), session: session.clone(), options });
        ClientHandle::new(Core { session, server_addr, backend })
    }
}

impl Shared {
    fn endpoint(&self, options: &ConnectOptions) -> Result<PinnedEndpoint, TransportError> {
        let key = EndpointKey {
            certificate_hash: options.certificate_hash,
            kind: options.kind,
            ipv4: options.server.is_ipv4(),
        };
        let mut endpoints = lock(&self.endpoints);
        if let Some(endpoint) = endpoints.get(&key) {
            return Ok(endpoint.clone());
        }
        // Those of certificates that are no longer used.
        endpoints.retain(|_, old| old.endpoint.open_connections() > 0);
        let any = if key.ipv4 {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
        } else {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
        };
        let socket = link::udp_socket(any, &options.limits).map_err(TransportError::Network)?;
        let pin = PinnedCertificate::new(options.certificate_hash);
        let config = ClientConfig::builder()
            .with_bind_socket(socket)
            .with_custom_tls_and_transport(pin.tls_config(), link::transport_config(&options.limits, options.kind))
            .build();
        let _context = self.runtime.enter();
        let endpoint = Arc::new(Endpoint::client(config).map_err(TransportError::Network)?);
        let endpoint = PinnedEndpoint { endpoint, pin };
        endpoints.insert(key, endpoint.clone());
        Ok(endpoint)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The clients' sessions began to close when their handles were dropped. Their endpoints report when everything
        // is delivered.
        let endpoints: Vec<_> = lock(&self.endpoints).drain().map(|(_, e)| e.endpoint).collect();
        let stop = self.stop.clone();
        self.runtime.spawn(async move {
            let deadline = Instant::now() + LINGER;
            for endpoint in endpoints {
                let _ = timeout_at(deadline, endpoint.wait_idle()).await;
            }
            let _ = stop.send(true);
        });
        // When it is dropped on the network thread itself (by its last task), it cannot wait for itself.
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

struct Native {
    shared: Arc<Shared>,
    session: Arc<Session>,
    options: ConnectOptions,
}

impl Backend for Native {
    fn connect(&self, session: &Arc<Session>, auth: Bytes) {
        let endpoint = match self.shared.endpoint(&self.options) {
            Ok(endpoint) => endpoint,
            Err(error) => return session.on_closed(EndCause::Lost, &error.to_string()),
        };
        let (session, options) = (session.clone(), self.options.clone());
        self.shared.runtime.spawn(async move {
            if let Err(panicked) = contain_task(run(session.clone(), endpoint, options, auth)).await {
                tracing::error!(%panicked, "a connection's task");
                session.on_closed(EndCause::Failed, link::FAILED);
            }
        });
    }

    fn flush(&self) {
        self.session.hub.wake_network();
    }
}

/// One client's connection, from connecting to its end.
async fn run(session: Arc<Session>, endpoint: PinnedEndpoint, options: ConnectOptions, auth: Bytes) {
    // Ends with this task, for whatever reason.
    let mut flusher = JoinSet::new();
    flusher.spawn(link::run_flusher(session.hub.clone()));
    fault_point("session");
    if let Some((connection, send, recv)) = opened(&session, open(&session, &endpoint, &options, auth)).await {
        link::run(session, connection, send, recv).await;
    }
}

async fn open(
    session: &Arc<Session>,
    endpoint: &PinnedEndpoint,
    options: &ConnectOptions,
    auth: Bytes,
) -> Result<(Connection, SendStream, RecvStream), Failure> {
    let server = options.server;
    let seconds = options.limits.connect_deadline.as_secs();
    let deadline = Instant::now() + options.limits.connect_deadline;

    let url = format!("https://{server}{SESSION_PATH}");
    let connection = match timeout_at(deadline, endpoint.endpoint.connect(url)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(explain_connecting(&error, endpoint, options)),
        Err(_) => {
            return Err(Failure::Closed(format!(
                "no server answers at {server} within {seconds} s; check that it runs and that the address is right"
            )));
        }
    };
    let _ = session.quic.set(QuicLink::new(&connection));

    let request = AuthRequest { protocol_version: options.protocol_version, kind: options.kind, auth };
    // The verdict may take the same time again.
    let deadline = Instant::now() + 2 * options.limits.connect_deadline;
    let reply = timeout_at(deadline, async {
        let (mut send, mut recv) = connection.open_bi().await.ok()?.await.ok()?;
        if !link::write_framed(&mut send, &request.encode()).await {
            return None;
        }
        let reply = link::read_framed(&mut recv, MAX_REPLY_BYTES).await.ok()?;
        Some((reply, send, recv))
    })
    .await;
    let (reply, send, recv) = match reply {
        Ok(Some(answer)) => answer,
        Ok(None) => {
            let error = connection.closed().await;
            return Err(Failure::Closed(link::explain(&error, options.limits.idle_timeout).reason));
        }
        Err(_) => {
            return Err(Failure::Closed(format!("the server at {server} did not answer the login in time; try again")));
        }
    };
    match AuthReply::decode(&reply) {
        Ok(AuthReply::Accept(token)) => {
            session.on_accepted(token);
            Ok((connection, send, recv))
        }
        Ok(AuthReply::Reject(reason)) => {
            connection.close(0u32.into(), b"rejected");
            Err(Failure::Rejected(reason))
        }
        Err(_) => {
            connection.close(1u32.into(), b"malformed reply");
            Err(Failure::Rejected(format!("{server} does not answer as a Sidereal server does; check the address")))
        }
    }
}

fn explain_connecting(error: &ConnectingError, endpoint: &PinnedEndpoint, options: &ConnectOptions) -> Failure {
    let server = options.server;
    match error {
        ConnectingError::ConnectionError(ConnectionError::QuicProto(_)) if endpoint.pin.has_refused() => {
            Failure::Rejected(format!(
                "{CERTIFICATES_DIFFER} ({}...): {server} is another server, or its \
                 certificate was renewed; get the current hash from the login answer or the operator",
                hex_start(&options.certificate_hash),
            ))
        }
        ConnectingError::ConnectionError(ConnectionError::ConnectionClosed(close)) => Failure::Closed(format!(
            "the server at {server} refused the connection ({close}); it may be full: try again later"
        )),
        ConnectingError::ConnectionError(ConnectionError::TimedOut) => {
            Failure::Closed(format!("no server answers at {server}; check that it runs and that the address is right"))
        }
        ConnectingError::SessionRejected => {
            Failure::Rejected(format!("{server} is no Sidereal server; check the address"))
        }
        other => Failure::Closed(format!("cannot connect to {server}: {other}")),
    }
}

fn hex_start(hash: &[u8; 32]) -> String {
    hash[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}
