//! An HTTP server for tests: the real one, on a free port, over a database in memory.

#![allow(dead_code, reason = "each test uses some of it")]

pub mod described;

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use sidereal_server::accounts::rate_limit::Rates;
use sidereal_server::accounts::sessions::Sessions;
use sidereal_server::accounts::tickets::TicketOffice;
use sidereal_server::accounts::{Accounts, HashCost, Registration};
use sidereal_server::db::Database;
use sidereal_server::http::{HttpLimits, HttpServer, HttpState, PlayerDoor, PlayerDoors, ServerStatus};
use sidereal_server::run::certificate::PlayerCertificate;
use sidereal_transport::Identity;

pub const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// No rate limits, for tests of everything else.
pub const NO_LIMIT: Rates = Rates::NONE;

pub struct World {
    pub server: HttpServer,
    pub operations: HttpServer,
    pub database: Database,
    pub tickets: TicketOffice,
    pub status: Arc<ServerStatus>,
    pub certificate: Arc<PlayerCertificate>,
    agent: ureq::Agent,
}

/// An answer to a request.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// `Null` for an answer without a body.
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A string of the body.
    #[track_caller]
    pub fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    #[track_caller]
    pub fn refused(&self, status: u16, what: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.text("error").contains(what), "{self:?}");
    }
}

/// What players are given for a port.
pub fn player_door(port: u16) -> PlayerDoor {
    PlayerDoor { addr: format!("127.0.0.1:{port}"), origin: format!("https://127.0.0.1:{port}") }
}

/// The state of a server without rate limits.
pub fn state(limits: HttpLimits) -> (Database, HttpState) {
    let database = Database::open(":memory:").expect("memory is there");
    let identity = Identity::self_signed(&["localhost"]).expect("a good name");
    let state = HttpState {
        accounts: Accounts::new(database.clone(), HashCost::WEAK).expect("an allowed cost"),
        sessions: Sessions::new(database.clone()),
        supabase: None,
        tickets: TicketOffice::new(),
        status: Arc::default(),
        players: PlayerDoors { first: player_door(7777), others: Vec::new() },
        certificate: Arc::new(PlayerCertificate::new(&identity, true).expect("a good key")),
        is_tls: false,
        web: None,
        registration: Registration::Open,
        limits,
        rates: NO_LIMIT,
        trusted_proxies: 0,
    };
    (database, state)
}

impl World {
    pub fn start(limits: HttpLimits) -> Self {
        Self::with(limits, |_| {})
    }

    pub fn with(limits: HttpLimits, change: impl FnOnce(&mut HttpState)) -> Self {
        let (database, mut state) = state(limits);
        change(&mut state);
        let (tickets, status) = (state.tickets.clone(), state.status.clone());
        let certificate = state.certificate.clone();
        let operations = HttpServer::start_operations(ANY_PORT.into(), state.clone()).expect("a free port");
        let server = HttpServer::start(ANY_PORT.into(), state).expect("a free port");
        let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        Self { server, operations, database, tickets, status, certificate, agent }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.local_addr)
    }

    /// Sends a request under `/api/`; the answer must match its description.
    #[track_caller]
    pub fn ask(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = self.agent.post(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request.send(body).expect("an answer");
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().expect("visible characters").to_owned()));
        let (status, headers) = (response.status().as_u16(), headers.collect());
        let text = response.body_mut().read_to_string().expect("a text");
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") };
        let answer = Answer { status, headers, body };
        described::check("post", path, &answer);
        answer
    }

    #[track_caller]
    pub fn with_token(&self, path: &str, token: &str) -> Answer {
        self.ask(path, &[("authorization", &format!("Bearer {token}"))], "")
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post_text(path, &body.to_string())
    }

    #[track_caller]
    pub fn post_text(&self, path: &str, body: &str) -> (u16, Value) {
        let Answer { status, body, .. } = self.ask(path, &[], body);
        (status, body)
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        self.get_at(&self.url(path))
    }

    /// The same at the operations address.
    pub fn get_operations(&self, path: &str) -> (u16, String) {
        self.get_at(&format!("http://{}{path}", self.operations.local_addr))
    }

    fn get_at(&self, url: &str) -> (u16, String) {
        let mut response = self.agent.get(url).call().expect("an answer");
        (response.status().as_u16(), response.body_mut().read_to_string().expect("a text"))
    }

    /// Checks that public requests are answered. There is no main loop here: this counts as its run.
    #[track_caller]
    pub fn is_live(&self) {
        self.status.beat(Instant::now());
        assert_eq!(self.get("/live").0, 200);
    }

    /// One figure of `/metrics`.
    #[track_caller]
    pub fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.get_operations("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name}")).parse().expect("a whole number")
    }

    /// Ann's account, and the answer to her login.
    #[track_caller]
    pub fn ann_logs_in(&self) -> Answer {
        self.ask("/api/register", &[], &ann().to_string());
        let login = self.ask("/api/login", &[], &ann().to_string());
        assert_eq!(login.status, 200, "{login:?}");
        login
    }
}

pub fn ann() -> Value {
    json!({ "user": "Ann", "password": "correct horse" })
}
