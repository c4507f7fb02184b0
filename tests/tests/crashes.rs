//! A panic in any thread ends its process, with the reason as the last line of the log. A panic that belongs to a
//! single session or request ends only that one.
//!
//! The programs contain no places for planted faults, so this test is the program: it starts itself, and the test
//! `program` then does what `main` does.

#[expect(dead_code, reason = "other tests need more of it")]
#[path = "world/process.rs"]
mod process;

use clap::Parser;
use naia_bevy_client::transport::Socket;
use naia_bevy_shared::TestClock;
use process::{PATIENCE, Process};
use sidereal_process::crash::{self, CRASHED};
use sidereal_protocol::{frames::messages::Credential, limits::PROTOCOL_VERSION};
use sidereal_server::run::config::Config;
use sidereal_shard::{
    config::{Arguments, CertificateHash, ShardConfig},
    session,
};
use sidereal_transport::{ClientHandle, ClientNetwork, ConnectOptions, LinkStatus, PeerKind};
use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The program's name and its flags, separated by line breaks; not set in the test itself.
const FLAGS: &str = "TEST_PROGRAM_FLAGS";

/// A program in which several threads panic at once while another one writes the log.
const CROWD: &str = "crowd";

const SECRET: &str = "a secret that only the shards of this test know";

/// The program of a started copy of this test. It runs on a thread of its own, so that the thread's name does not
/// depend on the test runner.
#[test]
fn program() {
    if let Ok(flags) = std::env::var(FLAGS) {
        let main = std::thread::Builder::new().name("program".to_owned()).spawn(move || run(&flags));
        main.expect("a thread").join().expect("a panic ends the process");
    }
}

fn run(flags: &str) {
    let flags: Vec<&str> = flags.split('\n').collect();
    // naia's time stands still: these tests need none.
    TestClock::init(1_000);
    match flags[0] {
        "sidereal-server" => {
            crash::end_on_panic("sidereal-server");
            if let Err(failure) = sidereal_server::run::run(&Config::parse_from(&flags)) {
                eprintln!("{failure}");
            }
        }
        "sidereal-shard" => {
            crash::end_on_panic("sidereal-shard");
            let arguments = Arguments::parse_from(&flags);
            let stop = sidereal_process::stop_flag(arguments.die_with_stdin).expect("signals can be handled");
            let network = ClientNetwork::new().expect("the network starts");
            let hash = arguments.certificate_hash.0;
            let options = ConnectOptions::new(arguments.server, PeerKind::Shard, hash, PROTOCOL_VERSION);
            let config = ShardConfig::from(&arguments);
            session::run(&config, || network.connector(options.clone()), &stop);
        }
        CROWD => {
            crash::end_on_panic(CROWD);
            let together = Arc::new(Barrier::new(8));
            for number in 0..8 {
                let (name, together) = (format!("{number}-of-many"), Arc::clone(&together));
                let one = std::thread::Builder::new().name(name).spawn(move || {
                    together.wait();
                    panic!("planted in {CROWD}");
                });
                one.expect("a thread");
            }
            for _ in 0..10_000 {
                eprintln!("the log continues");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        other => unreachable!("{other}"),
    }
}

fn start(name: &'static str, flags: &[String], fault: &str) -> Process {
    let mut command = Command::new(std::env::current_exe().expect("the system has this test's path"));
    command.args(["program", "--exact", "--nocapture"]);
    let flags = std::iter::once(name).chain(flags.iter().map(String::as_str)).collect::<Vec<_>>().join("\n");
    Process::run(name, command, &[(FLAGS, &flags), ("SIDEREAL_PLANTED_FAULT", fault)])
}

/// A server with a planted fault.
struct Server {
    process: Process,
    folder: TempDir,
}

/// Its addresses.
struct Ready {
    shard_addr: SocketAddr,
    http_addr: SocketAddr,
    certificate_hash: [u8; 32],
}

impl Server {
    fn start(fault: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let any = "127.0.0.1:0";
        let database = format!("sqlite://{}", text(&folder.path().join("world.sqlite")));
        let ready = text(&folder.path().join("ready.json"));
        let flags = [
            ("--player-addr", any),
            ("--shard-addr", any),
            ("--http-addr", any),
            ("--ops-addr", any),
            ("--database-url", &database),
            ("--shard-secret", SECRET),
            ("--ready-file", &ready),
        ];
        let mut flags: Vec<String> =
            flags.into_iter().flat_map(|(flag, value)| [flag, value]).map(str::to_owned).collect();
        flags.push("--die-with-stdin".to_owned());
        Self { process: start("sidereal-server", &flags, fault), folder }
    }

    fn ready(&mut self) -> Ready {
        let path = self.folder.path().join("ready.json");
        self.process.wait_for_file(&path);
        let ready = std::fs::read_to_string(path).expect("it was written whole");
        let ready: serde_json::Value = serde_json::from_str(&ready).expect("it is JSON");
        let address = |key: &str| ready[key].as_str().expect("it is there").parse().expect("it is an address");
        let hash: CertificateHash = ready["certificate_hash"].as_str().expect("it is there").parse().expect("a hash");
        Ready { shard_addr: address("shard_addr"), http_addr: address("http_addr"), certificate_hash: hash.0 }
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("temporary folders have plain names").to_owned()
}

/// Connects like a shard, up to the transport.
fn connect(network: &ClientNetwork, ready: &Ready) -> ClientHandle {
    let options = ConnectOptions::new(ready.shard_addr, PeerKind::Shard, ready.certificate_hash, PROTOCOL_VERSION);
    let (handle, socket) = network.connector(options);
    let credential = Credential { secret: SECRET.to_owned(), name: "test".to_owned() };
    let _halves = Box::new(socket.with_credential(credential.encode().into())).connect();
    // The halves may be dropped: the handle keeps the session.
    handle
}

fn wait_for(handle: &ClientHandle, what: &str, done: impl Fn(&LinkStatus) -> bool) -> LinkStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = handle.status();
        if done(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{what} never came: {status:?}");
        handle.waker().wait(Duration::from_millis(50));
    }
}

/// Its answer to a GET.
fn get(ready: &Ready, path: &str) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.get(format!("http://{}{path}", ready.http_addr)).call().expect("it answers");
    (answer.status().as_u16(), answer.body_mut().read_to_string().expect("it is text"))
}

/// Sends SIGTERM.
fn terminate(process: &Process) {
    let killed = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().expect("there is kill");
    assert!(killed.success());
}

/// It has ended by a panic in a thread whose name ends with this, and its last line says so.
#[track_caller]
fn assert_crashed(process: Process, program: &str, thread: &str, fault: &str) {
    assert_crashed_in_one_of(process, program, &[thread], fault);
}

/// The same for a fault that several threads may meet first.
#[track_caller]
fn assert_crashed_in_one_of(process: Process, program: &str, threads: &[&str], fault: &str) {
    let ended = process.end();
    let line = ended.stderr.iter().rev().find(|line| !line.is_empty()).map_or("", String::as_str);
    let name = line.strip_prefix(&format!("{program}: crashed in the thread ")).and_then(|rest| rest.split(' ').next());
    let planted = format!("planted in {fault}");
    let is_one_of = |name: &str| threads.iter().any(|thread| name.ends_with(thread));
    assert!(name.is_some_and(is_one_of) && line.ends_with(&planted), "{ended:#?}");
    assert_eq!(ended.code, Some(i32::from(CRASHED)), "{ended:#?}");
}

#[test]
fn of_many_panics_at_once_the_first_is_the_last_line_of_the_log() {
    for _ in 0..10 {
        assert_crashed(start(CROWD, &[], CROWD), CROWD, "-of-many", CROWD);
    }
}

#[test]
fn a_panic_in_any_thread_of_the_server_ends_it() {
    for (fault, thread) in [
        ("main", "program"),
        ("db-writer", "db-writer"),
        ("db-reader", "db-reader"),
        ("http", "http"),
        ("ops", "ops"),
        ("certificate", "certificate"),
    ] {
        assert_crashed(Server::start(fault).process, "sidereal-server", thread, fault);
    }
    let networks = ["player-net-0", "shard-net"];
    assert_crashed_in_one_of(Server::start("net").process, "sidereal-server", &networks, "net");
    let mut server = Server::start("accept");
    let ready = server.ready();
    let network = ClientNetwork::new().expect("the network starts");
    let _peer = connect(&network, &ready);
    assert_crashed(server.process, "sidereal-server", "shard-net", "accept");
    let mut server = Server::start("signals");
    server.ready();
    terminate(&server.process);
    assert_crashed(server.process, "sidereal-server", "ctrl-c", "signals");
    let mut server = Server::start("stdin");
    server.ready();
    server.process.close_stdin();
    assert_crashed(server.process, "sidereal-server", "stdin", "stdin");
}

#[test]
fn a_panic_in_one_session_or_request_of_the_server_ends_that_alone() {
    let network = ClientNetwork::new().expect("the network starts");
    let over = |status: &LinkStatus| matches!(status, LinkStatus::Closed(_));
    for fault in ["session", "session-part"] {
        let mut server = Server::start(fault);
        let ready = server.ready();
        for _ in 0..2 {
            let peer = connect(&network, &ready);
            if fault == "session-part" {
                wait_for(&peer, "the session", |status| *status == LinkStatus::Connected);
                peer.send_lane(vec![1].into());
                peer.flush();
            }
            let LinkStatus::Closed(reason) = wait_for(&peer, "its end", over) else { unreachable!() };
            assert!(reason.contains("this session has failed"), "{reason}");
        }
        assert_eq!(get(&ready, "/live").0, 200);
        assert!(server.process.is_running());
    }
    let mut server = Server::start("http-request");
    let ready = server.ready();
    for _ in 0..2 {
        let (status, body) = get(&ready, "/live");
        assert!(status == 500 && body.contains("has logged why"), "{status} {body}");
    }
    assert!(server.process.is_running());
}

/// A shard with a planted fault, for a server that never answers.
fn shard(fault: &str, silent: &UdpSocket) -> Process {
    let (address, hash) = (silent.local_addr().expect("it is bound").to_string(), "00".repeat(32));
    let flags = ["--server", &address, "--certificate-hash", &hash, "--shard-secret", SECRET, "--die-with-stdin"];
    start("sidereal-shard", &flags.map(str::to_owned), fault)
}

#[test]
fn a_panic_in_any_thread_of_a_shard_ends_it() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    for (fault, thread) in [("main", "program"), ("net", "sidereal-net")] {
        assert_crashed(shard(fault, &silent), "sidereal-shard", thread, fault);
    }
    let mut process = shard("stdin", &silent);
    process.close_stdin();
    assert_crashed(process, "sidereal-shard", "stdin", "stdin");
}

#[test]
fn a_panic_in_an_update_or_a_connection_of_a_shard_ends_its_session_alone() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    for fault in ["update", "session"] {
        let mut process = shard(fault, &silent);
        let planted = format!("planted in {fault}");
        // It tries again, and fails again.
        process.wait_until("another attempt", |process| {
            (process.seen().iter().filter(|line| line.contains(&planted)).count() >= 2).then_some(())
        });
        assert!(process.is_running());
    }
}
