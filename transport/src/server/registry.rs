//! The sessions of one server, by the addresses by which naia and the game identify them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use sidereal_process::log_limited;

use crate::PeerKind;
use crate::limits::Limits;
use crate::naia::acks::HEARTBEAT_BYTES;
use crate::session::hub::{Inbound, lock};
use crate::session::waker::Waker;
use crate::session::wire::{AuthRequest, Refusal};
use crate::session::{End, Hub, Session};
use crate::stats::{AdmissionCounters, TrafficCounters};

pub(crate) struct Registry {
    players: Arc<Hub>,
    /// A hub of their own: players' queues take nothing from it.
    shards: Arc<Hub>,
    pub(crate) admission: AdmissionCounters,
    pub(crate) protocol_version: u32,
    sessions: RwLock<HashMap<SocketAddr, Arc<Session>>>,
    player_count: AtomicUsize,
    shard_count: AtomicUsize,
    next_id: AtomicU64,
    users: Mutex<Users>,
}

/// The session of each of naia's users, from the auth request on. naia itself gives a user's address only once the user
/// is connected. It numbers its users from 0 in the order of their auth requests.
#[derive(Default)]
struct Users {
    next: u64,
    sessions: HashMap<u64, SocketAddr>,
    /// Those whose `ConnectEvent` came.
    connected: HashSet<SocketAddr>,
    /// Sessions that have ended within naia's handshake, which the transport finishes in their place.
    unfinished: VecDeque<SocketAddr>,
}

impl Registry {
    pub(crate) fn new(limits: Limits, protocol_version: u32) -> Arc<Self> {
        let players = Hub::new(limits);
        Arc::new(Self {
            shards: players.beside(),
            players,
            admission: AdmissionCounters::default(),
            protocol_version,
            sessions: RwLock::default(),
            player_count: AtomicUsize::new(0),
            shard_count: AtomicUsize::new(0),
            next_id: AtomicU64::new(1),
            users: Mutex::default(),
        })
    }

    pub(crate) fn hub(&self, kind: PeerKind) -> &Arc<Hub> {
        match kind {
            PeerKind::Player => &self.players,
            PeerKind::Shard => &self.shards,
        }
    }

    /// Both, the shards' first: they must wait least.
    pub(crate) fn hubs(&self) -> [&Arc<Hub>; 2] {
        [&self.shards, &self.players]
    }

    /// The same for both.
    pub(crate) fn counters(&self) -> &TrafficCounters {
        &self.players.counters
    }

    /// The same for both.
    pub(crate) fn waker(&self) -> &Waker {
        &self.players.waker
    }

    /// The next heartbeat that confirms delivery to naia.
    pub(crate) fn pop_heartbeat(&self) -> Option<(SocketAddr, [u8; HEARTBEAT_BYTES])> {
        self.hubs().into_iter().find_map(|hub| hub.pop_heartbeat())
    }

    /// The next naia packet, lane payload or stream frame of any session.
    pub(crate) fn pop(&self, way: Inbound) -> Option<(SocketAddr, Bytes)> {
        self.hubs().into_iter().find_map(|hub| hub.pop(way))
    }

    /// Checks an auth request, makes a session of it and passes the auth to the game.
    pub(crate) fn admit(&self, body: &Bytes, kind: PeerKind, remote: SocketAddr) -> Result<Arc<Session>, Refusal> {
        let request = AuthRequest::admit(body, self.protocol_version, kind).inspect_err(|refusal| {
            let admission = &self.admission;
            match refusal {
                Refusal::Malformed(_) => admission.refused_malformed.one(),
                Refusal::Version(_) => admission.refused_version.one(),
                Refusal::Kind(_) => admission.refused_kind.one(),
            }
            log_limited!(info, %remote, %kind, reason = refusal.reason(), "peer refused");
        })?;
        let hub = self.hub(kind);
        let address = synthetic_address(self.next_id.fetch_add(1, Ordering::Relaxed));
        let session = Session::new(hub.clone(), End::Server, kind, address);
        session.set_remote(remote);
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).insert(address, session.clone());
        self.count(kind).fetch_add(1, Ordering::Relaxed);
        self.admission.auth_requests.one();
        hub.push_auth(address, request.auth);
        Ok(session)
    }

    /// The next auth request.
    pub(crate) fn next_auth(&self) -> Option<(SocketAddr, Bytes)> {
        self.hubs().into_iter().find_map(|hub| hub.pop_auth())
    }

    /// naia makes its next user of this session.
    pub(crate) fn note_user(&self, address: SocketAddr) {
        let mut users = lock(&self.users);
        let user = users.next;
        users.next += 1;
        // One that was removed meanwhile would never be removed again.
        if self.get(&address).is_some() {
            users.sessions.insert(user, address);
        }
    }

    /// naia has reported that the session's user is connected.
    pub(crate) fn note_connected(&self, address: SocketAddr) {
        let mut users = lock(&self.users);
        if self.get(&address).is_some() {
            users.connected.insert(address);
        }
    }

    /// The next session that ended within naia's handshake.
    pub(crate) fn pop_unfinished(&self) -> Option<SocketAddr> {
        lock(&self.users).unfinished.pop_front()
    }

    pub(crate) fn session_of(&self, user: u64) -> Option<SocketAddr> {
        lock(&self.users).sessions.get(&user).copied()
    }

    pub(crate) fn get(&self, address: &SocketAddr) -> Option<Arc<Session>> {
        self.read().get(address).cloned()
    }

    /// Calls `f` for each of the sessions that exist, under one lock.
    pub(crate) fn for_each<'a>(
        &self,
        addresses: impl IntoIterator<Item = &'a SocketAddr>,
        mut f: impl FnMut(&Arc<Session>),
    ) {
        let sessions = self.read();
        for address in addresses {
            match sessions.get(address) {
                Some(session) => f(session),
                None => self.counters().sends_to_closed.one(),
            }
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.read().values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.read().len()
    }

    /// The sessions of a kind that [`remove`](Self::remove) has not taken out yet.
    pub(crate) fn len_of(&self, kind: PeerKind) -> usize {
        self.count(kind).load(Ordering::Relaxed)
    }

    fn count(&self, kind: PeerKind) -> &AtomicUsize {
        match kind {
            PeerKind::Player => &self.player_count,
            PeerKind::Shard => &self.shard_count,
        }
    }

    pub(crate) fn remove(&self, address: &SocketAddr) {
        let removed = self.sessions.write().unwrap_or_else(PoisonError::into_inner).remove(address);
        let Some(session) = removed else { return };
        self.count(session.kind).fetch_sub(1, Ordering::Relaxed);
        session.discard_inbound();
        let mut users = lock(&self.users);
        let before = users.sessions.len();
        users.sessions.retain(|_, of| of != address);
        let is_naias = users.sessions.len() < before;
        let is_connected = users.connected.remove(address);
        if is_naias && !is_connected && session.has_identified() {
            users.unfinished.push_back(*address);
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<SocketAddr, Arc<Session>>> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The artificial address of a session: in fd5e::/16 (for local use, RFC 4193), with its number, never reused.
fn synthetic_address(id: u64) -> SocketAddr {
    let ip = Ipv6Addr::from_bits((0xfd5e << 112) | u128::from(id));
    SocketAddr::new(IpAddr::V6(ip), 1)
}
