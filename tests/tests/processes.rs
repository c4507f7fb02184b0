//! Real processes over real sockets: an error in their input is reported in one line by the side that can act, and
//! affects no other process; and a world whose server is killed recovers.
//!
//! They need the programs built before (see `world::process`), without the feature `test-clock`.

#[allow(dead_code, reason = "other tests of processes use the rest")]
mod world;

use diesel::{Connection, RunQueryDsl, SqliteConnection, connection::SimpleConnection};
use rand::{Rng, RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;
use sidereal_client::{flight::controls::PilotIntent, session::SessionState};
use sidereal_protocol::{
    limits::PROTOCOL_VERSION,
    packets::lane,
    record::EntityRecord,
    rules::flight::{Controls, MAX_SPEED},
    world::ids::EntityId,
};
use sidereal_server::db::Database;
use sidereal_transport::{ClientNetwork, LinkStatus};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
};
use tempfile::TempDir;
use world::{ANY, Ended, Pilot, Process, RawPlayer, Server, World, raw_player, server_flags, shard_flags, text};

fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

/// The one line with the error, which contains everything in `parts`.
#[track_caller]
fn complaint(ended: &Ended, parts: &[&str]) {
    let complaints: Vec<&String> =
        ended.stderr.iter().filter(|line| line.starts_with("error: ") || line.starts_with("sidereal")).collect();
    let [line] = complaints[..] else { panic!("not one line: {ended:#?}") };
    for part in parts {
        assert!(line.contains(part), "no {part:?} in {line:?}");
    }
}

/// A program that is started with `arguments` cannot run, reports it in one line with all of `says`, and exits with 2.
struct Case {
    program: &'static str,
    arguments: Vec<String>,
    says: Vec<String>,
}

fn case(program: &'static str, arguments: Vec<String>, says: &[&str]) -> Case {
    Case { program, arguments, says: says.iter().map(|part| (*part).to_owned()).collect() }
}

fn server(changes: &[(&str, &str)], says: &[&str]) -> Case {
    case("sidereal-server", server_flags(changes), says)
}

/// Any program, with `arguments` alone.
fn other(program: &'static str, arguments: &[&str], says: &[&str]) -> Case {
    case(program, arguments.iter().map(|argument| (*argument).to_owned()).collect(), says)
}

#[track_caller]
fn refused(cases: Vec<Case>) {
    for Case { program, arguments, says } in cases {
        let ended = Process::start(program, &arguments).end();
        assert_eq!(ended.code, Some(2), "{program} {arguments:?}: {ended:#?}");
        complaint(&ended, &says.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn a_bad_flag_or_value_is_named_and_nothing_starts() {
    let hash = "0f".repeat(32);
    let no_folder = ["cannot write", "/nowhere/", "folder"];
    let mut without_secret = server_flags(&[]);
    let at = without_secret.iter().position(|flag| flag == "--shard-secret").expect("it is set");
    without_secret.drain(at..at + 2);
    refused(vec![
        server(&[("--sharts", "2")], &["--sharts"]),
        server(&[("--seed", "abc")], &["--seed", "abc"]),
        server(&[("--player-addr", "localhost")], &["--player-addr", "IP address and a port"]),
        server(&[("--shard-secret", "")], &["--shard-secret", "choose a secret"]),
        server(&[("--shard-secret", "hunter2")], &["--shard-secret", "has 7 bytes", "head -c 32 /dev/urandom"]),
        case("sidereal-server", without_secret, &["required"]),
        server(&[("--report", "/nowhere/x.json")], &no_folder),
        server(&[("--ready-file", "/nowhere/x.json")], &no_folder),
        server(&[("--player-addr", "203.0.113.5:0")], &["--player-addr", "no network interface"]),
        server(&[("--player-addr", "0.0.0.0:0")], &["--player-addr 0.0.0.0:0", "--advertise-player-addr"]),
        server(
            &[("--advertise-player-addr", "[::]:7777")],
            &["--advertise-player-addr [::]:7777", "name the one that they reach"],
        ),
        server(&[("--advertise-player-addr", "example.org:7777")], &["--advertise-player-addr", "IP address"]),
        server(&[("--rate-limit-address", "many")], &["--rate-limit-address", "many"]),
        server(&[("--sessions-per-address", "0")], &["--sessions-per-address", "1.."]),
        server(&[("--handshakes-total", "lots")], &["--handshakes-total", "lots"]),
        server(&[("--trusted-proxies", "10.0.0.1")], &["--trusted-proxies"]),
        server(&[("--supabase-issuer", "https://x")], &["--supabase-jwks-url", "--supabase-jwt-secret"]),
        server(&[("--supabase-jwks-url", "https://x/keys")], &["--supabase-issuer", "missing"]),
        server(
            &[("--supabase-jwks-url", "http://x.org/keys"), ("--supabase-issuer", "https://x")],
            &["--supabase-jwks-url", "https://"],
        ),
        server(
            &[("--supabase-jwt-secret", "hunter2"), ("--supabase-issuer", "https://x")],
            &["--supabase-jwt-secret", "32 bytes"],
        ),
        server(&[("--supabase-algorithm", "none")], &["--supabase-algorithm", "none"]),
        other("sidereal-shard", &["--certificate-hash", "12", "--shard-secret", "x"], &["--certificate-hash", "64"]),
        other("sidereal-shard", &["--certificate-hash", &hash, "--shard-secret", ""], &["--shard-secret", "empty"]),
        other(
            "sidereal-shard",
            &["--certificate-hash", &hash, "--shard-secret", "hunter2"],
            &["--shard-secret", "has 7 bytes", "head -c 32 /dev/urandom"],
        ),
        other("sidereal-shard", &["--server", "nowhere"], &["--server", "IP address and a port"]),
        other(
            "sidereal-shard",
            &["--certificate-hash", &hash, "--shard-secret", "x", "--report", "/nowhere/x.json"],
            &no_folder,
        ),
        other(
            "sidereal-client",
            &["--user", "ada", "--password", "x", "--headless", "--http", "nonsense"],
            &["nonsense", "http://127.0.0.1:7779"],
        ),
        other("sidereal-client", &["--seconds", "nan"], &["--seconds", "number of seconds"]),
        other("sidereal-bots", &["--count", "0"], &["--count"]),
        other("sidereal-bots", &["--seconds=-5"], &["--seconds", "number of seconds"]),
        other("sidereal-bots", &["--report", "/nowhere/x.json"], &no_folder),
        other("sidereal-launcher", &["--sharts", "2"], &["--sharts"]),
        other("sidereal-relay", &["--listen", "localhost", "--to", "127.0.0.1:9"], &["--listen", "IP address"]),
        other("sidereal-launcher", &["--headless", "--loss", "0.9"], &["--loss", "0 to 0.5"]),
        other("sidereal-launcher", &["--headless", "--report", "/nowhere/x.json"], &["--report", "/nowhere/"]),
    ]);
}

#[test]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn a_taken_port_is_named_with_the_flag_that_chooses_another() {
    let folder = folder();
    let data = text(folder.path());
    let udp = UdpSocket::bind(ANY).and_then(|socket| Ok((socket.local_addr()?, socket))).expect("a free port");
    let tcp = TcpListener::bind(ANY).and_then(|socket| Ok((socket.local_addr()?, socket))).expect("a free port");
    let (udp_text, tcp_text) = (udp.0.to_string(), tcp.0.to_string());
    let (udp_port, tcp_port) = (udp.0.port().to_string(), tcp.0.port().to_string());
    let launcher = |flag: &str, port: &str, purpose: &str| {
        let mut arguments = vec!["--headless", "--seconds", "1", "--data", &data];
        for other in ["--player-port", "--shard-port", "--http-port"] {
            arguments.extend([other, if other == flag { port } else { "0" }]);
        }
        self::other("sidereal-launcher", &arguments, &[port, purpose, flag])
    };
    let database = text(&folder.path().join("new.sqlite"));
    refused(vec![
        server(&[("--player-addr", &udp_text)], &[&udp_text, "players", "another process has", "--player-addr"]),
        server(&[("--shard-addr", &udp_text)], &[&udp_text, "shards", "another process has", "--shard-addr"]),
        server(&[("--http-addr", &tcp_text)], &[&tcp_text, "HTTP", "--http-addr"]),
        launcher("--player-port", &udp_port, "players"),
        launcher("--shard-port", &udp_port, "shards"),
        launcher("--http-port", &tcp_port, "HTTP"),
        server(&[("--player-addr", &udp_text), ("--database-url", &database), ("--seed", "1")], &["players"]),
    ]);
    // Nothing is left that would restrict the next start: any seed can still be chosen.
    let seed = Database::open(&database).expect("opens").meta("seed").expect("readable");
    assert_eq!(seed, None);
}

fn sqlite(path: &Path, statements: &str) {
    let mut conn = SqliteConnection::establish(&text(path)).expect("opens");
    conn.batch_execute(statements).expect("SQL");
}

#[test]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn a_database_that_cannot_be_used_is_named_and_stays_as_it_is() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let [newer, foreign, text_file] = ["newer.sqlite", "foreign.sqlite", "text.sqlite"].map(path);
    drop(Database::open(&text(&newer)).expect("a new database"));
    sqlite(&newer, "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    sqlite(&foreign, "CREATE TABLE t (a)");
    std::fs::write(&text_file, "a text and no database at all, and long enough to be one").expect("written");
    let bytes = || [&newer, &foreign, &text_file].map(|path| std::fs::read(path).expect("readable"));
    let before = bytes();

    let in_use = path("in use.sqlite");
    let _lock = Database::lock(&text(&in_use)).expect("no process has it");
    let seeded = path("seeded.sqlite");
    Database::open(&text(&seeded)).and_then(|database| database.set_meta("seed", "1")).expect("a new database");

    let data = text(folder.path());
    let on = |path: &Path, says: &[&str]| server(&[("--database-url", &text(path))], says);
    let newer_url = format!("sqlite://{}", text(&newer));
    let launcher = ["--headless", "--seconds", "1", "--data", &data, "--db", &newer_url];
    let launcher = [&launcher[..], &["--player-port", "0", "--shard-port", "0", "--http-port", "0"]].concat();
    let in_use_url = text(&in_use);
    refused(vec![
        on(&path("missing/x.sqlite"), &["missing", "does not exist", "create it", "--database-url"]),
        on(folder.path(), &["is a folder", "--database-url"]),
        on(&text_file, &["not a SQLite database", "--database-url"]),
        on(&foreign, &["belongs to another program", "--database-url"]),
        on(&newer, &["newer version", "9999", "update the server"]),
        on(&in_use, &["in use", "end that one", "--database-url"]),
        server(&[("--database-url", &text(&seeded)), ("--seed", "2")], &["seed 1", "leave --seed out"]),
        server(&[("--database-url", "mysql://me:hunter2@db/world")], &["\"mysql\"", "sqlite://FILE"]),
        other("sidereal-launcher", &launcher, &["newer version", "update the server", "--db"]),
        other(
            "sidereal-launcher",
            &[
                "--headless",
                "--fresh",
                "--db",
                &in_use_url,
                "--player-port",
                "0",
                "--shard-port",
                "0",
                "--http-port",
                "0",
            ],
            &["in use", "--db"],
        ),
    ]);
    assert!(bytes() == before, "a database was changed by a server that refused it");

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let locked = path("locked.sqlite");
        drop(Database::open(&text(&locked)).expect("a new database"));
        std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).expect("its own file");
        if std::fs::File::open(&locked).is_ok() {
            println!("SKIPPED: a file without permissions can be read by this user (root?)");
        } else {
            refused(vec![on(&locked, &["cannot be opened", "check its permissions", "--database-url"])]);
        }
    }
}

#[test]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn who_may_not_come_in_is_told_why_and_nobody_else_notices() {
    let mut world = World::start(folder(), 1);
    let bots = world.bots(2);
    let server = &world.server;

    let wrong_hash = "0f".repeat(32);
    let player_addr = server.player_addr.to_string();
    for (changes, says) in [
        (
            [("--shard-secret", "another one, which is as long as one has to be")],
            ["shard secret", "SIDEREAL_SHARD_SECRET"],
        ),
        ([("--certificate-hash", &wrong_hash[..])], ["certificate is not the pinned one", "get the current hash"]),
        ([("--server", &player_addr)], ["for players, not for shards", "shard address"]),
    ] {
        let ended = Process::start("sidereal-shard", &shard_flags(server, &changes)).end();
        assert_eq!(ended.code, Some(2), "{changes:?}: {ended:#?}");
        complaint(&ended, &says);
    }

    let wrong_password = ["--user", "bot-1-0", "--password", "not the bot's", "--headless", "--http", &server.url()];
    let ended = Process::start("sidereal-client", &wrong_password).end();
    assert_eq!(ended.code, Some(2), "{ended:#?}");
    complaint(&ended, &["wrong name or password"]);

    let network = ClientNetwork::new().expect("a network");
    let elsewhere_folder = folder();
    let elsewhere = Server::start(elsewhere_folder.path(), ":memory:", 1);
    let used = server.ticket("used").ticket;
    let first = raw_player(&network, server.door(PROTOCOL_VERSION), &used);
    first.wait_until("the first use", |first| first.handle.status() == LinkStatus::Connected);
    let good = || server.ticket("good").ticket;
    let mut shard_door = server.door(PROTOCOL_VERSION);
    shard_door.server = server.shard_addr;
    let mut pinned_wrong = server.door(PROTOCOL_VERSION);
    pinned_wrong.certificate_hash = elsewhere.certificate_hash;
    let door = || server.door(PROTOCOL_VERSION);
    for (options, ticket, says) in [
        (door(), used.clone(), ["already used", "log in again"]),
        (door(), "00".repeat(32), ["not known here", "log in again"]),
        (door(), "no ticket at all".to_owned(), ["not known here", "log in again"]),
        (door(), elsewhere.ticket("used").ticket, ["not known here", "log in again"]),
        (pinned_wrong, good(), ["certificate is not the pinned one", "login answer"]),
        (shard_door, good(), ["for shards, not for players", "player address"]),
        (server.door(PROTOCOL_VERSION + 1), good(), ["protocol versions differ", "update the server"]),
        (server.door(PROTOCOL_VERSION - 1), good(), ["protocol versions differ", "update the client"]),
    ] {
        let peer = raw_player(&network, options, &ticket);
        peer.wait_until("an answer", |peer| peer.handle.is_finished());
        let LinkStatus::Rejected(reason) = peer.handle.status() else { panic!("{says:?}: {:?}", peer.handle.status()) };
        for part in says {
            assert!(reason.contains(part), "no {part:?} in {reason:?}");
        }
        assert!(!reason.contains('\n') && !reason.contains(&ticket), "{reason}");
    }
    // The reuse of a ticket does not affect its first session.
    assert_eq!(first.handle.status(), LinkStatus::Connected);

    // The operator sees them too.
    world.server.wait_until("the count of refusals", |server| server.metric("sidereal_refused_total") >= 5);
    world.play_on(2, 8);
    bots.noticed_nothing();
    world.is_well();
    assert_eq!(elsewhere.process.stop().code, Some(0));
    world.stop();
}

/// The answer, as far as it was received.
fn http_says(address: SocketAddr, request: &[u8], hangs_up: bool) -> String {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(world::PATIENCE)).expect("not zero");
    let mut answer = Vec::new();
    // The server may close the connection in the middle of the request, which is an answer as well.
    let _ = stream.write_all(request);
    // A client that closes before the answer may get none: that is for requests without an end.
    if hangs_up {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn logins_spread_players_over_the_ports_and_all_of_them_play() {
    let mut world = World::start_with(folder(), 1, &[("--player-threads", "3")]);
    let at = |server: &Server, endpoint: u32| {
        server.metric(&format!("sidereal_endpoint_sessions{{thread=\"player-net-{endpoint}\"}}"))
    };
    // A ticket counts for the port that it names, used or not.
    let ports: BTreeSet<u16> =
        ["ann", "bob", "cyd"].iter().map(|user| world.server.ticket(user).player_addr.port()).collect();
    assert_eq!(ports.len(), 3);
    assert!(ports.contains(&world.server.player_addr.port()));
    let bots = world.bots(6);
    world.server.wait_until("two at each port", |server| (0..3).all(|endpoint| at(server, endpoint) == 2));
    world.play_on(6, 10);
    for endpoint in 0..3 {
        let sent = format!("sidereal_endpoint_lane_sent_total{{thread=\"player-net-{endpoint}\"}}");
        assert!(world.server.metric(&sent) > 0, "{sent}");
    }
    if cfg!(target_os = "linux") {
        let each: f64 = (0..3)
            .map(|endpoint| {
                world.server.figure(&format!("sidereal_thread_cpu_seconds_total{{thread=\"player-net-{endpoint}\"}}"))
            })
            .sum();
        assert!(each > 0.0 && world.server.figure("sidereal_player_net_cpu_seconds_total") >= each);
    }
    bots.noticed_nothing();
    // A ticket is as good at another port than the one that it names.
    let other = world.server.player_addr;
    let tickets = std::iter::repeat_with(|| world.server.ticket("ann"));
    let mut login = tickets.take(3).find(|ticket| ticket.player_addr != other).expect("there are three ports");
    login.player_addr = other;
    let network = ClientNetwork::new().expect("a network");
    let mut pilot = Pilot::enter(&network, login);
    pilot.fly_until("a ship", |pilot| pilot.state() == &SessionState::InSpace);
    assert!(at(&world.server, 0) > 0);
    pilot.leave();
    world.is_well();
    world.stop();
}

#[test]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn garbage_at_every_door_reaches_nobody() {
    let mut world = World::start(folder(), 1);
    let bots = world.bots(2);
    let mut random = Pcg64Mcg::seed_from_u64(7);
    let mut garbage = |longest: usize| {
        let mut bytes = vec![0; random.random_range(0..=longest)];
        random.fill_bytes(&mut bytes);
        bytes
    };

    // From strangers, at all three ports.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    for port in [world.server.player_addr, world.server.shard_addr] {
        for number in 0..3_000 {
            let mut packet = garbage(1_400);
            if number % 3 == 0 {
                // The beginning of a QUIC handshake.
                packet.splice(0..0, [0xc0, 0, 0, 0, 1, 8]);
            }
            // The system may have no room for it: then it is lost, like any datagram.
            let _ = socket.send_to(&packet, port);
        }
    }
    let login = "POST /api/login HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    for (request, status) in [
        (format!("{login}content-length: 5\r\n\r\nhello").into_bytes(), "400"),
        (format!("{login}content-length: 21\r\n\r\n{{\"user\":1,\"password\":").into_bytes(), "400"),
        (b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(), "404"),
        (b"DELETE /api/login HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(), "405"),
    ] {
        let answer = http_says(world.server.http_addr, &request, false);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    // It closes the connection in the middle of these, and may be gone before its answer was read.
    let endless = [b"GET /".to_vec(), vec![b'a'; 70_000], b" HTTP/1.1\r\n\r\n".to_vec()].concat();
    for request in [garbage(4_000), endless] {
        let answer = http_says(world.server.http_addr, &request, true);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }

    // From players that have logged in: one channel each, until the server closes the session.
    let network = ClientNetwork::new().expect("a network");
    let by_lane = |player: &RawPlayer, bytes: Vec<u8>| player.handle.send_lane(bytes.into());
    let by_inputs = |player: &RawPlayer, mut bytes: Vec<u8>| {
        bytes.splice(0..0, [lane::INPUTS, 0xff, 0xff]);
        player.handle.send_lane(bytes.into());
    };
    let by_naia = |player: &RawPlayer, bytes: Vec<u8>| {
        // The transport enforces naia's limits.
        let _ = player.packets_out.send(&bytes);
    };
    let by_stream = |player: &RawPlayer, bytes: Vec<u8>| {
        // Once the server has closed it, there is no stream any more.
        let _ = player.handle.send_stream(bytes.into());
    };
    let ways: [(&str, usize, &dyn Fn(&RawPlayer, Vec<u8>)); 4] = [
        ("lane", 1_000, &by_lane),
        ("inputs", 1_000, &by_inputs),
        ("naia", 400, &by_naia),
        ("stream", 5_000, &by_stream),
    ];
    for (way, longest, send) in ways {
        let ticket = world.server.ticket(&format!("mallory-{way}")).ticket;
        let mallory = raw_player(&network, world.server.door(PROTOCOL_VERSION), &ticket);
        mallory.wait_until("the door", |mallory| mallory.handle.status() == LinkStatus::Connected);
        let flood = |mallory: &RawPlayer, garbage: &mut dyn FnMut(usize) -> Vec<u8>| {
            for _ in 0..20 {
                send(mallory, garbage(longest));
            }
            mallory.handle.flush();
            mallory.handle.is_finished()
        };
        if way == "naia" || way == "stream" {
            mallory.wait_until("the end of a hostile session", |mallory| flood(mallory, &mut garbage));
            let LinkStatus::Closed(reason) = mallory.handle.status() else { panic!("{:?}", mallory.handle.status()) };
            println!("{way}: {reason}");
        } else {
            // Without naia's handshake it is not a player yet, and its lane is ignored.
            for _ in 0..50 {
                flood(&mallory, &mut garbage);
            }
        }
    }

    // And beside an honest client, from one that flies.
    let mut mallory = Pilot::connect(&network, &world.server, "mallory");
    mallory.fly_until("a ship", |mallory| *mallory.state() == SessionState::InSpace);
    mallory.fly_until("the end of a hostile session", |mallory| {
        for _ in 0..3 {
            mallory.handle.send_lane([vec![lane::INPUTS, 0xff, 0xff], garbage(500)].concat().into());
        }
        mallory.state().is_over()
    });
    assert_eq!(mallory.state().failure(), Some("too many malformed packets"));

    world.server.wait_until("the counts of all that", |server| {
        server.metric("sidereal_bad_packets_total") >= 100
            && server.metric("sidereal_transport_closed_for_violations_total") >= 2
    });
    world.play_on(2, 8);
    bots.noticed_nothing();
    world.is_well();
    world.stop();
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = diesel::sql_types::Binary)]
    id: Vec<u8>,
    #[diesel(sql_type = diesel::sql_types::Binary)]
    record: Vec<u8>,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    deleted: bool,
}

/// Every entity that was ever stored; `None` for destroyed ones.
fn stored(database: &Path) -> BTreeMap<EntityId, Option<EntityRecord>> {
    let mut conn = SqliteConnection::establish(&text(database)).expect("opens");
    let rows: Vec<Row> = diesel::sql_query("SELECT id, record, deleted FROM entities").load(&mut conn).expect("SQL");
    let entities = rows.into_iter().map(|row| {
        let id = EntityId(uuid::Uuid::from_slice(&row.id).expect("16 bytes"));
        let record = EntityRecord::decode(&row.record);
        (id, (!row.deleted).then(|| record.expect("a record of this version")))
    });
    entities.collect()
}

/// The number of living entities without an owner, with which a world is loaded.
fn wild(entities: &BTreeMap<EntityId, Option<EntityRecord>>) -> u64 {
    entities.values().flatten().filter(|record| record.owner.is_none()).count() as u64
}

#[test]
#[cfg_attr(feature = "test-clock", ignore = "needs the real clock: run it without the feature test-clock")]
fn a_server_killed_in_play_comes_back_with_every_ship_where_it_was() {
    const BOTS: u32 = 6;
    let ahead = Controls { thrust: 100, turn: 3, buttons: 0 };
    let world = World::start(folder(), 2);
    let network = ClientNetwork::new().expect("a network");
    let bots = world.bots(BOTS);
    let mut ada = Pilot::connect(&network, &world.server, "ada");
    ada.fly_until("a ship", |ada| *ada.state() == SessionState::InSpace);
    let mut updates = 0;
    let mut seen_since: BTreeMap<EntityId, f64> = BTreeMap::new();
    ada.fly_until("stored rows, a handoff, and a speed", |ada| {
        ada.steer(PilotIntent { controls: ahead, respawn: true });
        updates += 1;
        for other in ada.view().others.values().filter(|other| other.is_player()) {
            seen_since.entry(other.id).or_insert(ada.view().time_s);
        }
        updates % 20 == 0
            && world.server.metric("sidereal_store_rows_total") > 1_000
            && world.server.metric("sidereal_handoffs_total") >= 1
            && ada.view().own.as_ref().is_some_and(|own| own.confirmed.velocity.length() > 50.0)
    });
    let sectors = world.server.metric("sidereal_leased_sectors");
    let entities = world.server.metric("sidereal_entities");
    let players = world.server.metric("sidereal_players");
    let missiles = world.server.metric("sidereal_missiles");
    assert_eq!(world.server.metric("sidereal_lost_total") + world.server.metric("sidereal_doubled_total"), 0);
    ada.fly_on();
    let own = ada.view().own.clone().expect("she flies");
    // State that is younger than the loss window may be lost completely.
    let grown = |id| seen_since.get(&id).is_some_and(|since| ada.view().time_s - since > 3.0);
    let ships: Vec<_> =
        ada.view().others.values().filter(|other| other.is_player() && grown(other.id)).cloned().collect();
    let World { server, shards, folder } = world;
    let old_lines = server.process.seen().len();
    server.process.kill();
    drop((shards, bots, ada));

    // In the database: within a second of flight from where they were last seen, and none is missing.
    let database = World::database_in(folder.path());
    let before = stored(&database);
    let one_second = MAX_SPEED * 1.0;
    let seen = ships.iter().map(|ship| (ship.id, &ship.state)).chain([(own.id, &own.confirmed)]);
    for (id, state) in seen {
        let record = before.get(&id).unwrap_or_else(|| panic!("ship {id} was never stored"));
        // The view is a moment old: it may have been destroyed since.
        let Some(record) = record else { continue };
        let off = record.state.position.distance(state.position);
        println!("{}: {off:.0} units", record.name);
        assert!(off <= one_second, "{} was stored {off} units away", record.name);
    }
    assert!(before[&own.id].is_some(), "her own ship was whole");
    println!("{entities} entities, {players} players, {} wild in the database, {old_lines} lines", wild(&before));
    let wild_before = entities - players - missiles;
    assert!(wild_before.abs_diff(wild(&before)) <= 5, "{wild_before} flew, {} are stored", wild(&before));

    // Again, on the same database: as many as before, and the same ship, in the same place.
    let mut world = World::start(folder, 2);
    let all_there = wild(&before);
    world.server.wait_until("the whole world", |server| {
        server.metric("sidereal_leased_sectors") == sectors && server.metric("sidereal_entities") == all_there
    });
    let mut ada = Pilot::connect(&network, &world.server, "ada");
    ada.fly_until("the old ship", |ada| *ada.state() == SessionState::InSpace && ada.view().own.is_some());
    let back = ada.view().own.clone().expect("just seen");
    assert_eq!(back.id, own.id);
    let off = back.confirmed.position.distance(own.confirmed.position);
    // The lost second, and another one until it is seen: it has flown on since it was loaded.
    assert!(off <= 2.0 * one_second, "{off} units away");
    ada.leave();
    let bots = world.bots(BOTS);
    world.play_on(BOTS, 20);
    bots.noticed_nothing();
    world.is_well();
    let folder = world.stop();
    let after = stored(&World::database_in(folder.path()));
    for id in before.keys() {
        assert!(after.contains_key(id), "{id} is gone without a trace");
    }
}
