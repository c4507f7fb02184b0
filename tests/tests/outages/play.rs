//! A world with trading bots and one more player, who requests a deal repeatedly, and the figures of each phase.

use sidereal_client::{economy::deals::DealEvent, flight::controls::PilotIntent};
use sidereal_protocol::rules::economy::Bargain;
use sidereal_transport::ClientNetwork;
use std::{
    fmt,
    path::PathBuf,
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};
use tempfile::TempDir;

use crate::{
    base::Base,
    world::{Bots, PATIENCE, Pilot, Process, Server, World, login_status, shard_flags, text},
};

/// How often figures are read, and a deal is requested.
const LOOK: Duration = Duration::from_millis(500);
const ASK: Duration = Duration::from_secs(1);

/// The reason with which a deal is refused while the database is unavailable.
const CLOSED: &str = "deals are unavailable";

/// A phase of a run.
#[derive(Debug, Default)]
pub struct Phase {
    name: String,
    seconds: f64,
    pub ticks: u64,
    pub inputs_per_tick: f64,
    /// The server's tick, ms: the worst ten seconds.
    tick_p50: f64,
    tick_p99: f64,
    pub rss_kb: u64,
    dirty: u64,
    oldest_ms: u64,
    done: u64,
    away: u64,
    undecided: u64,
    pub moves: u64,
    /// Answers to the additional player, those with the reason above, and the longest wait for one.
    pub answers: u64,
    pub closed: u64,
    answer_ms: u64,
    /// The longest wait for `/metrics`, and for a login with its status.
    http_ms: u64,
    login: (u16, u64),
    statement_ms: (f64, f64),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {:.0} s, {} ticks, {:.2} inputs a tick; server's tick p50 {:.2} p99 {:.2} ms, memory {} MiB; at most {} \
             dirty for {} ms; deals: {} done, {} refused as away, {} undecided; {} ore moves; the player: {} answers, {} of \
             them closed, within {} ms; /metrics within {} ms, a log in {} within {} ms; a statement {:.2} ms, mean {:.2}",
            self.name,
            self.seconds,
            self.ticks,
            self.inputs_per_tick,
            self.tick_p50,
            self.tick_p99,
            self.rss_kb / 1_024,
            self.dirty,
            self.oldest_ms,
            self.done,
            self.away,
            self.undecided,
            self.moves,
            self.answers,
            self.closed,
            self.answer_ms,
            self.http_ms,
            self.login.0,
            self.login.1,
            self.statement_ms.0,
            self.statement_ms.1,
        )
    }
}

/// A world with players.
pub struct Play {
    world: World,
    bots: Bots,
    reports: Vec<PathBuf>,
    journal: PathBuf,
    pilot: Pilot,
    /// Since when it waits for an answer, or when it got the last one.
    asked: Option<Instant>,
    last: Instant,
    last_was_closed: bool,
    login: Option<Receiver<(u16, u64)>>,
    _network: ClientNetwork,
}

impl Play {
    /// Over the database at `url`, which is empty.
    pub fn start(folder: TempDir, url: &str, bots: u32) -> Self {
        let [journal, server_report] = ["journal", "server.json"].map(|name| folder.path().join(name));
        let flags =
            [("--report", &*text(&server_report)), ("--rate-limit-address", "0"), ("--rate-limit-account", "0")];
        let mut server = Server::start_with(folder.path(), url, 2, &flags);
        let mut reports = vec![server_report.clone()];
        let mut shards = Vec::new();
        for name in ["shard-1", "shard-2"] {
            let report = folder.path().join(format!("{name}.json"));
            shards.push(Process::start(
                "sidereal-shard",
                &shard_flags(&server, &[("--name", name), ("--report", &text(&report))]),
            ));
            reports.push(report);
        }
        server.wait_until("a lease", |server| server.metric("sidereal_leased_sectors") > 0);
        let world = World { server, shards, folder };
        let bots = world.bots_with(bots, &["--mission", "trade", "--journal", &text(&journal)]);
        let network = ClientNetwork::new().expect("a network");
        let pilot = Pilot::connect(&network, &world.server, "one-more");
        let last = Instant::now();
        Self {
            world,
            bots,
            reports,
            journal,
            pilot,
            asked: None,
            last,
            last_was_closed: false,
            login: None,
            _network: network,
        }
    }

    pub fn deals_done(&self) -> u64 {
        self.world.server.metric("sidereal_deals_total")
    }

    /// Nothing waits for longer than it should, and deals are accepted.
    pub fn is_flushed_and_open(&self) -> bool {
        let oldest = ["sidereal_store_oldest_dirty_ms", "sidereal_ledger_oldest_dirty_ms"];
        let waits = oldest.iter().any(|name| self.world.server.metric(name) > 1_000);
        !waits
            && self.world.server.metric("sidereal_deals_waiting") == 0
            && self.asked.is_none()
            && !self.last_was_closed
    }

    /// Plays on for at least `time`, until `done`.
    #[track_caller]
    pub fn go_on(&mut self, base: &Base, time: Duration, done: impl Fn(&Self) -> bool) {
        let mut nothing = Phase::default();
        self.play("", base, time, &mut nothing, |play, _| done(play));
    }

    /// The same, with the figures of the phase.
    #[track_caller]
    pub fn phase(&mut self, name: &str, base: &Base, time: Duration, done: impl Fn(&Phase) -> bool) -> Phase {
        let mut phase = Phase { name: name.to_owned(), ..Phase::default() };
        self.play(name, base, time, &mut phase, |_, phase| done(phase));
        phase
    }

    #[track_caller]
    fn play(
        &mut self,
        what: &str,
        base: &Base,
        time: Duration,
        phase: &mut Phase,
        done: impl Fn(&Self, &Phase) -> bool,
    ) {
        let counters = |server: &Server| {
            let names = ["tick", "inputs_forwarded_total", "deals_total", "deals_away_total", "deals_undecided_total"];
            let [ticks, inputs, done, away, undecided] = names.map(|name| server.metric(&format!("sidereal_{name}")));
            (ticks, inputs, done, away, undecided, server.metric("sidereal_ore_moves_total"))
        };
        let begun = Instant::now();
        let first = counters(&self.world.server);
        let mut looked = begun;
        base.answers_ms();
        loop {
            self.ask(phase);
            self.log_in(phase);
            if looked.elapsed() < LOOK {
                continue;
            }
            looked = Instant::now();
            self.look(phase, begun.elapsed());
            if begun.elapsed() >= time && done(self, phase) {
                break;
            }
            assert!(begun.elapsed() < time + PATIENCE, "{what}: {phase:?}: {:#?}", self.world.server.process.seen());
        }
        let last = counters(&self.world.server);
        phase.seconds = begun.elapsed().as_secs_f64();
        phase.ticks = last.0 - first.0;
        phase.inputs_per_tick = (last.1 - first.1) as f64 / phase.ticks.max(1) as f64;
        (phase.done, phase.away) = (last.2 - first.2, last.3 - first.3);
        (phase.undecided, phase.moves) = (last.4 - first.4, last.5 - first.5);
        phase.statement_ms = base.answers_ms();
    }

    /// The player's part: requests a deal that is never granted, for the answer alone.
    fn ask(&mut self, phase: &mut Phase) {
        self.pilot.steer(PilotIntent { respawn: true, ..PilotIntent::default() });
        self.pilot.fly_on();
        for event in self.pilot.deals().take_events() {
            let DealEvent::Answered { text, .. } = event else { continue };
            let waited = self.asked.take().map_or(Duration::ZERO, |asked| asked.elapsed());
            self.last_was_closed = text.contains(CLOSED);
            phase.answers += 1;
            phase.closed += u64::from(self.last_was_closed);
            phase.answer_ms = phase.answer_ms.max(waited.as_millis() as u64);
        }
        if self.asked.is_none() && self.last.elapsed() >= ASK && self.pilot.view().own.is_some() {
            self.last = Instant::now();
            self.asked = self.pilot.deals().ask(Bargain::Repair).ok().map(|_| self.last);
        }
    }

    /// There is always a login in progress.
    fn log_in(&mut self, phase: &mut Phase) {
        if let Some((status, took_ms)) = self.login.as_ref().and_then(|login| login.try_recv().ok()) {
            if took_ms >= phase.login.1 {
                phase.login = (status, took_ms);
            }
            self.login = None;
        }
        if self.login.is_none() {
            let (told, login) = channel();
            let url = self.world.server.url();
            std::thread::spawn(move || {
                let begun = Instant::now();
                let status = login_status(&url, "one-more");
                let took = begun.elapsed();
                // Once a second is enough.
                std::thread::sleep(Duration::from_secs(1).saturating_sub(took));
                let _ = told.send((status, took.as_millis() as u64));
            });
            self.login = Some(login);
        }
    }

    fn look(&mut self, phase: &mut Phase, since: Duration) {
        let server = &mut self.world.server;
        let begun = Instant::now();
        // Of the last ten seconds: a part of them may have been before this phase.
        let lengths = ["p50", "p99"].map(|share| server.figure(&format!("sidereal_tick_ms_{share}")));
        phase.http_ms = phase.http_ms.max(begun.elapsed().as_millis() as u64 / 2);
        if since >= Duration::from_secs(10) && phase.tick_p50 > 0.0 {
            (phase.tick_p50, phase.tick_p99) = (phase.tick_p50.max(lengths[0]), phase.tick_p99.max(lengths[1]));
        } else {
            (phase.tick_p50, phase.tick_p99) = (lengths[0], lengths[1]);
        }
        phase.rss_kb = phase.rss_kb.max(server.process.rss_kb());
        phase.dirty = phase.dirty.max(server.metric("sidereal_store_dirty") + server.metric("sidereal_ledger_dirty"));
        let oldest =
            ["sidereal_store_oldest_dirty_ms", "sidereal_ledger_oldest_dirty_ms"].map(|name| server.metric(name));
        phase.oldest_ms = oldest.into_iter().fold(phase.oldest_ms, u64::max);
        server.process.listen(Duration::ZERO);
        self.bots.listen();
    }

    /// Ends all processes, none of which was affected. Returns p50 and p99 of the ticks of the server and the shards;
    /// the journal, and its folder.
    #[track_caller]
    pub fn end(mut self) -> ((f64, f64), Vec<(f64, f64)>, PathBuf, TempDir) {
        self.bots.noticed_nothing();
        self.pilot.leave();
        self.world.is_well();
        let folder = self.world.stop();
        let mut ticks = self.reports.iter().map(|path| {
            let report: serde_json::Value =
                serde_json::from_slice(&std::fs::read(path).expect("it was written")).expect("JSON");
            let share = |name: &str| report["tick_ms"][name].as_f64().expect("a figure");
            (share("p50"), share("p99"))
        });
        let server = ticks.next().expect("the server's comes first");
        println!("whole run: server's tick {server:?} ms, shards' {:?} ms", ticks.clone().collect::<Vec<_>>());
        (server, ticks.collect(), self.journal, folder)
    }
}
