//! One run: checks, start in order, waiting, end in order, judgement.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::binaries::{Binaries, MissingBinary};
use crate::database::{Database, DatabaseError};
use crate::log::{Label, Log};
use crate::network::{AddedNetwork, Door, NetworkError, RelayAddrs};
use crate::options::Options;
use crate::pilot::{self, Pilot, PilotError};
use crate::ports::{self, Port, PortError};
use crate::process_reports::{self, ProcessReportError};
use crate::report::{self, ProcessReports, Report};
use crate::supervisor::{BadEnd, BadEndKind, Event, GRACE, POLL, Stage, Supervisor};
use crate::verdict;
use crate::world::{Endpoints, World};

/// How long the relays may take until they listen.
const RELAYS_START_LIMIT: Duration = Duration::from_secs(10);

/// How long the server may take until it listens, including opening and migrating the database.
const SERVER_START_LIMIT: Duration = Duration::from_secs(30);

/// How long the shards may take until they hold leases, including loading or generating their sectors.
const SHARDS_START_LIMIT: Duration = Duration::from_secs(60);

/// How long bots may take beyond their `--seconds`, for login (a password hash each) and disconnecting.
const BOTS_EXTRA_LIMIT: Duration = Duration::from_secs(180);

/// The longest wait for one answer of the server's `/ready`.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// The name of the bots' process.
const BOTS: &str = "bots";

/// The exit status of a process that cannot run with its options.
const CANNOT_RUN: i32 = 2;

/// The server's flags that the launcher sets, with the launcher's flags for them.
const OWN_FLAGS: [(&str, &str); 5] = [
    ("--database-url", "--db"),
    ("--player-addr", "--player-port"),
    ("--shard-addr", "--shard-port"),
    ("--http-addr", "--http-port"),
    ("--ops-addr", "--ops-port"),
];

/// The exit status of bots that have reported, and found errors.
const BOTS_FOUND_FAULTS: i32 = 1;

/// Why a run has failed: one line with the problem and, where known, the remedy.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Failure {
    #[error(transparent)]
    MissingBinary(#[from] MissingBinary),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("the report cannot be written to {}: {source}; choose another file with --report FILE", path.display())]
    ReportFile { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Pilot(#[from] PilotError),
    #[error("{name} could not be started: {source}")]
    Start { name: String, source: io::Error },
    #[error("{name} died ({status}) after {after_s:.1} s; its last line: {last_line}")]
    Died { name: String, status: ExitStatus, after_s: f64, last_line: String },
    #[error("{name} cannot run like this: {reason}")]
    Refused { name: String, reason: String },
    #[error("{what} within {limit:?}; see the lines above")]
    TooLate { what: &'static str, limit: Duration },
    #[error("interrupted before the world was ready")]
    InterruptedEarly,
    #[error("{}", said(.0))]
    BadEnds(Vec<BadEnd>),
    #[error(transparent)]
    ProcessReport(#[from] ProcessReportError),
    #[error("the run was not good: {}", .0.join("; "))]
    Faults(Vec<String>),
    #[error("system error: {0}")]
    System(#[from] io::Error),
}

fn said(ends: &[BadEnd]) -> String {
    ends.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Replaces the flags in the advice of the process called `name` by the launcher's own.
fn with_own_flags(name: &str, line: &str) -> String {
    let relayed = Door::ALL.into_iter().find(|door| door.relay_name() == name);
    let relays_flag = relayed.map(|door| ("--listen", door.port_flag()));
    OWN_FLAGS.iter().chain(&relays_flag).fold(line.to_owned(), |line, (theirs, own)| line.replace(theirs, own))
}

impl Failure {
    /// 2 for options that can never work, 1 for failures of the run.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::MissingBinary(_)
            | Self::Port(_)
            | Self::Database(_)
            | Self::Network(_)
            | Self::ReportFile { .. }
            | Self::Refused { .. } => 2,
            Self::Pilot(PilotError::File { .. }) => 2,
            _ => 1,
        }
    }
}

/// How a run ended without a failure.
enum End {
    /// Time is up, it was interrupted, or the client was closed.
    Asked(&'static str),
    /// The bots have finished.
    BotsDone(ExitStatus),
}

/// Runs a world of `options` with the programs in the folder `programs`, until it ends by itself or is interrupted: one
/// message per interrupt. `started` is the start of the launcher.
///
/// # Errors
/// See [`Failure`]. In any case every started process has ended.
pub fn run(
    options: &Options,
    programs: &Path,
    log: &Arc<Log>,
    interrupts: Receiver<()>,
    started: Instant,
) -> Result<(), Failure> {
    let network = AddedNetwork::wanted(options)?;
    let binaries = Binaries::in_folder(programs, options.bots > 0, options.opens_window(), network.is_some())?;
    check_ports(options)?;
    if let Some(path) = &options.report {
        report::check_writable(path).map_err(|source| Failure::ReportFile { path: path.clone(), source })?;
    }
    let pilot = options.opens_window().then(|| Pilot::load_or_make(&options.data)).transpose()?;
    let database = match &options.db {
        Some(url) => Database::from_url(url),
        None => Database::default_in(&options.data)?,
    };
    if options.fresh {
        let deleted = database.delete()?;
        let names: Vec<String> = deleted.iter().map(|path| path.display().to_string()).collect();
        let what = if names.is_empty() {
            "nothing was there to delete".into()
        } else {
            format!("deleted {}", names.join(", "))
        };
        log.line(&Label::launcher(), &format!("--fresh: {what}"));
    }
    log.line(&Label::launcher(), &format!("world in {database}"));
    let world = World::new(binaries, database, options, log.is_coloured())?;
    let mut run = Run {
        options,
        world,
        network,
        pilot,
        supervisor: Supervisor::new(Arc::clone(log), interrupts, GRACE),
        log,
        started,
        first_bot_in_space: None,
    };
    let end = run.until_the_end();
    run.finish(end)
}

fn check_ports(options: &Options) -> Result<(), PortError> {
    ports::check(&[
        Port { number: options.player_port, purpose: "players", flag: "--player-port", tcp: false },
        Port { number: options.shard_port, purpose: "shards", flag: "--shard-port", tcp: false },
        Port { number: options.http_port, purpose: "accounts, HTTP", flag: "--http-port", tcp: true },
        Port { number: options.ops_port(), purpose: "health and metrics, HTTP", flag: "--ops-port", tcp: true },
    ])
}

struct Run<'a> {
    options: &'a Options,
    world: World,
    /// The simulated network, if any.
    network: Option<AddedNetwork>,
    /// The window's account, if there is a window.
    pilot: Option<Pilot>,
    supervisor: Supervisor,
    log: &'a Arc<Log>,
    started: Instant,
    /// From the launcher's start.
    first_bot_in_space: Option<Duration>,
}

impl Run<'_> {
    fn until_the_end(&mut self) -> Result<End, Failure> {
        let endpoints = self.start_server_and_relays()?;
        self.start_shards(&endpoints)?;
        self.say_ready(&endpoints);
        self.start_players(&endpoints)?;
        self.wait_for_the_end()
    }

    /// Returns the addresses that players and shards connect to: the relays', if there are any.
    fn start_server_and_relays(&mut self) -> Result<Endpoints, Failure> {
        let relays = self.start_relays()?;
        self.start(Stage::Server, Label::new("server", 0), self.world.server(relays.as_ref()))?;
        let endpoints = self.wait_for("the server does not listen", SERVER_START_LIMIT, |run| run.world.endpoints())?;
        let Some(RelayAddrs { players, shards }) = relays else { return Ok(endpoints) };
        self.world.tell_relays(&endpoints)?;
        Ok(Endpoints { player_addr: players, shard_addr: shards, ..endpoints })
    }

    fn start_relays(&mut self) -> Result<Option<RelayAddrs>, Failure> {
        let Some(network) = self.network else { return Ok(None) };
        let next_colour = self.options.shards as usize + 3;
        for (index, door) in Door::ALL.into_iter().enumerate() {
            if let Some(command) = self.world.relay(door, &network) {
                self.start(Stage::Network, Label::new(door.relay_name(), next_colour + index), command)?;
            }
        }
        self.wait_for("the relays do not listen", RELAYS_START_LIMIT, |run| run.world.relay_addrs()).map(Some)
    }

    fn start_shards(&mut self, endpoints: &Endpoints) -> Result<(), Failure> {
        for number in 1..=self.options.shards {
            let label = Label::new(World::shard_name(number), number as usize);
            self.start(Stage::Shards, label, self.world.shard(number, endpoints))?;
        }
        let agent = pilot::agent(READY_TIMEOUT);
        let url = format!("{}/ready", endpoints.http_url());
        self.wait_for("the shards hold no leases", SHARDS_START_LIMIT, |_| {
            // A missing answer is no error: the next attempt may get one.
            agent.get(&url).call().ok().filter(|answer| answer.status() == 200).map(drop)
        })
    }

    fn start_players(&mut self, endpoints: &Endpoints) -> Result<(), Failure> {
        let next_colour = self.options.shards as usize + 1;
        if let Some(command) = self.world.bots(endpoints) {
            self.start(Stage::Players, Label::new(BOTS, next_colour), command)?;
        }
        if let Some(pilot) = &self.pilot
            && let Some(command) = self.world.client(endpoints, pilot)
        {
            pilot.register(&endpoints.http_url())?;
            self.start(Stage::Players, Label::new("client", next_colour + 1), command)?;
        }
        Ok(())
    }

    fn say_ready(&self, endpoints: &Endpoints) {
        let Options { shards, release, seconds, bots, .. } = self.options;
        let profile = if *release { "--release " } else { "" };
        let after_s = self.started.elapsed().as_secs_f64();
        self.say(&format!("ready after {after_s:.1} s: {shards} shards, {}", endpoints.http_url()));
        self.say(&format!("health and metrics: http://{}/metrics", endpoints.ops_addr));
        if let Some(AddedNetwork { latency_ms, jitter_ms, loss }) = self.network {
            self.say(&format!(
                "between the server and all others, each way: {latency_ms} ms more, \u{b1} {jitter_ms} ms, {} % lost",
                loss * 100.0
            ));
        }
        match self.options.web_dir {
            Some(_) => self.say(&format!("play in a browser: {}/", endpoints.http_url())),
            None => self.say("to play in a browser as well: ./run-local --web"),
        }
        self.say("to join, in the repository's folder, under a name of your own:");
        self.say(&format!(
            "  cargo run {profile}-p sidereal-client -- --http {} --user NAME --password PASSWORD --register",
            endpoints.http_url()
        ));
        if self.pilot.is_none() && !self.options.headless {
            self.say("no window is opened here: there is no display (DISPLAY or WAYLAND_DISPLAY)");
        }
        self.say(&match (seconds, bots) {
            (None, _) => "Ctrl-C ends everything and saves".to_owned(),
            (Some(seconds), 0) => format!("ends in {seconds} s, or with Ctrl-C, and saves"),
            (Some(seconds), _) => format!("ends {seconds} s after the last bot is in space, or with Ctrl-C, and saves"),
        });
    }

    fn wait_for_the_end(&mut self) -> Result<End, Failure> {
        let has_bots = self.options.bots > 0;
        let seconds = self.options.seconds.map(Duration::from_secs);
        let deadline = seconds.map(|time| Instant::now() + if has_bots { time + BOTS_EXTRA_LIMIT } else { time });
        loop {
            self.look_for_first_bot();
            let event = self.supervisor.next_event(Instant::now() + POLL)?;
            match event {
                Some(Event::Interrupted) => return Ok(End::Asked("interrupted")),
                // A window that its player has closed.
                Some(Event::Ended { name, status }) if name == "client" && status.success() => {
                    return Ok(End::Asked("the client was closed"));
                }
                Some(Event::Ended { name, status }) if name == BOTS && self.bots_are_through(status) => {
                    return Ok(End::BotsDone(status));
                }
                Some(Event::Ended { name, status }) => return Err(self.died(name, status)),
                None => {}
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return match has_bots {
                    true => Err(Failure::TooLate { what: "the bots have not ended", limit: BOTS_EXTRA_LIMIT }),
                    false => Ok(End::Asked("time is up")),
                };
            }
        }
    }

    /// Whether they ended well, or completed the run and found errors, which are in their report.
    fn bots_are_through(&self, status: ExitStatus) -> bool {
        status.success() || (status.code() == Some(BOTS_FOUND_FAULTS) && self.world.report_file(BOTS).exists())
    }

    fn look_for_first_bot(&mut self) {
        if self.options.bots > 0 && self.first_bot_in_space.is_none() && self.world.ready_file(BOTS).exists() {
            self.first_bot_in_space = Some(self.started.elapsed());
        }
    }

    /// Ends all running processes, whatever `end` is, and judges the run.
    fn finish(mut self, end: Result<End, Failure>) -> Result<(), Failure> {
        match &end {
            Ok(End::Asked(why)) => self.say(&format!("{why}: ending everything")),
            Ok(End::BotsDone(_)) => self.say("the bots have finished: ending everything"),
            Err(Failure::Died { name, status, .. }) => self.say(&format!("{name} died ({status}): ending everything")),
            Err(failure) => self.say(&format!("{failure}: ending everything")),
        }
        let bad_ends = self.supervisor.end_all();
        self.look_for_first_bot();
        if let Err(failure) = end {
            // Later failures are reported in one line: they mostly follow from the first.
            if !bad_ends.is_empty() {
                self.say(&said(&bad_ends));
            }
            if let Failure::Died { name, .. } = &failure {
                self.show_last_lines(name);
            }
            return Err(failure);
        }
        for BadEnd { name, .. } in &bad_ends {
            self.show_last_lines(name);
        }
        let bots_found_faults = |end: &BadEnd| {
            end.name == BOTS && matches!(end.what, BadEndKind::Failed(status) if self.bots_are_through(status))
        };
        let mut bots_status = match end {
            Ok(End::BotsDone(status)) => Some(status),
            _ => None,
        };
        let (faulty_bots, bad_ends): (Vec<_>, Vec<_>) = bad_ends.into_iter().partition(bots_found_faults);
        if let Some(BadEnd { what: BadEndKind::Failed(status), .. }) = faulty_bots.first() {
            bots_status = Some(*status);
        }
        if !bad_ends.is_empty() {
            return Err(Failure::BadEnds(bad_ends));
        }
        self.judge(bots_status)
    }

    fn judge(&self, bots_status: Option<ExitStatus>) -> Result<(), Failure> {
        let reports = self.process_reports()?;
        let seconds = self.started.elapsed().as_secs_f64();
        let first_bot_ms =
            self.first_bot_in_space.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let report = Report::join(&reports, seconds, first_bot_ms);
        if let Some(path) = &self.options.report {
            report.write(path).map_err(|source| Failure::ReportFile { path: path.clone(), source })?;
            self.say(&format!("report in {}", path.display()));
        }
        let mut faults = verdict::faults(&report);
        if self.options.bots > 0 && self.first_bot_in_space.is_none() {
            faults.push("no bot reported that it is in space".into());
        }
        if let Some(status) = bots_status.filter(|status| !status.success() && faults.is_empty()) {
            faults.push(format!("the bots found something wrong ({status}); see their lines above"));
        }
        if !faults.is_empty() {
            return Err(Failure::Faults(faults));
        }
        let Report { bots_played, players, crossings, handoffs, handoff_cutover_ms, lost, doubled, .. } = &report;
        self.say(&format!(
            "ended well after {seconds:.1} s: {players} players ({bots_played} bots), {crossings} crossings, {handoffs} handoffs \
             (cutover p95 {:.1} ms), {lost} lost, {doubled} doubled",
            handoff_cutover_ms.p95
        ));
        Ok(())
    }

    fn process_reports(&self) -> Result<ProcessReports, ProcessReportError> {
        let file = |name: &str| self.world.report_file(name);
        let relay = |door: Door| {
            let name = door.relay_name();
            process_reports::read(name, &file(name)).map(|report| (name, report))
        };
        let relays = if self.network.is_some() { &Door::ALL[..] } else { &[] };
        let shard = |number| {
            let name = World::shard_name(number);
            process_reports::read(&name, &file(&name))
        };
        Ok(ProcessReports {
            server: process_reports::read("server", &file("server"))?,
            shards: (1..=self.options.shards).map(shard).collect::<Result<_, _>>()?,
            bots: (self.options.bots > 0).then(|| process_reports::read(BOTS, &file(BOTS))).transpose()?,
            relays: relays.iter().copied().map(relay).collect::<Result<_, _>>()?,
            added_network: self.network.unwrap_or_default(),
        })
    }

    fn start(&mut self, stage: Stage, label: Label, command: Command) -> Result<(), Failure> {
        let name = label.name().to_owned();
        self.supervisor.start(stage, label, command).map_err(|source| Failure::Start { name, source })
    }

    /// Calls `probe` until it returns something; no process may end meanwhile.
    fn wait_for<T>(
        &mut self,
        what: &'static str,
        limit: Duration,
        mut probe: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = probe(self) {
                return Ok(found);
            }
            match self.supervisor.next_event(Instant::now() + POLL)? {
                Some(Event::Interrupted) => return Err(Failure::InterruptedEarly),
                Some(Event::Ended { name, status }) if status.code() == Some(CANNOT_RUN) => {
                    return Err(self.refused(name));
                }
                Some(Event::Ended { name, status }) => return Err(self.died(name, status)),
                None if Instant::now() >= deadline => return Err(Failure::TooLate { what, limit }),
                None => {}
            }
        }
    }

    fn refused(&self, name: String) -> Failure {
        let lines = self.supervisor.last_lines(&name);
        // The problem with a flag or a variable is above the usage.
        let reason = lines.iter().find(|line| line.starts_with("error: ")).or(lines.last());
        let reason = reason.map_or_else(|| "no reason given".into(), |line| with_own_flags(&name, line));
        Failure::Refused { name, reason }
    }

    fn died(&self, name: String, status: ExitStatus) -> Failure {
        let last_line = self.supervisor.last_lines(&name).pop().unwrap_or_else(|| "(no output)".into());
        Failure::Died { name, status, after_s: self.started.elapsed().as_secs_f64(), last_line }
    }

    fn show_last_lines(&self, name: &str) {
        self.say(&format!("the last lines of {name}:"));
        for line in self.supervisor.last_lines(name) {
            self.say(&format!("    {line}"));
        }
    }

    fn say(&self, text: &str) {
        self.log.line(&Label::launcher(), text);
    }
}
