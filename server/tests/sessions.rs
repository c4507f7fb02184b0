//! Sessions, registration keys and limits, over a real socket. Every answer is checked against the OpenAPI document.

mod http_world;

use std::io::{Read, Write};
use std::net::TcpStream;

use http_world::{Answer, World, ann};
use serde_json::{Value, json};
use sidereal_server::accounts::Registration;
use sidereal_server::accounts::rate_limit::Rates;
use sidereal_server::accounts::tickets::MAX_TICKETS;
use sidereal_server::http::HttpLimits;
use uuid::Uuid;

fn world() -> World {
    World::start(HttpLimits::default())
}

fn limited(rates: Rates, trusted_proxies: usize) -> World {
    World::with(HttpLimits::default(), |state| (state.rates, state.trusted_proxies) = (rates, trusted_proxies))
}

#[test]
fn the_document_is_served_as_it_is() {
    let (status, text) = world().get("/api/openapi.json");
    assert_eq!(status, 200);
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    for path in document["paths"].as_object().expect("paths").keys() {
        assert!(path.starts_with("/api/"), "{path}");
    }
}

#[test]
fn a_session_token_gives_tickets_for_its_account_until_the_log_out() {
    let world = world();
    let login = world.ann_logs_in();
    let token = login.text("session_token");
    assert_eq!(login.body["session_expires_in_s"], 30 * 24 * 3600);
    assert_eq!(login.header("cache-control"), Some("no-store"));
    for _ in 0..3 {
        let answer = world.with_token("/api/ticket", token);
        assert_eq!(answer.status, 200, "{answer:?}");
        for field in ["account_id", "player_addr", "certificate_hash", "expires_in_s"] {
            assert_eq!(answer.body[field], login.body[field], "as in the login");
        }
        assert_ne!(answer.body["ticket"], login.body["ticket"]);
        let ticket = world.tickets.redeem(answer.text("ticket"), world.tickets.now_ms()).expect("just issued");
        assert_eq!(ticket.name, "Ann");
    }
    let other = world.ann_logs_in();
    for _ in 0..2 {
        assert_eq!(world.with_token("/api/logout", token).status, 204);
    }
    world.with_token("/api/ticket", token).refused(401, "log in again");
    world.with_token("/api/refresh", token).refused(401, "log in again");
    assert_eq!(world.with_token("/api/ticket", other.text("session_token")).status, 200, "the other session continues");
    let figures = ["logins", "tickets_issued", "session_logouts", "session_tokens_refused"];
    assert_eq!(figures.map(|name| world.metric(&format!("sidereal_{name}_total"))), [2, 6, 1, 2]);
}

#[test]
fn a_refreshed_token_takes_the_place_of_the_one_before() {
    let world = world();
    let login = world.ann_logs_in();
    let refreshed = world.with_token("/api/refresh", login.text("session_token"));
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert_eq!(refreshed.body["account_id"], login.body["account_id"]);
    assert_ne!(refreshed.body["session_token"], login.body["session_token"]);
    for token in [login.text("session_token"), refreshed.text("session_token")] {
        assert_eq!(world.with_token("/api/ticket", token).status, 200, "the previous one is valid for a minute");
    }
    // The answer was lost: the request is repeated.
    let again = world.with_token("/api/refresh", login.text("session_token"));
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(world.with_token("/api/logout", again.text("session_token")).status, 204);
    for token in [&login, &refreshed, &again].map(|answer| answer.text("session_token")) {
        world.with_token("/api/ticket", token).refused(401, "log in again");
    }
}

#[test]
fn without_a_good_token_there_is_nothing() {
    let world = world();
    let login = world.ann_logs_in();
    let token = login.text("session_token");
    for path in ["/api/ticket", "/api/refresh"] {
        // By hand: an ordinary client library rejects these.
        let ask = |headers: &str| {
            let mut stream = TcpStream::connect(world.server.local_addr).expect("it listens");
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n");
            stream.write_all(format!("{head}{headers}\r\n").as_bytes()).expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("Authorization: Bearer TOKEN"), "{answer}");
        };
        for value in ["", "Bearer", "Bearer ", "Basic YW5uOng=", token, "Bearer\t7", "bearer é"] {
            ask(&format!("authorization: {value}\r\n"));
        }
        ask(&format!("authorization: Bearer {token}\r\n").repeat(2));
        ask("");
        for wrong in ["0", &"0".repeat(64), &token[1..], &token.replace(|_| true, "z"), "a b", &format!("{token}0")] {
            world.with_token(path, wrong).refused(401, "log in again");
        }
    }
    world.with_token("/api/ticket", "a.b.c").refused(401, "accepts no access tokens");
    assert_eq!(world.ask("/api/ticket", &[("authorization", &format!("bEARER  {token}"))], "").status, 200);
}

#[test]
fn a_registration_with_a_key_may_be_sent_again() {
    let world = world();
    let register = |user: &str, password: &str, key: &str| -> Answer {
        let body = json!({ "user": user, "password": password }).to_string();
        world.ask("/api/register", &[("idempotency-key", key)], &body)
    };
    let first = register("ann", "correct horse", "a-random-key");
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(register("ann", "correct horse", "a-random-key"), first);
    register("bob", "correct horse", "a-random-key").refused(422, "new one for each registration");
    register("ann", "another horse", "a-random-key").refused(422, "new one for each registration");
    register("ann", "correct horse", "another-key").refused(409, "choose another one");
    for key in ["short", "with a space", "schlüssel", &"k".repeat(65)] {
        register("bob", "correct horse", key).refused(400, "8 to 64 visible ASCII characters");
    }
    let body = ann().to_string();
    world
        .ask("/api/register", &[("idempotency-key", "key-one-1"), ("idempotency-key", "key-two-2")], &body)
        .refused(400, "Idempotency-Key");
    assert!(world.database.find_account("bob").expect("memory").is_none());
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let world = limited(Rates { requests_per_address: 5, ..Rates::NONE }, 0);
    let spoofed = [("x-forwarded-for", "192.0.2.1")];
    for _ in 0..5 {
        assert_eq!(world.ask("/api/login", &spoofed, &ann().to_string()).status, 401);
    }
    for path in ["/api/login", "/api/register", "/api/ticket", "/api/refresh", "/api/logout"] {
        let answer = world.ask(path, &spoofed, &ann().to_string());
        answer.refused(429, "too many requests from this address: try again in");
        let after_s: u64 = answer.header("retry-after").expect("it is sent").parse().expect("seconds");
        assert!((1..=12).contains(&after_s), "{after_s}");
    }
    world.is_live();
    assert_eq!(world.get("/api/openapi.json").0, 429);
    assert_eq!(world.metric("sidereal_http_limited_by_address_total"), 6);
}

#[test]
fn behind_trusted_proxies_each_address_has_its_own_limit() {
    let world = limited(Rates { requests_per_address: 2, ..Rates::NONE }, 1);
    let from = |list: &str| world.ask("/api/login", &[("x-forwarded-for", list)], &ann().to_string()).status;
    assert_eq!([from("192.0.2.1"), from("203.0.113.7, 192.0.2.1"), from("192.0.2.1")], [401, 401, 429]);
    assert_eq!(from("192.0.2.2"), 401);
    // Not by the proxy: the address of the connection counts.
    assert_eq!([from("nonsense"), from(""), from("nonsense")], [401, 401, 429]);
}

#[test]
fn wrong_passwords_for_a_name_are_few_in_a_minute_whether_it_is_there_or_not() {
    let world = limited(Rates { failures_per_account: 3, ..Rates::NONE }, 0);
    let session = world.ann_logs_in();
    for name in ["ann", "nobody"] {
        let body = json!({ "user": name, "password": "wrong horse!" }).to_string();
        for _ in 0..3 {
            world.ask("/api/login", &[], &body).refused(401, "wrong");
        }
        let hashed = world.metric("sidereal_password_hashed_kib_total");
        let answer = world.ask("/api/login", &[], &body);
        answer.refused(429, "too many wrong passwords for this name");
        assert!(answer.header("retry-after").is_some());
        assert_eq!(world.metric("sidereal_password_hashed_kib_total"), hashed, "no password is hashed for it");
    }
    world.ask("/api/login", &[], &ann().to_string()).refused(429, "for this name");
    assert_eq!(world.with_token("/api/ticket", session.text("session_token")).status, 200, "sessions stay valid");
    let bob = json!({ "user": "bob", "password": "correct horse" });
    assert_eq!(world.post("/api/register", &bob).0, 201);
    for _ in 0..10 {
        assert_eq!(world.post("/api/login", &bob).0, 200, "a good password costs nothing");
    }
    assert_eq!(world.metric("sidereal_http_limited_by_account_total"), 3);
}

#[test]
fn a_key_is_no_way_to_try_passwords() {
    let world = limited(Rates { failures_per_account: 3, ..Rates::NONE }, 0);
    let register = |password: &str| {
        let body = json!({ "user": "ann", "password": password }).to_string();
        world.ask("/api/register", &[("idempotency-key", "a-stolen-key")], &body).status
    };
    assert_eq!(register("correct horse"), 201);
    assert_eq!([1, 2, 3, 4].map(|number| register(&format!("guess number {number}"))), [422, 422, 422, 429]);
}

#[test]
fn log_ins_and_registrations_have_rates_of_their_own() {
    let world = limited(Rates { logins_per_address: 6, registrations_per_address: 1, ..Rates::NONE }, 1);
    let ask = |path: &str, from: &str, user: &str| {
        let body = json!({ "user": user, "password": "correct horse" }).to_string();
        world.ask(path, &[("x-forwarded-for", from)], &body)
    };
    for number in 0..60 {
        assert_eq!(ask("/api/register", "192.0.2.1", &format!("pilot-{number}")).status, 201);
    }
    assert_eq!(ask("/api/register", "192.0.2.1", "no").status, 400, "invalid input is reported");
    let hashed = world.metric("sidereal_password_hashed_kib_total");
    let many = ask("/api/register", "192.0.2.1", "pilot-60");
    many.refused(429, "too many registrations: try again in");
    assert!(many.header("retry-after").is_some());
    assert_eq!([0, 1].map(|n| ask("/api/login", "192.0.2.2", &format!("pilot-{n}")).status), [200, 200]);
    ask("/api/login", "192.0.2.2", "pilot-0").refused(429, "too many logins: try again in");
    assert_eq!(world.metric("sidereal_password_hashed_kib_total"), hashed + 2 * 8, "no password is hashed for these");
    assert_eq!(ask("/api/login", "192.0.2.3", "pilot-0").status, 200, "others are not affected");
    assert_eq!(ask("/api/register", "192.0.2.3", "pilot-60").status, 201);
    for name in ["logins", "registrations"] {
        assert_eq!(world.metric(&format!("sidereal_http_limited_{name}_total")), 1);
    }
}

#[test]
fn a_server_that_takes_no_new_pilots_says_so_and_lets_the_others_in() {
    let world = World::with(HttpLimits::default(), |state| {
        state.registration = Registration::Closed;
        let register = state.accounts.register([127, 0, 0, 1].into(), "Ann".into(), "correct horse".into(), None);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(register).expect("a good name");
    });
    for (name, headers) in [("bob", &[][..]), ("ann", &[("idempotency-key", "a-good-key")])] {
        let body = json!({ "user": name, "password": "correct horse" }).to_string();
        world.ask("/api/register", headers, &body).refused(403, "registration is closed");
    }
    assert!(world.database.find_account("bob").expect("memory").is_none());
    assert_eq!(world.ask("/api/login", &[], &ann().to_string()).status, 200);
    assert_eq!(world.metric("sidereal_registrations_closed_total"), 2);
}

#[test]
fn when_no_more_tickets_can_be_given_out_it_is_said() {
    let world = world();
    for number in 0..MAX_TICKETS as u128 {
        world.tickets.issue(Uuid::from_u128(number), "x", world.tickets.now_ms()).expect("there is room");
    }
    world.ask("/api/register", &[], &ann().to_string());
    let full = world.ask("/api/login", &[], &ann().to_string());
    full.refused(503, "the server is busy");
    assert!(full.header("retry-after").is_some());
    assert_eq!(world.metric("sidereal_tickets_refused_total"), 1);
}
