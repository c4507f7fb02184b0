//! The figures of a comparison, and their table.

use crate::children::threads::{CpuSource, MAIN, PLAYER_NET, is_player_net};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Write as _};

/// How motion reaches the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// (a)
    NaiaComponents,
    /// (b)
    MotionPlane,
}

impl Way {
    /// Its name in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::NaiaComponents => "(a) naia components",
            Self::MotionPlane => "(b) motion plane",
        }
    }
}

/// One way in one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WayFigures {
    /// Which.
    pub way: Way,
    /// How long it was measured, seconds.
    pub seconds: f64,
    /// CPU time of the server process by thread, ns.
    pub server_ns: BTreeMap<String, u64>,
    /// CPU time of the client process, ns.
    pub client_ns: u64,
    /// Changes of entities, times clients: what the clients are to learn.
    pub sent: u64,
    /// Motions that the clients received.
    pub delivered: u64,
    /// Payload bytes that they received.
    pub bytes: u64,
    /// The most bytes that one client received in one second.
    pub worst_second_bytes: u64,
    /// Ticks of the server in a second. If it keeps up: 30.3 in way (a), where naia counts 33 ms, and 30 in way (b).
    pub ticks_per_s: f64,
    /// Clients.
    pub clients: u32,
}

impl WayFigures {
    /// CPU time of all threads of the server, ns.
    pub fn server_total_ns(&self) -> u64 {
        self.server_ns.values().sum()
    }

    /// The server's CPU time for each change and client, ns; infinite if nothing changed.
    pub fn ns_per_sent(&self) -> f64 {
        self.server_total_ns() as f64 / self.sent as f64
    }

    /// The server's CPU time for each motion that a client received, ns; infinite if none was.
    pub fn ns_per_delivered(&self) -> f64 {
        self.server_total_ns() as f64 / self.delivered as f64
    }

    /// The share of changes that arrived; above 1 if some were repeated.
    pub fn arrived(&self) -> f64 {
        self.delivered as f64 / self.sent as f64
    }

    /// Payload bytes for each client and second.
    pub fn bytes_per_client_s(&self) -> f64 {
        self.bytes as f64 / self.seconds / f64::from(self.clients)
    }

    /// The share of a core that the client process used.
    fn client_cores(&self) -> f64 {
        self.client_ns as f64 / 1e9 / self.seconds
    }

    fn thread_ns_per_sent(&self, thread: &str) -> f64 {
        let is_meant = |name: &str| name == thread || (thread == PLAYER_NET && is_player_net(name));
        let ns = self.server_ns.iter().filter(|(name, _)| is_meant(name)).fold(0, |sum, (_, ns)| sum + ns);
        ns as f64 / self.sent as f64
    }
}

/// One case: the same entities and clients in both ways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Moving entities.
    pub entities: u32,
    /// Clients.
    pub clients: u32,
    /// Both ways.
    pub ways: Vec<WayFigures>,
}

impl Case {
    fn way(&self, way: Way) -> Option<&WayFigures> {
        self.ways.iter().find(|figures| figures.way == way)
    }

    /// (a) to (b): CPU time for each change and client, and for each motion delivered.
    pub fn ratios(&self) -> Option<(f64, f64)> {
        let (a, b) = (self.way(Way::NaiaComponents)?, self.way(Way::MotionPlane)?);
        Some((a.ns_per_sent() / b.ns_per_sent(), a.ns_per_delivered() / b.ns_per_delivered()))
    }
}

/// All cases of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// How long each way was measured, seconds.
    pub seconds: f64,
    /// Changes of each entity in 30 ticks.
    pub rate_hz: u32,
    /// Where the CPU times come from.
    pub cpu_source: CpuSource,
    /// The cases.
    pub cases: Vec<Case>,
}

/// The share of an earlier ratio that a case must keep: machines and runs differ, a change of the code shows.
const KEPT_SHARE: f64 = 2.0 / 3.0;

/// Below this share of arrived changes a case is noted.
const ALL_ARRIVED: f64 = 0.95;

/// The threads with a column of their own. Network threads of players are added up.
const THREADS: [&str; 3] = [MAIN, PLAYER_NET, "shard-net"];

impl Comparison {
    /// The table, in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "CPU time of the server process, ns for each motion and client (the changes of all entities, times clients); \
             *delivered* counts what the clients received.\n\n\
             | entities | clients | way | main | player-net | shard-net | other | all | all, per delivered | kB/s and \
             client | worst second, kB | delivered of sent | ticks/s | server, cores | clients, cores |\n\
             |---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for case in &self.cases {
            for figures in &case.ways {
                let named: f64 = THREADS.iter().map(|thread| figures.thread_ns_per_sent(thread)).sum();
                let _ = write!(text, "| {} | {} | {} |", case.entities, case.clients, figures.way.title());
                for thread in THREADS {
                    let _ = write!(text, " {:.0} |", figures.thread_ns_per_sent(thread));
                }
                let _ = writeln!(
                    text,
                    " {:.0} | **{:.0}** | {:.0} | {:.1} | {:.1} | {:.1} % | {:.1} | {:.2} | {:.2} |",
                    (figures.ns_per_sent() - named).max(0.0),
                    figures.ns_per_sent(),
                    figures.ns_per_delivered(),
                    figures.bytes_per_client_s() / 1e3,
                    figures.worst_second_bytes as f64 / 1e3,
                    100.0 * figures.arrived(),
                    figures.ticks_per_s,
                    figures.server_total_ns() as f64 / 1e9 / figures.seconds,
                    figures.client_cores(),
                );
            }
            if let Some((sent, delivered)) = case.ratios() {
                let _ = writeln!(
                    text,
                    "| {} | {} | **(a) : (b)** | | | | | **{sent:.1}** | **{delivered:.1}** | | | | | | |",
                    case.entities, case.clients
                );
            }
        }
        for case in &self.cases {
            for figures in case.ways.iter().filter(|figures| figures.arrived() < ALL_ARRIVED) {
                let _ = writeln!(
                    text,
                    "\n{} × {}, {}: {:.0} % of the changes arrived within the measurement. Either a client's limit of bytes \
                     was reached, or a process got no core.",
                    case.entities,
                    case.clients,
                    figures.way.title(),
                    100.0 * figures.arrived()
                );
            }
        }
        if self.cpu_source == CpuSource::Stat {
            text.push_str(
                "\nThis system counts no nanoseconds (schedstat): CPU times are in hundredths of a second.\n",
            );
        }
        text
    }

    /// The cases whose ratio has fallen by a third against an `earlier` run, one line each. Cases that it does not have
    /// are not compared.
    pub fn fallen(&self, earlier: &Self) -> Vec<String> {
        let mut fallen = Vec::new();
        for case in &self.cases {
            let same =
                earlier.cases.iter().find(|other| (other.entities, other.clients) == (case.entities, case.clients));
            if let (Some((now, _)), Some((before, _))) = (case.ratios(), same.and_then(Case::ratios))
                && now < before * KEPT_SHARE
            {
                fallen.push(format!("{} × {}: (a) : (b) was {before:.1} and is {now:.1}", case.entities, case.clients));
            }
        }
        fallen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(way: Way, main: u64, net: u64, delivered: u64) -> WayFigures {
        WayFigures {
            way,
            seconds: 2.0,
            server_ns: [(MAIN.to_owned(), main), ("player-net-0".to_owned(), net), ("ops".to_owned(), 1_000)].into(),
            client_ns: 1_000_000_000,
            sent: 1_000,
            delivered,
            bytes: 40_000,
            worst_second_bytes: 3_000,
            ticks_per_s: 30.3,
            clients: 10,
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_way_and_one_for_the_ratio() {
        let ways =
            vec![figures(Way::NaiaComponents, 900_000, 99_000, 500), figures(Way::MotionPlane, 50_000, 49_000, 1_000)];
        let case = Case { entities: 50, clients: 10, ways };
        assert_eq!(case.ratios(), Some((10.0, 20.0)));
        let run =
            |case: Case| Comparison { seconds: 2.0, rate_hz: 30, cpu_source: CpuSource::Schedstat, cases: vec![case] };
        let mut slower = case.clone();
        slower.ways[1].server_ns.insert(MAIN.to_owned(), 120_000);
        assert_eq!(run(slower.clone()).fallen(&run(case.clone())), ["50 × 10: (a) : (b) was 10.0 and is 5.9"]);
        assert!(run(case.clone()).fallen(&run(slower.clone())).is_empty(), "it has risen");
        slower.clients = 11;
        assert!(run(slower).fallen(&run(case.clone())).is_empty(), "another case");
        let comparison = Comparison { seconds: 2.0, rate_hz: 30, cpu_source: CpuSource::Schedstat, cases: vec![case] };
        let table = comparison.markdown();
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| 50 | 10 |")).collect();
        assert_eq!(rows.len(), 3, "{table}");
        assert!(rows[0].contains("| 900 | 99 | 0 | 1 | **1000** | 2000 | 2.0 | 3.0 | 50.0 % | 30.3 |"), "{}", rows[0]);
        assert!(rows[2].contains("**10.0** | **20.0**"), "{}", rows[2]);
        let columns = |line: &str| line.matches('|').count();
        let mut lines = table.lines().filter(|line| line.starts_with('|'));
        let first = columns(lines.next().unwrap_or_default());
        assert!(lines.all(|line| columns(line) == first), "{table}");
    }
}
