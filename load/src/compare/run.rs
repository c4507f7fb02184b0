//! Runs the cases, and measures the server process of each way.

use super::{
    CompareOptions,
    naia_server::{Listening, NaiaServerSample},
    source::SourceSample,
    table::{Case, Comparison, Way, WayFigures},
};
use crate::{
    children::{
        spawned::Spawned,
        threads::{CpuSource, ThreadTimes},
    },
    fleet::FleetSample,
    world::{Ops, ServerProcess, this_program},
};
use anyhow::{Context, Result, bail};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// How long all clients may take to see everything: logins cost a core some 50 ms each.
const JOIN_DEADLINE: Duration = Duration::from_secs(180);

/// Changes of each entity that a measurement holds at least: a server that makes few ticks is measured for longer, at
/// most [`LONGEST`] times as long. Else a tick that is on its way at the start or the end would weigh too much.
const LEAST_CHANGES: u64 = 60;
const LONGEST: f64 = 5.0;

/// The pause between two questions.
const ASK_INTERVAL: Duration = Duration::from_millis(250);

/// Runs all cases. `progress` is called with a line before each way.
///
/// # Errors
/// When a process fails, or its clients do not join in time.
pub fn run(options: &CompareOptions, program: Option<&Path>, mut progress: impl FnMut(&str)) -> Result<Comparison> {
    let cases = options.cases().map_err(anyhow::Error::msg)?;
    let program = match program {
        Some(program) => program.to_owned(),
        None => this_program()?,
    };
    let mut comparison = Comparison {
        seconds: options.seconds,
        rate_hz: options.rate_hz,
        cpu_source: CpuSource::Schedstat,
        cases: Vec::new(),
    };
    for (entities, clients) in cases {
        let mut ways = Vec::new();
        for way in [Way::NaiaComponents, Way::MotionPlane] {
            progress(&format!("{entities} entities, {clients} clients: {}", way.title()));
            let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
            let context = || format!("{entities} entities, {clients} clients, {}", way.title());
            let bench = Bench { options, program: &program, folder: folder.path(), entities, clients };
            let (figures, source) = match way {
                Way::NaiaComponents => bench.run_naia().with_context(context)?,
                Way::MotionPlane => bench.run_motion_plane().with_context(context)?,
            };
            if source == CpuSource::Stat {
                comparison.cpu_source = source;
            }
            ways.push(figures);
        }
        comparison.cases.push(Case { entities, clients, ways });
    }
    Ok(comparison)
}

struct Bench<'a> {
    options: &'a CompareOptions,
    program: &'a Path,
    folder: &'a Path,
    entities: u32,
    clients: u32,
}

/// Counters at one moment.
struct Moment {
    at: Instant,
    fleet: FleetSample,
    server: ThreadTimes,
    clients: ThreadTimes,
    /// Changes of entities so far.
    changes: u64,
}

impl Bench<'_> {
    fn start<A: AsRef<std::ffi::OsStr>>(&self, name: &str, arguments: &[A], secret: Option<&str>) -> Result<Spawned> {
        let environment: Vec<(&str, &str)> =
            secret.map(|secret| ("SIDEREAL_SHARD_SECRET", secret)).into_iter().collect();
        Spawned::start(name, self.program, arguments, &environment, &self.folder.join(format!("{name}.log")))
    }

    fn run_naia(&self) -> Result<(WayFigures, CpuSource)> {
        let (entities, rate_hz) = (self.entities.to_string(), self.options.rate_hz.to_string());
        let mut server =
            self.start("server", &["role", "naia-server", "--entities", &entities, "--rate-hz", &rate_hz], None)?;
        let Listening { address, certificate_hash } = server.read()?;
        let (address, count) = (address.to_string(), self.clients.to_string());
        let mut arguments = vec!["role", "naia-clients", "--server", &address, "--certificate-hash", &certificate_hash];
        arguments.extend(["--count", &count, "--entities", &entities]);
        let mut clients = self.start("clients", &arguments, None)?;
        self.wait_for_clients(&mut clients)?;
        self.measure(Way::NaiaComponents, &mut server, &mut clients, Probe::NaiaServer)
    }

    fn run_motion_plane(&self) -> Result<(WayFigures, CpuSource)> {
        let ServerProcess { child: mut server, ready, shard_secret } =
            ServerProcess::start(self.program, self.folder, 1, 1, 1)?;
        let ops = Ops::new(ready.ops_addr.to_string());
        let (entities, rate_hz) = (self.entities.to_string(), self.options.rate_hz.to_string());
        let (address, count) = (ready.shard_addr.to_string(), self.clients.to_string());
        let mut arguments = vec!["role", "source", "--server", &address, "--certificate-hash", &ready.certificate_hash];
        arguments.extend(["--entities", &entities, "--rate-hz", &rate_hz]);
        let mut source = self.start("source", &arguments, Some(&shard_secret))?;
        ops.wait_until_ready()?;
        let http = format!("http://{}", ready.http_addr);
        let arguments = ["role", "players", "--http", &http, "--count", &count, "--seed", "1", "--scene", "idle"];
        let mut clients = self.start("clients", &arguments, None)?;
        self.wait_for_clients(&mut clients)?;
        let deadline = Instant::now() + JOIN_DEADLINE;
        while source.ask::<SourceSample>("sample")?.entities < u64::from(self.entities) {
            if Instant::now() > deadline {
                bail!("the entities were not created in time");
            }
            std::thread::sleep(ASK_INTERVAL);
        }
        self.measure(Way::MotionPlane, &mut server, &mut clients, Probe::RealServer { ops, source: &mut source })
    }

    fn wait_for_clients(&self, clients: &mut Spawned) -> Result<()> {
        let deadline = Instant::now() + JOIN_DEADLINE;
        loop {
            let sample: FleetSample = clients.ask("sample")?;
            if sample.failed > 0 {
                bail!("{} clients failed: {}", sample.failed, sample.failures.join("; "));
            }
            if sample.ready == self.clients {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("only {} of {} clients see everything after {JOIN_DEADLINE:?}", sample.ready, self.clients);
            }
            std::thread::sleep(ASK_INTERVAL);
        }
    }

    /// Measures after the warm-up. The ticks are read before and after, since waiting for them costs the server requests.
    fn measure(
        &self,
        way: Way,
        server: &mut Spawned,
        clients: &mut Spawned,
        mut probe: Probe<'_>,
    ) -> Result<(WayFigures, CpuSource)> {
        std::thread::sleep(Duration::from_secs_f64(self.options.warm_up));
        let (first_tick, first_at) = probe.tick(server)?;
        let begin = moment(server, clients, &mut probe)?;
        std::thread::sleep(Duration::from_secs_f64(self.options.seconds));
        let enough = begin.changes + LEAST_CHANGES * u64::from(self.entities);
        let longest = Duration::from_secs_f64(self.options.seconds * LONGEST);
        while begin.at.elapsed() < longest && probe.changes(server)? < enough {
            std::thread::sleep(ASK_INTERVAL);
        }
        let end = moment(server, clients, &mut probe)?;
        let (last_tick, last_at) = probe.tick(server)?;
        if end.fleet.failed > 0 {
            bail!("{} clients lost their session: {}", end.fleet.failed, end.fleet.failures.join("; "));
        }
        let figures = WayFigures {
            way,
            seconds: (end.at - begin.at).as_secs_f64(),
            server_ns: end.server.since(&begin.server),
            client_ns: end.clients.since(&begin.clients).values().sum(),
            sent: (end.changes - begin.changes) * u64::from(self.clients),
            delivered: end.fleet.motions - begin.fleet.motions,
            bytes: end.fleet.bytes - begin.fleet.bytes,
            worst_second_bytes: end.fleet.worst_second_bytes,
            ticks_per_s: (last_tick - first_tick) / (last_at - first_at).as_secs_f64(),
            clients: end.fleet.ready,
        };
        Ok((figures, end.server.source))
    }
}

/// How the ticks of a way's server and the changes of its entities are read.
enum Probe<'a> {
    /// From the server's answers: it moves the entities itself.
    NaiaServer,
    /// From the real server's metrics, and from the stand-in shard.
    RealServer { ops: Ops, source: &'a mut Spawned },
}

impl Probe<'_> {
    /// The server's tick, and when it was that.
    fn tick(&mut self, server: &mut Spawned) -> Result<(f64, Instant)> {
        match self {
            Self::NaiaServer => {
                let asked = Instant::now();
                let sample: NaiaServerSample = server.ask("sample")?;
                // It answers between two updates, somewhere in that time.
                Ok((sample.ticks as f64, asked + asked.elapsed() / 2))
            }
            Self::RealServer { ops, .. } => ops.tick_edge(),
        }
    }

    /// Changes of entities so far.
    fn changes(&mut self, server: &mut Spawned) -> Result<u64> {
        match self {
            Self::NaiaServer => Ok(server.ask::<NaiaServerSample>("sample")?.changes),
            Self::RealServer { source, .. } => Ok(source.ask::<SourceSample>("sample")?.changes),
        }
    }
}

fn moment(server: &mut Spawned, clients: &mut Spawned, probe: &mut Probe<'_>) -> Result<Moment> {
    let changes = probe.changes(server)?;
    let fleet: FleetSample = clients.ask("sample")?;
    let at = Instant::now();
    let (server, clients) = (ThreadTimes::of(server.pid())?, ThreadTimes::of(clients.pid())?);
    Ok(Moment { at, server, clients, fleet, changes })
}
