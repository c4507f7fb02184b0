//! Shared parts of the programs around this library: a stop flag, a steady pace, and the process's resources. The only
//! place here that uses the real clock.

use anyhow::Context;
use serde::Serialize;
use sidereal_transport::ClientHandle;
use std::{
    io::Read,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a closing process waits until its last datagrams and streams were sent.
const CLOSE_DEADLINE: Duration = Duration::from_secs(3);

/// Set when the process must end.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that SIGINT and SIGTERM set; a second signal ends the process at once.
    ///
    /// # Errors
    /// When the system refuses the handler, or one is installed already.
    pub fn on_signals() -> anyhow::Result<Self> {
        let flag = Self::default();
        let handler = flag.clone();
        ctrlc::set_handler(move || {
            if handler.is_set() {
                std::process::exit(1);
            }
            handler.set();
        })
        .context("cannot listen for signals")?;
        Ok(flag)
    }

    /// Sets the flag when standard input ends: the parent process is gone.
    pub fn on_stdin_end(&self) {
        let flag = self.clone();
        std::thread::spawn(move || {
            let mut buffer = [0u8; 256];
            let mut stdin = std::io::stdin();
            while matches!(stdin.read(&mut buffer), Ok(read) if read > 0) {}
            flag.set();
        });
    }

    /// Sets it.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs a loop at an even pace and measures its frames.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    next: Instant,
    last: Instant,
}

impl Pace {
    /// `hz` frames a second.
    pub fn new(hz: f64) -> Self {
        let now = Instant::now();
        Self { interval: Duration::from_secs_f64(1.0 / hz), next: now, last: now }
    }

    /// Sleeps until the next frame is due; returns the seconds since the last one. A loop that is too slow does not
    /// sleep, and does not catch up either.
    pub fn wait(&mut self) -> f64 {
        let now = Instant::now();
        if now < self.next {
            std::thread::sleep(self.next - now);
        }
        let now = Instant::now();
        self.next = (self.next + self.interval).max(now);
        let delta = now - self.last;
        self.last = now;
        delta.as_secs_f64()
    }
}

/// Waits until these links have ended, for a bounded time. Called after they were closed.
pub fn wait_for_close(handles: &[ClientHandle]) {
    let deadline = Instant::now() + CLOSE_DEADLINE;
    for handle in handles {
        while !handle.is_finished() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            handle.waker().wait(left.min(Duration::from_millis(50)));
        }
    }
}

/// Starts the log: to standard error, filtered by `RUST_LOG`.
pub fn start_log() {
    start_log_with("");
}

/// Starts the log like [`start_log`], with additional directives `more` if `RUST_LOG` is not set; empty, or starting
/// with a comma.
pub fn start_log_with(more: &str) {
    let default = format!(
        "info,naia_shared=warn,naia_server=warn,naia_client=error,\
         naia_client::handshake=error,naia_bevy_client=error{more}"
    );
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Parses the seconds of a command line.
///
/// # Errors
/// When it is not a number, or not a valid duration.
pub fn parse_seconds(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok(seconds),
        _ => Err("give a number of seconds, 0 or more"),
    }
}

/// Checks whether [`write_report`] can write there, at the start and not after hours of play.
///
/// # Errors
/// When it cannot; one line with the remedy.
pub fn check_writable(path: &Path) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    std::fs::write(&part, "").and_then(|()| std::fs::remove_file(&part)).with_context(|| {
        format!("cannot write {} (is its folder there and writable? else name another file)", path.display())
    })
}

/// Writes a report as JSON, completely or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write_report(path: &Path, report: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report).context("cannot encode the report")?;
    let part = path.with_extension("part");
    std::fs::write(&part, text + "\n")
        .and_then(|()| std::fs::rename(&part, path))
        .with_context(|| format!("cannot write the report {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        write_report(&path, &serde_json::json!({"a": 1})).unwrap();
        let back: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(back["a"], 1);
        check_writable(&path).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_report(Path::new("/nowhere/x/report.json"), &1).is_err());
        assert!(check_writable(Path::new("/nowhere/x/report.json")).is_err());
    }

    #[test]
    fn seconds_are_what_time_can_be() {
        assert_eq!(parse_seconds("0.5"), Ok(0.5));
        for text in ["-1", "nan", "inf", "soon", ""] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
