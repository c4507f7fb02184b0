//! A world of real processes, sockets and files: their output, their ends, and that none outlives its test.

mod pilot;
mod process;

pub use pilot::{Pilot, RawPlayer, raw_player};
pub use process::{Ended, PATIENCE, Process};

use sidereal_client::account::{AccountApi, LoginTicket};
use sidereal_protocol::world::tick::TICK_HZ;
use sidereal_transport::{ConnectOptions, PeerKind};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The secret of these tests' shards.
pub const SECRET: &str = "the shards' own, and as long as one has to be";

/// The password of every player of these tests.
const PASSWORD: &str = "correct horse battery";

/// Any free port of this machine, as a flag's value.
pub const ANY: &str = "127.0.0.1:0";

/// A text as the argument of a process.
pub fn text(path: &Path) -> String {
    path.to_str().expect("temporary folders have plain names").to_owned()
}

/// The flags of a server on free ports, with `changes` to their values.
pub fn server_flags(changes: &[(&str, &str)]) -> Vec<String> {
    let mut flags = vec![
        ("--player-addr", ANY),
        ("--shard-addr", ANY),
        ("--http-addr", ANY),
        ("--ops-addr", ANY),
        ("--database-url", ":memory:"),
        ("--shard-secret", SECRET),
        // Relays of tests lead to one port, whatever the machine.
        ("--player-threads", "1"),
        // All bots of a test connect from one address at once.
        ("--rate-limit-login", "600"),
    ];
    for (flag, value) in changes {
        flags.retain(|(other, _)| other != flag);
        flags.push((flag, value));
    }
    let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()]);
    flags.chain(["--die-with-stdin".to_owned()]).collect()
}

/// The flags of a shard for `server`, with `changes` to their values.
pub fn shard_flags(server: &Server, changes: &[(&str, &str)]) -> Vec<String> {
    let (address, hash) = (server.shard_addr.to_string(), hex(&server.certificate_hash));
    let mut flags = vec![("--server", &address[..]), ("--certificate-hash", &hash), ("--shard-secret", SECRET)];
    for (flag, value) in changes {
        flags.retain(|(other, _)| other != flag);
        flags.push((flag, value));
    }
    let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()]);
    flags.chain(["--die-with-stdin".to_owned()]).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A listening server.
pub struct Server {
    pub process: Process,
    pub player_addr: SocketAddr,
    pub shard_addr: SocketAddr,
    pub http_addr: SocketAddr,
    pub ops_addr: SocketAddr,
    pub certificate_hash: [u8; 32],
    agent: ureq::Agent,
}

impl Server {
    /// Starts one over the database at `url`; its files are in `folder`. It waits for `shards` shards.
    pub fn start(folder: &Path, url: &str, shards: usize) -> Self {
        Self::start_with(folder, url, shards, &[])
    }

    /// The same, with `changes` to its flags.
    pub fn start_with(folder: &Path, url: &str, shards: usize, changes: &[(&str, &str)]) -> Self {
        let ready = folder.join("server.ready");
        let _ = std::fs::remove_file(&ready);
        let shards = shards.to_string();
        let changes = [&[("--database-url", url), ("--expect-shards", &shards)], changes].concat();
        let mut flags = server_flags(&changes);
        flags.extend(["--ready-file".to_owned(), text(&ready)]);
        let mut process = Process::start("sidereal-server", &flags);
        process.wait_for_file(&ready);
        let ready = std::fs::read(&ready).expect("it is there");
        let ready: serde_json::Value = serde_json::from_slice(&ready).expect("JSON");
        let field = |name: &str| ready[name].as_str().unwrap_or_else(|| panic!("no {name} in {ready}")).to_owned();
        let address = |name| field(name).parse().expect("an address");
        let digits = field("certificate_hash");
        let mut certificate_hash = [0; 32];
        for (byte, at) in certificate_hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
        }
        Self {
            process,
            player_addr: address("player_addr"),
            shard_addr: address("shard_addr"),
            http_addr: address("http_addr"),
            ops_addr: address("ops_addr"),
            certificate_hash,
            agent: ureq::Agent::config_builder()
                .timeout_global(Some(PATIENCE))
                .http_status_as_error(false)
                .build()
                .new_agent(),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.http_addr)
    }

    /// A value of `/metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        // Before its first tick a server has no metrics.
        self.shown(name).map_or(0, |value| value.parse().expect("a whole number"))
    }

    /// A value that is not a whole number.
    pub fn figure(&self, name: &str) -> f64 {
        self.shown(name).map_or(0.0, |value| value.parse().expect("a number"))
    }

    fn shown(&self, name: &str) -> Option<String> {
        let mut answer =
            self.agent.get(format!("http://{}/metrics", self.ops_addr)).call().expect("the server answers");
        let text = answer.body_mut().read_to_string().expect("text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map(str::to_owned)
    }

    /// Reads metrics until `done` accepts them.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what} never came: {:#?}", self.process.seen());
            self.process.listen(Duration::from_millis(20));
        }
    }

    /// A ticket for `user`, whose account is created if there is none.
    pub fn ticket(&self, user: &str) -> LoginTicket {
        let api = AccountApi::new(&self.url()).expect("its own address");
        api.enter(user, PASSWORD, true).expect("the server lets everybody in")
    }

    /// The options to connect as a player.
    pub fn door(&self, protocol_version: u32) -> ConnectOptions {
        ConnectOptions::new(self.player_addr, PeerKind::Player, self.certificate_hash, protocol_version)
    }
}

/// Logs in `user`, an existing account of the server at `url`: the HTTP status, 0 without an answer.
pub fn login_status(url: &str, user: &str) -> u16 {
    let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build();
    let body = serde_json::json!({ "user": user, "password": PASSWORD });
    let answer = agent.new_agent().post(format!("{url}/api/login")).send_json(body);
    answer.map_or(0, |answer| answer.status().as_u16())
}

/// A server with its shards.
pub struct World {
    pub server: Server,
    pub shards: Vec<Process>,
    pub folder: TempDir,
}

impl World {
    /// A world with `shards` shards over `world.sqlite` in `folder`, ready for players.
    pub fn start(folder: TempDir, shards: usize) -> Self {
        Self::start_with(folder, shards, &[])
    }

    /// The same, with `changes` to the server's flags.
    pub fn start_with(folder: TempDir, shards: usize, changes: &[(&str, &str)]) -> Self {
        let url = format!("sqlite://{}", text(&Self::database_in(folder.path())));
        let mut server = Server::start_with(folder.path(), &url, shards, changes);
        let shards = (1..=shards)
            .map(|number| {
                let name = format!("shard-{number}");
                Process::start("sidereal-shard", &shard_flags(&server, &[("--name", &name)]))
            })
            .collect();
        server.wait_until("a lease", |server| server.metric("sidereal_leased_sectors") > 0);
        Self { server, shards, folder }
    }

    pub fn database_in(folder: &Path) -> PathBuf {
        folder.join("world.sqlite")
    }

    /// `count` bots that play until they are stopped; the first one is in space.
    pub fn bots(&self, count: u32) -> Bots {
        self.bots_with(count, &[])
    }

    /// The same, with `more` flags.
    pub fn bots_with(&self, count: u32, more: &[&str]) -> Bots {
        let [report, ready] = ["bots.json", "bots.ready"].map(|name| self.folder.path().join(name));
        let _ = std::fs::remove_file(&ready);
        let flags = [
            "--http".to_owned(),
            self.server.url(),
            "--count".to_owned(),
            count.to_string(),
            "--report".to_owned(),
            text(&report),
            "--ready-file".to_owned(),
            text(&ready),
            "--die-with-stdin".to_owned(),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let mut process = Process::start("sidereal-bots", &flags);
        process.wait_for_file(&ready);
        Bots { process, report, count }
    }

    /// Waits until `players` have played on for `seconds`: their inputs still reach their ships' shards. Only some of
    /// the bots must have played, because one that starts among drones may be shot before it got anywhere.
    #[track_caller]
    pub fn play_on(&mut self, players: u32, seconds: u32) {
        let inputs = |server: &Server| server.metric("sidereal_inputs_forwarded_total");
        let enough = inputs(&self.server) + u64::from(players * TICK_HZ * seconds);
        self.server.wait_until("play", |server| inputs(server) >= enough);
    }

    /// Every process still runs, and has lost and duplicated nothing.
    #[track_caller]
    pub fn is_well(&mut self) {
        for process in self.shards.iter_mut().chain([&mut self.server.process]) {
            assert!(process.is_running(), "{:#?}", process.seen());
            let panics = process.seen().iter().any(|line| line.contains("panicked"));
            assert!(!panics, "{:#?}", process.seen());
        }
        for name in ["sidereal_lost_total", "sidereal_doubled_total"] {
            assert_eq!(self.server.metric(name), 0, "{name}");
        }
    }

    /// Ends all processes, shards last, because a server that ends requests their records.
    #[track_caller]
    pub fn stop(self) -> TempDir {
        let Self { server, shards, folder } = self;
        let ended = server.process.stop();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.stderr);
        for shard in shards {
            let ended = shard.stop();
            assert_eq!(ended.code, Some(0), "{:#?}", ended.stderr);
        }
        folder
    }
}

/// Bots that play.
pub struct Bots {
    process: Process,
    report: PathBuf,
    count: u32,
}

impl Bots {
    /// Reads their output.
    pub fn listen(&mut self) {
        self.process.listen(Duration::ZERO);
    }

    /// Ends them. They played all the time without faults.
    #[track_caller]
    pub fn noticed_nothing(self) {
        let ended = self.process.stop();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.stderr);
        let report = std::fs::read(&self.report).expect("they wrote their report");
        let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
        assert_eq!(report["bots_played"], self.count, "{report}");
        for name in ["sessions_dropped", "violations", "inputs_lost", "inputs_doubled", "teleports"] {
            assert_eq!(report[name], 0, "{name} in {report}");
        }
    }
}
