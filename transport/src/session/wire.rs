//! The transport's own bytes: auth request and reply, stream frames, datagram prefixes. Runs in every process. The
//! payloads of naia and of the game are not interpreted here.
//!
//! ```text
//! stream    = auth, then frames, each:  length u32 LE (of what follows) | body
//! request   = "SDRL" | protocol version u32 LE | kind u8 | auth bytes
//! reply     = 1 | identity token (ASCII)      accepted
//!           | 2 | reason (UTF-8)              rejected
//! frame     = 0 | payload                     data
//!           | 1 | reason (UTF-8)              goodbye: nothing follows
//!           | 2 | naia packet with data       from the server only
//! datagram  = 0 | naia packet without data
//!           | 1 | lane payload
//! ```
//!
//! The request's magic and version keep their place in every version, so that each side can name the other's version.

use bytes::{BufMut, Bytes, BytesMut};

use crate::PeerKind;
use crate::limits::{MAX_AUTH_BYTES, MAX_FRAME_BYTES, MAX_REASON_BYTES};

/// The beginning of the reason when a peer of another protocol version is refused. A retry does not help.
pub const VERSIONS_DIFFER: &str = "protocol versions differ";

/// Its beginning when a native client finds another certificate than the pinned one. A newer hash helps.
pub const CERTIFICATES_DIFFER: &str = "the server's certificate is not the pinned one";

const MAGIC: [u8; 4] = *b"SDRL";
const REQUEST_HEADER_BYTES: usize = 9;
/// naia's token has 32 characters.
const MAX_TOKEN_BYTES: usize = 64;

/// Longest body of an auth request.
pub(crate) const MAX_REQUEST_BYTES: usize = REQUEST_HEADER_BYTES + MAX_AUTH_BYTES;
/// Longest body of an auth reply.
pub(crate) const MAX_REPLY_BYTES: usize = 1 + MAX_REASON_BYTES;
/// Longest body of a stream frame.
pub(crate) const MAX_FRAME_BODY_BYTES: usize = 1 + MAX_FRAME_BYTES;

/// Prefix of a datagram with a naia packet.
pub(crate) const NAIA_PREFIX: u8 = 0;
/// Prefix of a datagram with a lane payload.
pub(crate) const LANE_PREFIX: u8 = 1;

/// A client's request when it connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthRequest {
    pub(crate) protocol_version: u32,
    pub(crate) kind: PeerKind,
    pub(crate) auth: Bytes,
}

/// The server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuthReply {
    Accept(String),
    Reject(String),
}

/// One frame of the stream after auth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Data(Bytes),
    Goodbye(String),
    Naia(Bytes),
}

/// One datagram to send, with its prefix kept apart, so that a lane payload that many sessions share is copied only
/// into its packet.
#[derive(Debug)]
pub(crate) struct OutDatagram {
    pub(crate) prefix: u8,
    pub(crate) payload: Bytes,
}

/// The kind of a queued frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutFrame {
    pub(crate) way: FrameWay,
    pub(crate) payload: Bytes,
}

/// The sender of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameWay {
    Data,
    Naia,
}

impl OutFrame {
    /// Appends the whole frame, with its length.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        out.reserve(5 + self.payload.len());
        out.put_slice(&length(self.payload.len() + 1));
        out.put_u8(match self.way {
            FrameWay::Data => 0,
            FrameWay::Naia => 2,
        });
        out.put_slice(&self.payload);
    }
}

/// A body that no honest peer of this version sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Why an auth request is refused before it is passed to the game.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed(String),
    Version(String),
    Kind(String),
}

impl Refusal {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Malformed(reason) | Self::Version(reason) | Self::Kind(reason) => reason,
        }
    }
}

impl AuthRequest {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(REQUEST_HEADER_BYTES + self.auth.len());
        out.put_slice(&MAGIC);
        out.put_u32_le(self.protocol_version);
        out.put_u8(self.kind.to_wire());
        out.put_slice(&self.auth);
        out.freeze()
    }

    /// Reads a request and checks it against the listener's version and kind.
    pub(crate) fn admit(body: &Bytes, version: u32, kind: PeerKind) -> Result<Self, Refusal> {
        let malformed = |what: &str| Refusal::Malformed(format!("the auth request is malformed: {what}"));
        let Some((header, _)) = body.split_first_chunk::<REQUEST_HEADER_BYTES>() else {
            return Err(malformed("too short"));
        };
        let [m0, m1, m2, m3, v0, v1, v2, v3, kind_byte] = *header;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(malformed("this is not a Sidereal client"));
        }
        let theirs = u32::from_le_bytes([v0, v1, v2, v3]);
        if theirs != version {
            let older = if theirs < version { "client" } else { "server" };
            return Err(Refusal::Version(format!(
                "{VERSIONS_DIFFER}: the server speaks {version}, the client {theirs}; update the {older}"
            )));
        }
        let Some(asked) = PeerKind::from_wire(kind_byte) else {
            return Err(malformed("unknown kind of peer"));
        };
        if asked != kind {
            return Err(Refusal::Kind(format!(
                "this address is for {kind}s, not for {asked}s; connect to the server's {asked} address"
            )));
        }
        if body.len() > MAX_REQUEST_BYTES {
            return Err(malformed("too long"));
        }
        Ok(Self { protocol_version: theirs, kind, auth: body.slice(REQUEST_HEADER_BYTES..) })
    }
}

impl AuthReply {
    pub(crate) fn encode(&self) -> Bytes {
        let (tag, text) = match self {
            Self::Accept(token) => (1, token.as_str()),
            Self::Reject(reason) => (2, cut(reason)),
        };
        tagged(tag, text.as_bytes())
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        match body.split_first() {
            Some((1, token)) if token.len() <= MAX_TOKEN_BYTES && token.is_ascii() => {
                Ok(Self::Accept(String::from_utf8_lossy(token).into_owned()))
            }
            Some((2, reason)) => Ok(Self::Reject(clean_reason(reason))),
            _ => Err(Malformed("auth reply")),
        }
    }
}

impl Frame {
    pub(crate) fn decode(body: &Bytes) -> Result<Self, Malformed> {
        match body.first() {
            Some(0) => Ok(Self::Data(body.slice(1..))),
            Some(1) => Ok(Self::Goodbye(clean_reason(&body[1..]))),
            Some(2) => Ok(Self::Naia(body.slice(1..))),
            _ => Err(Malformed("stream frame")),
        }
    }

    /// A complete goodbye frame, with its length.
    pub(crate) fn goodbye(reason: &str) -> Bytes {
        framed(&tagged(1, cut(reason).as_bytes()))
    }
}

/// A body preceded by its length.
pub(crate) fn framed(body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(4 + body.len());
    out.put_slice(&length(body.len()));
    out.put_slice(body);
    out.freeze()
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("every body is capped far below 4 GiB").to_le_bytes()
}

fn tagged(tag: u8, rest: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + rest.len());
    out.put_u8(tag);
    out.put_slice(rest);
    out.freeze()
}

/// At most [`MAX_REASON_BYTES`] of a reason, cut between characters.
pub(crate) fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_REASON_BYTES)]
}

/// A peer's reason as one line that is safe to log and to show.
pub(crate) fn clean_reason(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    cut(&text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> AuthRequest {
        AuthRequest { protocol_version: 7, kind: PeerKind::Shard, auth: Bytes::from_static(b"secret") }
    }

    #[test]
    fn what_is_written_is_read() {
        let body = request().encode();
        assert_eq!(AuthRequest::admit(&body, 7, PeerKind::Shard), Ok(request()));
        for reply in [AuthReply::Accept("abc".into()), AuthReply::Reject("no".into())] {
            assert_eq!(AuthReply::decode(&reply.encode()), Ok(reply));
        }
        let frame = Frame::goodbye("enough");
        assert_eq!(frame[..4], 7u32.to_le_bytes());
        assert_eq!(Frame::decode(&frame.slice(4..)), Ok(Frame::Goodbye("enough".into())));
        let payload = Bytes::from_static(b"payload");
        let mut both = BytesMut::new();
        OutFrame { way: FrameWay::Data, payload: payload.clone() }.write(&mut both);
        OutFrame { way: FrameWay::Naia, payload: payload.clone() }.write(&mut both);
        let both = both.freeze();
        assert_eq!(both[..4], 8u32.to_le_bytes());
        assert_eq!(Frame::decode(&both.slice(4..12)), Ok(Frame::Data(payload.clone())));
        assert_eq!(Frame::decode(&both.slice(16..)), Ok(Frame::Naia(payload)));
    }

    #[test]
    fn refusals_name_both_versions_and_the_right_address() {
        let body = request().encode();
        let Err(Refusal::Version(reason)) = AuthRequest::admit(&body, 8, PeerKind::Shard) else {
            panic!("another version was admitted");
        };
        assert!(
            reason.contains("server speaks 8") && reason.contains("client 7") && reason.contains("update the client")
        );
        let Err(Refusal::Kind(reason)) = AuthRequest::admit(&body, 7, PeerKind::Player) else {
            panic!("the wrong kind was admitted");
        };
        assert!(reason.contains("shard address"), "{reason}");
    }

    #[test]
    fn malformed_bodies_are_refused_and_never_panic() {
        let body = request().encode();
        for cut_at in 0..REQUEST_HEADER_BYTES {
            assert!(AuthRequest::admit(&body.slice(..cut_at), 7, PeerKind::Shard).is_err());
        }
        let long = [body, Bytes::from(vec![0; MAX_AUTH_BYTES])].concat();
        assert!(AuthRequest::admit(&long.into(), 7, PeerKind::Shard).is_err());
        for bytes in [&b""[..], b"\x03", b"\x00\xff"] {
            assert!(AuthReply::decode(bytes).is_err());
        }
        assert!(Frame::decode(&Bytes::new()).is_err());
        assert!(Frame::decode(&Bytes::from_static(&[9])).is_err());
    }

    #[test]
    fn reasons_are_one_short_line() {
        assert_eq!(clean_reason(b"a\nb\x1b[31m\xff"), "a b [31m\u{fffd}");
        let long = "é".repeat(MAX_REASON_BYTES);
        assert!(cut(&long).len() <= MAX_REASON_BYTES);
        assert_eq!(clean_reason(long.as_bytes()).len(), MAX_REASON_BYTES);
    }
}
