//! The listening socket with its bounds: how many connections there are, and how long one may go without an answer.

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

use super::HttpLimits;

/// Accepts connections while there is room for them.
pub(super) struct GuardedListener {
    tcp: TcpListener,
    room: Arc<Semaphore>,
    silence_timeout: Duration,
}

impl GuardedListener {
    pub fn new(tcp: TcpListener, limits: HttpLimits) -> Self {
        Self { tcp, room: Arc::new(Semaphore::new(limits.max_connections)), silence_timeout: limits.silence_timeout }
    }
}

impl Listener for GuardedListener {
    type Io = GuardedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let room = self.room.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (tcp, addr) = Listener::accept(&mut self.tcp).await;
        let silence = Box::pin(sleep(self.silence_timeout));
        (GuardedStream { tcp, silence, silence_timeout: self.silence_timeout, _room: room }, addr)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// A connection that fails once nothing was written to it for too long. Only what is written counts: a peer that sends
/// its request byte by byte gets no more time than one that sends nothing.
pub(super) struct GuardedStream {
    tcp: TcpStream,
    silence: Pin<Box<Sleep>>,
    silence_timeout: Duration,
    _room: OwnedSemaphorePermit,
}

impl GuardedStream {
    /// Fails when the time is up, and wakes the task when it will be.
    fn check_silence(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.silence.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_silence(cx)?;
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_silence(cx)?;
        let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, buf))?;
        let until = Instant::now() + self.silence_timeout;
        self.silence.as_mut().reset(until);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
