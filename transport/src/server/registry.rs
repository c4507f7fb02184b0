//! The sessions of one server, by the addresses that naia and the game know them by.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use sidereal_process::log_limited;

use crate::PeerKind;
use crate::guard::ClientMessages;
use crate::hub::{Hub, lock};
use crate::session::{End, Session};
use crate::stats::AdmissionCounters;
use crate::wire::{AuthRequest, Refusal};

pub(crate) struct Registry {
    pub(crate) hub: Arc<Hub>,
    pub(crate) admission: AdmissionCounters,
    pub(crate) protocol_version: u32,
    sessions: RwLock<HashMap<SocketAddr, Arc<Session>>>,
    next_id: AtomicU64,
    users: Mutex<Users>,
    warned_unchecked: AtomicBool,
}

/// Which session each of naia's users is, from the auth request on. naia itself tells a user's address only
/// once the user is connected. It numbers its users from 0 in the order of their auth requests.
#[derive(Default)]
struct Users {
    next: u64,
    sessions: HashMap<u64, SocketAddr>,
}

impl Registry {
    pub(crate) fn new(hub: Arc<Hub>, protocol_version: u32) -> Arc<Self> {
        Arc::new(Self {
            hub,
            admission: AdmissionCounters::default(),
            protocol_version,
            sessions: RwLock::default(),
            next_id: AtomicU64::new(1),
            users: Mutex::default(),
            warned_unchecked: AtomicBool::new(false),
        })
    }

    /// Checks an auth request, makes a session of it and hands the auth to naia.
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
        if let Some(declared) = self.hub.client_messages.get()
            && let Err(refused) = declared.check_auth(&request.auth)
        {
            self.admission.refused_malformed.one();
            log_limited!(warn, %remote, %kind, %refused, "peer refused");
            return Err(Refusal::Malformed(format!("the auth request is malformed: {refused}")));
        }
        let address = synthetic_address(self.next_id.fetch_add(1, Ordering::Relaxed));
        let session = Session::new(self.hub.clone(), End::Server, kind, address);
        session.set_remote(remote);
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).insert(address, session.clone());
        self.admission.auth_requests.one();
        self.hub.push_auth(address, request.auth);
        Ok(session)
    }

    /// The next auth request for a naia that judges the credentials itself.
    pub(crate) fn pop_auth(&self) -> Option<(SocketAddr, Bytes)> {
        let (address, auth) = self.hub.pop_auth()?;
        let declared = self.hub.client_messages.get();
        if !declared.is_some_and(ClientMessages::declares_auth) && !self.warned_unchecked.swap(true, Ordering::Relaxed)
        {
            tracing::error!(
                "auth messages reach naia unchecked, and ten bytes of a stranger can end this server: call \
                 ServerHandle::gate_auth, or declare them with ServerHandle::set_client_messages"
            );
        }
        self.note_user(address);
        Some((address, auth))
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
                None => self.hub.counters.sends_to_closed.one(),
            }
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.read().values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.read().len()
    }

    pub(crate) fn remove(&self, address: &SocketAddr) {
        let removed = self.sessions.write().unwrap_or_else(PoisonError::into_inner).remove(address);
        if let Some(session) = removed {
            session.discard_inbound();
            lock(&self.users).sessions.retain(|_, of| of != address);
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<SocketAddr, Arc<Session>>> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The made-up address of a session: in fd5e::/16 (for local use, RFC 4193), with its number, never reused.
fn synthetic_address(id: u64) -> SocketAddr {
    let ip = Ipv6Addr::from_bits((0xfd5e << 112) | u128::from(id));
    SocketAddr::new(IpAddr::V6(ip), 1)
}
