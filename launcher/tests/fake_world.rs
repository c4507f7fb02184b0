//! The launcher as a process, with shell scripts in place of server, shard and bots: what it starts, how it ends them,
//! its output and its files. The scripts report all they do over a pipe that ends with the last of them.
#![cfg(unix)]

use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

/// A test that waits this long fails.
const LONG: Duration = Duration::from_secs(60);

/// The common part of all scripts. `$FAKE_<name>` is executed at the start: a test's own commands.
const PRELUDE: &str = r#"
while [ $# -gt 0 ]; do
  case $1 in
    --report) report=$2; shift ;;
    --ready-file) ready=$2; shift ;;
    --name) name=$2; shift ;;
    --server) server=$2; shift ;;
    --advertise-player-addr) advertised=$2; shift ;;
    --to-file) target=$2; shift ;;
    --delay-ms) delay=$2; shift ;;
  esac
  shift
done
: "${name:=$(basename "$report" .json)}"
exec 9>"$EVENTS"
say() { echo "$name $1" >&9; }
trap 'end; say ended; exit 0' TERM
say started
"#;

const MAIN: &str = r#"
eval "eval \"\${FAKE_$(echo "$name" | tr - _):-}\""
begin
echo "hello from $name"
while read -r _; do :; done
say orphaned
"#;

const SERVER: &str = r#"
name=server lost=0
begin() {
  printf '{"player_addr": "127.0.0.1:1", "shard_addr": "127.0.0.1:2", "http_addr": "%s", "ops_addr": "127.0.0.1:4", "certificate_hash": "ab"}' \
    "$READY_HTTP" >"$ready"
}
end() {
  cat >"$report" <<JSON
{"players_max": 2, "entities": 80, "crossings": 9, "handoffs": 4, "handoffs_aborted": 1,
 "handoff_cutover_ms": {"p50": 10.0, "p95": 20.0, "p99": 30.0},
 "handoff_commit_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0}, "handoff_ways_ms": {"p50": 4.0, "p95": 5.0, "p99": 6.0},
 "handoff_tick_ms": {"p50": 5.0, "p95": 13.0, "p99": 21.0}, "lost": $lost, "doubled": 0, "sessions_dropped": 0,
 "violations": 0, "tick_ms": {"p50": 0.5, "p99": 0.9}, "motions_delivered": 4000, "cpu_ms": 2.0, "max_rss_kb": 50000}
JSON
}
"#;

const SHARD: &str = r#"
begin() { : >"$EVENTS.$name"; }
end() {
  cat >"$report" <<JSON
{"name": "$name", "tick_ms": {"p50": 1.0, "p99": 2.0}, "inputs_applied": 50, "inputs_doubled": 0, "cpu_ms": 9.0,
 "max_rss_kb": 30000}
JSON
}
"#;

const BOTS: &str = r#"
name=bots status=0
end() {
  cat >"$report" <<JSON
{"bots_wanted": 2, "bots_played": 2, "inputs_sent": 100, "inputs_applied": 100, "inputs_doubled": 0, "inputs_lost": 0,
 "inputs_void": 0, "inputs_given_up": 0, "inputs_unacknowledged": 0,
 "corrections_per_min": 1.5, "correction_units": {"p50": 0.1, "p99": 0.4}, "jumps": 0, "teleports": 0,
 "bytes_per_s_per_player": {"mean": 9000.5, "max": 12000.0}, "sessions_dropped": 0, "violations": 0, "cpu_ms": 300,
 "max_rss_kb": 40000}
JSON
}
begin() { echo ready >"$ready"; end; say "ended by itself"; exit $status; }
"#;

/// Listens on port 3 for players, on port 4 for shards.
const RELAY: &str = r#"
end() { echo '{"cpu_ms": 70, "max_rss_kb": 4000, "unsent": 3}' >"$report"; }
begin() {
  case $name in *players) port=3 ;; *) port=4 ;; esac
  echo "{\"listen_addr\": \"127.0.0.1:$port\"}" >"$ready"
  until [ -s "$target" ]; do sleep 0.01; done
  say "passes on to $(cat "$target") after $delay"
}
"#;

const CLIENT: &str = r#"
name=client
end() { :; }
begin() { [ -n "$SIDEREAL_PASSWORD" ] || exit 9; say "closed"; exit 0; }
"#;

/// A launcher among scripts.
struct Bench {
    folder: TempDir,
    http_addr: String,
    wishes: Vec<(&'static str, &'static str)>,
}

/// The result of a launcher that has ended: its status, its output, and the reports of the scripts.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    events: Vec<String>,
}

struct Running {
    launcher: Child,
    stdout: Receiver<String>,
    seen: Vec<String>,
    events: Receiver<String>,
}

impl Bench {
    /// `wishes`: script lines by variable, such as `FAKE_server`.
    fn new(wishes: &[(&'static str, &'static str)]) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        let launcher = folder.path().join("sidereal-launcher");
        std::fs::hard_link(env!("CARGO_BIN_EXE_sidereal-launcher"), launcher).expect("the same file system");
        let scripts = [("server", SERVER), ("shard", SHARD), ("bots", BOTS), ("client", CLIENT), ("relay", RELAY)];
        for (name, own) in scripts {
            let path = folder.path().join(format!("sidereal-{name}"));
            std::fs::write(&path, format!("#!/bin/sh\n{own}{PRELUDE}{MAIN}")).expect("written");
            std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("its own file");
        }
        let made = Command::new("mkfifo").arg(folder.path().join("events")).status().expect("mkfifo is there");
        assert!(made.success());
        // A shard's script creates this file when it is up.
        let http_addr = answer_ready(folder.path().join("events.shard-1"));
        Self { folder, http_addr, wishes: wishes.to_vec() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("sidereal-launcher"));
        command.args(arguments);
        if !self.wishes.iter().any(|(variable, _)| *variable == "DISPLAY") {
            command.arg("--headless");
        }
        for (flag, value) in [("--player-port", "0"), ("--db", ":memory:")] {
            if !arguments.contains(&flag) {
                command.args([flag, value]);
            }
        }
        command.args(["--shard-port", "0", "--http-port", "0"]).arg("--data").arg(self.path("data"));
        // The place of a killed launcher's temporary files.
        command.env("TMPDIR", self.folder.path());
        command.env("EVENTS", self.path("events")).env("READY_HTTP", &self.http_addr);
        command.envs(self.wishes.iter().copied()).stdin(Stdio::null()).process_group(0);
        command
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        let mut launcher = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stdout = lines(launcher.stdout.take().expect("piped"));
        let path = self.path("events");
        let (told, events) = channel();
        // Opening waits for the first script.
        std::thread::spawn(move || {
            let Ok(pipe) = File::open(path) else { return };
            // When the test has ended, the receiver is gone.
            let _ = BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| told.send(line));
        });
        Running { launcher, stdout, seen: Vec::new(), events }
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }
}

impl Running {
    /// Reads until a line of the log contains `text`.
    fn wait_for(&mut self, text: &str) {
        while !self.seen.iter().any(|line| line.contains(text)) {
            let line = self.stdout.recv_timeout(LONG);
            let line = line.unwrap_or_else(|error| panic!("no {text:?}: {error}; {:#?}", self.seen));
            self.seen.push(line);
        }
    }

    /// Signals the launcher's whole process group, as a terminal does with Ctrl-C.
    fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = i32::try_from(self.launcher.id()).expect("process numbers are small");
        nix::sys::signal::killpg(nix::unistd::Pid::from_raw(id), signal).expect("it runs");
    }

    /// Waits until the launcher and every script have ended.
    fn end(mut self) -> Ended {
        let mut events = Vec::new();
        loop {
            match self.events.recv_timeout(LONG) {
                Ok(event) => events.push(event),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("scripts still run: {error}; {events:#?} {:#?}", self.seen),
            }
        }
        while let Ok(line) = self.stdout.recv_timeout(LONG) {
            self.seen.push(line);
        }
        let mut stderr = String::new();
        self.launcher.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
        let code = self.launcher.wait().expect("it was started").code();
        Ended { code, stdout: self.seen.join("\n"), stderr, events }
    }
}

impl Ended {
    fn place(&self, event: &str) -> usize {
        let found = self.events.iter().position(|told| told == event);
        found.unwrap_or_else(|| panic!("no {event:?} in {:#?}\n{}\n{}", self.events, self.stdout, self.stderr))
    }

    fn reason(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (said, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| said.send(line))
    });
    lines
}

/// An HTTP server that is ready once that file exists, whatever the request, and accepts every registration.
fn answer_ready(file: PathBuf) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let is_post = read_request(&stream).starts_with("POST");
            let status = match (is_post, file.exists()) {
                (true, _) => "201 Created",
                (false, true) => "200 OK",
                (false, false) => "503 Service Unavailable",
            };
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    address
}

/// Reads a complete request, since closing earlier would cut off the answer; returns its first line.
fn read_request(stream: impl Read) -> String {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let mut body_bytes = 0;
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            body_bytes = length.trim().parse().expect("a length");
        }
    }
    let _ = std::io::copy(&mut reader.take(body_bytes), &mut std::io::sink());
    first
}

#[test]
fn a_good_run_starts_and_ends_in_order_and_reports() {
    let bench = Bench::new(&[]);
    let report = bench.path("report.json");
    let ended = bench.run(&["--bots", "2", "--seconds", "5", "--report", report.to_str().expect("UTF-8")]);
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let starts = ["server started", "shard-1 started", "bots started"].map(|event| ended.place(event));
    assert!(starts.is_sorted(), "{:?}", ended.events);
    let shards = ["shard-1 ended", "shard-2 ended"].map(|event| ended.place(event));
    assert!(ended.place("bots ended by itself") < shards[0].min(shards[1]), "{:?}", ended.events);
    assert!(shards[0].max(shards[1]) < ended.place("server ended"), "{:?}", ended.events);
    for line in ["server   | hello from server", "shard-2  | hello from shard-2", "sidereal | ready after"] {
        assert!(ended.stdout.contains(line), "no {line:?} in {}", ended.stdout);
    }
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).expect("written")).expect("JSON");
    assert_eq!((&report["bots_played"], &report["inputs_applied"]), (&2.into(), &100.into()));
    assert!(report["first_bot_in_space_ms"].as_u64().is_some_and(|ms| ms > 0), "{report}");
}

#[test]
fn an_added_network_stands_between_the_server_and_all_others() {
    let wishes = [("FAKE_server", "say \"hands out $advertised\""), ("FAKE_shard_1", "say \"joins $server\"")];
    let bench = Bench::new(&wishes);
    let report = bench.path("report.json");
    let latency = ["--latency-ms", "20", "--jitter-ms", "5", "--report", report.to_str().expect("UTF-8")];
    let ended = bench.run(&[&["--shards", "1", "--bots", "2"], &latency[..]].concat());
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    for event in [
        "server hands out 127.0.0.1:3",
        "shard-1 joins 127.0.0.1:4",
        "relay-players passes on to 127.0.0.1:1 after 20",
        "relay-shards passes on to 127.0.0.1:2 after 20",
    ] {
        ended.place(event);
    }
    for relay in ["relay-players", "relay-shards"] {
        assert!(ended.place(&format!("{relay} started")) < ended.place("server started"), "{:?}", ended.events);
        assert!(ended.place("server ended") < ended.place(&format!("{relay} ended")), "{:?}", ended.events);
    }
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).expect("written")).expect("JSON");
    assert_eq!(report["added_network"], serde_json::json!({"latency_ms": 20.0, "jitter_ms": 5.0, "loss": 0.0}));
    assert_eq!((&report["cpu_ms"]["relay-players"], &report["cpu_ms"]["relay-shards"]), (&70.0.into(), &70.0.into()));
}

#[test]
fn a_relay_that_cannot_listen_is_told_in_the_launchers_own_flags() {
    let refusal = "echo 'sidereal-relay: taken: choose another address with --listen' >&2; exit 2";
    let bench = Bench::new(&[("FAKE_relay_shards", refusal)]);
    let ended = bench.run(&["--latency-ms", "20"]);
    assert_eq!(ended.code, Some(2), "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.reason().contains("choose another address with --shard-port"), "{}", ended.stderr);
    assert!(!ended.events.iter().any(|event| event == "server started"), "{:?}", ended.events);
}

#[test]
fn a_network_that_cannot_be_added_is_told_before_anything_is_started() {
    let bench = Bench::new(&[]);
    for (arguments, named) in [(["--jitter-ms", "5"], "--latency-ms"), (["--loss", "0.9"], "--loss")] {
        let output = bench.command(&arguments).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2));
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(reason.contains(named) && output.stdout.is_empty(), "{reason}");
    }
}

#[test]
fn a_shard_that_dies_ends_the_run_with_its_name_status_and_last_lines() {
    let bench = Bench::new(&[("FAKE_shard_2", "echo the very reason >&2; exit 101")]);
    let ended = bench.run(&[]);
    assert_eq!(ended.code, Some(1));
    for part in ["shard-2 died", "101", "the very reason"] {
        assert!(ended.reason().contains(part), "no {part:?} in {}", ended.stderr);
    }
    assert!(ended.stdout.contains("sidereal |     the very reason"), "{}", ended.stdout);
    assert!(ended.place("shard-1 ended") < ended.place("server ended"));
}

#[test]
fn a_server_that_cannot_run_like_this_is_told_in_the_launchers_own_flags() {
    let bench = Bench::new(&[(
        "FAKE_server",
        "echo 'error: no such database: use another with --database-url' >&2; echo usage >&2; exit 2",
    )]);
    let ended = bench.run(&[]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.reason().contains("use another with --db") && !ended.reason().contains("usage"), "{}", ended.stderr);
}

#[test]
fn a_missing_report_is_an_error_that_names_the_process() {
    let bench = Bench::new(&[("FAKE_shard_1", "end() { :; }")]);
    let ended = bench.run(&["--bots", "2"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.reason().contains("shard-1 ended without writing its report"), "{}", ended.stderr);
}

#[test]
fn a_broken_invariant_fails_the_run_and_is_still_reported() {
    let bench = Bench::new(&[("FAKE_server", "lost=1")]);
    let report = bench.path("report.json");
    let ended = bench.run(&["--bots", "2", "--report", report.to_str().expect("UTF-8")]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.reason().contains("lost is 1"), "{}", ended.stderr);
    assert!(report.exists());
}

#[test]
fn bots_that_find_faults_end_the_run_as_bots_not_as_dead() {
    let bench = Bench::new(&[("FAKE_bots", "status=1")]);
    let ended = bench.run(&["--bots", "2"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.reason().contains("the bots found something wrong"), "{}", ended.stderr);
    assert!(ended.place("shard-1 ended") < ended.place("server ended"));
}

#[test]
fn a_window_gets_an_account_and_closing_it_ends_everything_well() {
    let bench = Bench::new(&[("DISPLAY", ":somewhere")]);
    let ended = bench.run(&["--shards", "1"]);
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let order = ["client closed", "shard-1 ended", "server ended"].map(|event| ended.place(event));
    assert!(order.is_sorted(), "{:?}", ended.events);
    let pilot: serde_json::Value =
        serde_json::from_slice(&std::fs::read(bench.path("data/pilot.json")).expect("made")).expect("JSON");
    let password = pilot["password"].as_str().expect("text");
    assert!(!ended.stdout.contains(password) && !ended.stderr.contains(password));
}

#[test]
fn a_signal_ends_everything_well() {
    let bench = Bench::new(&[]);
    let mut running = bench.start(&["--shards", "1"]);
    running.wait_for("Ctrl-C ends everything");
    running.signal(nix::sys::signal::Signal::SIGINT);
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.place("shard-1 ended") < ended.place("server ended"));
}

#[test]
fn time_that_is_up_ends_everything_well() {
    let ended = Bench::new(&[]).run(&["--shards", "1", "--seconds", "1"]);
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.place("shard-1 ended") < ended.place("server ended"));
}

#[test]
fn nothing_outlives_a_launcher_that_is_killed() {
    let bench = Bench::new(&[]);
    let mut running = bench.start(&[]);
    for text in ["hello from server", "hello from shard-1", "hello from shard-2"] {
        running.wait_for(text);
    }
    running.signal(nix::sys::signal::Signal::SIGKILL);
    let ended = running.end();
    for name in ["server", "shard-1", "shard-2"] {
        ended.place(&format!("{name} orphaned"));
    }
}

#[test]
fn a_reader_of_the_log_that_goes_away_ends_everything() {
    let bench = Bench::new(&[("FAKE_server", "while sleep 0.01; do echo chatter; done 9>&- &")]);
    let mut running = bench.start(&["--shards", "1"]);
    running.wait_for("Ctrl-C ends everything");
    drop(std::mem::replace(&mut running.stdout, channel().1));
    let ended = running.end();
    assert!(ended.place("shard-1 ended") < ended.place("server ended"));
}

#[test]
fn a_taken_port_is_told_before_anything_is_started_or_deleted() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let bench = Bench::new(&[]);
    let database = bench.path("world.sqlite");
    std::fs::write(&database, "precious").expect("written");
    let database_path = database.to_str().expect("UTF-8");
    let arguments = ["--player-port", &port, "--fresh", "--db", database_path];
    let output = bench.command(&arguments).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(reason.contains(&port) && reason.contains("players") && reason.contains("--player-port"), "{reason}");
    assert!(output.stdout.is_empty());
    assert!(database.exists());
}
