//! Accounts: registration and login over the server's HTTP interface, for a ticket to connect with, and tickets by
//! session token for reconnects.
//!
//! Runs in the player client and in bots. The requests and the meaning of the answers are here; the transfer is in
//! `http`, and for the browser, whose page has logged in already, in `fetch`.

#[cfg(target_family = "wasm")]
mod fetch;
#[cfg(not(target_family = "wasm"))]
mod http;

use serde::Deserialize;
use std::{fmt, net::SocketAddr};

/// The time limit of one request, milliseconds. The server hashes a password in well under a second, but a hundred bots
/// may queue for it.
const REQUEST_TIMEOUT_MS: u32 = 30_000;

/// The longest answer that is read, bytes: a ticket takes some hundreds.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// The most certificates accepted in an answer: the current one, the next, and some to spare.
const MAX_HASHES: usize = 8;

/// The longest wait accepted from a server, seconds.
const MAX_RETRY_AFTER_S: u64 = 3_600;

/// The token with which a player reconnects without the password. Never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SessionToken(String);

impl SessionToken {
    /// A stored token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The address that a browser connects to, and the certificates that it accepts there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebDoor {
    /// The WebTransport address.
    pub url: String,
    /// SHA-256 of the accepted certificates (DER); empty: those that the browser accepts by itself.
    pub certificate_hashes: Vec<[u8; 32]>,
}

/// The result of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginTicket {
    /// Valid for one connection, for a short time.
    pub ticket: String,
    /// The address to connect to.
    pub player_addr: SocketAddr,
    /// SHA-256 of the server's certificate (DER).
    pub certificate_hash: [u8; 32],
    /// How long the ticket is valid, seconds.
    pub expires_in_s: u64,
    /// The account, for the logs.
    pub account_id: String,
    /// The address and certificates for a browser.
    pub web: WebDoor,
    /// For the next ticket. Not in the answer to a request by token: the token that was sent stays valid.
    pub session_token: Option<SessionToken>,
}

/// The result of a reconnect by session token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconnectResult {
    /// The token for the next reconnect, whatever the result of this one: it may be a new one already.
    pub session_token: SessionToken,
    /// The ticket.
    pub ticket: Result<LoginTicket, AccountError>,
}

/// Why there is no ticket. Each text names the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The address is not an HTTP address.
    #[error("`{0}` is no HTTP address: give one like http://127.0.0.1:7779")]
    BadAddress(String),
    /// The name is taken.
    #[error("the name is taken: log in without --register, or choose another name")]
    Taken,
    /// Wrong name or password.
    #[error("wrong name or password: {0}")]
    WrongCredentials(String),
    /// The session has ended, or never existed.
    #[error("{0}")]
    SessionOver(String),
    /// Over the rate limit.
    #[error("{reason}")]
    TooMany {
        /// When to retry, seconds.
        after_s: u64,
        /// The server's reason.
        reason: String,
    },
    /// The server is busy, or its database is unavailable.
    #[error("{0}")]
    Busy(String),
    /// The server accepts no registrations.
    #[error("{0}")]
    RegistrationClosed(String),
    /// Refused with the server's reason.
    #[error("{0}")]
    Refused(String),
    /// No answer.
    #[error("the server at {address} does not answer ({reason}): is it running, and is the address right?")]
    Unreachable {
        /// The server's address.
        address: String,
        /// The network's error.
        reason: String,
    },
    /// An invalid answer.
    #[error("the server at {address} does not answer like a Sidereal server ({reason}): is the address right?")]
    BadAnswer {
        /// The server's address.
        address: String,
        /// What is invalid.
        reason: String,
    },
}

impl AccountError {
    /// Whether a retry with the same input gives the same result.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Unreachable { .. } | Self::TooMany { .. } | Self::Busy(_))
    }
}

/// The part of the server's HTTP interface that a player needs.
#[derive(Debug, Clone)]
pub struct AccountApi {
    #[cfg(not(target_family = "wasm"))]
    agent: ureq::Agent,
    base: String,
}

#[derive(Deserialize)]
struct TicketAnswer {
    ticket: String,
    player_addr: SocketAddr,
    certificate_hash: String,
    expires_in_s: u64,
    account_id: String,
    #[serde(default)]
    session_token: Option<SessionToken>,
    #[serde(default)]
    web_transport_url: String,
    #[serde(default)]
    certificate_hashes: Vec<String>,
    #[serde(default)]
    certificate_pinned: bool,
}

#[derive(Deserialize)]
struct RefreshAnswer {
    session_token: SessionToken,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

struct Answer {
    status: u16,
    retry_after_s: Option<u64>,
    body: String,
}

impl AccountApi {
    /// Reads the answer to a request for a ticket by session token.
    fn ticket_answered(&self, answer: &Answer) -> Result<LoginTicket, AccountError> {
        match answer.status {
            200 => self.read_ticket(&answer.body),
            _ => Err(self.session_refusal(answer)),
        }
    }

    /// Reads the answer to a request for another session token.
    fn refresh_answered(&self, answer: &Answer) -> Result<SessionToken, AccountError> {
        match answer.status {
            200 => serde_json::from_str(&answer.body)
                .map(|answer: RefreshAnswer| answer.session_token)
                .map_err(|error| self.bad_answer(error.to_string())),
            _ => Err(self.session_refusal(answer)),
        }
    }

    fn session_refusal(&self, answer: &Answer) -> AccountError {
        match (answer.status, error_text(&answer.body)) {
            (401, Some(text)) => AccountError::SessionOver(text),
            _ => self.refusal(answer),
        }
    }

    /// Reads the ticket in an answer of the server.
    ///
    /// # Errors
    /// [`AccountError::BadAnswer`].
    pub fn read_ticket(&self, body: &str) -> Result<LoginTicket, AccountError> {
        let answer: TicketAnswer = serde_json::from_str(body).map_err(|error| self.bad_answer(error.to_string()))?;
        let hash = |hex: &String| {
            parse_hash(hex).ok_or_else(|| self.bad_answer("its certificate hash is not 64 hex digits".to_owned()))
        };
        let certificate_hash = hash(&answer.certificate_hash)?;
        let pinned = if answer.certificate_pinned { &answer.certificate_hashes[..] } else { &[] };
        let web = WebDoor {
            url: answer.web_transport_url,
            certificate_hashes: pinned.iter().take(MAX_HASHES).map(hash).collect::<Result<_, _>>()?,
        };
        Ok(LoginTicket {
            ticket: answer.ticket,
            player_addr: answer.player_addr,
            certificate_hash,
            expires_in_s: answer.expires_in_s,
            account_id: answer.account_id,
            web,
            session_token: answer.session_token,
        })
    }

    fn refusal(&self, answer: &Answer) -> AccountError {
        match (answer.status, error_text(&answer.body)) {
            // Without the server's text it may be a proxy that answers for an unavailable server.
            (502..=504, text) => AccountError::Busy(
                text.unwrap_or_else(|| format!("the server at {} cannot be reached: try again later", self.base)),
            ),
            (429, Some(reason)) => {
                AccountError::TooMany { after_s: answer.retry_after_s.unwrap_or(1).min(MAX_RETRY_AFTER_S), reason }
            }
            (_, Some(text)) => AccountError::Refused(text),
            (_, None) => self.bad_answer(format!("HTTP status {}", answer.status)),
        }
    }

    fn bad_answer(&self, reason: String) -> AccountError {
        AccountError::BadAnswer { address: self.base.clone(), reason }
    }
}

fn error_text(body: &str) -> Option<String> {
    let answer: ErrorAnswer = serde_json::from_str(body).ok()?;
    // One line, whatever the server has sent.
    let line: String = answer.error.chars().filter(|c| !c.is_control()).take(300).collect();
    (!line.is_empty()).then_some(line)
}

fn parse_hash(hex: &str) -> Option<[u8; 32]> {
    let digits = hex.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut hash = [0u8; 32];
    for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}
