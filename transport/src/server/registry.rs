//! The sessions of one server, by the addresses by which naia and the game identify them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Add;
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
use crate::stats::{AdmissionCounters, TrafficStats};

pub(crate) struct Registry {
    /// That of the shards, then one for each endpoint of players.
    hubs: Vec<Arc<Hub>>,
    /// The players' hub that is read first next time.
    turn: AtomicUsize,
    pub(crate) admission: AdmissionCounters,
    pub(crate) protocol_version: u32,
    sessions: RwLock<HashMap<SocketAddr, Arc<Session>>>,
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
    /// For a server with so many endpoints of players, at least one.
    pub(crate) fn new(limits: &Limits, protocol_version: u32, player_endpoints: usize) -> Arc<Self> {
        Arc::new(Self {
            hubs: Hub::of_server(limits, player_endpoints.max(1)),
            turn: AtomicUsize::new(0),
            admission: AdmissionCounters::default(),
            protocol_version,
            sessions: RwLock::default(),
            next_id: AtomicU64::new(1),
            users: Mutex::default(),
        })
    }

    /// The hubs of one kind of peers: one for each endpoint.
    pub(crate) fn hubs_of(&self, kind: PeerKind) -> &[Arc<Hub>] {
        let (shards, players) = self.hubs.split_at(1);
        match kind {
            PeerKind::Player => players,
            PeerKind::Shard => shards,
        }
    }

    /// All, the shards' first: they must wait least.
    pub(crate) fn hubs(&self) -> &[Arc<Hub>] {
        &self.hubs
    }

    /// The traffic of all sessions together.
    pub(crate) fn traffic(&self) -> TrafficStats {
        self.hubs.iter().map(|hub| hub.counters.snapshot()).fold(TrafficStats::default(), Add::add)
    }

    /// The same for all hubs.
    pub(crate) fn waker(&self) -> &Waker {
        &self.hubs[0].waker
    }

    /// The next heartbeat that confirms delivery to naia.
    pub(crate) fn pop_heartbeat(&self) -> Option<(SocketAddr, [u8; HEARTBEAT_BYTES])> {
        self.hubs.iter().find_map(|hub| hub.pop_heartbeat())
    }

    /// The next naia packet, lane payload or stream frame of any session: of the shards', then of each endpoint of
    /// players in turn, so that none of them waits for a crowd at another.
    pub(crate) fn pop(&self, way: Inbound) -> Option<(SocketAddr, Bytes)> {
        let players = self.hubs_of(PeerKind::Player);
        self.hubs_of(PeerKind::Shard).iter().find_map(|hub| hub.pop(way)).or_else(|| {
            let first = self.turn.fetch_add(1, Ordering::Relaxed) % players.len();
            let (later, sooner) = players.split_at(first);
            sooner.iter().chain(later).find_map(|hub| hub.pop(way))
        })
    }

    /// Checks an auth request that came in at the endpoint of `hub`, makes a session of it and passes the auth to the
    /// game. Sessions of all endpoints are numbered together.
    pub(crate) fn admit(
        &self,
        body: &Bytes,
        kind: PeerKind,
        hub: &Arc<Hub>,
        remote: SocketAddr,
    ) -> Result<Arc<Session>, Refusal> {
        let request = AuthRequest::admit(body, self.protocol_version, kind).inspect_err(|refusal| {
            let admission = &self.admission;
            match refusal {
                Refusal::Malformed(_) => admission.refused_malformed.one(),
                Refusal::Version(_) => admission.refused_version.one(),
                Refusal::Kind(_) => admission.refused_kind.one(),
            }
            log_limited!(info, %remote, %kind, reason = refusal.reason(), "peer refused");
        })?;
        let address = synthetic_address(self.next_id.fetch_add(1, Ordering::Relaxed));
        let session = Session::new(hub.clone(), End::Server, kind, address);
        session.set_remote(remote);
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).insert(address, session.clone());
        hub.add_session();
        self.admission.auth_requests.one();
        hub.push_auth(address, request.auth);
        Ok(session)
    }

    /// The next auth request.
    pub(crate) fn next_auth(&self) -> Option<(SocketAddr, Bytes)> {
        self.hubs.iter().find_map(|hub| hub.pop_auth())
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

    /// The game has admitted the session.
    pub(crate) fn note_admitted(&self, address: &SocketAddr) {
        if let Some(session) = self.get(address)
            && !session.was_admitted.swap(true, Ordering::Relaxed)
        {
            session.hub.admit_session();
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
                None => self.hubs[0].counters.sends_to_closed.one(),
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
        self.hubs_of(kind).iter().map(|hub| hub.sessions()).sum()
    }

    pub(crate) fn remove(&self, address: &SocketAddr) {
        let removed = self.sessions.write().unwrap_or_else(PoisonError::into_inner).remove(address);
        let Some(session) = removed else { return };
        session.hub.remove_session(session.was_admitted.load(Ordering::Relaxed));
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
