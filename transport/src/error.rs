//! Errors when a transport is set up or used. Runs in every process.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::PeerKind;

/// Why a transport could not be set up. Each text names the problem and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A listener could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate or its key cannot be used.
    #[error("the server's certificate cannot be used: {0}")]
    Identity(String),
    /// A certificate file cannot be read.
    #[error("cannot read the certificate file {path}: {reason}; check that it exists, is readable and is PEM")]
    IdentityFile {
        /// The file.
        path: PathBuf,
        /// The error of reading it.
        reason: String,
    },
    /// The network thread or its UDP socket could not be made.
    #[error("cannot start the network: {0}")]
    Network(#[source] io::Error),
}

/// A listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for {kind}s on UDP {addr}: {source}; {advice}")]
pub struct BindError {
    /// Which listener.
    pub kind: PeerKind,
    /// The requested address.
    pub addr: SocketAddr,
    /// The remedy.
    pub advice: &'static str,
    /// The system's error.
    #[source]
    pub source: io::Error,
}

impl BindError {
    pub(crate) fn new(kind: PeerKind, addr: SocketAddr, source: io::Error) -> Self {
        let advice = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another process has this port: end it, or choose another port (0 takes any free one)"
            }
            io::ErrorKind::AddrNotAvailable => {
                "no network interface has this address: use one of this machine, or 0.0.0.0 or [::] for all"
            }
            io::ErrorKind::PermissionDenied => "this port needs more rights: choose one of 1024 or above",
            _ => "check the address and the system's limits",
        };
        Self { kind, addr, advice, source }
    }
}

/// Why a stream frame was not queued. The caller keeps the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The queue is at its limit of bytes: the peer or the path is slower than the sender. Retry later.
    #[error("the stream's queue is full")]
    Full,
    /// The session is not open.
    #[error("the session is closed")]
    Closed,
    /// The frame is longer than [`MAX_FRAME_BYTES`](crate::limits::MAX_FRAME_BYTES).
    #[error("the frame is over the limit of 1 MiB")]
    TooLarge,
}
