//! The listening socket, with or without TLS, and its connections, within the limits of [`Places`]. A connection
//! includes its TLS handshake, which runs in the connection's own task, so a slow one delays no other.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::rustls::ServerConfig as TlsConfig;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use sidereal_transport::network_of;

use crate::http::door::places::{Admission, Places, Verdict};
use crate::http::state::HttpLimits;
use crate::http::status::DoorCounts;

/// Limit of the system's send buffer per connection: enough for a fast, distant reader, and small enough to detect a
/// slow one.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// The connections of a listener.
struct Door {
    places: Mutex<Places<oneshot::Sender<()>>>,
    counts: Arc<DoorCounts>,
    opened: Instant,
}

impl Door {
    /// Calls `act` with the places and the present time.
    fn with<T>(&self, act: impl FnOnce(&mut Places<oneshot::Sender<()>>, u64) -> T) -> T {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = act(&mut places, self.opened.elapsed().as_millis() as u64);
        self.counts.open.store(places.len() as u64, Ordering::Relaxed);
        outcome
    }
}

/// A connection, for the code that serves its requests.
#[derive(Clone)]
pub(in crate::http) struct Connection {
    door: Arc<Door>,
    id: u64,
}

impl Connection {
    /// The head of a request is complete.
    pub fn asked(&self) {
        self.door.with(|places, now_ms| places.asked(self.id, now_ms));
    }
}

/// Accepts connections, and closes those without a place at once.
pub(in crate::http) struct GuardedListener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    door: Arc<Door>,
}

impl GuardedListener {
    pub fn new(tcp: TcpListener, tls: Option<TlsConfig>, limits: &HttpLimits, counts: Arc<DoorCounts>) -> Self {
        Self {
            tcp,
            tls: tls.map(|config| TlsAcceptor::from(Arc::new(config))),
            door: Arc::new(Door { places: Mutex::new(Places::new(limits)), counts, opened: Instant::now() }),
        }
    }
}

impl Listener for GuardedListener {
    type Io = GuardedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (tcp, addr) = Listener::accept(&mut self.tcp).await;
            let (close, told_to_close) = oneshot::channel();
            let admission = self.door.with(|places, now_ms| places.admit(network_of(addr.ip()), close, now_ms));
            let Admission::Place(id, gone) = admission else {
                self.door.counts.refused.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            if let Some(gone) = gone {
                self.door.counts.gave_way.fetch_add(1, Ordering::Relaxed);
                // The connection may have ended just now.
                let _ = gone.send(());
            }
            if let Err(error) = SockRef::from(&tcp).set_send_buffer_size(SEND_BUFFER_BYTES) {
                tracing::debug!(%error, "cannot limit the send buffer of a connection");
            }
            let wire = match &self.tls {
                Some(tls) => Wire::Handshake(Box::new(tls.accept(tcp))),
                None => Wire::Plain(tcp),
            };
            let connection = Connection { door: self.door.clone(), id };
            let timer = Box::pin(sleep_until(Instant::now()));
            return (GuardedStream { wire, connection, timer, told_to_close: Some(told_to_close) }, addr);
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// The byte stream.
enum Wire {
    Plain(TcpStream),
    Handshake(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Common trait of both streams.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl Wire {
    /// The stream, after the handshake.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Duplex>>> {
        if let Self::Handshake(handshake) = self {
            let stream = ready!(Pin::new(handshake.as_mut()).poll(cx))?;
            *self = Self::Tls(Box::new(stream));
        }
        Poll::Ready(match self {
            Self::Plain(tcp) => Ok(Pin::new(tcp)),
            Self::Tls(tls) => Ok(Pin::new(tls.as_mut())),
            Self::Handshake(_) => unreachable!("it was replaced above"),
        })
    }
}

/// A connection that fails after its time limit, or when it must make room.
pub(in crate::http) struct GuardedStream {
    wire: Wire,
    connection: Connection,
    timer: Pin<Box<Sleep>>,
    /// `None` once it has failed.
    told_to_close: Option<oneshot::Receiver<()>>,
}

impl GuardedStream {
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// The stream to continue with. Fails at the time limit, and wakes the task then.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Duplex>>> {
        let Some(told_to_close) = &mut self.told_to_close else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        if Pin::new(told_to_close).poll(cx).is_ready() {
            self.told_to_close = None;
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let Connection { door, id } = &self.connection;
        while self.timer.as_mut().poll(cx).is_ready() {
            match door.with(|places, now_ms| places.judge(*id, now_ms)) {
                Verdict::NotBefore(at_ms) => {
                    self.timer.as_mut().reset(door.opened + Duration::from_millis(at_ms));
                }
                Verdict::Late => {
                    door.counts.cut_off.fetch_add(1, Ordering::Relaxed);
                    self.told_to_close = None;
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        self.wire.poll_stream(cx)
    }

    /// Checks the time limit again at the next poll: the new activity has another one.
    fn look_again(&mut self) {
        self.timer.as_mut().reset(Instant::now());
    }
}

impl Drop for GuardedStream {
    fn drop(&mut self) {
        let Connection { door, id } = &self.connection;
        door.with(|places, _| places.leave(*id));
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(ready!(self.poll_stream(cx))?.poll_read(cx, buf))?;
        if buf.filled().len() > before {
            let Connection { door, id } = &self.connection;
            door.with(|places, now_ms| places.read(*id, now_ms));
            self.look_again();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(ready!(self.poll_stream(cx))?.poll_write(cx, buf))?;
        let Connection { door, id } = &self.connection;
        door.with(|places, now_ms| places.wrote(*id, written, now_ms));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Wire::Handshake(_) = self.wire {
            return Poll::Ready(Ok(()));
        }
        ready!(ready!(self.poll_stream(cx))?.poll_flush(cx))?;
        let Connection { door, id } = &self.connection;
        door.with(|places, now_ms| places.flushed(*id, now_ms));
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Wire::Handshake(_) = self.wire {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_stream(cx))?.poll_shutdown(cx)
    }
}
