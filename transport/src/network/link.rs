//! A client's session over a real WebTransport connection: the network side of [`Session`]. Runs on the network thread of
//! a native client. The server's end is [`server::net`](crate::server); what both ends share is here.
//!
//! Datagrams are passed to quinn without an await between them, all of one session before those of the next: when
//! quinn's connection task runs, it packs what waits into as few packets and system calls as it can. A send costs per
//! connection and flush, not per datagram.
//!
//! A session ends cleanly with a *goodbye* frame: the closing side sends it after everything that is queued, and the
//! peer reads up to it and then closes the connection. So nothing that was queued before a close is lost.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sidereal_process::crash::{contain_task, fault_point};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wtransport::error::ConnectionError;
use wtransport::{Connection, RecvStream, SendStream, VarInt, quinn};

use crate::limits::Limits;
use crate::session::ending::{EndCause, SessionEnd};
use crate::session::wire::{Frame, MAX_FRAME_BODY_BYTES, Malformed, OutDatagram, clean_reason, framed};
use crate::session::{End, Hub, Next, Session};
use crate::{PeerKind, session::wire};

/// Close code of a session that ended in order.
pub(crate) const CODE_OK: u32 = 0;
/// Close code of a session that was ended for its peer's violation.
pub(crate) const CODE_VIOLATION: u32 = 1;
/// Close code of a session that failed at this end.
pub(crate) const CODE_FAILED: u32 = 2;

/// The close reason of a session whose own code panicked.
pub(crate) const FAILED: &str = "this session has failed at the end that closes it, which has logged why; try again";

/// Streams that a peer may have open: HTTP/3's session stream, ours, and two to spare.
const MAX_BIDI_STREAMS: u32 = 4;
/// HTTP/3's control stream, QPACK's two, and room for the unknown ones that peers may send.
const MAX_UNI_STREAMS: u32 = 8;
/// Inbound datagrams that quinn keeps until the session's task reads them.
const DATAGRAM_RECEIVE_BUFFER_BYTES: usize = 512 << 10;
/// Stream flow control for shards: a bulk transfer in some round trips.
const SHARD_STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Stream flow control for players: short requests to the server, and the same window to the player, which a browser or
/// a native client empties at once.
const PLAYER_STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// Unacknowledged data that QUIC keeps for a peer: beyond it, frames wait in the session's bounded queue.
const PLAYER_SEND_WINDOW_BYTES: u64 = 1 << 20;
/// Frames are passed to QUIC in pieces of about this size.
pub(crate) const CHUNK_BYTES: usize = 32 << 10;

/// The assumed round trip before one is measured: a lost packet of a handshake is resent after three times this. QUIC's
/// own 333 ms (RFC 9002, 6.2.2) allow two attempts within the deadline of a connect, so that at 10 % loss one of twenty
/// players got the error that no server answers.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// How long a receiver may wait before it acknowledges: a tick and a little. So an acknowledgement leaves with the next
/// tick's packet instead of alone. QUIC allows no more than the round trip, or 25 ms if that is shorter.
const MAX_ACK_DELAY: Duration = Duration::from_millis(40);
/// Packets that it may receive in that time before it acknowledges at once.
const UNACKNOWLEDGED_PACKETS: u32 = 10;

/// quinn's settings, the same for both ends of a connection of this kind.
pub(crate) fn transport_config(limits: &Limits, kind: PeerKind) -> quinn::TransportConfig {
    let (window, send_window) = match kind {
        PeerKind::Player => (PLAYER_STREAM_WINDOW_BYTES, PLAYER_SEND_WINDOW_BYTES),
        PeerKind::Shard => (SHARD_STREAM_WINDOW_BYTES, 2 * u64::from(SHARD_STREAM_WINDOW_BYTES)),
    };
    // Browsers do not know the extension, and acknowledge as they like.
    let mut acknowledgements = quinn::AckFrequencyConfig::default();
    acknowledgements.max_ack_delay(Some(MAX_ACK_DELAY)).ack_eliciting_threshold(UNACKNOWLEDGED_PACKETS.into());
    let mut config = quinn::TransportConfig::default();
    config
        .ack_frequency_config(Some(acknowledgements))
        .max_concurrent_bidi_streams(MAX_BIDI_STREAMS.into())
        .max_concurrent_uni_streams(MAX_UNI_STREAMS.into())
        .stream_receive_window(window.into())
        .receive_window((2 * window).into())
        .send_window(send_window)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BUFFER_BYTES))
        .datagram_send_buffer_size(limits.datagram_send_buffer_bytes)
        .initial_rtt(INITIAL_RTT)
        .keep_alive_interval(Some(limits.keep_alive))
        .max_idle_timeout(quinn::IdleTimeout::try_from(limits.idle_timeout).ok());
    config
}

/// A UDP socket with large buffers, as far as the system grants them.
pub(crate) fn udp_socket(addr: SocketAddr, limits: &Limits) -> std::io::Result<std::net::UdpSocket> {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    let wanted = limits.udp_socket_buffer_bytes;
    // If the system refuses or reduces them, only bursts lose more packets.
    let _ = socket.set_recv_buffer_size(wanted);
    let _ = socket.set_send_buffer_size(wanted);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Sends what the sessions of a hub have queued, after each flush. Ends with its task.
pub(crate) async fn run_flusher(hub: Arc<Hub>) {
    let mut datagrams = Vec::new();
    loop {
        fault_point("net");
        hub.flush_wake.notified().await;
        flush(&hub, &mut datagrams);
    }
}

/// Passes what is queued to QUIC, without waiting. Its buffer is used again at the next flush.
fn flush(hub: &Hub, datagrams: &mut Vec<OutDatagram>) {
    for session in hub.take_dirty() {
        let writer_has_work = session.take_datagrams(datagrams);
        match session.quic.get() {
            Some(quic) => quic.send(datagrams, &hub.counters),
            None => datagrams.clear(),
        }
        if writer_has_work {
            session.writer_wake.notify_one();
        }
    }
}

/// Runs an open session until its connection ends.
pub(crate) async fn run(session: Arc<Session>, connection: Connection, send: SendStream, recv: RecvStream) {
    let _ending = EndOnPanic { session: session.clone(), connection: connection.clone() };
    let writer = spawn_part(&connection, write_stream(session.clone(), connection.clone(), send));
    let datagrams = spawn_part(&connection, read_datagrams(session.clone(), connection.clone()));
    let reader = spawn_part(&connection, read_stream(session.clone(), connection.clone(), recv));

    let error = connection.closed().await;
    // Data that arrived before the end are still read, when the main loop asks for them: at most a window's worth.
    let goodbye = reader.await.ok().flatten().flatten();
    writer.abort();
    datagrams.abort();
    let end = match goodbye {
        Some(reason) => SessionEnd::new(EndCause::ClosedByPeer, reason),
        None => explain(&error, session.hub.limits.idle_timeout),
    };
    session.on_closed(end.cause, &end.reason);
}

/// Runs a part of a session. A panic in it ends this session and nothing else: without this the session would continue
/// without receiving or without sending.
fn spawn_part<T: Send + 'static>(
    connection: &Connection,
    part: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<Option<T>> {
    let connection = connection.clone();
    tokio::spawn(async move {
        let done = contain_task(part).await;
        if let Err(panicked) = &done {
            tracing::error!(remote = %connection.remote_address(), %panicked, "a session's part");
            connection.close(CODE_FAILED.into(), FAILED.as_bytes());
        }
        done.ok()
    })
}

/// Ends a session whose own task panics.
struct EndOnPanic {
    session: Arc<Session>,
    connection: Connection,
}

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.connection.close(CODE_FAILED.into(), FAILED.as_bytes());
            self.session.on_closed(EndCause::Failed, FAILED);
        }
    }
}

async fn read_datagrams(session: Arc<Session>, connection: Connection) {
    while let Ok(datagram) = connection.receive_datagram().await {
        fault_point("session-part");
        session.on_datagram(&datagram, now_ms());
    }
}

async fn write_stream(session: Arc<Session>, connection: Connection, mut send: SendStream) {
    let mut chunk = BytesMut::new();
    loop {
        let next = session.next_out();
        if let Next::Frame(frame) = &next {
            frame.write(&mut chunk);
        }
        let is_whole = chunk.len() >= CHUNK_BYTES || !matches!(next, Next::Frame(_));
        if is_whole && !chunk.is_empty() {
            if !write_chunk(&session, &connection, &mut send, &chunk).await {
                return;
            }
            chunk.clear();
        }
        match next {
            Next::Frame(_) => {}
            Next::Wait => session.writer_wake.notified().await,
            Next::Close(close) if close.cause.is_immediate() => {
                connection.close(CODE_VIOLATION.into(), close.reason.as_bytes());
                return;
            }
            Next::Close(close) => {
                let deadline = session.hub.limits.drain_deadline;
                let _ = timeout(deadline, async {
                    if send.write_all(&Frame::goodbye(&close.reason)).await.is_ok() {
                        connection.closed().await;
                    }
                })
                .await;
                connection.close(CODE_OK.into(), close.reason.as_bytes());
                return;
            }
        }
    }
}

/// Passes bytes to QUIC, which accepts no more than the peer reads; false when the connection has ended. A peer that
/// does not read does not delay a close: an immediate one ends the connection now, another one after the drain
/// deadline.
async fn write_chunk(session: &Session, connection: &Connection, send: &mut SendStream, chunk: &[u8]) -> bool {
    let mut write = pin!(send.write_all(chunk));
    let close = loop {
        if let Some(close) = session.close_request() {
            break close;
        }
        tokio::select! {
            written = &mut write => return written.is_ok(),
            () = session.writer_wake.notified() => {}
        }
    };
    let (limit, code) = if close.cause.is_immediate() {
        (Duration::ZERO, CODE_VIOLATION)
    } else {
        (session.hub.limits.drain_deadline, CODE_OK)
    };
    let is_written = matches!(timeout(limit, write).await, Ok(Ok(())));
    if !is_written {
        connection.close(code.into(), close.reason.as_bytes());
    }
    is_written
}

/// The clock of the rates, counted from an arbitrary moment.
fn now_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Reads frames until the stream or the connection ends. Returns the peer's reason if it sent a goodbye.
async fn read_stream(session: Arc<Session>, connection: Connection, mut recv: RecvStream) -> Option<String> {
    loop {
        let body = match read_framed(&mut recv, MAX_FRAME_BODY_BYTES).await {
            Ok(body) => body,
            Err(ReadError::Ended) => return None,
            Err(ReadError::Malformed(what)) => {
                session.on_violation(what.0);
                session.close_for_violation("a malformed stream frame");
                return None;
            }
        };
        match Frame::decode(&body) {
            Ok(Frame::Data(payload)) => {
                while !session.has_stream_room(payload.len()) {
                    session.room_wake.notified().await;
                    if session.close_request().is_some_and(|close| close.cause.is_immediate()) {
                        return None;
                    }
                }
                session.on_frame(payload, now_ms());
            }
            Ok(Frame::Naia(packet)) => {
                while session.end == End::Client && !session.has_naia_room() {
                    session.room_wake.notified().await;
                    if session.close_request().is_some_and(|close| close.cause.is_immediate()) {
                        return None;
                    }
                }
                session.on_naia_frame(packet);
            }
            Ok(Frame::Goodbye(reason)) => {
                connection.close(CODE_OK.into(), reason.as_bytes());
                return Some(reason);
            }
            Err(what) => {
                session.on_violation(what.0);
                session.close_for_violation("a malformed stream frame");
                return None;
            }
        }
    }
}

/// Why nothing more could be read from a stream.
#[derive(Debug)]
pub(crate) enum ReadError {
    Ended,
    Malformed(Malformed),
}

/// Reads one length-prefixed body of at most `max` bytes.
pub(crate) async fn read_framed(recv: &mut RecvStream, max: usize) -> Result<Bytes, ReadError> {
    let mut length = [0; 4];
    recv.read_exact(&mut length).await.map_err(|_| ReadError::Ended)?;
    let length = u32::from_le_bytes(length) as usize;
    if length == 0 || length > max {
        return Err(ReadError::Malformed(Malformed("length of a stream frame")));
    }
    // Grows with the arriving data, so that a length alone allocates no memory.
    let mut body = BytesMut::with_capacity(length.min(16 << 10));
    while body.len() < length {
        let start = body.len();
        body.resize(length.min((2 * start).max(16 << 10)), 0);
        recv.read_exact(&mut body[start..]).await.map_err(|_| ReadError::Ended)?;
    }
    Ok(body.freeze())
}

/// Writes one length-prefixed body.
pub(crate) async fn write_framed(send: &mut SendStream, body: &[u8]) -> bool {
    send.write_all(&framed(body)).await.is_ok()
}

/// Why a connection ended.
pub(crate) fn explain(error: &ConnectionError, idle_timeout: Duration) -> SessionEnd {
    let (cause, reason) = match error {
        ConnectionError::ApplicationClosed(close) => {
            let cause =
                if close.code() == VarInt::from_u32(CODE_FAILED) { EndCause::Failed } else { EndCause::ClosedByPeer };
            let reason = wire::clean_reason(close.reason());
            (cause, if reason.is_empty() { "closed by the peer".to_owned() } else { reason })
        }
        ConnectionError::ConnectionClosed(_) => {
            (EndCause::Lost, format!("closed by the peer's network layer: {error}"))
        }
        ConnectionError::TimedOut => {
            (EndCause::Lost, format!("nothing arrived from the peer for {} s", idle_timeout.as_secs()))
        }
        ConnectionError::LocallyClosed => (EndCause::ClosedHere, "closed here".to_owned()),
        other => (EndCause::Lost, clean_reason(other.to_string().as_bytes())),
    };
    SessionEnd::new(cause, reason)
}
