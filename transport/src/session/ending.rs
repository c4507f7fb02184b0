//! Why a session ended.

/// What ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndCause {
    /// The peer closed it: it sent a goodbye, or closed the connection.
    ClosedByPeer,
    /// This end closed it.
    ClosedHere,
    /// This end closed it because the peer broke the protocol.
    Violation,
    /// This end closed it because the peer did not read what it was sent.
    Backlog,
    /// This end closed it because the peer's program sent nothing, although its connection lived.
    Silent,
    /// It was refused, or could not be made, before it was open.
    Refused,
    /// Part of the session panicked at this end.
    Failed,
    /// The connection failed: nothing arrived for the idle timeout, or the peer's network layer gave up.
    Lost,
}

impl EndCause {
    /// Whether a session was dropped: neither the peer nor this end wanted it to end.
    pub fn is_drop(self) -> bool {
        matches!(self, Self::Backlog | Self::Silent | Self::Failed | Self::Lost)
    }

    /// Whether this end closes without waiting until the stream is written.
    pub(crate) fn is_immediate(self) -> bool {
        matches!(self, Self::Violation | Self::Backlog)
    }
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// What ended it.
    pub cause: EndCause,
    /// One line for the log: of the end that closed it, where one did.
    pub reason: String,
}

impl SessionEnd {
    /// An end for `cause` with a reason.
    pub fn new(cause: EndCause, reason: impl Into<String>) -> Self {
        Self { cause, reason: reason.into() }
    }
}
