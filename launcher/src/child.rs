//! One started process: its lines in the log, and its end, first by request and then by force.
//!
//! Only processes started here are ever signalled, and only before they were waited for, so that a process id that the
//! system has reused is never hit. Each has the read end of a pipe as its standard input and ends when that closes
//! (`--die-with-stdin`): when the launcher is killed, the system closes it.

use std::io::{self, BufReader, Read};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::log::{Label, LastLines, Log, read_line};

/// How long to wait for the last lines of an ended process. It is only reached if a process that it started itself
/// still holds its output.
const OUTPUT_LIMIT: Duration = Duration::from_secs(1);

/// A process that was started here.
#[derive(Debug)]
pub struct Child {
    label: Label,
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    last_lines: Arc<Mutex<LastLines>>,
    /// Disconnected once both readers of its output are done.
    output: Receiver<()>,
    status: Option<ExitStatus>,
    asked: bool,
}

impl Child {
    /// Starts `command`; its output goes to `log` behind `label`.
    ///
    /// # Errors
    /// The system could not start it.
    pub fn start(label: Label, mut command: Command, log: &Arc<Log>) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // In a process group of its own: a terminal's Ctrl-C then reaches only the launcher, which ends all in order.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = command.spawn()?;
        let last_lines = Arc::default();
        let (done, output) = channel();
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            process.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
            process.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
        ];
        for stream in streams.into_iter().flatten() {
            let reader = OutputReader {
                label: label.clone(),
                log: Arc::clone(log),
                last_lines: Arc::clone(&last_lines),
                _done: done.clone(),
            };
            std::thread::spawn(move || reader.run(stream));
        }
        let stdin = process.stdin.take();
        Ok(Self { label, process, stdin, last_lines, output, status: None, asked: false })
    }

    /// Its name in the log.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// Whether [`Child::ask_to_end`] was called while it was running.
    pub fn was_asked_to_end(&self) -> bool {
        self.asked
    }

    /// Its status once it has ended. Then everything that it wrote is in the log.
    ///
    /// # Errors
    /// The system cannot report its state.
    pub fn poll(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.process.try_wait()?;
            if self.status.is_some() {
                self.wait_for_output();
            }
        }
        Ok(self.status)
    }

    /// Requests its end: by SIGTERM, or on systems without signals by closing its standard input.
    pub fn ask_to_end(&mut self) {
        if self.status.is_some() {
            return;
        }
        self.asked = true;
        #[cfg(unix)]
        {
            use nix::sys::signal::{Signal, kill};
            // It was not waited for, so the process id is still its own. If it has just ended, nothing is hit.
            if let Ok(id) = i32::try_from(self.process.id()) {
                let _ = kill(nix::unistd::Pid::from_raw(id), Signal::SIGTERM);
            }
        }
        #[cfg(not(unix))]
        drop(self.stdin.take());
    }

    /// Ends it by force and waits until it has ended.
    ///
    /// # Errors
    /// The system cannot end it or wait for it.
    pub fn kill(&mut self) -> io::Result<()> {
        if self.status.is_none() {
            self.process.kill()?;
            drop(self.stdin.take());
            self.status = Some(self.process.wait()?);
            self.wait_for_output();
        }
        Ok(())
    }

    /// The newest lines that it wrote, oldest first.
    pub fn last_lines(&self) -> Vec<String> {
        self.last_lines.lock().unwrap_or_else(PoisonError::into_inner).to_vec()
    }

    fn wait_for_output(&self) {
        // Nothing is ever sent: this ends when the readers drop their senders, or at the limit.
        let _ = self.output.recv_timeout(OUTPUT_LIMIT);
    }
}

/// A running child that is dropped (by an error, a panic) leaves no process behind.
impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

struct OutputReader {
    label: Label,
    log: Arc<Log>,
    last_lines: Arc<Mutex<LastLines>>,
    _done: Sender<()>,
}

impl OutputReader {
    fn run(self, stream: impl Read) {
        let mut stream = BufReader::new(stream);
        // An error here is the end of the stream too.
        while let Ok(Some(line)) = read_line(&mut stream) {
            self.log.line(&self.label, &line);
            self.last_lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }
}
