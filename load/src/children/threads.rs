//! CPU time of a process by thread, from `/proc/<pid>/task`.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, path::Path};

/// Length of a tick of `/proc/<pid>/stat`, ns: Linux counts in hundredths of a second on every architecture.
const STAT_TICK_NS: u64 = 10_000_000;

/// The name under which the first thread of a process is counted: its own is that of the program.
pub const MAIN: &str = "main";

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
        let folder = format!("/proc/{pid}/task");
        let tasks = fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
        let mut times = Self { source: CpuSource::Schedstat, by_name: BTreeMap::new() };
        for task in tasks.flatten() {
            let path = task.path();
            // A thread may end meanwhile.
            let Some((ns, source)) = cpu_ns(&path) else { continue };
            let is_main = task.file_name().to_str() == Some(pid.to_string().as_str());
            let name = match is_main {
                true => MAIN.to_owned(),
                false => fs::read_to_string(path.join("comm")).unwrap_or_default().trim().to_owned(),
            };
            if source == CpuSource::Stat {
                times.source = source;
            }
            *times.by_name.entry(name).or_default() += ns;
        }
        Ok(times)
    }

    /// What each thread has used since `earlier`. A thread that has started since counts from its start.
    pub fn since(&self, earlier: &Self) -> BTreeMap<String, u64> {
        let before = |name: &String| earlier.by_name.get(name).copied().unwrap_or(0);
        self.by_name.iter().map(|(name, ns)| (name.clone(), ns.saturating_sub(before(name)))).collect()
    }
}

fn cpu_ns(task: &Path) -> Option<(u64, CpuSource)> {
    let exact = fs::read_to_string(task.join("schedstat")).ok().and_then(|text| schedstat_ns(&text));
    if let Some(ns) = exact {
        return Some((ns, CpuSource::Schedstat));
    }
    Some((stat_ns(&fs::read_to_string(task.join("stat")).ok()?)?, CpuSource::Stat))
}

/// The time on a CPU; `None` if the kernel does not count it.
fn schedstat_ns(text: &str) -> Option<u64> {
    let mut fields = text.split_whitespace().map(str::parse::<u64>);
    let (ran, _waited, slices) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
    (ran > 0 || slices == 0).then_some(ran)
}

fn stat_ns(text: &str) -> Option<u64> {
    // The thread's name, in parentheses, may contain anything; fields are counted after it.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some((user + system) * STAT_TICK_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_a_kernel_that_does_not_count_is_detected() {
        assert_eq!(schedstat_ns("188993 3739969 2\n"), Some(188_993));
        assert_eq!(schedstat_ns("0 0 0\n"), Some(0));
        assert_eq!(schedstat_ns("0 0 17\n"), None);
        assert_eq!(schedstat_ns(""), None);
        let stat = "7 (a (strange) name) S 1 1 1 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 1 0 100";
        assert_eq!(stat_ns(stat), Some(7 * STAT_TICK_NS));
        assert_eq!(stat_ns("nothing"), None);
    }

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
