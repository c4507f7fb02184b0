//! Tickets: a login over HTTP issues one, and a connection redeems it once, within half a minute.
//!
//! Owned by the server process: the HTTP thread issues, the ECS thread redeems. Nothing is stored; a restart makes all
//! tickets unknown. Time is an argument; [`TicketOffice::now_ms`] is the clock of both threads.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rand::RngCore;
use thiserror::Error;
use uuid::Uuid;

use crate::accounts::hex;
use crate::accounts::spread::{Spread, Turn};

/// How long a ticket can be redeemed, ms: a client connects within a second or two of its login.
pub const TICKET_LIFETIME_MS: u64 = 30_000;

/// How long an expired ticket is kept, ms, so that its use is reported as expired instead of unknown.
const REMEMBER_EXPIRED_MS: u64 = 60_000;

/// Maximum number of tickets of one account: for a few devices, and for attempts whose answers were lost. A newer
/// ticket removes the oldest, which becomes unknown.
pub const MAX_TICKETS_PER_ACCOUNT: usize = 8;

/// Maximum number of tickets, some megabytes. At the limit, tickets that can no longer be redeemed are removed; if all
/// are valid, no more are issued: an account's ticket is never removed for another account's.
pub const MAX_TICKETS: usize = 32_768;

const TOKEN_BYTES: usize = 32;

/// The account of a redeemed ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The account.
    pub account_id: Uuid,
    /// The account's name.
    pub name: String,
}

/// A new ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTicket {
    /// 64 hexadecimal digits.
    pub token: String,
    /// The endpoint at which it is to be redeemed. At another one it is as good.
    pub endpoint: usize,
}

/// Why a ticket was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TicketError {
    /// Never issued, issued before a restart, or removed.
    #[error("this ticket is not known here: log in again")]
    Unknown,
    /// Redeemed before.
    #[error("this ticket was already used: log in again")]
    Used,
    /// Not redeemed in time.
    #[error("this ticket has expired: log in again")]
    Expired,
}

/// [`MAX_TICKETS`] tickets are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the server is busy: try again in a few seconds")]
pub struct TicketsFull;

#[derive(Debug)]
struct Issued {
    ticket: Ticket,
    turn: Turn,
    used: bool,
}

#[derive(Debug)]
struct Tickets {
    issued: HashMap<[u8; TOKEN_BYTES], Issued>,
    order: BTreeMap<Turn, [u8; TOKEN_BYTES]>,
    /// The oldest first; no queue is empty.
    of_account: HashMap<Uuid, VecDeque<[u8; TOKEN_BYTES]>>,
    count: u64,
    spread: Spread,
}

impl Tickets {
    fn forget(&mut self, token: &[u8; TOKEN_BYTES]) {
        let Some(Issued { ticket, turn, .. }) = self.issued.remove(token) else { return };
        self.order.remove(&turn);
        self.spread.end(turn);
        if let Entry::Occupied(mut own) = self.of_account.entry(ticket.account_id) {
            own.get_mut().retain(|other| other != token);
            if own.get().is_empty() {
                own.remove();
            }
        }
    }

    /// Removes tickets that expired more than `remember_ms` ago.
    fn forget_expired(&mut self, remember_ms: u64, now_ms: u64) {
        while let Some((&(expires_ms, _), token)) = self.order.first_key_value()
            && now_ms >= expires_ms.saturating_add(remember_ms)
        {
            let token = *token;
            self.forget(&token);
        }
    }

    /// Removes tickets that are kept only to explain a rejection.
    fn forget_what_is_over(&mut self, now_ms: u64) {
        self.forget_expired(0, now_ms);
        let used: Vec<_> = self.issued.iter().filter(|(_, issued)| issued.used).map(|(token, _)| *token).collect();
        used.iter().for_each(|token| self.forget(token));
    }
}

/// Adds the number of sessions at each endpoint to a list.
type Sessions = dyn Fn(&mut Vec<usize>) + Send + Sync;

/// Issues and redeems tickets. Clones share them.
#[derive(Clone)]
pub struct TicketOffice {
    opened: Instant,
    sessions: Arc<Sessions>,
    tickets: Arc<Mutex<Tickets>>,
}

impl fmt::Debug for TicketOffice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketOffice").field("opened", &self.opened).finish_non_exhaustive()
    }
}

impl Default for TicketOffice {
    fn default() -> Self {
        Self::new()
    }
}

impl TicketOffice {
    /// Makes an office without tickets, for one endpoint.
    pub fn new() -> Self {
        Self::spreading(1, |_| {})
    }

    /// The same for several endpoints, over which it spreads players. `sessions` adds the number of sessions at each of
    /// them to a list.
    pub fn spreading(endpoints: usize, sessions: impl Fn(&mut Vec<usize>) + Send + Sync + 'static) -> Self {
        let tickets = Tickets {
            issued: HashMap::new(),
            order: BTreeMap::new(),
            of_account: HashMap::new(),
            count: 0,
            spread: Spread::new(endpoints),
        };
        Self { opened: Instant::now(), sessions: Arc::new(sessions), tickets: Arc::new(Mutex::new(tickets)) }
    }

    /// Milliseconds since the office was made: monotonic, and the same for every clone.
    pub fn now_ms(&self) -> u64 {
        self.opened.elapsed().as_millis() as u64
    }

    /// Issues a ticket, for the endpoint with the fewest players.
    ///
    /// # Errors
    /// [`TicketsFull`] if [`MAX_TICKETS`] are valid.
    pub fn issue(&self, account_id: Uuid, name: &str, now_ms: u64) -> Result<NewTicket, TicketsFull> {
        let mut token = [0; TOKEN_BYTES];
        rand::rng().fill_bytes(&mut token);
        let mut sessions = Vec::new();
        (self.sessions)(&mut sessions);
        let mut tickets = self.lock();
        tickets.forget_expired(REMEMBER_EXPIRED_MS, now_ms);
        let own = tickets.of_account.get(&account_id);
        if let Some(oldest) =
            own.filter(|own| own.len() >= MAX_TICKETS_PER_ACCOUNT).and_then(|own| own.front().copied())
        {
            tickets.forget(&oldest);
        }
        if tickets.issued.len() >= MAX_TICKETS {
            tickets.forget_what_is_over(now_ms);
        }
        if tickets.issued.len() >= MAX_TICKETS {
            return Err(TicketsFull);
        }
        tickets.count += 1;
        let turn = (now_ms.saturating_add(TICKET_LIFETIME_MS), tickets.count);
        let endpoint = tickets.spread.choose(turn, &sessions, now_ms);
        let ticket = Ticket { account_id, name: name.to_owned() };
        tickets.order.insert(turn, token);
        tickets.of_account.entry(account_id).or_default().push_back(token);
        tickets.issued.insert(token, Issued { ticket, turn, used: false });
        drop(tickets);
        Ok(NewTicket { token: hex::encode(&token), endpoint })
    }

    /// Redeems a ticket, once.
    ///
    /// # Errors
    /// [`TicketError`] says why it was rejected.
    pub fn redeem(&self, token: &str, now_ms: u64) -> Result<Ticket, TicketError> {
        let token = token_bytes(token).ok_or(TicketError::Unknown)?;
        let mut tickets = self.lock();
        let issued = tickets.issued.get_mut(&token).ok_or(TicketError::Unknown)?;
        if issued.used {
            return Err(TicketError::Used);
        }
        if now_ms >= issued.turn.0 {
            return Err(TicketError::Expired);
        }
        issued.used = true;
        let (ticket, turn) = (issued.ticket.clone(), issued.turn);
        tickets.spread.end(turn);
        Ok(ticket)
    }

    fn lock(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decodes a token of 64 hexadecimal digits.
pub(crate) fn token_bytes(text: &str) -> Option<[u8; TOKEN_BYTES]> {
    hex::decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Uuid = Uuid::from_u128(7);
    const BOB: Uuid = Uuid::from_u128(8);

    fn issue(office: &TicketOffice, account: Uuid, now_ms: u64) -> String {
        office.issue(account, "ann", now_ms).expect("there is room").token
    }

    #[test]
    fn tickets_are_spread_over_endpoints_by_sessions_and_by_tickets_that_wait() {
        let at = Arc::new(Mutex::new(vec![2, 0, 1]));
        let sessions = at.clone();
        let office = TicketOffice::spreading(3, move |counts| counts.extend(sessions.lock().expect("a list").iter()));
        let mut account = 100;
        let mut endpoint = |now_ms| {
            account += 1;
            office.issue(Uuid::from_u128(account), "x", now_ms).expect("there is room")
        };
        let first: Vec<NewTicket> = (0..4).map(|_| endpoint(0)).collect();
        assert_eq!(first.iter().map(|ticket| ticket.endpoint).collect::<Vec<_>>(), [1, 1, 2, 0]);
        // The first two are used: at another endpoint, which counts there.
        assert!(first[..2].iter().all(|ticket| office.redeem(&ticket.token, 1).is_ok()));
        *at.lock().expect("a list") = vec![4, 0, 1];
        assert_eq!([endpoint(2).endpoint, endpoint(2).endpoint, endpoint(2).endpoint], [1, 1, 1]);
        // Those that nobody uses count until they expire; so do those that an account's newer ones remove.
        let later = TICKET_LIFETIME_MS + 2;
        *at.lock().expect("a list") = vec![0, 0, 0];
        for _ in 0..2 * MAX_TICKETS_PER_ACCOUNT {
            office.issue(ANN, "ann", later).expect("there is room");
        }
        let waiting: Vec<usize> = (0..3).map(|_| endpoint(later).endpoint).collect();
        assert_eq!(waiting.len(), 3);
        assert_eq!(office.lock().spread.waiting(), MAX_TICKETS_PER_ACCOUNT + 3);
    }

    #[test]
    fn a_ticket_is_good_once() {
        let office = TicketOffice::new();
        let token = issue(&office, ANN, 1_000);
        assert_eq!(token.len(), 64);
        assert_eq!(office.clone().redeem(&token, 1_500), Ok(Ticket { account_id: ANN, name: "ann".to_owned() }));
        assert_eq!(office.redeem(&token, 1_501), Err(TicketError::Used));
        assert_eq!(office.redeem(&token, 1_000 + TICKET_LIFETIME_MS), Err(TicketError::Used));
    }

    #[test]
    fn a_ticket_ends_to_the_millisecond_and_is_then_told_apart() {
        let office = TicketOffice::new();
        let late = issue(&office, ANN, 0);
        let in_time = issue(&office, ANN, 0);
        assert!(office.redeem(&in_time, TICKET_LIFETIME_MS - 1).is_ok());
        assert_eq!(office.redeem(&late, TICKET_LIFETIME_MS), Err(TicketError::Expired));
    }

    #[test]
    fn what_is_no_ticket_is_unknown() {
        let office = TicketOffice::new();
        let token = issue(&office, ANN, 0);
        let other = hex::encode(&[0; 32]);
        for wrong in ["", "zz", &token[1..], &other, &"é".repeat(32), &"+1".repeat(32), &format!("{token}00")] {
            assert_eq!(office.redeem(wrong, 1), Err(TicketError::Unknown), "{wrong}");
        }
        assert!(office.redeem(&token.to_uppercase(), 1).is_ok());
    }

    #[test]
    fn past_an_account_s_limit_its_oldest_ticket_is_forgotten_and_no_other_s() {
        let office = TicketOffice::new();
        let others = issue(&office, BOB, 0);
        let first = issue(&office, ANN, 0);
        let second = issue(&office, ANN, 0);
        for _ in 0..MAX_TICKETS_PER_ACCOUNT - 1 {
            issue(&office, ANN, 0);
        }
        assert_eq!(office.redeem(&first, 1), Err(TicketError::Unknown));
        assert!(office.redeem(&second, 1).is_ok() && office.redeem(&others, 1).is_ok());
        for _ in 0..10_000 {
            issue(&office, ANN, 1);
        }
        let tickets = office.lock();
        let counts = (tickets.issued.len(), tickets.order.len(), tickets.of_account.len());
        assert_eq!(counts, (MAX_TICKETS_PER_ACCOUNT + 1, MAX_TICKETS_PER_ACCOUNT + 1, 2));
    }

    #[test]
    fn past_the_limit_of_all_nobody_s_ticket_goes_for_another() {
        let office = TicketOffice::new();
        let first = issue(&office, ANN, 0);
        for number in 1..MAX_TICKETS as u128 {
            issue(&office, Uuid::from_u128(1_000 + number), 1);
        }
        assert_eq!(office.issue(BOB, "bob", 1), Err(TicketsFull));
        assert!(office.redeem(&first, 1).is_ok());
        assert!(office.issue(BOB, "bob", 1).is_ok(), "one that is used makes room");
        assert_eq!(office.issue(ANN, "ann", 1), Err(TicketsFull));
        assert!(office.issue(BOB, "bob", 1 + TICKET_LIFETIME_MS).is_ok(), "and so do those that have expired");
        assert_eq!(office.lock().issued.len(), 1);
    }

    #[test]
    fn old_tickets_do_not_pile_up() {
        let office = TicketOffice::new();
        for hour in 0..100 {
            issue(&office, ANN, hour * 3_600_000);
        }
        assert_eq!(office.lock().issued.len(), 1);
        assert_eq!(office.lock().order.len(), 1);
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        for error in [TicketError::Unknown, TicketError::Used, TicketError::Expired] {
            assert!(error.to_string().ends_with("log in again"), "{error}");
        }
    }
}
