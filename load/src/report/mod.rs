//! The report of a load test: Markdown with charts.

mod chart;
mod threads;

pub use chart::{Chart, Line};

use crate::{
    children::threads::CpuSource,
    ramp::figures::{Interval, LoadReport},
};
use anyhow::{Context, Result};
use std::{fmt::Write as _, path::Path};

impl LoadReport {
    /// The charts, with the names of their files.
    pub fn charts(&self) -> Vec<(&'static str, Chart)> {
        let x_title = if self.ramp { "players" } else { "seconds" }.to_owned();
        let line = |name: &str, value: &dyn Fn(&Interval) -> f64| Line {
            name: name.to_owned(),
            points: self
                .intervals
                .iter()
                .map(|interval| (if self.ramp { f64::from(interval.players) } else { interval.at_s }, value(interval)))
                .collect(),
        };
        let chart = |title: &str, lines: Vec<Line>, limit: Option<(String, f64)>| Chart {
            title: title.to_owned(),
            x_title: x_title.clone(),
            lines,
            limit,
        };
        let (tick_ms, ticks) = self.limits;
        vec![
            (
                "tick.svg",
                chart(
                    "The server's work in a tick, ms",
                    vec![line("p50", &|i| i.tick_p50_ms), line("p99", &|i| i.tick_p99_ms)],
                    Some((format!("limit {tick_ms} ms"), tick_ms)),
                ),
            ),
            (
                "ticks.svg",
                chart(
                    "Ticks in a second",
                    vec![line("ticks/s", &|i| i.ticks_per_s)],
                    Some((format!("limit {ticks}"), ticks)),
                ),
            ),
            ("cpu.svg", chart("CPU time, cores", self.cpu_lines(&line), None)),
            (
                "cost.svg",
                chart(
                    "The server's CPU time for each motion and player, ns",
                    vec![line("all threads", &|i| i.ns_per_motion)],
                    None,
                ),
            ),
            (
                "bytes.svg",
                chart(
                    "Payload to one player, kB/s",
                    vec![
                        line("mean", &|i| i.bytes_per_player_s / 1e3),
                        line("worst second", &|i| i.worst_second_bytes / 1e3),
                    ],
                    None,
                ),
            ),
            (
                "spread.svg",
                chart(
                    "From a tick's first receipt to its last, ms",
                    vec![line("p50", &|i| i.spread_p50_ms), line("p99", &|i| i.spread_p99_ms)],
                    None,
                ),
            ),
            (
                "moves.svg",
                chart(
                    "Moves in a second",
                    vec![line("handoffs", &|i| i.handoffs / i.seconds), line("sectors", &|i| i.crossings / i.seconds)],
                    None,
                ),
            ),
        ]
    }

    fn cpu_lines(&self, line: &dyn Fn(&str, &dyn Fn(&Interval) -> f64) -> Line) -> Vec<Line> {
        let mut lines = threads::lines(&self.intervals, line);
        lines.push(line("shards", &|interval| interval.shard_cores));
        lines.push(line("clients", &|interval| interval.client_cores));
        lines
    }

    /// The report. Its charts are named as files beside it.
    pub fn markdown(&self) -> String {
        let mut text = String::from("# Load test\n\n");
        let scene = format!("{:?}", self.scene).to_lowercase();
        let world = match self.shards {
            0 => "a world that was running".to_owned(),
            1 => "1 shard".to_owned(),
            shards => format!("{shards} shards"),
        };
        let _ = writeln!(
            text,
            "Scene `{scene}`, {world}, {} client process(es), seed {}. All processes share one machine: the clients' share \
             of its cores is in the table, and where it reaches what the machine has, they are the limit.\n",
            self.processes, self.seed
        );
        let _ = match &self.broken {
            Some(limit) if self.held > 0 => {
                writeln!(text, "**{} players** held all limits; then {limit}.\n", self.held)
            }
            Some(limit) => writeln!(text, "No number of players held all limits: {limit}.\n"),
            None => writeln!(text, "**{} players** held all limits.\n", self.held),
        };
        text.push_str(
            "| players | tick p50, ms | tick p99, ms | ticks/s | server, cores | shards, cores | clients, cores | motions/s \
             and player | ns per motion and player | kB/s and player | worst second, kB | handoffs | crossings | spread \
             p99, ms | server, MiB |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for interval in &self.intervals {
            let _ = writeln!(
                text,
                "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.1} | {:.1} | {} | {} | {:.1} | {:.0} |",
                interval.players,
                interval.tick_p50_ms,
                interval.tick_p99_ms,
                interval.ticks_per_s,
                interval.server_total_cores(),
                interval.shard_cores,
                interval.client_cores,
                interval.motions_per_player_s,
                interval.ns_per_motion,
                interval.bytes_per_player_s / 1e3,
                interval.worst_second_bytes / 1e3,
                interval.handoffs,
                interval.crossings,
                interval.spread_p99_ms,
                interval.server_mib,
            );
        }
        text.push('\n');
        let threads = threads::table(&self.intervals);
        if !threads.is_empty() {
            let _ = writeln!(text, "{threads}");
        }
        for (file, chart) in self.charts() {
            let _ = writeln!(text, "![{}]({file})\n", chart.title);
        }
        let totals = &self.totals;
        let _ = writeln!(
            text,
            "## Losses\n\n\
             {} of {} players connected at the end, {} received motion, {} failed. {} inputs sent, {} applied, {} lost, {} \
             applied twice, {} still open, {} of unknown fate (the ship was lost, or two seconds without an answer). {} \
             ships lost. Entities lost: {}, doubled: {}. Undecodable packets: {}.",
            totals.connected,
            totals.wanted,
            totals.with_motions,
            totals.failed,
            totals.inputs_sent,
            totals.inputs_applied,
            totals.inputs_lost,
            totals.inputs_doubled,
            totals.inputs_open,
            totals.inputs_unknown,
            totals.deaths,
            totals.entities_lost,
            totals.entities_doubled,
            totals.malformed,
        );
        if self.cpu_source == CpuSource::Stat {
            text.push_str(
                "\nThis system counts no nanoseconds (schedstat): CPU times are in hundredths of a second.\n",
            );
        }
        text
    }

    /// Writes `report.md`, `report.json` and the charts to a folder, which is made if it is missing.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        for (file, chart) in self.charts() {
            write(file, &chart.svg())?;
        }
        write("report.json", &serde_json::to_string_pretty(self)?)?;
        write("report.md", &self.markdown())
    }
}

/// Checks the form of one of this module's charts: one `svg` element, every element closed, every text escaped.
///
/// # Errors
/// What is wrong.
pub fn check_svg(text: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text.trim();
    let mut roots = 0;
    while let Some(start) = rest.find('<') {
        let before = &rest[..start];
        if before.contains('>') || (open.is_empty() && !before.trim().is_empty()) {
            return Err(format!("stray text {before:?}"));
        }
        let end = rest[start..].find('>').ok_or("an element has no end")? + start;
        let element = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = element.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes nothing"));
            }
            continue;
        }
        if !element.matches('"').count().is_multiple_of(2) {
            return Err(format!("an attribute of <{element}> has no end"));
        }
        let name = element.split([' ', '/']).next().unwrap_or_default();
        if open.is_empty() {
            roots += 1;
            if name != "svg" {
                return Err(format!("<{name}> is outside"));
            }
        }
        if !element.ends_with('/') {
            open.push(name);
        }
    }
    match (open.is_empty() && rest.is_empty(), roots) {
        (true, 1) => Ok(()),
        _ => Err(format!("open at the end: {open:?}, {rest:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fleet::Scene, ramp::figures::Totals};

    #[test]
    fn a_report_has_a_row_for_each_interval_and_charts_that_parse() {
        let interval = |players: u32| Interval {
            players,
            seconds: 2.0,
            ticks_per_s: 30.3,
            server_cores: [("main".to_owned(), 0.2), ("player-net-0".to_owned(), 0.3), ("ops".to_owned(), 0.001)]
                .into(),
            ..Interval::default()
        };
        let report = LoadReport {
            scene: Scene::Fight,
            shards: 2,
            seed: 1,
            processes: 1,
            ramp: true,
            limits: (33.0, 29.5),
            broken: Some("tick p99 of 40.0 ms is over 33 ms".to_owned()),
            held: 25,
            cpu_source: CpuSource::Schedstat,
            intervals: vec![interval(25), interval(50)],
            totals: Totals::default(),
        };
        let text = report.markdown();
        assert!(text.contains("**25 players** held all limits; then tick p99 of 40.0 ms"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("| 25 |") || line.starts_with("| 50 |")).count(), 4);
        for (file, chart) in report.charts() {
            assert!(text.contains(&format!("({file})")));
            assert_eq!(check_svg(&chart.svg()), Ok(()), "{file}");
        }
        let names: Vec<String> = report.charts()[2].1.lines.iter().map(|line| line.name.clone()).collect();
        assert_eq!(names, ["server: main", "server: player-net-0", "server: other", "shards", "clients"]);
    }

    #[test]
    fn what_is_no_svg_is_detected() {
        for wrong in [
            "",
            "<svg>",
            "<svg></text></svg>",
            "<svg/><svg/>",
            "text<svg/>",
            "<svg a=\"></svg>",
            "<p/>",
            "<svg>a > b</svg>",
        ] {
            assert!(check_svg(wrong).is_err(), "{wrong}");
        }
        assert_eq!(check_svg("<svg a=\"1\"><text>b &lt; c</text><rect/></svg>\n"), Ok(()));
    }
}
