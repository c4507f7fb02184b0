//! Tickets: what a login gives out over HTTP and a connection redeems, once, within half a minute.
//!
//! Owned by the server process: the HTTP thread issues, the ECS thread redeems. Nothing is stored; a restart makes all
//! tickets unknown. Time comes in as an argument; [`TicketOffice::now_ms`] is the clock that both threads use.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rand::RngCore;
use thiserror::Error;
use uuid::Uuid;

use crate::hex;

/// How long a ticket can be redeemed: a client connects within a second or two of its login.
pub const TICKET_LIFETIME_MS: u64 = 30_000;

/// How long a ticket is remembered after that, so that its owner is told that it expired.
const REMEMBER_EXPIRED_MS: u64 = 60_000;

/// How many tickets are remembered; past it the oldest is dropped and becomes unknown. Above what the password hashing
/// lets through in the time that a ticket is remembered.
pub const MAX_TICKETS: usize = 10_000;

const TOKEN_BYTES: usize = 32;

/// What a ticket stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Who logged in.
    pub account_id: Uuid,
    /// The account's name.
    pub name: String,
}

/// Why a ticket is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TicketError {
    /// Never issued, issued before a restart, or forgotten.
    #[error("this ticket is not known here: log in again")]
    Unknown,
    /// It was redeemed before.
    #[error("this ticket was already used: log in again")]
    Used,
    /// It was not redeemed in time.
    #[error("this ticket has expired: log in again")]
    Expired,
}

#[derive(Debug)]
struct Issued {
    ticket: Ticket,
    expires_ms: u64,
    used: bool,
}

#[derive(Debug, Default)]
struct Tickets {
    issued: HashMap<[u8; TOKEN_BYTES], Issued>,
    /// In the order of issue, which is that of expiry.
    order: VecDeque<([u8; TOKEN_BYTES], u64)>,
}

/// Issues and redeems tickets. Clones share them.
#[derive(Clone, Debug)]
pub struct TicketOffice {
    opened: Instant,
    tickets: Arc<Mutex<Tickets>>,
}

impl Default for TicketOffice {
    fn default() -> Self {
        Self::new()
    }
}

impl TicketOffice {
    /// An office without tickets.
    pub fn new() -> Self {
        Self { opened: Instant::now(), tickets: Arc::default() }
    }

    /// Milliseconds since the office was opened: never goes back, the same for every clone.
    pub fn now_ms(&self) -> u64 {
        self.opened.elapsed().as_millis() as u64
    }

    /// A new ticket, as 64 hexadecimal digits.
    pub fn issue(&self, account_id: Uuid, name: &str, now_ms: u64) -> String {
        let mut token = [0; TOKEN_BYTES];
        rand::rng().fill_bytes(&mut token);
        let expires_ms = now_ms.saturating_add(TICKET_LIFETIME_MS);
        let mut tickets = self.lock();
        while let Some((oldest, expired_ms)) = tickets.order.front().copied()
            && (tickets.order.len() >= MAX_TICKETS || now_ms >= expired_ms.saturating_add(REMEMBER_EXPIRED_MS))
        {
            tickets.order.pop_front();
            tickets.issued.remove(&oldest);
        }
        tickets.order.push_back((token, expires_ms));
        let ticket = Ticket { account_id, name: name.to_owned() };
        tickets.issued.insert(token, Issued { ticket, expires_ms, used: false });
        drop(tickets);
        hex::encode(&token)
    }

    /// Takes a ticket, once.
    ///
    /// # Errors
    /// [`TicketError`] tells why it is not taken.
    pub fn redeem(&self, token: &str, now_ms: u64) -> Result<Ticket, TicketError> {
        let token = token_bytes(token).ok_or(TicketError::Unknown)?;
        let mut tickets = self.lock();
        let issued = tickets.issued.get_mut(&token).ok_or(TicketError::Unknown)?;
        if issued.used {
            return Err(TicketError::Used);
        }
        if now_ms >= issued.expires_ms {
            return Err(TicketError::Expired);
        }
        issued.used = true;
        Ok(issued.ticket.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a token as players hold it.
pub(crate) fn token_bytes(text: &str) -> Option<[u8; TOKEN_BYTES]> {
    hex::decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Uuid = Uuid::from_u128(7);

    #[test]
    fn a_ticket_is_good_once() {
        let office = TicketOffice::new();
        let token = office.issue(ANN, "ann", 1_000);
        assert_eq!(token.len(), 64);
        assert_eq!(office.clone().redeem(&token, 1_500), Ok(Ticket { account_id: ANN, name: "ann".to_owned() }));
        assert_eq!(office.redeem(&token, 1_501), Err(TicketError::Used));
        assert_eq!(office.redeem(&token, 1_000 + TICKET_LIFETIME_MS), Err(TicketError::Used));
    }

    #[test]
    fn a_ticket_ends_to_the_millisecond_and_is_then_told_apart() {
        let office = TicketOffice::new();
        let late = office.issue(ANN, "ann", 0);
        let in_time = office.issue(ANN, "ann", 0);
        assert!(office.redeem(&in_time, TICKET_LIFETIME_MS - 1).is_ok());
        assert_eq!(office.redeem(&late, TICKET_LIFETIME_MS), Err(TicketError::Expired));
    }

    #[test]
    fn what_is_no_ticket_is_unknown() {
        let office = TicketOffice::new();
        let token = office.issue(ANN, "ann", 0);
        let other = hex::encode(&[0; 32]);
        for wrong in ["", "zz", &token[1..], &other, &"é".repeat(32), &"+1".repeat(32), &format!("{token}00")] {
            assert_eq!(office.redeem(wrong, 1), Err(TicketError::Unknown), "{wrong}");
        }
        assert!(office.redeem(&token.to_uppercase(), 1).is_ok());
    }

    #[test]
    fn past_the_limit_the_oldest_ticket_is_forgotten() {
        let office = TicketOffice::new();
        let first = office.issue(ANN, "ann", 0);
        let second = office.issue(ANN, "ann", 0);
        for _ in 2..=MAX_TICKETS {
            office.issue(ANN, "ann", 0);
        }
        assert_eq!(office.lock().issued.len(), MAX_TICKETS);
        assert_eq!(office.redeem(&first, 1), Err(TicketError::Unknown));
        assert!(office.redeem(&second, 1).is_ok());
    }

    #[test]
    fn old_tickets_do_not_pile_up() {
        let office = TicketOffice::new();
        for hour in 0..100 {
            office.issue(ANN, "ann", hour * 3_600_000);
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
