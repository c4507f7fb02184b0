//! The calls of a native client. Blocking: they are made before the loop starts, or on threads of their own.

use super::{
    AccountApi, AccountError, Answer, LoginTicket, MAX_ANSWER_BYTES, REQUEST_TIMEOUT_MS, ReconnectResult, SessionToken,
    error_text,
};
use serde::Serialize;
use std::{
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

#[derive(Serialize)]
struct Credentials<'a> {
    user: &'a str,
    password: &'a str,
}

impl AccountApi {
    /// For the server at `address`, such as `http://127.0.0.1:7779`.
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
            .timeout_global(Some(Duration::from_millis(REQUEST_TIMEOUT_MS.into())))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Ok(Self { agent, base: base.to_owned() })
    }

    /// Creates an account.
    ///
    /// # Errors
    /// [`AccountError::Taken`], [`AccountError::RegistrationClosed`], [`AccountError::Refused`], or an unreachable
    /// server.
    pub fn register(&self, user: &str, password: &str) -> Result<(), AccountError> {
        let answer = self.send("/api/register", &[], &Credentials { user, password })?;
        match answer.status {
            201 => Ok(()),
            409 => Err(AccountError::Taken),
            403 => match error_text(&answer.body) {
                Some(reason) => Err(AccountError::RegistrationClosed(reason)),
                None => Err(self.refusal(&answer)),
            },
            _ => Err(self.refusal(&answer)),
        }
    }

    /// Logs in.
    ///
    /// # Errors
    /// [`AccountError::WrongCredentials`], [`AccountError::Refused`], or an unreachable server.
    pub fn login(&self, user: &str, password: &str) -> Result<LoginTicket, AccountError> {
        let answer = self.send("/api/login", &[], &Credentials { user, password })?;
        match answer.status {
            200 => self.read_ticket(&answer.body),
            401 => Err(AccountError::WrongCredentials(
                error_text(&answer.body).unwrap_or_else(|| "check both, or add --register".to_owned()),
            )),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// Logs in, and registers first on request. If the name is taken, or the server accepts no registrations, it only
    /// logs in.
    ///
    /// # Errors
    /// As [`AccountApi::register`] and [`AccountApi::login`].
    pub fn enter(&self, user: &str, password: &str, register: bool) -> Result<LoginTicket, AccountError> {
        let mut closed = None;
        if register {
            match self.register(user, password) {
                Ok(()) | Err(AccountError::Taken) => {}
                Err(error @ AccountError::RegistrationClosed(_)) => closed = Some(error),
                Err(error) => return Err(error),
            }
        }
        match (self.login(user, password), closed) {
            (Err(AccountError::WrongCredentials(_)), Some(closed)) => Err(closed),
            (login, _) => login,
        }
    }

    /// Requests a ticket for the account of a session.
    ///
    /// # Errors
    /// [`AccountError::SessionOver`], [`AccountError::Refused`], or an unreachable server.
    pub fn ticket(&self, token: &SessionToken) -> Result<LoginTicket, AccountError> {
        let answer = self.send_with("/api/ticket", token)?;
        self.ticket_answered(&answer)
    }

    /// Requests another token for a session. The previous one is valid until a minute after the first use of the new
    /// one, so a call whose answer was lost is repeated with it at any time; after that it ends the session.
    ///
    /// # Errors
    /// As [`AccountApi::ticket`].
    pub fn refresh(&self, token: &SessionToken) -> Result<SessionToken, AccountError> {
        let answer = self.send_with("/api/refresh", token)?;
        self.refresh_answered(&answer)
    }

    /// Requests a ticket for the account of a session, by another token than before, so that a copy of the old one is
    /// useless.
    pub fn come_back(&self, token: &SessionToken) -> ReconnectResult {
        match self.refresh(token) {
            Ok(session_token) => {
                let ticket = self.ticket(&session_token);
                ReconnectResult { session_token, ticket }
            }
            Err(error) => ReconnectResult { session_token: token.clone(), ticket: Err(error) },
        }
    }

    /// Ends a session; an ended one is no error.
    ///
    /// # Errors
    /// As [`AccountApi::ticket`].
    pub fn logout(&self, token: &SessionToken) -> Result<(), AccountError> {
        let answer = self.send_with("/api/logout", token)?;
        match answer.status {
            204 => Ok(()),
            _ => Err(self.session_refusal(&answer)),
        }
    }

    /// Reconnects on a thread of its own; the result is that of [`AccountApi::come_back`].
    pub fn ask_for_way_in(&self, token: &SessionToken) -> Receiver<ReconnectResult> {
        let (sender, answer) = channel();
        let (api, token) = (self.clone(), token.clone());
        std::thread::spawn(move || {
            // If the player has left meanwhile, the receiver is gone.
            let _ = sender.send(api.come_back(&token));
        });
        answer
    }

    fn send_with(&self, path: &str, token: &SessionToken) -> Result<Answer, AccountError> {
        self.send(path, &[("authorization", &format!("Bearer {}", token.0))], &serde_json::json!({}))
    }

    fn send(&self, path: &str, headers: &[(&str, &str)], body: &impl Serialize) -> Result<Answer, AccountError> {
        let unreachable =
            |error: ureq::Error| AccountError::Unreachable { address: self.base.clone(), reason: error.to_string() };
        let mut request = self.agent.post(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request.send_json(body).map_err(unreachable)?;
        let status = response.status().as_u16();
        let retry_after_s =
            response.headers().get("retry-after").and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES as u64)
            .read_to_string()
            .map_err(|error| self.bad_answer(error.to_string()))?;
        Ok(Answer { status, retry_after_s, body })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::parse_hash, *};
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread::JoinHandle,
    };

    /// Answers one request per entry; returns the requests.
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
    fn a_server_that_makes_no_accounts_lets_in_who_has_one_and_tells_the_others() {
        const CLOSED: &str = r#"{"error":"no new pilots"}"#;
        let (address, server) =
            serve(vec![(403, CLOSED), (200, TICKET), (403, CLOSED), (401, r#"{"error":"wrong"}"#), (403, CLOSED)]);
        let api = AccountApi::new(&address).unwrap();
        assert_eq!(api.enter("ada", "secret", true).unwrap().ticket, "abcd");
        let closed = AccountError::RegistrationClosed("no new pilots".to_owned());
        assert_eq!(api.enter("bob", "secret", true), Err(closed.clone()));
        assert_eq!(api.register("bob", "secret"), Err(closed.clone()));
        assert!(closed.is_permanent());
        server.join().unwrap();
    }

    #[test]
    fn who_comes_back_keeps_the_token_that_is_good_whatever_is_lost() {
        const REFRESHED: &str = r#"{"session_token":"next","session_expires_in_s":9,"account_id":"x"}"#;
        let (address, server) =
            serve(vec![(503, "away"), (200, REFRESHED), (503, "away"), (200, REFRESHED), (200, TICKET)]);
        let api = AccountApi::new(&address).unwrap();
        let [first, next] = ["first", "next"].map(SessionToken::new);
        let way = api.come_back(&first);
        assert_eq!(way.session_token, first, "there is no other one yet");
        assert!(matches!(way.ticket, Err(AccountError::Busy(_))));
        let way = api.come_back(&first);
        assert_eq!(way.session_token, next, "there is another one, though the ticket did not come");
        assert!(matches!(way.ticket, Err(AccountError::Busy(_))));
        assert_eq!(api.come_back(&next).ticket.unwrap().ticket, "abcd");
        let requests = server.join().unwrap();
        let sent: Vec<_> = requests
            .iter()
            .map(|request| {
                let token = request.split("authorization: Bearer ").nth(1).and_then(|rest| rest.split("\r\n").next());
                (request.split(' ').nth(1).unwrap(), token.unwrap())
            })
            .collect();
        let (refresh, ticket) = ("/api/refresh", "/api/ticket");
        assert_eq!(
            sent,
            [(refresh, "first"), (refresh, "first"), (ticket, "next"), (refresh, "next"), (ticket, "next")]
        );
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
        // Bound and dropped: the port is closed.
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

    #[test]
    fn a_session_token_gives_tickets_and_is_never_shown() {
        const LOGIN: &str = r#"{"ticket":"abcd","player_addr":"127.0.0.1:7777","certificate_hash":"00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff","expires_in_s":30,"account_id":"x","session_token":"first-one","session_expires_in_s":9}"#;
        let (address, server) = serve(vec![
            (200, LOGIN),
            (200, r#"{"session_token":"second-one","session_expires_in_s":9,"account_id":"x"}"#),
            (200, TICKET),
            (401, r#"{"error":"this session has expired: log in again"}"#),
            (503, r#"{"error":"the server is busy"}"#),
            (502, "<html>"),
            (429, r#"{"error":"too many"}"#),
        ]);
        let api = AccountApi::new(&address).unwrap();
        let login = api.login("ada", "secret").unwrap();
        assert!(!format!("{login:?}").contains("first-one"));
        let token = api.refresh(&login.session_token.unwrap()).unwrap();
        assert_eq!(token, SessionToken::new("second-one"));
        let ticket = api.ticket(&token).unwrap();
        assert_eq!((ticket.ticket.as_str(), ticket.session_token), ("abcd", None));
        let over = api.ticket(&token).unwrap_err();
        assert_eq!(over, AccountError::SessionOver("this session has expired: log in again".to_owned()));
        assert!(over.is_permanent());
        for _ in 0..2 {
            let busy = api.ticket(&token).unwrap_err();
            assert!(matches!(busy, AccountError::Busy(_)) && !busy.is_permanent(), "{busy}");
        }
        let many = api.ticket(&token).unwrap_err();
        assert_eq!(many, AccountError::TooMany { after_s: 1, reason: "too many".to_owned() });
        assert!(!many.is_permanent());
        let requests = server.join().unwrap();
        let sent = |request: &str, path: &str, token: &str| {
            request.starts_with(&format!("POST {path} "))
                && request.contains(&format!("authorization: Bearer {token}\r\n"))
        };
        assert!(sent(&requests[1], "/api/refresh", "first-one"), "{}", requests[1]);
        assert!(sent(&requests[2], "/api/ticket", "second-one"), "{}", requests[2]);
    }
}
