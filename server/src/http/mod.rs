//! The HTTP server of the replication server: registration, login, sessions, tickets, health, metrics, and the browser
//! client's files; over TLS where there is a certificate for it.
//!
//! Runs in `sidereal-server` on a thread of its own with a tokio runtime of its own; the ECS thread meets it through
//! [`ServerStatus`] and the [`TicketOffice`] only. It knows neither entities nor connections.

mod accounts;
mod listener;
mod peer;
mod refusal;
mod routes;
mod sessions;
mod status;
mod web;
mod world;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use sidereal_process::crash;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::accounts::Accounts;
use crate::certificate::PlayerCertificate;
use crate::rate_limit::Rates;
use crate::sessions::Sessions;
use crate::supabase::Supabase;
use crate::tickets::TicketOffice;
use listener::GuardedListener;
use peer::PeerAddr;

pub use routes::BODY_LIMIT_BYTES;
pub use status::{MetricsText, ServerStatus};
pub use web::{MAX_WEB_BYTES, MAX_WEB_FILES, WebError, WebFiles};

/// How long requests under way may take once the server stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Threads for what blocks: two hashes, two calls of the database, and one fetch of an issuer's keys at a time.
const BLOCKING_THREADS: usize = 5;

/// What the routes answer from.
#[derive(Clone)]
pub struct HttpState {
    /// Registration and login.
    pub accounts: Accounts,
    /// Sessions, which players come back with.
    pub sessions: Sessions,
    /// Judges access tokens of Supabase, where they are taken.
    pub supabase: Option<Supabase>,
    /// Issues the tickets that connections redeem.
    pub tickets: TicketOffice,
    /// What the ECS thread tells of itself.
    pub status: Arc<ServerStatus>,
    /// Where players connect, as they should dial it.
    pub player_addr: String,
    /// The same as `https://HOST:PORT`, as browsers should dial it.
    pub player_origin: String,
    /// The certificate there.
    pub certificate: Arc<PlayerCertificate>,
    /// Whether this server speaks HTTPS, with that certificate.
    pub is_tls: bool,
    /// The browser client, if it is served.
    pub web: Option<Arc<WebFiles>>,
    /// Bounds for peers.
    pub limits: HttpLimits,
    /// How often they may ask.
    pub rates: Rates,
    /// How many proxies in a row, the last of which connects here, are believed about where a request came from.
    pub trusted_proxies: usize,
}

/// Bounds for peers.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Connections at a time; the next ones wait in the system's queue.
    pub max_connections: usize,
    /// How long a request may be worked on; then it is answered with 503.
    pub request_timeout: Duration,
    /// How long a connection may go without a byte of an answer, from its start or the last answer on: bounds slow
    /// requests, slow readers and idle connections alike. Longer than `request_timeout`.
    pub silence_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_connections: 256,
            request_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(15),
        }
    }
}

/// The HTTP server cannot start.
#[derive(Debug, Error)]
pub enum HttpError {
    /// Something else listens there.
    #[error(
        "the HTTP address {addr} is in use: stop what listens there, or choose another one with --http-addr (port 0: any free one)"
    )]
    AddressInUse {
        /// The address.
        addr: SocketAddr,
    },
    /// The system does not let it listen there.
    #[error("cannot listen on the HTTP address {addr} ({source}): choose another one with --http-addr")]
    CannotListen {
        /// The address.
        addr: SocketAddr,
        /// The system's words.
        source: io::Error,
    },
    /// The system gives no thread or no event queue.
    #[error("cannot start the HTTP server: {0}")]
    CannotStart(#[source] io::Error),
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
    /// Listens on `addr` (port 0: any free one) and serves until it is stopped.
    ///
    /// # Errors
    /// [`HttpError`] when the address cannot be had.
    pub fn start(addr: SocketAddr, state: HttpState) -> Result<Self, HttpError> {
        let cannot_listen = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => HttpError::AddressInUse { addr },
            _ => HttpError::CannotListen { addr, source },
        };
        let listener = std::net::TcpListener::bind(addr).map_err(cannot_listen)?;
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
        let is_tls = state.is_tls;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                // A request that panics costs its connection. What listens is everybody's.
                if let Err(panicked) = crash::contain(|| runtime.block_on(serve(listener, state, stopped))) {
                    crash::end("sidereal-server", &panicked.to_string());
                }
                runtime.shutdown_timeout(STOP_GRACE);
            })
            .map_err(HttpError::CannotStart)?;
        tracing::info!(%local_addr, is_tls, "HTTP server listens");
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

async fn serve(listener: tokio::net::TcpListener, state: HttpState, stopped: oneshot::Receiver<()>) {
    crash::fault_point("http");
    let (begin_stop, stop_begun) = oneshot::channel();
    let limits = state.limits;
    let tls = state.is_tls.then(|| state.certificate.live.tls_config(b"http/1.1"));
    let routes = routes::router(state).into_make_service_with_connect_info::<PeerAddr>();
    let serving = axum::serve(GuardedListener::new(listener, tls, limits), routes).with_graceful_shutdown(async {
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
