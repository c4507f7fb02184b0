//! The HTTP servers of the replication server. The public one: registration, login, sessions, tickets, health, and the
//! browser client's files; over TLS where there is a certificate for it. The one of operations: health and metrics.
//!
//! Each runs in `sidereal-server` on a thread of its own with a tokio runtime of its own, so that neither waits for the
//! other; the ECS thread meets them through [`ServerStatus`] and the [`TicketOffice`](crate::accounts::tickets::TicketOffice) only. They know neither entities
//! nor connections.

mod door;
mod refusal;
mod routes;
mod state;
mod status;
mod web;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use sidereal_process::crash;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::sync::oneshot;

use door::listener::GuardedListener;
use door::peer::Peer;

pub use routes::api::BODY_LIMIT_BYTES;
pub use state::{HttpLimits, HttpState};
pub use status::{HEARTBEAT_LIMIT, MetricsText, ServerStatus};
pub use web::{MAX_WEB_BYTES, MAX_WEB_FILES, WebError, WebFiles};

/// How long requests under way may take once the server stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Connections that the system holds until they are accepted. A flood fills it between two looks; who finds it full asks
/// again after a second.
const BACKLOG: i32 = 1_024;

/// Threads for what blocks: two calls of the database for accounts and two for sessions, and one fetch of an issuer's keys
/// at a time.
const BLOCKING_THREADS: usize = 5;

/// An HTTP server cannot start.
#[derive(Debug, Error)]
pub enum HttpError {
    /// Something else listens there.
    #[error(
        "the {what} address {addr} is in use: stop what listens there, or choose another one with --{flag} (port 0: any free one)"
    )]
    AddressInUse {
        /// The address.
        addr: SocketAddr,
        /// What it is for.
        what: &'static str,
        /// The flag that chooses it.
        flag: &'static str,
    },
    /// The system does not let it listen there.
    #[error("cannot listen on the {what} address {addr} ({source}): choose another one with --{flag}")]
    CannotListen {
        /// The address.
        addr: SocketAddr,
        /// What it is for.
        what: &'static str,
        /// The flag that chooses it.
        flag: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// The system gives no thread or no event queue.
    #[error("cannot start the HTTP server: {0}")]
    CannotStart(#[source] io::Error),
}

/// A server's part.
#[derive(Clone, Copy)]
enum Part {
    Public,
    Operations,
}

impl Part {
    const fn what(self) -> &'static str {
        match self {
            Self::Public => "HTTP",
            Self::Operations => "operations",
        }
    }

    const fn flag(self) -> &'static str {
        match self {
            Self::Public => "http-addr",
            Self::Operations => "ops-addr",
        }
    }

    const fn thread(self) -> &'static str {
        match self {
            Self::Public => "http",
            Self::Operations => "ops",
        }
    }
}

/// The running HTTP server. Dropping it stops it, within `STOP_GRACE`.
pub struct HttpServer {
    /// Where it listens.
    pub local_addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

impl HttpServer {
    /// Listens on `addr` (port 0: any free one) and serves everybody until it is stopped.
    ///
    /// # Errors
    /// [`HttpError`] when the address cannot be had.
    pub fn start(addr: SocketAddr, state: HttpState) -> Result<Self, HttpError> {
        Self::start_part(Part::Public, addr, state)
    }

    /// The same for who looks after the server: health and metrics, of what `state` holds for the public one.
    ///
    /// # Errors
    /// As [`HttpServer::start`].
    pub fn start_operations(addr: SocketAddr, state: HttpState) -> Result<Self, HttpError> {
        Self::start_part(Part::Operations, addr, state)
    }

    fn start_part(part: Part, addr: SocketAddr, state: HttpState) -> Result<Self, HttpError> {
        let (what, flag) = (part.what(), part.flag());
        let cannot_listen = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => HttpError::AddressInUse { addr, what, flag },
            _ => HttpError::CannotListen { addr, what, flag, source },
        };
        let listener = bind(addr).map_err(cannot_listen)?;
        listener.set_nonblocking(true).map_err(HttpError::CannotStart)?;
        let local_addr = listener.local_addr().map_err(HttpError::CannotStart)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("http-blocking")
            .build()
            .map_err(HttpError::CannotStart)?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(HttpError::CannotStart)?
        };
        let is_tls = state.is_tls && matches!(part, Part::Public);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(part.thread().to_owned())
            .spawn(move || {
                // A request that panics costs its connection. What listens is everybody's.
                if let Err(panicked) = crash::contain(|| runtime.block_on(serve(part, listener, state, stopped))) {
                    crash::end("sidereal-server", &panicked.to_string());
                }
                runtime.shutdown_timeout(STOP_GRACE);
            })
            .map_err(HttpError::CannotStart)?;
        tracing::info!(what, %local_addr, is_tls, "HTTP server listens");
        Ok(Self { local_addr, stop: Some(stop), thread: Some(thread) })
    }

    /// Takes no more connections, lets requests under way end, and returns when the thread has ended.
    pub fn stop(self) {}
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // Dropping the sender is the signal.
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP thread had panicked");
        }
    }
}

/// As the standard library does it, with room for more who wait to be accepted.
fn bind(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Elsewhere it lets two programs have the same address.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn serve(part: Part, listener: tokio::net::TcpListener, state: HttpState, stopped: oneshot::Receiver<()>) {
    crash::fault_point(part.thread());
    let (begin_stop, stop_begun) = oneshot::channel();
    let (listener, routes) = match part {
        Part::Public => {
            let mut limits = state.limits;
            if state.trusted_proxies > 0 {
                limits.max_connections_per_network = limits.max_connections;
            }
            let tls = state.is_tls.then(|| state.certificate.live.tls_config(b"http/1.1"));
            (GuardedListener::new(listener, tls, &limits, state.status.door.clone()), routes::router(state))
        }
        Part::Operations => {
            let limits = HttpLimits::of_operations();
            (GuardedListener::new(listener, None, &limits, Arc::default()), routes::health::router(state))
        }
    };
    let routes = routes.into_make_service_with_connect_info::<Peer>();
    let serving = axum::serve(listener, routes).with_graceful_shutdown(async {
        let _ = stopped.await;
        let _ = begin_stop.send(());
    });
    let grace_is_over = async {
        let _ = stop_begun.await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        result = async { serving.await } => if let Err(error) = result {
            tracing::error!(%error, "the HTTP server ended");
        },
        () = grace_is_over => tracing::warn!("requests were still under way when the HTTP server stopped"),
    }
}
