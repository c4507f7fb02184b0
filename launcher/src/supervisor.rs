//! All started processes: their stages, unexpected ends, and the end of all in order.

use std::fmt;
use std::io;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::child::Child;
use crate::log::{Label, Log};

/// How often the processes are polled.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// How long a process may take to end on request, before it is ended by force.
pub const GRACE: Duration = Duration::from_secs(10);

/// Which processes depend on which. Stages end in the reverse of this order: players leave while shards still simulate,
/// shards send their last records while the server still accepts them, and the server saves last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The relays that all traffic passes.
    Network,
    /// The replication server.
    Server,
    /// The shards.
    Shards,
    /// Bots and the client.
    Players,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The end of the run was requested: by a signal, or because the log's reader is gone.
    Interrupted,
    /// A process ended without a request.
    Ended {
        /// Its name.
        name: String,
        /// Its status.
        status: ExitStatus,
    },
}

/// A process that did not end properly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEnd {
    /// Its name.
    pub name: String,
    /// What happened.
    pub what: BadEndKind,
}

/// See [`BadEnd`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadEndKind {
    /// It ended without a request.
    Died(ExitStatus),
    /// It ended on request, with a failure.
    Failed(ExitStatus),
    /// It did not end on request and was ended by force.
    Killed,
    /// The system could not end it.
    Undying(String),
}

impl fmt::Display for BadEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.what {
            BadEndKind::Died(status) => write!(f, "{name} died ({status})"),
            BadEndKind::Failed(status) => write!(f, "{name} failed while it was ending ({status})"),
            BadEndKind::Killed => write!(f, "{name} did not end when asked and was killed"),
            BadEndKind::Undying(error) => write!(f, "{name} cannot be ended: {error}"),
        }
    }
}

struct Member {
    stage: Stage,
    child: Child,
    /// Its end was reported already.
    told: bool,
}

/// Starts, watches and ends processes.
pub struct Supervisor {
    log: Arc<Log>,
    interrupts: Receiver<()>,
    grace: Duration,
    members: Vec<Member>,
}

impl Supervisor {
    /// `interrupts` receives one message per Ctrl-C or SIGTERM; `grace` as [`GRACE`].
    pub fn new(log: Arc<Log>, interrupts: Receiver<()>, grace: Duration) -> Self {
        Self { log, interrupts, grace, members: Vec::new() }
    }

    /// Starts a process of `stage`.
    ///
    /// # Errors
    /// The system could not start it.
    pub fn start(&mut self, stage: Stage, label: Label, command: Command) -> io::Result<()> {
        let child = Child::start(label, command, &self.log)?;
        self.members.push(Member { stage, child, told: false });
        Ok(())
    }

    /// The next event, or `None` if there is none until `deadline` (all are polled at least once). Each end is reported
    /// once.
    ///
    /// # Errors
    /// The system cannot report the state of a process.
    pub fn next_event(&mut self, deadline: Instant) -> io::Result<Option<Event>> {
        loop {
            for member in self.members.iter_mut().filter(|member| !member.told) {
                if let Some(status) = member.child.poll()? {
                    member.told = true;
                    return Ok(Some(Event::Ended { name: member.child.label().name().to_owned(), status }));
                }
            }
            if self.log.is_closed() {
                return Ok(Some(Event::Interrupted));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.interrupted_within(left.min(POLL)) {
                return Ok(Some(Event::Interrupted));
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// The newest lines of a process.
    pub fn last_lines(&self, name: &str) -> Vec<String> {
        let member = self.members.iter().find(|member| member.child.label().name() == name);
        member.map(|member| member.child.last_lines()).unwrap_or_default()
    }

    /// Ends every process, stage by stage: requests the end of all in a stage, waits, and ends the rest by force. An
    /// interrupt meanwhile ends the waiting. Returns those that did not end properly, in the order in which they ended,
    /// without those whose end was reported as an [`Event`] before.
    pub fn end_all(&mut self) -> Vec<BadEnd> {
        let mut bad = Vec::new();
        let mut patience = self.grace;
        for stage in [Stage::Players, Stage::Shards, Stage::Server, Stage::Network] {
            self.end_stage(stage, &mut patience, &mut bad);
        }
        bad
    }

    fn end_stage(&mut self, stage: Stage, patience: &mut Duration, bad: &mut Vec<BadEnd>) {
        let is_open = |member: &Member| member.stage == stage && !member.told;
        for member in self.members.iter_mut().filter(|member| is_open(member)) {
            // Polled first, to distinguish one that died before the request from one that ended because of it.
            if matches!(member.child.poll(), Ok(None)) {
                member.child.ask_to_end();
            }
        }
        let deadline = Instant::now() + *patience;
        loop {
            for member in self.members.iter_mut().filter(|member| is_open(member)) {
                if let Ok(Some(status)) = member.child.poll() {
                    member.told = true;
                    let name = member.child.label().name().to_owned();
                    let what = match member.child.was_asked_to_end() {
                        true if ended_well(status) => continue,
                        true => BadEndKind::Failed(status),
                        false => BadEndKind::Died(status),
                    };
                    bad.push(BadEnd { name, what });
                }
            }
            if !self.members.iter().any(is_open) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            if self.interrupted_within(left.min(POLL)) {
                self.log.line(&Label::launcher(), "asked twice: ending by force");
                *patience = Duration::ZERO;
                break;
            }
        }
        for member in self.members.iter_mut().filter(|member| is_open(member)) {
            member.told = true;
            let name = member.child.label().name().to_owned();
            let what = match member.child.kill() {
                Ok(()) => BadEndKind::Killed,
                Err(error) => BadEndKind::Undying(error.to_string()),
            };
            bad.push(BadEnd { name, what });
        }
    }

    fn interrupted_within(&self, time: Duration) -> bool {
        match self.interrupts.recv_timeout(time) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            // There can be no more interrupts; the pace stays.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(time);
                false
            }
        }
    }
}

/// Whether a process has ended properly on request. A request before its own handler of SIGTERM was installed ends it
/// by the signal.
fn ended_well(status: ExitStatus) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        if status.signal() == Some(nix::sys::signal::Signal::SIGTERM as i32) {
            return true;
        }
    }
    status.success()
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// A test that waits this long hangs, and fails by an assertion.
    const LONG: Duration = Duration::from_secs(60);

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.lock().expect("no writer panicked")).into_owned()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panicked").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bench {
        supervisor: Supervisor,
        written: Written,
        interrupt: Sender<()>,
    }

    fn bench(grace: Duration) -> Bench {
        let written = Written::default();
        let (interrupt, interrupts) = channel();
        let log = Arc::new(Log::new(Box::new(written.clone()), 3, false));
        Bench { supervisor: Supervisor::new(log, interrupts, grace), written, interrupt }
    }

    impl Bench {
        fn start(&mut self, stage: Stage, name: &str, script: &str) {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            self.supervisor.start(stage, Label::new(name, 0), command).expect("sh starts");
        }

        /// Steps until `text` is in the log: the script has reached that point.
        fn wait_for(&mut self, text: &str) {
            let deadline = Instant::now() + LONG;
            while !self.written.text().contains(text) {
                let event = self.supervisor.next_event(Instant::now()).expect("children can be looked at");
                assert_eq!(event, None, "before {text:?}");
                assert!(Instant::now() < deadline, "{text:?} never came: {}", self.written.text());
            }
        }
    }

    /// Prints when it is up, says goodbye on request, and ends with its standard input too.
    const POLITE: &str = "trap 'echo bye; exit 0' TERM; echo up; while read -r _; do :; done; echo orphaned";
    const STUBBORN: &str = "trap '' TERM; echo up; while read -r _; do :; done";

    #[test]
    fn stages_end_in_order_and_nothing_is_wrong_with_that() {
        let mut bench = bench(LONG);
        for (stage, name) in [(Stage::Server, "a"), (Stage::Shards, "b"), (Stage::Shards, "c"), (Stage::Players, "d")] {
            bench.start(stage, name, POLITE);
            bench.wait_for(&format!("{name}   | up"));
        }
        assert_eq!(bench.supervisor.end_all(), []);
        let text = bench.written.text();
        let place = |name: &str| text.find(&format!("{name}   | bye")).expect("it said goodbye");
        assert!(place("d") < place("b").min(place("c")), "{text}");
        assert!(place("b").max(place("c")) < place("a"), "{text}");
        assert!(!text.contains("orphaned"));
    }

    #[test]
    fn one_that_dies_is_told_once_with_its_status_and_last_lines() {
        let mut bench = bench(LONG);
        bench.start(Stage::Server, "a", POLITE);
        bench.wait_for("a   | up");
        bench.start(Stage::Shards, "b", "echo the reason >&2; exit 7");
        let event = bench.supervisor.next_event(Instant::now() + LONG).expect("children can be looked at");
        let Some(Event::Ended { name, status }) = event else { panic!("{event:?}") };
        assert_eq!((name.as_str(), status.code()), ("b", Some(7)));
        assert_eq!(bench.supervisor.last_lines("b"), ["the reason"]);
        assert_eq!(bench.supervisor.end_all(), []);
    }

    #[test]
    fn one_that_dies_while_others_end_is_told_as_dead_not_as_ended() {
        let mut bench = bench(LONG);
        bench.start(Stage::Server, "a", "echo up; kill -9 $$");
        bench.start(Stage::Players, "d", "trap 'echo bye; exit 3' TERM; echo up; while read -r _; do :; done");
        let deadline = Instant::now() + LONG;
        let is_dead =
            |bench: &mut Bench| bench.supervisor.members[0].child.poll().expect("it can be looked at").is_some();
        while !is_dead(&mut bench) || !bench.written.text().contains("d   | up") {
            assert!(Instant::now() < deadline, "{}", bench.written.text());
            std::thread::yield_now();
        }
        let bad = bench.supervisor.end_all();
        let said: Vec<String> = bad.iter().map(ToString::to_string).collect();
        assert!(said[0].contains("d failed") && said[0].contains('3'), "{said:?}");
        assert!(said[1].contains("a died") && said[1].contains("SIGKILL"), "{said:?}");
    }

    #[test]
    fn one_that_does_not_listen_is_killed_after_the_grace() {
        let mut bench = bench(Duration::from_millis(50));
        bench.start(Stage::Shards, "b", STUBBORN);
        bench.wait_for("b   | up");
        let bad = bench.supervisor.end_all();
        assert_eq!(bad, [BadEnd { name: "b".into(), what: BadEndKind::Killed }]);
    }

    #[test]
    fn a_second_interrupt_ends_the_waiting() {
        let mut bench = bench(LONG);
        bench.start(Stage::Server, "a", STUBBORN);
        bench.start(Stage::Shards, "b", STUBBORN);
        bench.wait_for("b   | up");
        bench.wait_for("a   | up");
        bench.interrupt.send(()).expect("it listens");
        let began = Instant::now();
        let bad = bench.supervisor.end_all();
        assert!(bad.iter().all(|end| end.what == BadEndKind::Killed) && bad.len() == 2, "{bad:?}");
        assert!(began.elapsed() < LONG, "the grace of neither was waited for");
    }

    #[test]
    fn an_interrupt_and_a_log_without_a_reader_are_events() {
        let mut bench = bench(LONG);
        bench.interrupt.send(()).expect("it listens");
        let event = bench.supervisor.next_event(Instant::now() + LONG).expect("nothing to look at");
        assert_eq!(event, Some(Event::Interrupted));
    }
}
