//! The HTTP servers of the replication server. The public one: registration, login, sessions, tickets, health, and the
//! browser client's files; over TLS if it has a certificate. The operations one: health and metrics.
//!
//! Each runs in `sidereal-server` on its own thread with its own tokio runtime, so that neither waits for the other.
//! They share only [`ServerStatus`] and the [`TicketOffice`](crate::accounts::tickets::TicketOffice) with the ECS
//! thread, and have no access to entities or connections.

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
pub use state::{HttpLimits, HttpState, PlayerDoor, PlayerDoors};
pub use status::{HEARTBEAT_LIMIT, MetricsText, ServerStatus};
pub use web::{MAX_WEB_BYTES, MAX_WEB_FILES, WebError, WebFiles};

/// Time limit of requests in progress once the server stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Length of the system's queue of unaccepted connections. A flood can fill it between two polls; a client that finds
/// it full retries after a second.
const BACKLOG: i32 = 1_024;

/// Threads for blocking calls: two database calls for accounts, two for sessions, and one fetch of an issuer's keys at
/// a time.
const BLOCKING_THREADS: usize = 5;

/// Why an HTTP server cannot start.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address is in use.
    #[error(
        "the {what} address {addr} is in use: stop what listens there, or choose another one with --{flag} (port 0: any free one)"
    )]
    AddressInUse {
        /// The address.
        addr: SocketAddr,
        /// Its purpose.
        what: &'static str,
        /// Its flag.
        flag: &'static str,
    },
    /// The system rejects the address.
    #[error("cannot listen on the {what} address {addr} ({source}): choose another one with --{flag}")]
    CannotListen {
        /// The address.
        addr: SocketAddr,
        /// Its purpose.
        what: &'static str,
        /// Its flag.
        flag: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The system provides no thread or no event queue.
    #[error("cannot start the HTTP server: {0}")]
    CannotStart(#[source] io::Error),
}

/// The purpose of a server.
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
    /// The address on which it listens.
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
    /// Starts the public server on `addr` (port 0: any free one).
    ///
    /// # Errors
    /// [`HttpError`] when the address cannot be used.
    pub fn start(addr: SocketAddr, state: HttpState) -> Result<Self, HttpError> {
        Self::start_part(Part::Public, addr, state)
    }

    /// Starts the operations server: health and metrics of the public one's `state`.
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
                // A panicking request ends its connection. The listener is shared by all.
                if let Err(panicked) = crash::contain(|| runtime.block_on(serve(part, listener, state, stopped))) {
                    crash::end("sidereal-server", &panicked.to_string());
                }
                runtime.shutdown_timeout(STOP_GRACE);
            })
            .map_err(HttpError::CannotStart)?;
        tracing::info!(what, %local_addr, is_tls, "HTTP server is listening");
        Ok(Self { local_addr, stop: Some(stop), thread: Some(thread) })
    }

    /// Accepts no more connections, lets requests in progress end, and returns when the thread has ended.
    pub fn stop(self) {}
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // Dropping the sender is the signal.
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP thread panicked");
        }
    }
}

/// As in the standard library, with a longer queue of unaccepted connections.
fn bind(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Elsewhere it lets two programs use the same address.
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
        () = grace_is_over => tracing::warn!("the HTTP server stopped with requests in progress"),
    }
}
