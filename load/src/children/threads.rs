//! CPU time of a process by thread, from `/proc/<pid>/task`.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
pub use sidereal_process::threads::MAIN;
use sidereal_process::threads::thread_times;
use std::collections::BTreeMap;

/// The first part of the names of all network threads of players, and the name of their sum.
pub const PLAYER_NET: &str = "player-net";

/// Where a figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuSource {
    /// `schedstat`: nanoseconds.
    Schedstat,
    /// `stat`: hundredths of a second. Figures of a few seconds are coarse.
    Stat,
}

/// CPU time of each thread of a process, ns, by the thread's name. Threads of the same name are added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadTimes {
    /// Where it comes from.
    pub source: CpuSource,
    /// By name. A thread that has ended is missing.
    pub by_name: BTreeMap<String, u64>,
}

impl ThreadTimes {
    /// The present times of the process `pid`.
    ///
    /// # Errors
    /// When there is no such process, or the system has no `/proc`.
    pub fn of(pid: u32) -> Result<Self> {
        let threads = thread_times(pid).with_context(|| format!("cannot read /proc/{pid}/task"))?;
        let mut times = Self { source: CpuSource::Schedstat, by_name: BTreeMap::new() };
        for thread in threads {
            if !thread.is_exact {
                times.source = CpuSource::Stat;
            }
            *times.by_name.entry(thread.name).or_default() += thread.ns;
        }
        Ok(times)
    }

    /// What each thread has used since `earlier`. A thread that has started since counts from its start.
    pub fn since(&self, earlier: &Self) -> BTreeMap<String, u64> {
        let before = |name: &String| earlier.by_name.get(name).copied().unwrap_or(0);
        self.by_name.iter().map(|(name, ns)| (name.clone(), ns.saturating_sub(before(name)))).collect()
    }
}

/// Whether this is the name of a network thread of players.
pub fn is_player_net(name: &str) -> bool {
    name.starts_with(PLAYER_NET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_a_main_thread_and_its_times_only_grow() {
        let before = ThreadTimes::of(std::process::id()).expect("Linux has it");
        assert!(before.by_name.contains_key(MAIN));
        let after = ThreadTimes::of(std::process::id()).expect("Linux has it");
        for (name, ns) in &before.by_name {
            // Another test's thread may have ended.
            assert!(after.by_name.get(name).is_none_or(|later| later >= ns), "{name}");
        }
        assert!(ThreadTimes::of(0).is_err());
    }
}
