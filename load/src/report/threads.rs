//! The server's CPU time by thread, as a table and as lines of a chart: each network thread of players, and their sum.

use super::Line;
use crate::{
    children::threads::{PLAYER_NET, is_player_net},
    ramp::figures::Interval,
};
use std::{collections::BTreeSet, fmt::Write as _};

/// Server threads that use less of a core than this in every interval are added up.
const SMALL_THREAD_CORES: f64 = 0.005;

fn cores(interval: &Interval, thread: &str) -> f64 {
    interval.server_cores.get(thread).copied().unwrap_or(0.0)
}

fn cores_of_all(interval: &Interval, threads: &[&str]) -> f64 {
    threads.iter().fold(0.0, |sum, thread| sum + cores(interval, thread))
}

/// The threads that use something, by name.
fn large(intervals: &[Interval]) -> Vec<&str> {
    let names: BTreeSet<&str> =
        intervals.iter().flat_map(|interval| interval.server_cores.keys()).map(String::as_str).collect();
    let is_large = |name: &str| intervals.iter().any(|interval| cores(interval, name) >= SMALL_THREAD_CORES);
    names.into_iter().filter(|name| is_large(name)).collect()
}

/// Several network threads of players; none if there is one, which is its own sum.
fn summed<'a>(threads: &[&'a str]) -> Vec<&'a str> {
    let of_players: Vec<&str> = threads.iter().copied().filter(|name| is_player_net(name)).collect();
    if of_players.len() > 1 { of_players } else { Vec::new() }
}

/// A line for each thread that uses something, one for several network threads of players together, and one for the
/// rest.
pub(super) fn lines(intervals: &[Interval], line: &dyn Fn(&str, &dyn Fn(&Interval) -> f64) -> Line) -> Vec<Line> {
    let large = large(intervals);
    let mut lines: Vec<Line> =
        large.iter().map(|name| line(&format!("server: {name}"), &|interval| cores(interval, name))).collect();
    let summed = summed(&large);
    if !summed.is_empty() {
        lines.push(line(&format!("server: {PLAYER_NET}, all"), &|interval| cores_of_all(interval, &summed)));
    }
    lines.push(line("server: other", &|interval| interval.server_total_cores() - cores_of_all(interval, &large)));
    lines
}

/// A table with a row for each interval, in Markdown; empty if the server's threads are not known.
pub(super) fn table(intervals: &[Interval]) -> String {
    let large = large(intervals);
    let summed = summed(&large);
    let mut text = String::new();
    if large.is_empty() {
        return text;
    }
    text.push_str("CPU time of the server's threads, cores:\n\n| players |");
    let all = (!summed.is_empty()).then(|| format!("{PLAYER_NET}, all"));
    let heads = large.iter().copied().chain(all.as_deref()).chain(["other"]);
    let mut columns = 1;
    for head in heads {
        let _ = write!(text, " {head} |");
        columns += 1;
    }
    let _ = writeln!(text, "\n|{}", "---:|".repeat(columns));
    for interval in intervals {
        let _ = write!(text, "| {} |", interval.players);
        for thread in &large {
            let _ = write!(text, " {:.3} |", cores(interval, thread));
        }
        if !summed.is_empty() {
            let _ = write!(text, " {:.3} |", cores_of_all(interval, &summed));
        }
        let _ = writeln!(text, " {:.3} |", interval.server_total_cores() - cores_of_all(interval, &large));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(threads: &[(&str, f64)]) -> Interval {
        let server_cores = threads.iter().map(|(name, cores)| ((*name).to_owned(), *cores)).collect();
        Interval { players: 9, server_cores, ..Interval::default() }
    }

    #[test]
    fn several_network_threads_are_reported_each_and_together() {
        let threads =
            [("main", 0.5), ("ops", 0.001), ("player-net-0", 0.25), ("player-net-1", 0.125), ("shard-net", 0.05)];
        let text = table(&[interval(&threads)]);
        assert!(
            text.contains("| players | main | player-net-0 | player-net-1 | shard-net | player-net, all | other |")
        );
        assert!(text.ends_with("| 9 | 0.500 | 0.250 | 0.125 | 0.050 | 0.375 | 0.001 |\n"), "{text}");
        let one = table(&[interval(&threads[..3])]);
        assert!(one.contains("| players | main | player-net-0 | other |"), "{one}");
        assert_eq!(table(&[interval(&[])]), "");
    }
}
