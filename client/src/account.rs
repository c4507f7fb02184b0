//! Accounts: registration and log in over the server's HTTP interface, for a ticket to connect with.
//!
//! Runs in the player client and in bots, before there is a session. Blocking: it is called before the
//! loop starts, or from threads of its own.

use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, time::Duration};

/// How long one request may take altogether. The server hashes a password in well under a second, but
/// a hundred bots may queue for it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer that is read, bytes: a ticket takes some hundreds.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;

/// What a log in gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginTicket {
    /// Good for one connection, for a short time.
    pub ticket: String,
    /// Where to connect.
    pub player_addr: SocketAddr,
    /// SHA-256 of the server's certificate (DER).
    pub certificate_hash: [u8; 32],
    /// How long the ticket is good, seconds.
    pub expires_in_s: u64,
    /// The account, for the logs.
    pub account_id: String,
}

/// Why there is no ticket. Each text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The address is no HTTP address.
    #[error("`{0}` is no HTTP address: give one like http://127.0.0.1:7779")]
    BadAddress(String),
    /// The name is taken.
    #[error("the name is taken: log in without --register, or choose another name")]
    Taken,
    /// Wrong name or password.
    #[error("wrong name or password: {0}")]
    WrongCredentials(String),
    /// The server said what is wrong.
    #[error("{0}")]
    Refused(String),
    /// No answer.
    #[error("the server at {address} does not answer ({reason}): is it running, and is the address right?")]
    Unreachable {
        /// Whom.
        address: String,
        /// What the network said.
        reason: String,
    },
    /// An answer that makes no sense.
    #[error("the server at {address} answers what no Sidereal server does ({reason}): is the address right?")]
    BadAnswer {
        /// Whom.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl AccountError {
    /// Whether trying again with the same input gives the same.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Unreachable { .. })
    }
}

/// The server's HTTP interface, as far as a player needs it.
#[derive(Debug, Clone)]
pub struct AccountApi {
    agent: ureq::Agent,
    base: String,
}

#[derive(Serialize)]
struct Credentials<'a> {
    user: &'a str,
    password: &'a str,
}

#[derive(Deserialize)]
struct LoginAnswer {
    ticket: String,
    player_addr: SocketAddr,
    certificate_hash: String,
    expires_in_s: u64,
    account_id: String,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

struct Answer {
    status: u16,
    body: String,
}

impl AccountApi {
    /// For the server at `address`, like `http://127.0.0.1:7779`.
    ///
    /// # Errors
    /// [`AccountError::BadAddress`].
    pub fn new(address: &str) -> Result<Self, AccountError> {
        let base = address.trim_end_matches('/');
        let host = base.strip_prefix("http://").or_else(|| base.strip_prefix("https://"));
        if host.is_none_or(str::is_empty) || base.contains(char::is_whitespace) {
            return Err(AccountError::BadAddress(address.to_owned()));
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(REQUEST_TIMEOUT))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Ok(Self { agent, base: base.to_owned() })
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`AccountError::Taken`], [`AccountError::Refused`], or that the server was not reached.
    pub fn register(&self, user: &str, password: &str) -> Result<(), AccountError> {
        let answer = self.post("/api/register", &Credentials { user, password })?;
        match answer.status {
            201 => Ok(()),
            409 => Err(AccountError::Taken),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// Logs in.
    ///
    /// # Errors
    /// [`AccountError::WrongCredentials`], [`AccountError::Refused`], or that the server was not
    /// reached.
    pub fn login(&self, user: &str, password: &str) -> Result<LoginTicket, AccountError> {
        let answer = self.post("/api/login", &Credentials { user, password })?;
        match answer.status {
            200 => self.ticket(&answer.body),
            401 => Err(AccountError::WrongCredentials(
                error_text(&answer.body).unwrap_or_else(|| "check both, or add --register".to_owned()),
            )),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// Logs in, and registers first if asked to; a name that is taken is then simply logged in to.
    ///
    /// # Errors
    /// As [`AccountApi::register`] and [`AccountApi::login`].
    pub fn enter(&self, user: &str, password: &str, register: bool) -> Result<LoginTicket, AccountError> {
        if register {
            match self.register(user, password) {
                Ok(()) | Err(AccountError::Taken) => {}
                Err(error) => return Err(error),
            }
        }
        self.login(user, password)
    }

    fn post(&self, path: &str, body: &Credentials<'_>) -> Result<Answer, AccountError> {
        let unreachable =
            |error: ureq::Error| AccountError::Unreachable { address: self.base.clone(), reason: error.to_string() };
        let mut response = self.agent.post(format!("{}{path}", self.base)).send_json(body).map_err(unreachable)?;
        let status = response.status().as_u16();
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_string()
            .map_err(|error| self.bad_answer(error.to_string()))?;
        Ok(Answer { status, body })
    }

    fn ticket(&self, body: &str) -> Result<LoginTicket, AccountError> {
        let answer: LoginAnswer = serde_json::from_str(body).map_err(|error| self.bad_answer(error.to_string()))?;
        let certificate_hash = parse_hash(&answer.certificate_hash)
            .ok_or_else(|| self.bad_answer("its certificate hash is not 64 hex digits".to_owned()))?;
        Ok(LoginTicket {
            ticket: answer.ticket,
            player_addr: answer.player_addr,
            certificate_hash,
            expires_in_s: answer.expires_in_s,
            account_id: answer.account_id,
        })
    }

    fn refusal(&self, answer: &Answer) -> AccountError {
        match error_text(&answer.body) {
            Some(text) => AccountError::Refused(text),
            None => self.bad_answer(format!("HTTP status {}", answer.status)),
        }
    }

    fn bad_answer(&self, reason: String) -> AccountError {
        AccountError::BadAnswer { address: self.base.clone(), reason }
    }
}

fn error_text(body: &str) -> Option<String> {
    let answer: ErrorAnswer = serde_json::from_str(body).ok()?;
    // One line, whatever the server says.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread::JoinHandle,
    };

    /// Answers one request per entry; gives the requests.
    fn serve(answers: Vec<(u16, &'static str)>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut buffer = [0u8; 1024];
                // A body ends with the brace of its JSON.
                while !request.ends_with(b"}") {
                    let read = stream.read(&mut buffer).unwrap();
                    assert!(read > 0, "the request ended early");
                    request.extend_from_slice(&buffer[..read]);
                }
                requests.push(String::from_utf8(request).unwrap());
                write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                )
                .unwrap();
            }
            requests
        });
        (address, thread)
    }

    const TICKET: &str = r#"{"ticket":"abcd","player_addr":"127.0.0.1:7777","certificate_hash":"00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff","expires_in_s":30,"account_id":"x"}"#;

    #[test]
    fn a_taken_name_is_logged_in_to() {
        let (address, server) = serve(vec![(409, r#"{"error":"taken"}"#), (200, TICKET)]);
        let ticket = AccountApi::new(&address).unwrap().enter("ada", "secret", true).unwrap();
        assert_eq!(ticket.ticket, "abcd");
        assert_eq!(ticket.certificate_hash[..2], [0x00, 0xff]);
        let requests = server.join().unwrap();
        assert!(requests[0].starts_with("POST /api/register "));
        assert!(requests[1].starts_with("POST /api/login "));
        let body: serde_json::Value = serde_json::from_str(requests[1].split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(body, serde_json::json!({"user": "ada", "password": "secret"}));
    }

    #[test]
    fn what_the_server_says_is_the_error() {
        let (address, server) = serve(vec![
            (401, r#"{"error":"no such account"}"#),
            (400, r#"{"error":"the name is too short"}"#),
            (200, r#"{"ticket":"abcd"}"#),
            (500, "oops"),
        ]);
        let api = AccountApi::new(&address).unwrap();
        assert_eq!(api.login("ada", "x"), Err(AccountError::WrongCredentials("no such account".to_owned())));
        assert_eq!(api.register("a", "x"), Err(AccountError::Refused("the name is too short".to_owned())));
        assert!(matches!(api.login("ada", "x"), Err(AccountError::BadAnswer { .. })));
        assert!(matches!(api.login("ada", "x"), Err(AccountError::BadAnswer { .. })));
        server.join().unwrap();
    }

    #[test]
    fn a_server_that_is_not_there_is_named() {
        // Bound and dropped: nobody listens there.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = AccountApi::new(&format!("http://{address}")).unwrap().login("a", "b").unwrap_err();
        assert!(!error.is_permanent());
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }

    #[test]
    fn addresses_and_hashes_are_checked() {
        assert!(AccountApi::new("127.0.0.1:7779").is_err());
        assert!(AccountApi::new("http://").is_err());
        assert_eq!(parse_hash("zz"), None);
        assert_eq!(parse_hash(&"+f".repeat(32)), None);
        assert_eq!(parse_hash(&"0F".repeat(32)), Some([0x0f; 32]));
    }
}
