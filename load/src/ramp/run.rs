//! Runs a load test.

use super::{
    LoadOptions,
    figures::{Interval, LoadReport, Totals},
    measure::{Measured, Moment},
};
use crate::{
    children::{spawned::Spawned, threads::ThreadTimes},
    fleet::FleetSample,
    world::{Ops, ServerProcess, this_program},
};
use anyhow::{Context, Result, bail};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// How long the players of a step may take to be in space, plus so long for each of them: ten times the 50 ms of a core
/// that a login costs, because clients share the cores.
const JOIN_DEADLINE: Duration = Duration::from_secs(60);
const JOIN_EACH: Duration = Duration::from_millis(500);

/// How long the last inputs may take to be acknowledged.
const SETTLE_DEADLINE: Duration = Duration::from_secs(5);

/// The pause between two questions.
const ASK_INTERVAL: Duration = Duration::from_millis(250);

/// Intervals that a run with one number of players is split into at most: enough for a chart. None is shorter than a
/// second, unless the whole run is.
const MAX_INTERVALS: u32 = 12;

/// What a run shows while it goes on.
pub trait Progress {
    /// `players` of `wanted` are in space.
    fn joining(&mut self, players: u32, wanted: u32);
    /// `share` (0 to 1) of the present step is over.
    fn measuring(&mut self, players: u32, share: f64);
    /// An interval was measured.
    fn measured(&mut self, interval: &Interval);
}

/// The processes of a run, in the order in which they are to end: players leave first, then the shards hand over, then
/// the server ends. Fields are dropped in their order.
struct Run<'a> {
    options: &'a LoadOptions,
    fleets: Vec<Spawned>,
    shards: Vec<Spawned>,
    #[expect(dead_code, reason = "it is held until the others have ended")]
    server: Option<ServerProcess>,
    server_pid: Option<u32>,
    ops: Ops,
}

/// Runs a load test with `program`, or this one, in its child processes.
///
/// # Errors
/// When a process fails. Players that fail are no error but in the report.
pub fn run(options: &LoadOptions, program: Option<&Path>, progress: &mut dyn Progress) -> Result<LoadReport> {
    let program = match program {
        Some(program) => program.to_owned(),
        None => this_program()?,
    };
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut run = Run::start(options, &program, folder.path())?;
    let mut report = LoadReport {
        scene: options.scene,
        shards: if options.attach.is_some() { 0 } else { options.shards },
        seed: options.seed,
        processes: options.processes,
        ramp: options.ramp,
        limits: (options.limit_tick_ms, options.limit_ticks),
        broken: None,
        held: 0,
        cpu_source: crate::children::threads::CpuSource::Schedstat,
        intervals: Vec::new(),
        totals: Totals::default(),
    };
    let mut first: Option<Instant> = None;
    for players in options.steps() {
        if let Err(problem) = run.join(players, progress) {
            report.broken = Some(format!("{problem:#}"));
            break;
        }
        std::thread::sleep(Duration::from_secs_f64(options.warm_up));
        let pieces = if options.ramp { 1 } else { (options.seconds as u32).clamp(1, MAX_INTERVALS) };
        let start = *first.get_or_insert_with(Instant::now);
        for piece in 0..pieces {
            let (interval, source) = run.measure(options.seconds / f64::from(pieces), start, |share| {
                progress.measuring(players, (f64::from(piece) + share) / f64::from(pieces));
            })?;
            report.cpu_source = source;
            progress.measured(&interval);
            report.broken = report.broken.take().or_else(|| broken(options, &interval));
            report.intervals.push(interval);
        }
        if report.broken.is_some() {
            break;
        }
        report.held = players;
    }
    report.totals = run.finish()?;
    Ok(report)
}

/// The limit that an interval breaks.
fn broken(options: &LoadOptions, interval: &Interval) -> Option<String> {
    if interval.tick_p99_ms > options.limit_tick_ms {
        let limit = options.limit_tick_ms;
        return Some(format!("tick p99 of {:.1} ms is over {limit} ms", interval.tick_p99_ms));
    }
    (interval.ticks_per_s < options.limit_ticks)
        .then(|| format!("{:.2} ticks/s are under {}", interval.ticks_per_s, options.limit_ticks))
}

impl<'a> Run<'a> {
    fn start(options: &'a LoadOptions, program: &Path, folder: &Path) -> Result<Self> {
        let (mut server, mut shards) = (None, Vec::new());
        let (http, ops, server_pid) = match (&options.attach, &options.ops) {
            (Some(http), Some(ops)) => (http.clone(), Ops::new(ops.to_string()), options.server_pid),
            _ => {
                let started =
                    ServerProcess::start(program, folder, options.shards, options.player_threads, options.seed)?;
                for number in 1..=options.shards as usize {
                    shards.push(started.start_shard(program, folder, number)?);
                }
                let (http, ops, pid) = (started.http(), started.ops(), started.child.pid());
                server = Some(started);
                (http, ops, Some(pid))
            }
        };
        ops.wait_until_ready()?;
        if let Some(pid) = server_pid {
            ThreadTimes::of(pid).context("the CPU time of the server cannot be read: is its id right?")?;
        }
        let scene = clap::ValueEnum::to_possible_value(&options.scene).context("every scene has a name")?;
        let mut fleets = Vec::new();
        for number in 0..options.processes {
            let name = format!("players-{number}");
            let seed = options.seed.wrapping_mul(100).wrapping_add(u64::from(number)).to_string();
            let arguments =
                ["role", "players", "--http", &http, "--count", "0", "--seed", &seed, "--scene", scene.get_name()];
            fleets.push(Spawned::start(&name, program, arguments, &[], &folder.join(format!("{name}.log")))?);
        }
        Ok(Self { options, fleets, shards, server, server_pid, ops })
    }

    /// All fleets' counters together.
    fn sample(&mut self, request: &str) -> Result<FleetSample> {
        let mut all = FleetSample::default();
        for fleet in &mut self.fleets {
            all.add(&fleet.ask(request)?);
        }
        Ok(all)
    }

    /// Waits until `players` are in space.
    fn join(&mut self, players: u32, progress: &mut dyn Progress) -> Result<()> {
        let processes = self.options.processes;
        for (number, fleet) in (0..).zip(&mut self.fleets) {
            let share = players / processes + u32::from(number < players % processes);
            fleet.ask::<FleetSample>(&format!("grow {share}"))?;
        }
        let deadline = Instant::now() + JOIN_DEADLINE + JOIN_EACH * players;
        loop {
            let sample = self.sample("sample")?;
            progress.joining(sample.ready, players);
            // In a fight some are always on their way to another ship.
            let on_their_way = if self.options.scene == crate::fleet::Scene::Fight { players / 10 } else { 0 };
            if sample.connected >= players && sample.ready + on_their_way >= players {
                return Ok(());
            }
            if sample.failed > 0 {
                bail!("{} players failed: {}", sample.failed, sample.failures.join("; "));
            }
            if Instant::now() > deadline {
                bail!("only {} of {players} players are in space", sample.ready);
            }
            std::thread::sleep(ASK_INTERVAL);
        }
    }

    fn moment(&mut self) -> Result<Moment> {
        let fleet = self.sample("sample")?;
        let metrics = self.ops.metrics()?;
        let measured = Measured { server_pid: self.server_pid, shards: &self.shards, fleets: &self.fleets };
        Moment::take(fleet, metrics, &measured)
    }

    /// Measures one interval. The ticks are read before and after it, since waiting for them costs the server requests.
    fn measure(
        &mut self,
        seconds: f64,
        start: Instant,
        mut progress: impl FnMut(f64),
    ) -> Result<(Interval, crate::children::threads::CpuSource)> {
        let (first_tick, first_at) = self.ops.tick_edge()?;
        let begin = self.moment()?;
        let end_at = begin.at + Duration::from_secs_f64(seconds);
        loop {
            let left = end_at.saturating_duration_since(Instant::now());
            progress(1.0 - left.as_secs_f64() / seconds);
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(ASK_INTERVAL));
        }
        let end = self.moment()?;
        let (last_tick, last_at) = self.ops.tick_edge()?;
        let ticks_per_s = (last_tick - first_tick) / (last_at - first_at).as_secs_f64();
        Ok((end.since(&begin, ticks_per_s, start)?, end.cpu_source()))
    }

    /// Releases the controls, waits for the last acknowledgements, and ends all processes.
    fn finish(mut self) -> Result<Totals> {
        let mut sample = self.sample("settle")?;
        let deadline = Instant::now() + SETTLE_DEADLINE;
        while sample.inputs_open > 0 && Instant::now() < deadline {
            std::thread::sleep(ASK_INTERVAL);
            sample = self.sample("sample")?;
        }
        let metrics = self.ops.metrics()?;
        let counted = |name: &str| -> Result<u64> { Ok(metrics.value(name)? as u64) };
        let totals = Totals {
            wanted: sample.wanted,
            connected: sample.connected,
            with_motions: sample.with_motions,
            failed: sample.failed,
            failures: sample.failures,
            inputs_sent: sample.inputs_sent,
            inputs_applied: sample.inputs_applied,
            inputs_lost: sample.inputs_lost,
            inputs_doubled: sample.inputs_doubled,
            inputs_open: sample.inputs_open,
            inputs_unknown: sample.inputs_unknown,
            malformed: sample.malformed,
            deaths: sample.deaths,
            entities_lost: counted("sidereal_lost_total")?,
            entities_doubled: counted("sidereal_doubled_total")?,
        };
        Ok(totals)
    }
}
