//! Process matters of every program of Sidereal: stop signals, panics, and the resources that the process uses.

pub mod crash;
pub mod threads;

mod log_limit;

pub use log_limit::LogLimit;

use anyhow::Context;
use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A flag that SIGINT, SIGTERM, and (on request) the end of the standard input set: then the process at its other end
/// is gone.
///
/// # Errors
/// When the system refuses the handler or the thread, or a handler is installed already.
pub fn stop_flag(die_with_stdin: bool) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let by_signal = stop.clone();
    let on_signal = move || {
        crash::fault_point("signals");
        by_signal.store(true, Ordering::Relaxed);
    };
    ctrlc::set_handler(on_signal).context("cannot listen for signals")?;
    if die_with_stdin {
        let by_stdin = stop.clone();
        on_stdin_end(move || by_stdin.store(true, Ordering::Relaxed)).context("cannot watch standard input")?;
    }
    Ok(stop)
}

/// Calls `end` once, on a thread of its own, when the standard input ends.
///
/// # Errors
/// When the system cannot create a thread.
pub fn on_stdin_end(end: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut buffer = [0u8; 256];
        while matches!(std::io::stdin().read(&mut buffer), Ok(1..)) {}
        crash::fault_point("stdin");
        end();
    })?;
    Ok(())
}

/// CPU time that this process used, all threads, milliseconds; `None` on systems without that figure.
pub fn cpu_ms() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The process's name, in parentheses, may contain anything; fields are counted after it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    // Linux counts these in hundredths of a second on every architecture.
    Some((user + system) * 10)
}

/// The most memory that this process had, KiB; `None` on systems without that figure.
pub fn max_rss_kb() -> Option<u64> {
    status_kb("VmHWM:")
}

/// The present memory of this process, KiB; `None` on systems without that figure.
pub fn rss_kb() -> Option<u64> {
    status_kb("VmRSS:")
}

fn status_kb(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_tells_of_the_process() {
        assert!(max_rss_kb().expect("Linux tells") > 100);
        assert!(rss_kb().expect("Linux tells") > 100);
        assert!(cpu_ms().is_some());
    }
}
