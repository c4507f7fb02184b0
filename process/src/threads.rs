//! CPU time of a process by thread, from `/proc/<pid>/task`.

use std::{fs, io, path::Path};

/// Length of a tick of `/proc/<pid>/stat`, ns: Linux counts in hundredths of a second on every architecture.
const STAT_TICK_NS: u64 = 10_000_000;

/// The name of the first thread of a process: its own is that of the program.
pub const MAIN: &str = "main";

/// CPU time of a thread since its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadTime {
    /// The thread's name, as far as the system keeps it (15 bytes on Linux); the first one's is [`MAIN`].
    pub name: String,
    /// Nanoseconds.
    pub ns: u64,
    /// Whether the kernel counts nanoseconds (`schedstat`) instead of hundredths of a second (`stat`).
    pub is_exact: bool,
}

/// The threads of the process `pid` that run now.
///
/// # Errors
/// When there is no such process, or the system has no `/proc`.
pub fn thread_times(pid: u32) -> io::Result<Vec<ThreadTime>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?;
    // A thread may end meanwhile.
    Ok(tasks.flatten().filter_map(|task| thread_time(&task.path(), pid)).collect())
}

fn thread_time(task: &Path, pid: u32) -> Option<ThreadTime> {
    let is_main = task.file_name().and_then(|name| name.to_str()) == Some(pid.to_string().as_str());
    let exact = fs::read_to_string(task.join("schedstat")).ok().and_then(|text| schedstat_ns(&text));
    let is_exact = exact.is_some();
    let ns = match exact {
        Some(ns) => ns,
        None => stat_ns(&fs::read_to_string(task.join("stat")).ok()?)?,
    };
    let name = match is_main {
        true => MAIN.to_owned(),
        false => fs::read_to_string(task.join("comm")).unwrap_or_default().trim().to_owned(),
    };
    Some(ThreadTime { name, ns, is_exact })
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
    fn a_named_thread_of_this_process_is_found_and_so_is_its_first_one() {
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("player-net-0".to_owned()).spawn(move || {
            let _ = ready.send(());
            let _ = wait.recv();
        });
        is_ready.recv().expect("it runs");
        let times = thread_times(std::process::id()).expect("Linux has it");
        for name in [MAIN, "player-net-0"] {
            assert_eq!(times.iter().filter(|time| time.name == name).count(), 1, "{name}: {times:?}");
        }
        drop(stop);
        thread.expect("a thread").join().expect("it ends");
        assert!(thread_times(0).is_err());
    }
}
