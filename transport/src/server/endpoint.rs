//! The network threads of a server, one for each listener: QUIC endpoints and handshakes.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sidereal_process::{
    crash::{contain_task, fault_point},
    log_limited,
};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wtransport::endpoint::IncomingSession;
use wtransport::endpoint::endpoint_side::Server;
use wtransport::tls::WEBTRANSPORT_ALPN;
use wtransport::{Connection, Endpoint, RecvStream, SendStream, VarInt};

use super::core::{Backend, Core};
use super::door::{Door, Full, Rate, Verdict};
use super::registry::Registry;
use super::{AllowedOrigins, ListenerConfig, ServerConfig};
use crate::PeerKind;
use crate::cert::LiveCertificate;
use crate::client::SESSION_PATH;
use crate::error::{BindError, TransportError};
use crate::network::link::{self, EndOnPanic};
use crate::network::quic::QuicLink;
use crate::session::ending::EndCause;
use crate::session::hub::lock;
use crate::session::wire::{AuthReply, MAX_REQUEST_BYTES};
use crate::session::{Hub, Session};

/// How long a refused peer has to read the reason.
const REFUSAL_LINGER: Duration = Duration::from_secs(1);

pub(super) fn bind(config: ServerConfig) -> Result<Core, TransportError> {
    let registry = Registry::new(config.limits.clone(), config.protocol_version);
    let certificate_hash = config.identity.certificate_hash();
    let own_certificate = LiveCertificate::new(&config.identity)?;

    // All are bound before the first runs.
    let mut bound = Vec::new();
    let mut addresses = Vec::new();
    for &ListenerConfig { kind, addr } in &config.listeners {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TransportError::Network)?;
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
        let context = runtime.enter();
        let endpoint = Endpoint::server(quic).map_err(bind_error)?;
        drop(context);
        let listener = Arc::new(Listener {
            kind,
            endpoint,
            registry: registry.clone(),
            allowed_origins: config.allowed_origins.clone(),
            door: Mutex::new(Door::new(&config.limits, kind)),
        });
        bound.push((runtime, listener));
    }

    let (stop, stopped) = watch::channel(false);
    let mut backend =
        Network { registry: registry.clone(), addresses, certificate_hash, stop, threads: Mutex::default() };
    for (runtime, listener) in bound {
        let stopped = stopped.clone();
        let thread = std::thread::Builder::new()
            .name(format!("{}-net", listener.kind))
            .spawn(move || run(runtime, listener, stopped))
            .map_err(TransportError::Network)?;
        backend.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
    }
    Ok(Core { registry, backend: Box::new(backend), gate: Default::default() })
}

/// The server's side of the network threads.
struct Network {
    registry: Arc<Registry>,
    addresses: Vec<(PeerKind, SocketAddr)>,
    certificate_hash: [u8; 32],
    stop: watch::Sender<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Backend for Network {
    fn local_addr(&self, kind: PeerKind) -> Option<SocketAddr> {
        self.addresses.iter().find_map(|&(of, address)| (of == kind).then_some(address))
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
        let _ = self.stop.send(true);
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

struct Listener {
    kind: PeerKind,
    endpoint: Endpoint<Server>,
    registry: Arc<Registry>,
    allowed_origins: AllowedOrigins,
    door: Mutex<Door>,
}

impl Listener {
    /// The state shared by the sessions of this listener's thread.
    fn hub(&self) -> &Arc<Hub> {
        self.registry.hub(self.kind)
    }
}

/// A listener's network thread. Each listener has one, so that no crowd of strangers at the players' port delays the
/// shards' packets. A panic in a session's task ends that session. Any other panic ends all of them, and the process,
/// which logs it ([`sidereal_process::crash`]).
fn run(runtime: Runtime, listener: Arc<Listener>, mut stopped: watch::Receiver<bool>) {
    let hub = listener.hub();
    runtime.block_on(async {
        let flusher = tokio::spawn(link::run_flusher(hub.clone()));
        let sessions = Arc::new(tokio::sync::Mutex::new(JoinSet::new()));
        let accepting = tokio::spawn(accept(listener.clone(), sessions.clone()));
        // An error means that the server's handles were dropped, which also stops it.
        let _ = stopped.wait_for(|stop| *stop).await;
        accepting.abort();
        let _ = accepting.await;
        link::Flush::default().run(hub);
        let mut sessions = sessions.lock().await;
        let all_ended =
            timeout(hub.limits.drain_deadline, async { while sessions.join_next().await.is_some() {} }).await;
        if all_ended.is_err() {
            tracing::warn!(left = sessions.len(), "sessions did not end in time and are cut off");
            sessions.shutdown().await;
        }
        flusher.abort();
        listener.endpoint.close(VarInt::from_u32(0), b"the server ended");
        let _ = timeout(Duration::from_secs(1), listener.endpoint.wait_idle()).await;
    });
    for session in listener.registry.all() {
        if session.kind == listener.kind {
            session.on_closed(EndCause::ClosedHere, "the server ended");
        }
    }
}

/// Accepts connections until its task is aborted. (`Endpoint::accept` panics on a closed endpoint: this one is closed
/// only after the task.)
async fn accept(listener: Arc<Listener>, sessions: Arc<tokio::sync::Mutex<JoinSet<()>>>) {
    let registry = &listener.registry;
    let admission = &registry.admission;
    let opened = Instant::now();
    loop {
        let incoming = listener.endpoint.accept().await;
        fault_point("accept");
        admission.attempts.one();
        let ip = incoming.remote_address().ip();
        let verdict = lock(&listener.door).judge(
            ip,
            incoming.remote_address_validated(),
            registry.len_of(listener.kind),
            opened.elapsed().as_millis() as u64,
        );
        match verdict {
            Verdict::Serve => {}
            Verdict::Retry => {
                admission.retried.one();
                incoming.retry();
                continue;
            }
            Verdict::Ignore(rate) => {
                match rate {
                    Rate::Network => admission.ignored_network_rate.one(),
                    Rate::Total => admission.ignored_total_rate.one(),
                }
                incoming.ignore();
                continue;
            }
            Verdict::Refuse(full) => {
                match full {
                    Full::Pending => admission.refused_pending.one(),
                    Full::Sessions | Full::Network => admission.refused_sessions.one(),
                }
                incoming.refuse();
                continue;
            }
        }
        let place = Place { listener: listener.clone(), ip, is_pending: true };
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

/// A place that the door has assigned, until it is dropped.
struct Place {
    listener: Arc<Listener>,
    ip: IpAddr,
    is_pending: bool,
}

impl Place {
    /// The connection has its verdict.
    fn settle(&mut self) {
        if std::mem::take(&mut self.is_pending) {
            lock(&self.listener.door).settle();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settle();
        lock(&self.listener.door).leave(self.ip);
    }
}

/// One connection, from its first packet to its end.
async fn serve(listener: Arc<Listener>, incoming: IncomingSession, mut place: Place) {
    let registry = &listener.registry;
    let limits = &listener.hub().limits;
    let deadline = limits.connect_deadline;
    let remote = incoming.remote_address();

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
            let end = link::explain(&error, limits.idle_timeout);
            session.on_closed(end.cause, &end.reason);
            return;
        }
        _ = read_to_end(&mut recv) => {
            session.on_violation("stream data before the verdict");
            Some(None)
        }
    };
    place.settle();
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
            session.on_closed(EndCause::Violation, &reason);
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
        log_limited!(info, remote = %request.remote_address(), what, "peer refused");
        request.forbidden().await;
        return Err(what);
    }
    let connection = request.accept().await.map_err(|error| error.to_string())?;
    let (send, mut recv) = connection.accept_bi().await.map_err(|error| error.to_string())?;
    let request =
        link::read_framed(&mut recv, MAX_REQUEST_BYTES).await.map_err(|error| format!("no auth request: {error:?}"))?;
    Ok((connection, send, recv, request))
}

/// The verdict, or `None` if the session is closed instead.
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

/// Waits for any data on a stream that has to be silent. The end of the stream does not count.
async fn read_to_end(recv: &mut RecvStream) {
    let mut byte = [0];
    match recv.read(&mut byte).await {
        Ok(Some(_)) => {}
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

/// Sends a peer the reason of its refusal, and gives it time to read it.
async fn refuse(connection: &Connection, send: &mut SendStream, reason: &str) {
    let reply = AuthReply::Reject(reason.to_owned()).encode();
    if link::write_framed(send, &reply).await {
        let _ = timeout(REFUSAL_LINGER, connection.closed()).await;
    }
    connection.close(VarInt::from_u32(0), reason.as_bytes());
}
