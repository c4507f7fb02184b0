//! The listening socket, with TLS or without, and its bounds: how many connections there are, and how long one may go
//! without an answer. A TLS handshake is part of a connection, and is done where its first bytes are read: a slow one
//! holds nobody up.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::rustls::ServerConfig as TlsConfig;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use super::HttpLimits;

/// Accepts connections while there is room for them.
pub(super) struct GuardedListener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    room: Arc<Semaphore>,
    silence_timeout: Duration,
}

impl GuardedListener {
    pub fn new(tcp: TcpListener, tls: Option<TlsConfig>, limits: HttpLimits) -> Self {
        Self {
            tcp,
            tls: tls.map(|config| TlsAcceptor::from(Arc::new(config))),
            room: Arc::new(Semaphore::new(limits.max_connections)),
            silence_timeout: limits.silence_timeout,
        }
    }
}

impl Listener for GuardedListener {
    type Io = GuardedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let room = self.room.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (tcp, addr) = Listener::accept(&mut self.tcp).await;
        let silence = Box::pin(sleep(self.silence_timeout));
        let wire = match &self.tls {
            Some(tls) => Wire::Handshake(Box::new(tls.accept(tcp))),
            None => Wire::Plain(tcp),
        };
        (GuardedStream { wire, silence, silence_timeout: self.silence_timeout, _room: room }, addr)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// What bytes go through.
enum Wire {
    Plain(TcpStream),
    Handshake(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What both streams are.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl Wire {
    /// The stream, once the handshake is done.
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

/// A connection that fails once nothing was written to it for too long. Only what is written counts: a peer that sends
/// its request byte by byte gets no more time than one that sends nothing, and a handshake is no answer.
pub(super) struct GuardedStream {
    wire: Wire,
    silence: Pin<Box<Sleep>>,
    silence_timeout: Duration,
    _room: OwnedSemaphorePermit,
}

impl GuardedStream {
    /// The stream to go on with. Fails when the time is up, and wakes the task when it will be.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Duplex>>> {
        if self.silence.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.wire.poll_stream(cx)
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_stream(cx))?.poll_read(cx, buf)
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(ready!(self.poll_stream(cx))?.poll_write(cx, buf))?;
        let until = Instant::now() + self.silence_timeout;
        self.silence.as_mut().reset(until);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Wire::Handshake(_) = self.wire {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_stream(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Wire::Handshake(_) = self.wire {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_stream(cx))?.poll_shutdown(cx)
    }
}
