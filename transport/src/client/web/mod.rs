//! The browser's network: one session over its `WebTransport`. Runs in the browser client.
//!
//! The network side of [`Session`], like `link` elsewhere, in one task of the browser's event loop. No object of the
//! browser is held outside that task, so the handles may cross threads, as naia requires.

mod connection;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use self::connection::{Connection, DatagramWriter, StreamReader, StreamWriter, sleep};
use super::handle::{Backend, ClientHandle, ClientSocket, Core};
use super::opening::{Failure, opened};
use crate::PeerKind;
use crate::error::TransportError;
use crate::limits::Limits;
use crate::session::ending::EndCause;
use crate::session::wire::{AuthReply, AuthRequest, Frame, MAX_FRAME_BODY_BYTES, MAX_REPLY_BYTES, framed};
use crate::session::{End, Hub, Next, Session};

/// Close code of a session that ended in order.
const CODE_OK: u32 = 0;
/// Close code of a session that was ended for its peer's violation.
const CODE_VIOLATION: u32 = 1;

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The server's WebTransport address, like `https://127.0.0.1:7777/sidereal`.
    pub url: String,
    /// The kind of this client.
    pub kind: PeerKind,
    /// SHA-256 of the DER forms of the accepted certificates, at most 14 days old. Empty: the browser's own roots
    /// decide.
    pub certificate_hashes: Vec<[u8; 32]>,
    /// Must equal the server's.
    pub protocol_version: u32,
    /// Limits of this client's session.
    pub limits: Limits,
}

impl ConnectOptions {
    /// Options with the default limits.
    pub fn new(url: String, kind: PeerKind, certificate_hashes: Vec<[u8; 32]>, protocol_version: u32) -> Self {
        Self { url, kind, certificate_hashes, protocol_version, limits: Limits::default() }
    }
}

/// The browser's network.
#[derive(Clone, Debug)]
pub struct ClientNetwork(());

impl ClientNetwork {
    /// The browser's network.
    ///
    /// # Errors
    /// None here: on a browser without WebTransport [`ClientHandle::status`] reports it.
    pub fn new() -> Result<Self, TransportError> {
        Ok(Self(()))
    }

    /// A client that connects when naia's `Client::connect` gets its socket. Failures appear in
    /// [`ClientHandle::status`].
    pub fn connector(&self, options: ConnectOptions) -> (ClientHandle, ClientSocket) {
        // The browser does not reveal it, and naia requires one.
        let server_addr = SocketAddr::from(([0, 0, 0, 0], 0));
        let hub = Hub::new(options.limits.clone());
        let session = Session::new(hub, End::Client, options.kind, server_addr);
        let backend = Box::new(Web { session: session.clone(), options });
        ClientHandle::new(Core { session, server_addr, backend })
    }
}

struct Web {
    session: Arc<Session>,
    options: ConnectOptions,
}

impl Backend for Web {
    fn connect(&self, session: &Arc<Session>, auth: Bytes) {
        wasm_bindgen_futures::spawn_local(run(session.clone(), self.options.clone(), auth));
    }

    fn flush(&self) {
        self.session.hub.wake_network();
    }
}

/// One client's connection, from connecting to its end.
async fn run(session: Arc<Session>, options: ConnectOptions, auth: Bytes) {
    if let Some((connection, writer, reader)) = opened(&session, open(&session, &options, auth)).await {
        let reason = talk(&session, &connection, writer, reader).await;
        session.on_closed(EndCause::Lost, &reason);
    }
}

/// `None` when `work` took longer than `limit`.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = sleep(limit) => None,
    }
}

async fn open(
    session: &Arc<Session>,
    options: &ConnectOptions,
    auth: Bytes,
) -> Result<(Connection, StreamWriter, StreamReader), Failure> {
    let url = &options.url;
    let limit = options.limits.connect_deadline;
    let connection = Connection::new(url, &options.certificate_hashes).map_err(Failure::Rejected)?;
    match within(limit, connection.ready()).await {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            return Err(Failure::Closed(format!(
                "cannot connect to {url} ({error}); check that the server runs, and that UDP gets through to it"
            )));
        }
        None => {
            let seconds = limit.as_secs();
            return Err(Failure::Closed(format!(
                "no server answers at {url} within {seconds} s; check that it runs, and that UDP gets through to it"
            )));
        }
    }
    let request = AuthRequest { protocol_version: options.protocol_version, kind: options.kind, auth };
    // The verdict may take the same time again.
    let reply = within(2 * limit, async {
        let (mut writer, mut reader) = connection.open_stream().await?;
        writer.write(&framed(&request.encode())).await?;
        let reply = reader.read_framed(MAX_REPLY_BYTES).await?;
        Ok((reply, writer, reader))
    });
    let (reply, writer, reader) = match reply.await {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => {
            // The reason of the end is more useful than the fact.
            let error: String = error;
            let reason = within(Duration::from_secs(1), connection.closed()).await;
            return Err(Failure::Closed(reason.unwrap_or(error)));
        }
        None => {
            return Err(Failure::Closed(format!("the server at {url} did not answer the login in time; try again")));
        }
    };
    match AuthReply::decode(&reply) {
        Ok(AuthReply::Accept(token)) => {
            session.on_accepted(token);
            Ok((connection, writer, reader))
        }
        Ok(AuthReply::Reject(reason)) => {
            connection.close(CODE_OK, "rejected");
            Err(Failure::Rejected(reason))
        }
        Err(_) => {
            connection.close(CODE_VIOLATION, "malformed reply");
            Err(Failure::Rejected(format!("{url} does not answer as a Sidereal server does; check the address")))
        }
    }
}

/// Runs an open session until it ends; returns the reason.
async fn talk(
    session: &Arc<Session>,
    connection: &Connection,
    mut writer: StreamWriter,
    mut reader: StreamReader,
) -> String {
    let datagrams = match connection.datagrams() {
        Ok(datagrams) => datagrams,
        Err(error) => return format!("this browser's WebTransport has no datagrams ({error})"),
    };
    let (sender, mut receiver) = datagrams;
    let receive = async {
        while let Some(datagram) = receiver.next().await {
            // The server enforces rates: no clock is needed here.
            session.on_datagram(&datagram, 0);
        }
        // The end of the session is reported elsewhere.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        reason = connection.closed() => reason,
        reason = read_stream(session, connection, &mut reader) => reason,
        reason = write_stream(session, connection, &mut writer) => reason,
        () = receive => String::new(),
        () = send_datagrams(session, &sender) => String::new(),
    }
}

/// Sends what the session has queued, after each flush.
async fn send_datagrams(session: &Arc<Session>, sender: &DatagramWriter) {
    let hub = &session.hub;
    let mut datagrams = Vec::new();
    loop {
        hub.flush_wake.notified().await;
        for dirty in hub.take_dirty() {
            let writer_has_work = dirty.take_datagrams(&mut datagrams);
            for datagram in datagrams.drain(..) {
                if !sender.send(datagram.prefix, &datagram.payload) {
                    hub.counters.datagrams_dropped_by_network.one();
                }
            }
            if writer_has_work {
                dirty.writer_wake.notify_one();
            }
        }
    }
}

/// Writes what is queued for the stream until this end closes; returns its reason.
async fn write_stream(session: &Arc<Session>, connection: &Connection, writer: &mut StreamWriter) -> String {
    loop {
        match session.next_out() {
            Next::Frame(frame) => {
                let mut bytes = BytesMut::new();
                frame.write(&mut bytes);
                if writer.write(&bytes).await.is_err() {
                    // The connection has ended, and reports the reason itself.
                    std::future::pending::<()>().await;
                }
            }
            Next::Wait => session.writer_wake.notified().await,
            Next::Close(close) => {
                let code = if close.cause.is_immediate() { CODE_VIOLATION } else { CODE_OK };
                if !close.cause.is_immediate() && writer.write(&Frame::goodbye(&close.reason)).await.is_ok() {
                    // The peer closes when it has read everything.
                    within(session.hub.limits.drain_deadline, connection.closed()).await;
                }
                connection.close(code, &close.reason);
                return close.reason;
            }
        }
    }
}

/// Reads frames until the peer sends its goodbye or violates the protocol; returns the reason.
async fn read_stream(session: &Arc<Session>, connection: &Connection, reader: &mut StreamReader) -> String {
    loop {
        let Ok(body) = reader.read_framed(MAX_FRAME_BODY_BYTES).await else {
            // The connection has ended or is about to, and reports the reason itself.
            return std::future::pending().await;
        };
        match Frame::decode(&body) {
            Ok(Frame::Data(payload)) => {
                while !session.has_stream_room(payload.len()) {
                    session.room_wake.notified().await;
                }
                session.on_frame(payload, 0);
            }
            Ok(Frame::Naia(packet)) => {
                while !session.has_naia_room() {
                    session.room_wake.notified().await;
                }
                session.on_naia_frame(packet);
            }
            Ok(Frame::Goodbye(reason)) => {
                connection.close(CODE_OK, &reason);
                return reason;
            }
            Err(what) => {
                session.on_violation(what.0);
                let reason = "a malformed stream frame";
                connection.close(CODE_VIOLATION, reason);
                return reason.to_owned();
            }
        }
    }
}
