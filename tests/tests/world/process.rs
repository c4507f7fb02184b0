//! One child process: its output, its end, and that it ends with its test.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

/// An event that takes this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A process that was started here. It is killed when this is dropped, and ends by itself (`--die-with-stdin`) when the
/// whole test is killed.
pub struct Process {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<(Stream, String)>,
    stdout: Vec<String>,
    stderr: Vec<String>,
}

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

/// A process that has ended.
#[derive(Debug)]
#[expect(dead_code, reason = "a failing test shows all of it")]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
}

impl Process {
    /// Starts the program called `name` with `arguments`, and without variables that would set flags.
    pub fn start(name: &'static str, arguments: &[impl AsRef<str>]) -> Self {
        let mut command = Command::new(program(name));
        command.args(arguments.iter().map(AsRef::as_ref));
        Self::run(name, command, &[])
    }

    /// Starts `command`, with these variables and no others that set flags.
    pub fn run(name: &'static str, mut command: Command, variables: &[(&str, &str)]) -> Self {
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SIDEREAL_")) {
            command.env_remove(variable);
        }
        command.env_remove("RUST_LOG").env("NO_COLOR", "1").envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let (told, lines) = channel();
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        read_lines(stdout, Stream::Stdout, told.clone());
        read_lines(stderr, Stream::Stderr, told);
        let stdin = child.stdin.take();
        Self { name, child, stdin, lines, stdout: Vec::new(), stderr: Vec::new() }
    }

    /// Its output on standard error so far, which contains the logs.
    pub fn seen(&self) -> &[String] {
        &self.stderr
    }

    /// Its present memory, KiB; 0 on systems without that figure.
    pub fn rss_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// Its output on standard output so far.
    pub fn printed(&self) -> &[String] {
        &self.stdout
    }

    /// Reads its output until there is none for `time`. False once there can be no more.
    pub fn listen(&mut self, time: Duration) -> bool {
        loop {
            match self.lines.recv_timeout(time) {
                Ok((Stream::Stdout, line)) => self.stdout.push(line),
                Ok((Stream::Stderr, line)) => self.stderr.push(line),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Waits until it has written `path`.
    #[track_caller]
    pub fn wait_for_file(&mut self, path: &Path) {
        let deadline = Instant::now() + PATIENCE;
        while !path.exists() {
            let lives = self.listen(Duration::from_millis(20));
            assert!(lives && Instant::now() < deadline, "{} never wrote {path:?}: {:#?}", self.name, self.stderr);
        }
    }

    /// Waits until `done` returns a value.
    #[track_caller]
    pub fn wait_until<T>(&mut self, what: &str, mut done: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = done(self) {
                return found;
            }
            let lives = self.listen(Duration::from_millis(20));
            let (name, printed, seen) = (self.name, &self.stdout, &self.stderr);
            assert!(lives && Instant::now() < deadline, "{name}: {what} never came: {printed:#?} {seen:#?}");
        }
    }

    /// Whether it is running.
    pub fn is_running(&mut self) -> bool {
        self.listen(Duration::ZERO);
        self.child.try_wait().expect("it was started here").is_none()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        while self.listen(Duration::from_millis(100)) {
            assert!(Instant::now() < deadline, "{} does not end: {:#?}", self.name, self.stderr);
        }
        // Both of its streams have ended, so it has ended or is about to.
        let status = self.child.wait().expect("it was started here");
        Ended {
            code: status.code(),
            stdout: std::mem::take(&mut self.stdout),
            stderr: std::mem::take(&mut self.stderr),
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Closes its standard input, as the system does when the parent process is gone.
    pub fn close_stdin(&mut self) {
        drop(self.stdin.take());
    }

    /// Requests its end, as the system does when the parent process is gone, and waits for it.
    #[track_caller]
    pub fn stop(mut self) -> Ended {
        drop(self.stdin.take());
        self.end()
    }

    /// Ends it as a power failure would: SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("it was started here");
        self.child.wait().expect("it was started here");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended and was waited for: then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stream: impl Read + Send + 'static, which: Stream, told: Sender<(Stream, String)>) {
    std::thread::spawn(move || {
        let lines = BufReader::new(stream).split(b'\n').map_while(Result::ok);
        for line in lines {
            // When the test has ended, the receiver is gone.
            if told.send((which, String::from_utf8_lossy(&line).trim_end().to_owned())).is_err() {
                return;
            }
        }
    });
}

/// The program called `name`: in `SIDEREAL_BIN_DIR`, else where cargo puts it, beside the folder of this test.
fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("SIDEREAL_BIN_DIR").map_or_else(
        || {
            let test = std::env::current_exe().expect("the system has this test's path");
            test.ancestors().nth(2).expect("target/PROFILE/deps/TEST").to_owned()
        },
        PathBuf::from,
    );
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.is_file(),
        "{} is not there: `cargo build --no-default-features -p sidereal-server -p sidereal-shard -p sidereal-client \
         -p sidereal-bots -p sidereal-launcher -p sidereal-relay` builds what this test needs (./test does so), or set SIDEREAL_BIN_DIR",
        path.display()
    );
    path
}
