//! A parent's end: starts this program in a role, asks it, and ends it.

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    time::{Duration, Instant},
};

/// How long a child has for an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// How long a child has to end once its standard input is closed; then it is killed.
const END_DEADLINE: Duration = Duration::from_secs(15);

/// Lines of a child that wait at most to be read.
const MAX_LINES: usize = 64;

/// A running child. Dropping it ends it.
#[derive(Debug)]
pub struct Spawned {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    log: PathBuf,
}

/// The last lines of a log, for an error.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}

impl Spawned {
    /// Starts `program` with `arguments`. Its errors go to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
        log: &Path,
    ) -> Result<Self> {
        let errors = std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        // The options of a world of the user's must not change this one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SIDEREAL_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("it has a standard output")?;
        let (sender, lines) = sync_channel(MAX_LINES);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { name: name.to_owned(), child, stdin, lines, log: log.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it, and waits for the answer.
    ///
    /// # Errors
    /// When it does not answer in time, or not as expected.
    pub fn ask<T: DeserializeOwned>(&mut self, request: &str) -> Result<T> {
        // Answers that came too late.
        while self.lines.try_recv().is_ok() {}
        let stdin = self.stdin.as_mut().context("its standard input is closed")?;
        writeln!(stdin, "{request}")
            .and_then(|()| stdin.flush())
            .with_context(|| format!("{} has ended: {}", self.name, tail(&self.log)))?;
        self.read()
    }

    /// Waits for its next line.
    ///
    /// # Errors
    /// When there is none in time, or not as expected.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<T> {
        match self.lines.recv_timeout(ANSWER_DEADLINE) {
            Ok(line) => serde_json::from_str(&line).with_context(|| format!("{} answered {line:?}", self.name)),
            Err(RecvTimeoutError::Timeout) => bail!("{} does not answer", self.name),
            Err(RecvTimeoutError::Disconnected) => bail!("{} has ended: {}", self.name, tail(&self.log)),
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has written the file `path` (JSON), and returns its content.
    ///
    /// # Errors
    /// When it has not in time, or has ended.
    pub fn wait_for_file<T: DeserializeOwned>(&mut self, path: &PathBuf) -> Result<T> {
        let deadline = Instant::now() + ANSWER_DEADLINE;
        loop {
            if let Ok(text) = std::fs::read_to_string(path) {
                return serde_json::from_str(&text).with_context(|| format!("{} wrote {text:?}", self.name));
            }
            if self.has_ended() {
                bail!("{} ended before it was ready", self.name);
            }
            if Instant::now() > deadline {
                bail!("{} was not ready in time", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Closes its standard input and waits for its end, within a limit.
    pub fn end(&mut self) {
        self.stdin = None;
        let deadline = Instant::now() + END_DEADLINE;
        while !self.has_ended() {
            if Instant::now() > deadline {
                // It is killed by its handle, so that no other process can be meant.
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.end();
    }
}
