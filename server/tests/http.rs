//! The HTTP server end to end, over a real socket on a free port.

mod http_world;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use http_world::{World, ann, player_door};
use serde_json::{Value, json};
use sidereal_server::accounts::tickets::{TicketError, TicketOffice};
use sidereal_server::db::{Store, StoreConfig};
use sidereal_server::http::{BODY_LIMIT_BYTES, HEARTBEAT_LIMIT, HttpError, HttpLimits, HttpServer, MetricsText};
use uuid::Uuid;

#[track_caller]
fn assert_refused((status, body): (u16, Value), expected: u16, what: &str) {
    assert_eq!(status, expected, "{body}");
    let error = body["error"].as_str().expect("an error text");
    assert!(error.contains(what), "{error}");
}

#[test]
fn who_registers_and_logs_in_gets_a_ticket_that_is_good_once() {
    let world = World::start(HttpLimits::default());
    let (status, registered) = world.post("/api/register", &ann());
    assert_eq!(status, 201, "{registered}");
    let (status, login) = world.post("/api/login", &json!({ "user": "ann", "password": "correct horse" }));
    assert_eq!(status, 200, "{login}");
    assert_eq!(login["account_id"], registered["account_id"]);
    assert_eq!(login["player_addr"], "127.0.0.1:7777");
    assert_eq!(login["certificate_hash"], world.certificate.hash());
    assert_eq!(login["certificate_hashes"], json!([world.certificate.hash()]));
    assert_eq!(login["certificate_pinned"], true);
    assert_eq!(login["web_transport_url"], "https://127.0.0.1:7777/sidereal");
    assert_eq!(login["expires_in_s"], 30);
    let token = login["ticket"].as_str().expect("a ticket");
    let ticket = world.tickets.redeem(token, world.tickets.now_ms()).expect("just issued");
    assert_eq!(ticket.name, "Ann");
    assert_eq!(Some(ticket.account_id.to_string().as_str()), registered["account_id"].as_str());
    assert!(!ticket.account_id.is_nil() && ticket.account_id != Uuid::max());
    assert_eq!(world.tickets.redeem(token, world.tickets.now_ms()), Err(TicketError::Used));
}

#[test]
fn tickets_name_the_endpoint_with_the_fewest_players_and_a_page_may_connect_to_all() {
    let world = World::with(HttpLimits::default(), |state| {
        state.players.others = vec![player_door(7779), player_door(7780)];
        // Two players are at the first endpoint.
        state.tickets = TicketOffice::spreading(3, |sessions| sessions.extend([2, 0, 0]));
    });
    assert_eq!(world.post("/api/register", &ann()).0, 201);
    let mut ports = Vec::new();
    for _ in 0..5 {
        let (status, login) = world.post("/api/login", &json!({ "user": "ann", "password": "correct horse" }));
        assert_eq!(status, 200, "{login}");
        let address = login["player_addr"].as_str().expect("an address");
        assert_eq!(login["web_transport_url"], format!("https://{address}/sidereal"));
        ports.push(address.rsplit_once(':').expect("a port").1.to_owned());
    }
    assert_eq!(ports, ["7779", "7780", "7779", "7780", "7777"]);
    // Whoever has no ticket gets the first.
    let (status, answer) = world.get("/api/world");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!((status, &answer["player_addr"]), (200, &json!("127.0.0.1:7777")));
}

#[test]
fn refusals_say_what_is_wrong_and_what_to_do() {
    let world = World::start(HttpLimits::default());
    assert_eq!(world.post("/api/register", &ann()).0, 201);
    assert_refused(world.post("/api/register", &ann()), 409, "choose another one");
    let bad_name = json!({ "user": "../etc", "password": "correct horse" });
    assert_refused(world.post("/api/register", &bad_name), 400, "3 to 24 characters");
    let bad_password = json!({ "user": "bob", "password": "short" });
    assert_refused(world.post("/api/register", &bad_password), 400, "8 to 128 characters");

    let wrong = world.post("/api/login", &json!({ "user": "ann", "password": "wrong horse!" }));
    let unknown = world.post("/api/login", &json!({ "user": "bob", "password": "correct horse" }));
    assert_eq!(wrong, unknown);
    assert_refused(wrong, 401, "try again");

    for body in ["", "{", "[]", "{\"user\":\"ann\"}", "{\"user\":7,\"password\":\"correct horse\"}", "\u{0}"] {
        assert_refused(world.post_text("/api/login", body), 400, "\"user\" and \"password\"");
    }
    let secret = world.post_text("/api/login", "{\"user\":\"ann\",\"password\":[\"hunter2\"]}");
    assert!(!secret.1.to_string().contains("hunter2"));
    let large = json!({ "user": "ann", "password": "x".repeat(BODY_LIMIT_BYTES) });
    assert_refused(world.post("/api/login", &large), 413, "at most 8192 bytes");

    assert_refused(world.post("/api/nothing", &ann()), 404, "no such page");
    let (status, text) = world.get("/api/login");
    assert_eq!(status, 405);
    assert!(text.contains("POST"), "{text}");
}

#[test]
fn health_and_metrics_follow_what_the_simulation_tells() {
    let world = World::start(HttpLimits::default());
    // The same at both addresses.
    let get = |path: &str| {
        let answer = world.get(path);
        assert_eq!(answer, world.get_operations(path));
        answer
    };
    let long_ago = Instant::now().checked_sub(HEARTBEAT_LIMIT).expect("the machine runs for longer");
    world.status.beat(long_ago);
    let (status, text) = get("/live");
    assert_eq!(status, 503);
    assert!(text.contains("the main loop has not run"), "{text}");
    // Longer than this test may take.
    world.status.beat(Instant::now() + Duration::from_secs(3_600));
    assert_eq!(get("/live"), (200, "live\n".to_owned()));
    let (status, text) = get("/ready");
    assert_eq!(status, 503);
    assert!(text.contains("sidereal-shard"), "{text}");
    world.status.set_leases(2, 9);
    let (status, text) = get("/ready");
    assert_eq!(status, 200);
    assert_eq!(
        serde_json::from_str::<Value>(&text).expect("JSON"),
        json!({ "ready": true, "shards": 2, "leased_sectors": 9 })
    );
    let store = Store::start(world.database.clone(), StoreConfig::default());
    for (name, thread) in store.threads() {
        world.status.watch(name, move || thread.is_running());
    }
    assert_eq!(get("/ready").0, 200);
    store.flush_and_stop(Duration::from_secs(60)).expect("nothing to store");
    let (status, text) = get("/ready");
    assert_eq!(status, 503);
    assert!(text.contains("missing: the database's writer, the database's reader:"), "{text}");

    let mut metrics = MetricsText::default();
    metrics.gauge("sidereal_tick_ms_p99", "Duration of a tick.", 1.5);
    world.status.set_metrics(metrics);
    world.post("/api/login", &ann());
    assert_eq!(world.get("/metrics").0, 404, "not on the public address");
    assert_eq!(world.get_operations("/api/openapi.json").0, 404);
    let (status, text) = world.get_operations("/metrics");
    assert_eq!(status, 200);
    for line in [
        "# TYPE sidereal_tick_ms_p99 gauge",
        "sidereal_tick_ms_p99 1.5",
        "sidereal_leased_sectors 9",
        "# TYPE sidereal_logins_refused_total counter",
        "sidereal_logins_refused_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
    world.status.set_leases(0, 0);
    assert_eq!(world.get("/ready").0, 503);
}

#[test]
fn many_logins_at_once_are_all_answered() {
    let world = World::start(HttpLimits::default());
    assert_eq!(world.post("/api/register", &ann()).0, 201);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let logins: Vec<_> = (0..40).map(|_| scope.spawn(|| world.post("/api/login", &ann()).0)).collect();
        logins.into_iter().map(|login| login.join().expect("a login")).collect()
    });
    assert_eq!(statuses, [200; 40]);
}

#[test]
fn a_taken_address_is_named_with_what_to_do() {
    let world = World::start(HttpLimits::default());
    let addr = world.server.local_addr;
    let error = HttpServer::start(addr, http_world::state(HttpLimits::default()).1).expect_err("taken");
    assert!(matches!(error, HttpError::AddressInUse { .. }));
    let text = error.to_string();
    assert!(text.contains(&addr.to_string()) && text.contains("--http-addr"), "{text}");
    let state = http_world::state(HttpLimits::default()).1;
    let text = HttpServer::start_operations(addr, state).expect_err("taken").to_string();
    assert!(text.contains(&addr.to_string()) && text.contains("--ops-addr"), "{text}");
}

#[test]
fn a_stopped_server_has_left_its_address() {
    let world = World::start(HttpLimits::default());
    let addr = world.server.local_addr;
    world.is_live();
    let idle = TcpStream::connect(addr).expect("it listens");
    world.server.stop();
    assert!(TcpStream::connect(addr).is_err());
    drop(idle);
}

#[test]
fn a_request_that_takes_too_long_is_answered() {
    let limits = HttpLimits { request_timeout: Duration::from_millis(20), ..HttpLimits::default() };
    let world = World::start(limits);
    let mut stuck = TcpStream::connect(world.server.local_addr).expect("it listens");
    stuck.write_all(b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{").expect("sent");
    let mut answer = String::new();
    stuck.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("try again"), "{answer}");
}
