//! A tick's lane datagrams for many sessions, passed to the network threads as one batch.
//!
//! A datagram is made ready to be sent once, with the transport's prefix; every session that gets it shares its bytes.
//! What is left per session is one entry of a batch.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits::MAX_LANE_BYTES;
use crate::session::Session;
use crate::session::hub::Parcel;
use crate::session::wire::LANE_PREFIX;

/// The id of a connection's first WebTransport session, divided by four, as HTTP/3 writes it before each datagram (RFC
/// 9297). A connection with another one gets copies of the datagrams.
const FIRST_SESSION: u8 = 0;

/// The bytes before a payload: session and lane.
pub(crate) const SHARED_PREFIX: [u8; 2] = [FIRST_SESSION, LANE_PREFIX];

/// One or more lane datagrams that are ready to be sent to any number of sessions. Clones share their bytes.
#[derive(Clone, Debug)]
pub struct SharedDatagrams(Arc<[Bytes]>);

impl SharedDatagrams {
    /// Datagrams with these payloads, in this order. Payloads over [`MAX_LANE_BYTES`] are left out: the sender splits.
    pub fn new<P: AsRef<[u8]>>(payloads: impl IntoIterator<Item = P>) -> Self {
        let ready = |payload: P| {
            let payload = payload.as_ref();
            let mut bytes = BytesMut::with_capacity(SHARED_PREFIX.len() + payload.len());
            bytes.put_slice(&SHARED_PREFIX);
            bytes.put_slice(payload);
            (payload.len() <= MAX_LANE_BYTES).then(|| bytes.freeze())
        };
        Self(payloads.into_iter().filter_map(ready).collect())
    }

    /// How many datagrams.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The length of each payload, bytes, in order.
    pub fn payload_lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().map(|bytes| bytes.len() - SHARED_PREFIX.len())
    }
}

/// A session to which lane datagrams are sent every tick: looked up once
/// ([`ServerHandle::lane_peer`](super::ServerHandle::lane_peer)) instead of each time. It may outlive the session; then
/// what is sent to it is dropped.
#[derive(Clone)]
pub struct LanePeer(pub(super) Arc<Session>);

impl std::fmt::Debug for LanePeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LanePeer({})", self.0.address)
    }
}

/// Lane datagrams for many sessions, sent with the next flush
/// ([`ServerHandle::send_batch`](super::ServerHandle::send_batch)).
#[derive(Default)]
pub struct LaneBatch {
    /// One list for each network thread, by the index of its hub.
    pub(super) by_hub: Vec<Vec<Parcel<Session>>>,
}

impl LaneBatch {
    /// Adds the first `count` of `datagrams` for a session.
    pub fn push(&mut self, peer: &LanePeer, datagrams: &SharedDatagrams, count: usize) {
        let hub = peer.0.hub.index;
        if hub >= self.by_hub.len() {
            self.by_hub.resize_with(hub + 1, Vec::new);
        }
        self.by_hub[hub].push(Parcel { session: peer.0.clone(), datagrams: datagrams.0.clone(), count });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_no_datagram_holds_is_left_out() {
        let long = vec![1; MAX_LANE_BYTES + 1];
        let longest = vec![1; MAX_LANE_BYTES];
        let datagrams = SharedDatagrams::new([&long, &longest, &vec![]]);
        assert_eq!(datagrams.payload_lengths().collect::<Vec<_>>(), [MAX_LANE_BYTES, 0]);
    }
}
