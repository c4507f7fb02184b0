//! Admitted peers whose handshake with naia is in progress: each has a deadline, and an account has at most one. No
//! I/O.
//!
//! naia itself waits forever for a peer that has sent its token and does not connect, and walks over all of them in
//! every update.

use sidereal_protocol::world::{
    ids::AccountId,
    tick::{SimTick, TICK_HZ},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

/// From a peer's admission until naia's `ConnectEvent`: ten times what a client needs on a slow link. naia allows a
/// peer that does not even send its token the same time.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

const CONNECT_DEADLINE_TICKS: u64 = CONNECT_DEADLINE.as_secs() * TICK_HZ as u64;

/// An admitted peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// With a ticket.
    Player {
        /// The account.
        account: AccountId,
        /// The account's name.
        name: String,
    },
    /// With the shards' secret.
    Shard {
        /// Its name for the logs.
        name: String,
    },
}

/// Admitted peers that are not connected yet. Bounded by the transport's sessions.
#[derive(Debug, Default)]
pub struct Admissions {
    by_session: BTreeMap<SocketAddr, Admitted>,
    by_account: HashMap<AccountId, SocketAddr>,
    /// In the order of admission. An entry that has connected or gone is skipped when it is due.
    due: VecDeque<(SimTick, SocketAddr)>,
}

impl Admissions {
    /// Admits a session. Returns the waiting session of the same account, if any, which must be closed.
    pub fn admit(&mut self, session: SocketAddr, admitted: Admitted, now: SimTick) -> Option<SocketAddr> {
        let displaced = match &admitted {
            Admitted::Player { account, .. } => self.by_account.insert(*account, session),
            Admitted::Shard { .. } => None,
        };
        self.by_session.insert(session, admitted);
        self.due.push_back((now + CONNECT_DEADLINE_TICKS, session));
        displaced
    }

    /// Removes a session that has connected or gone.
    pub fn take(&mut self, session: &SocketAddr) -> Option<Admitted> {
        let admitted = self.by_session.remove(session)?;
        if let Admitted::Player { account, .. } = &admitted
            && self.by_account.get(account) == Some(session)
        {
            self.by_account.remove(account);
        }
        Some(admitted)
    }

    /// The next session that has not connected by its deadline; each is returned once.
    pub fn overdue(&mut self, now: SimTick) -> Option<SocketAddr> {
        while let Some((due, session)) = self.due.front().copied()
            && due <= now
        {
            self.due.pop_front();
            if self.by_session.contains_key(&session) {
                return Some(session);
            }
        }
        None
    }

    /// The number of waiting sessions.
    pub fn len(&self) -> usize {
        self.by_session.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_session.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn session(number: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], number))
    }

    fn player(account: u128) -> Admitted {
        Admitted::Player { account: AccountId(Uuid::from_u128(account)), name: "ann".to_owned() }
    }

    fn shard() -> Admitted {
        Admitted::Shard { name: "one".to_owned() }
    }

    const START: SimTick = SimTick(1_000);

    #[test]
    fn who_does_not_connect_is_overdue_once() {
        let mut admissions = Admissions::default();
        admissions.admit(session(1), player(1), START);
        admissions.admit(session(2), shard(), START);
        admissions.admit(session(3), player(3), START + 1);
        assert_eq!(admissions.take(&session(2)), Some(shard()), "it has connected");
        let due = START + CONNECT_DEADLINE_TICKS;
        assert_eq!(admissions.overdue(SimTick(due.0 - 1)), None);
        assert_eq!(admissions.overdue(due), Some(session(1)));
        assert_eq!(admissions.overdue(due), None);
        assert_eq!(admissions.len(), 2, "it is there until it has gone");
        assert_eq!(admissions.take(&session(1)), Some(player(1)));
        assert_eq!(admissions.overdue(due + 1), Some(session(3)));
        assert_eq!(admissions.overdue(due + 1), None);
    }

    #[test]
    fn an_account_has_one_at_most() {
        let mut admissions = Admissions::default();
        assert_eq!(admissions.admit(session(1), player(1), START), None);
        assert_eq!(admissions.admit(session(2), player(2), START), None);
        assert_eq!(admissions.admit(session(3), player(1), START), Some(session(1)));
        // The first one is replaced, and the second is the account's.
        assert_eq!(admissions.take(&session(1)), Some(player(1)));
        assert_eq!(admissions.admit(session(4), player(1), START), Some(session(3)));
        assert_eq!(admissions.take(&session(4)), Some(player(1)));
        assert_eq!(admissions.take(&session(4)), None);
        assert_eq!(admissions.admit(session(5), player(1), START), None, "nothing is left of those before");
        // Shards have no account.
        assert_eq!(admissions.admit(session(6), shard(), START), None);
        assert_eq!(admissions.admit(session(7), shard(), START), None);
    }

    #[test]
    fn nothing_is_left_of_whoever_has_gone() {
        let mut admissions = Admissions::default();
        for number in 0..1_000 {
            admissions.admit(session(number), player(number.into()), START);
            admissions.take(&session(number));
        }
        assert!(admissions.is_empty() && admissions.by_account.is_empty());
        assert_eq!(admissions.overdue(START + CONNECT_DEADLINE_TICKS), None);
        assert!(admissions.due.is_empty());
    }
}
