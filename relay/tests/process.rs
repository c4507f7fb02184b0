//! `sidereal-relay` as a process: its files, its end, its refusals.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A test that waits this long fails.
const LONG: Duration = Duration::from_secs(60);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidereal-relay"));
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SIDEREAL_")) {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("written")).expect("JSON")
}

/// A relay that gets its target by a file.
struct Bench {
    folder: TempDir,
    process: Child,
}

impl Bench {
    fn start(arguments: &[&str]) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let (ready, to, report) = (path("ready"), path("to"), path("report"));
        let files = ["--ready-file", text(&ready), "--to-file", text(&to), "--report", text(&report)];
        let process = command(&[&files, arguments].concat()).spawn().expect("it starts");
        let mut bench = Self { folder, process };
        bench.wait_until(|bench| bench.path("ready").exists());
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn wait_until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LONG;
        while !done(self) {
            assert!(Instant::now() < deadline, "it does not come to that");
            assert_eq!(self.process.try_wait().expect("it was started"), None, "it ended");
            std::thread::yield_now();
        }
    }

    /// One datagram to the target, and one back.
    fn exchange(&mut self) {
        let sockets = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free"));
        let [target, peer] = &sockets;
        sockets.iter().for_each(|socket| socket.set_read_timeout(Some(LONG)).expect("above nought"));
        let ready = json(&self.path("ready"));
        let door = ready["listen_addr"].as_str().expect("an address");
        peer.send_to(b"there", door).expect("sent");
        std::fs::write(self.path("to"), format!("{}\n", target.local_addr().expect("bound"))).expect("written");
        let mut buffer = [0; 64];
        let (length, from) = target.recv_from(&mut buffer).expect("it waited for the address");
        assert_eq!(&buffer[..length], b"there");
        target.send_to(b"and back", from).expect("sent");
        let length = peer.recv(&mut buffer).expect("it comes back");
        assert_eq!(&buffer[..length], b"and back");
    }

    #[track_caller]
    fn ended_well(self) -> Value {
        let output = self.process.wait_with_output().expect("it was started");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        json(&self.folder.path().join("report"))
    }
}

#[test]
fn it_ends_with_its_standard_input_and_reports() {
    let mut bench = Bench::start(&["--die-with-stdin", "--delay-ms", "3", "--jitter-ms", "0.5"]);
    bench.exchange();
    drop(bench.process.stdin.take());
    let report = bench.ended_well();
    assert_eq!((&report["delay_ms"], &report["jitter_ms"]), (&3.0.into(), &0.5.into()));
    assert_eq!((&report["to_target"]["left"], &report["to_peer"]["left"]), (&1.into(), &1.into()));
    assert_eq!(report["peers_max"], 1);
}

#[cfg(unix)]
#[test]
fn it_ends_well_at_sigterm_with_and_without_a_target() {
    use nix::sys::signal::{Signal, kill};

    let ask = |bench: &Bench| {
        let id = i32::try_from(bench.process.id()).expect("process numbers are small");
        kill(nix::unistd::Pid::from_raw(id), Signal::SIGTERM).expect("it runs");
    };
    let mut bench = Bench::start(&[]);
    bench.exchange();
    ask(&bench);
    bench.ended_well();
    let bench = Bench::start(&[]);
    ask(&bench);
    let report = bench.ended_well();
    assert_eq!(report["to_target"]["entered"], 0);
}

#[test]
fn what_it_cannot_do_is_told_in_one_line() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
    let taken = taken.local_addr().map(|address| (address.to_string(), taken)).expect("it is bound");
    let to = ["--to", "127.0.0.1:9"];
    let cases: [(&[&str], &[&str]); 7] = [
        (&["--listen", &taken.0], &["cannot listen", &taken.0, "--listen"]),
        (&["--listen", "0.0.0.0:0"], &["--listen 0.0.0.0:0", "--allow-remote"]),
        (&["--jitter-ms", "2", "--delay-ms", "1"], &["jitter", "at most"]),
        (&["--loss", "1.5"], &["loss", "0 to 1"]),
        (&["--delay-ms", "20000"], &["delay", "at most"]),
        (&["--report", "/nowhere/x.json"], &["/nowhere/x.json", "writable"]),
        (&["--ready-file", "/nowhere/x.json"], &["/nowhere/x.json", "writable"]),
    ];
    for (arguments, says) in cases {
        let Output { status, stderr, .. } = command(&[&to, arguments].concat()).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(2), "{arguments:?}: {stderr}");
        let lines: Vec<&str> = stderr.lines().filter(|line| line.starts_with("sidereal-relay: ")).collect();
        let [line] = lines[..] else { panic!("not one line: {stderr}") };
        assert!(says.iter().all(|part| line.contains(part)), "{says:?} in {line}");
    }
    let remote = command(&["--to", "192.0.2.1:9"]).output().expect("it starts");
    assert_eq!(remote.status.code(), Some(2));
}
