//! The network thread of a server: QUIC endpoints, handshakes, caps.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sidereal_process::crash::{contain_task, fault_point};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wtransport::endpoint::IncomingSession;
use wtransport::endpoint::endpoint_side::Server;
use wtransport::tls::WEBTRANSPORT_ALPN;
use wtransport::{Connection, Endpoint, RecvStream, SendStream, VarInt};

use super::handle::{Backend, Core};
use super::registry::Registry;
use super::{AllowedOrigins, ListenerConfig, ServerConfig};
use crate::PeerKind;
use crate::cert::LiveCertificate;
use crate::client::SESSION_PATH;
use crate::error::{BindError, TransportError};
use crate::hub::{Hub, lock};
use crate::link::{self, EndOnPanic, QuicLink};
use crate::session::Session;
use crate::wire::{AuthReply, MAX_REQUEST_BYTES};

/// How long a peer that was refused has to read why.
const REFUSAL_LINGER: Duration = Duration::from_secs(1);

pub(super) fn bind(config: ServerConfig) -> Result<Core, TransportError> {
    let hub = Hub::new(config.limits.clone());
    let registry = Registry::new(hub, config.protocol_version);
    let certificate_hash = config.identity.certificate_hash();
    let own_certificate = LiveCertificate::new(&config.identity)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TransportError::Network)?;

    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for &ListenerConfig { kind, addr } in &config.listeners {
        let bind_error = |source| BindError::new(kind, addr, source);
        let socket = link::udp_socket(addr, &config.limits).map_err(bind_error)?;
        addresses.push((kind, socket.local_addr().map_err(bind_error)?));
        let certificate = match &config.player_certificate {
            Some(certificate) if kind == PeerKind::Player => certificate,
            _ => &own_certificate,
        };
        let tls = certificate.tls_config(WEBTRANSPORT_ALPN);
        let mut quic = wtransport::ServerConfig::builder()
            .with_bind_socket(socket)
            .with_custom_tls_and_transport(tls, link::transport_config(&config.limits, kind))
            .build();
        quic.quic_config_mut().max_incoming(config.limits.pending_total);
        let _context = runtime.enter();
        let endpoint = Endpoint::server(quic).map_err(bind_error)?;
        listeners.push(Arc::new(Listener {
            kind,
            endpoint,
            registry: registry.clone(),
            allowed_origins: config.allowed_origins.clone(),
            pending: AtomicUsize::new(0),
            per_address: Mutex::default(),
        }));
    }

    let (stop, stopped) = watch::channel(false);
    let thread_registry = registry.clone();
    let thread = std::thread::Builder::new()
        .name("sidereal-net".to_owned())
        .spawn(move || run(runtime, listeners, thread_registry, stopped))
        .map_err(TransportError::Network)?;
    let backend =
        Network { registry: registry.clone(), addresses, certificate_hash, stop, thread: Mutex::new(Some(thread)) };
    Ok(Core { registry, backend: Box::new(backend), gate: Default::default() })
}

/// The server's side of the network thread.
struct Network {
    registry: Arc<Registry>,
    addresses: Vec<(PeerKind, SocketAddr)>,
    certificate_hash: [u8; 32],
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Backend for Network {
    fn local_addr(&self, kind: PeerKind) -> Option<SocketAddr> {
        self.addresses.iter().find_map(|&(of, address)| (of == kind).then_some(address))
    }

    fn certificate_hash(&self) -> [u8; 32] {
        self.certificate_hash
    }

    fn flush(&self) {
        self.registry.hub.wake_network();
    }

    fn shutdown(&self) {
        let _ = self.stop.send(true);
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the network thread panicked");
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for session in self.registry.all() {
            session.request_close("the server ended", false);
        }
        self.flush();
        self.shutdown();
    }
}

struct Listener {
    kind: PeerKind,
    endpoint: Endpoint<Server>,
    registry: Arc<Registry>,
    allowed_origins: AllowedOrigins,
    /// Connections that are not yet sessions.
    pending: AtomicUsize,
    /// Sessions and pending connections by IP address.
    per_address: Mutex<HashMap<IpAddr, usize>>,
}

/// The network thread. A panic of a session's task costs that session; any other one costs all, and ends a process that
/// has said so ([`sidereal_process::crash`]).
fn run(runtime: Runtime, listeners: Vec<Arc<Listener>>, registry: Arc<Registry>, mut stopped: watch::Receiver<bool>) {
    let drain = registry.hub.limits.drain_deadline;
    runtime.block_on(async {
        let flusher = tokio::spawn(link::run_flusher(registry.hub.clone()));
        let mut accepting = JoinSet::new();
        let sessions = Arc::new(tokio::sync::Mutex::new(JoinSet::new()));
        for listener in &listeners {
            accepting.spawn(accept(listener.clone(), sessions.clone()));
        }
        // An error means that the server's handles are gone, which is a stop as well.
        let _ = stopped.wait_for(|stop| *stop).await;
        accepting.shutdown().await;
        link::flush_now(&registry.hub, &mut Vec::new());
        let mut sessions = sessions.lock().await;
        let all_ended = timeout(drain, async { while sessions.join_next().await.is_some() {} }).await;
        if all_ended.is_err() {
            tracing::warn!(left = sessions.len(), "sessions did not end in time and are cut off");
            sessions.shutdown().await;
        }
        flusher.abort();
        for listener in &listeners {
            listener.endpoint.close(VarInt::from_u32(0), b"the server ended");
        }
        for listener in &listeners {
            let _ = timeout(Duration::from_secs(1), listener.endpoint.wait_idle()).await;
        }
    });
    for session in registry.all() {
        session.on_closed("the server ended");
    }
}

/// Takes connections until its task is aborted. (`Endpoint::accept` panics on a closed endpoint: this one is
/// closed only after the task.)
async fn accept(listener: Arc<Listener>, sessions: Arc<tokio::sync::Mutex<JoinSet<()>>>) {
    let registry = &listener.registry;
    let limits = &registry.hub.limits;
    loop {
        let incoming = listener.endpoint.accept().await;
        fault_point("accept");
        registry.admission.attempts.one();
        let ip = incoming.remote_address().ip();
        let pending = listener.pending.load(Ordering::Relaxed);
        if pending >= limits.pending_total {
            registry.admission.refused_pending.one();
            incoming.refuse();
            continue;
        }
        if pending >= limits.pending_retry_above && !incoming.remote_address_validated() {
            registry.admission.retried.one();
            incoming.retry();
            continue;
        }
        let Some(place) = Place::take(&listener, ip) else {
            registry.admission.refused_sessions.one();
            incoming.refuse();
            continue;
        };
        let mut sessions = sessions.lock().await;
        while sessions.try_join_next().is_some() {}
        let served = contain_task(serve(listener.clone(), incoming, place));
        sessions.spawn(async move {
            if let Err(panicked) = served.await {
                tracing::error!(%ip, %panicked, "a session's task");
            }
        });
    }
}

/// One of the places of an IP address, and of the server; given back on drop.
struct Place {
    listener: Arc<Listener>,
    ip: IpAddr,
}

impl Place {
    fn take(listener: &Arc<Listener>, ip: IpAddr) -> Option<Self> {
        let limits = &listener.registry.hub.limits;
        if listener.registry.len() >= limits.sessions_total {
            return None;
        }
        let mut per_address = lock(&listener.per_address);
        let taken = per_address.entry(ip).or_default();
        if *taken >= limits.sessions_per_address {
            return None;
        }
        *taken += 1;
        Some(Self { listener: listener.clone(), ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut per_address = lock(&self.listener.per_address);
        if let Some(taken) = per_address.get_mut(&self.ip) {
            *taken -= 1;
            if *taken == 0 {
                per_address.remove(&self.ip);
            }
        }
    }
}

/// Counts a connection as pending until dropped.
struct Pending<'a>(&'a AtomicUsize);

impl<'a> Pending<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection, from its first packet to its end.
async fn serve(listener: Arc<Listener>, incoming: IncomingSession, place: Place) {
    let registry = &listener.registry;
    let deadline = registry.hub.limits.connect_deadline;
    let remote = incoming.remote_address();
    let pending = Pending::new(&listener.pending);

    let (connection, mut send, mut recv, request) = match timeout(deadline, handshake(&listener, incoming)).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(what)) => {
            registry.admission.failed_handshake.one();
            tracing::debug!(%remote, what, "connection failed");
            return;
        }
        Err(_) => {
            registry.admission.failed_handshake.one();
            tracing::debug!(%remote, "connection took too long");
            return;
        }
    };
    let session = match registry.admit(&request, listener.kind, remote) {
        Ok(session) => session,
        Err(refusal) => {
            refuse(&connection, &mut send, refusal.reason()).await;
            return;
        }
    };
    let _ = session.quic.set(QuicLink::new(&connection));
    let _ending = EndOnPanic { session: session.clone(), connection: connection.clone() };
    fault_point("session");

    let verdict = tokio::select! {
        verdict = timeout(deadline, wait_for_verdict(&session)) => verdict.ok(),
        error = connection.closed() => {
            session.on_closed(&link::explain(&error, registry.hub.limits.idle_timeout));
            return;
        }
        _ = read_to_end(&mut recv) => {
            session.on_violation("stream data before the verdict");
            Some(None)
        }
    };
    drop(pending);
    match verdict {
        Some(Some(reply @ AuthReply::Accept(_))) => {
            link::write_framed(&mut send, &reply.encode()).await;
            link::run(session, connection, send, recv).await;
        }
        Some(Some(AuthReply::Reject(reason))) => {
            refuse(&connection, &mut send, &reason).await;
            session.on_rejected(&reason);
        }
        // The session was closed before it was open.
        Some(None) => {
            let reason =
                session.close_request().map_or_else(|| "the peer broke the protocol".to_owned(), |close| close.reason);
            refuse(&connection, &mut send, &reason).await;
            session.on_closed(&reason);
        }
        None => {
            registry.admission.unanswered.one();
            let reason = "the server gave no answer in time; try again";
            refuse(&connection, &mut send, reason).await;
            session.on_rejected(reason);
        }
    }
    drop(place);
}

type Opened = (Connection, SendStream, RecvStream, bytes::Bytes);

/// QUIC, TLS, HTTP/3, WebTransport, and the auth request on the first stream.
async fn handshake(listener: &Listener, incoming: IncomingSession) -> Result<Opened, String> {
    let request = incoming.await.map_err(|error| error.to_string())?;
    if request.path() != SESSION_PATH {
        let what = format!("unknown path {:?}", request.path());
        request.not_found().await;
        return Err(what);
    }
    if !listener.allowed_origins.allows(request.origin()) {
        listener.registry.admission.refused_origin.one();
        let what = format!("a page of {:?}, from which players may not connect (--allow-origin)", request.origin());
        tracing::info!(remote = %request.remote_address(), what, "peer refused");
        request.forbidden().await;
        return Err(what);
    }
    let connection = request.accept().await.map_err(|error| error.to_string())?;
    let (send, mut recv) = connection.accept_bi().await.map_err(|error| error.to_string())?;
    let request =
        link::read_framed(&mut recv, MAX_REQUEST_BYTES).await.map_err(|error| format!("no auth request: {error:?}"))?;
    Ok((connection, send, recv, request))
}

/// The verdict, or `None` when the session is closed instead.
async fn wait_for_verdict(session: &Session) -> Option<AuthReply> {
    loop {
        if let Some(verdict) = session.take_verdict() {
            return Some(verdict);
        }
        if session.close_request().is_some() {
            return None;
        }
        session.writer_wake.notified().await;
    }
}

/// Waits for anything on a stream that has to be silent; an end of the stream is none.
async fn read_to_end(recv: &mut RecvStream) {
    let mut byte = [0];
    match recv.read(&mut byte).await {
        Ok(Some(_)) => {}
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

/// Tells a peer why it may not come in, and gives it time to read that.
async fn refuse(connection: &Connection, send: &mut SendStream, reason: &str) {
    let reply = AuthReply::Reject(reason.to_owned()).encode();
    if link::write_framed(send, &reply).await {
        let _ = timeout(REFUSAL_LINGER, connection.closed()).await;
    }
    connection.close(VarInt::from_u32(0), reason.as_bytes());
}
