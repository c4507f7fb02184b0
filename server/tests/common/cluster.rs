//! A PostgreSQL server for tests: its own cluster in a temporary folder, reached by a Unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

/// Limit after which a stuck test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the server, waits for the end of standard input, which comes however the test's process ends, and ends the
/// server. The folder is removed too, unless the server is to be started again.
const RUN: &str = r#"
    "$@" 2>>"$FOLDER/log" >&2 </dev/null &
    pid=$!
    echo "$pid" >"$FOLDER/pid"
    read -r how || how=end
    # It starts no more processes now; those that it has may have been paused.
    kill -STOP "$pid"
    others=
    for status in /proc/[0-9]*/status; do
        grep -qs "^PPid:[[:space:]]*$pid\$" "$status" && other=${status%/status} && others="$others ${other#/proc/}"
    done
    case "$how" in
        kill) kill -KILL "$pid" $others ;;
        *) kill -INT "$pid"; kill -CONT "$pid" $others ;;
    esac 2>/dev/null
    wait "$pid"
    # One that lived on would still write, and keep the next server from starting.
    for other in $others; do
        while grep -qs "^State:[[:space:]]*[^ZX]" "/proc/$other/status"; do sleep 0.02; done
    done
    [ "$how" = end ] && rm -rf -- "$FOLDER"
    exit 0
"#;

/// A running server. It ends when this is dropped, and also when the test's process is killed.
pub struct PgCluster {
    folder: PathBuf,
    programs: PathBuf,
    user: Option<String>,
    supervisor: Mutex<Option<Child>>,
    schemas: AtomicU32,
    /// Whether commits are on the disk, as in production; tests need not wait for that.
    durable: bool,
}

impl PgCluster {
    /// This test binary's shared one, for tests that leave it running.
    pub fn shared() -> Option<Arc<Self>> {
        static SHARED: OnceLock<Option<Arc<PgCluster>>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start_new().map(Arc::new)).clone()
    }

    /// A new one; `None`, with a message on standard error, if PostgreSQL is not installed.
    ///
    /// # Panics
    /// When it is not installed and `CI` is `true`: no test is skipped there.
    pub fn start_new() -> Option<Self> {
        Self::start_with(false)
    }

    /// A new one that waits for its disk, for figures.
    pub fn start_durable() -> Option<Self> {
        Self::start_with(true)
    }

    fn start_with(durable: bool) -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "PostgreSQL is missing, and CI must have it");
            eprintln!("SKIPPED: there is no PostgreSQL server (Debian: apt-get install postgresql)");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("sidereal-pg-").tempdir().expect("a temporary folder").keep();
        let user = is_root().then(|| if has_user("postgres") { "postgres" } else { "nobody" }.to_owned());
        if let Some(user) = &user {
            run(Command::new("chown").arg(user).arg(&folder));
        }
        let cluster =
            Self { folder, programs, user, supervisor: Mutex::default(), schemas: AtomicU32::new(0), durable };
        run(cluster.command("initdb").arg("-D").arg(cluster.data()).args([
            "--no-sync",
            "--username=sidereal",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]));
        // No password is needed, except for this one role.
        let access = cluster.data().join("pg_hba.conf");
        std::fs::write(access, "local all locked scram-sha-256\nlocal all all trust\n").expect("written");
        cluster.start();
        Some(cluster)
    }

    /// Starts the server after [`kill`](Self::kill) or [`stop`](Self::stop).
    pub fn start(&self) {
        let server = self.command("postgres");
        let mut supervisor = Command::new("sh");
        supervisor.args(["-c", RUN, "sh"]).env("FOLDER", &self.folder);
        supervisor
            .arg(server.get_program())
            .args(server.get_args())
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(&self.folder);
        let sync = if self.durable { "fsync=on" } else { "fsync=off" };
        for setting in ["listen_addresses=", "max_connections=150", sync] {
            supervisor.args(["-c", setting]);
        }
        let child = supervisor.stdin(Stdio::piped()).current_dir("/").spawn().expect("sh starts");
        *self.lock() = Some(child);
        let begun = Instant::now();
        while let Err(error) = PgConnection::establish(&self.url()) {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "the server does not start: {error}\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops the server in an orderly way; its data stay.
    pub fn stop(&self) {
        self.end("stop\n");
    }

    /// Ends the server as a crash would; its data stay.
    pub fn kill(&self) {
        self.end("kill\n");
    }

    /// Stops every process of the server where it is (SIGSTOP): connections stay, without answers.
    pub fn pause(&self) {
        // The first one first: it starts others.
        self.signal("-STOP");
    }

    /// Continues after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let first = std::fs::read_to_string(self.folder.join("pid")).expect("it was written at the start");
        let first = first.trim();
        let send = |pid: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", r#"kill "$@""#, "sh", signal, pid]).stderr(Stdio::null());
            shell.status().expect("sh starts").success()
        };
        assert!(send(first), "the server runs");
        for pid in children(first) {
            // It may have ended meanwhile.
            send(&pid);
        }
    }

    /// The Unix socket at which it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    fn end(&self, how: &str) {
        if let Some(mut supervisor) = self.lock().take() {
            let mut input = supervisor.stdin.take().expect("it is piped");
            io::Write::write_all(&mut input, how.as_bytes()).expect("it reads");
            drop(input);
            supervisor.wait().expect("it ends");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's default database, with all rights.
    pub fn url(&self) -> String {
        self.url_as("sidereal", "postgres")
    }

    /// A database of the server, as a given user.
    pub fn url_as(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@{}/{database}", self.folder.display().to_string().replace('/', "%2F"))
    }

    /// Makes an empty schema, and returns a URL whose search path is that one.
    pub fn new_schema(&self) -> String {
        let schema = format!("world_{}", self.schemas.fetch_add(1, Ordering::Relaxed));
        self.shell(&format!("CREATE SCHEMA {schema}"));
        format!("{}?options=-csearch_path%3D{schema}", self.url())
    }

    /// Runs statements in the default database.
    pub fn shell(&self, sql: &str) {
        let mut conn = PgConnection::establish(&self.url()).expect("the server answers");
        conn.batch_execute(sql).expect("the statement runs");
    }

    /// The processor time that the server and its processes have used, milliseconds.
    pub fn cpu_ms(&self) -> u64 {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let server = file.lines().next().unwrap_or_default();
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (pid, rest) = stat.split_once(' ')?;
            // After the name, which may contain anything: state, parent, and so on; the times start at the 12th.
            let fields: Vec<&str> = rest.rsplit_once(')')?.1.split_whitespace().collect();
            let ticks = |range: std::ops::Range<usize>| -> u64 {
                fields.get(range).into_iter().flatten().filter_map(|field| field.parse::<u64>().ok()).sum()
            };
            // The server's own times include those of its processes that have ended.
            (pid == server).then(|| ticks(11..15)).or_else(|| (fields.get(1) == Some(&server)).then(|| ticks(11..13)))
        });
        processes.sum::<u64>() * 10
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A program of PostgreSQL, run as a user other than root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match &self.user {
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .args([&format!("--reuid={user}"), "--regid", &group_of(user), "--clear-groups", "--"])
                    .arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir("/");
        command
    }
}

impl Drop for PgCluster {
    fn drop(&mut self) {
        match self.lock().take() {
            Some(mut supervisor) => {
                drop(supervisor.stdin.take());
                let _ = supervisor.wait();
            }
            None => {
                let _ = std::fs::remove_dir_all(&self.folder);
            }
        }
    }
}

/// The folder of the newest server programs.
fn programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    });
    let debian = debian.filter(|(_, folder)| has_programs(folder)).max().map(|(_, folder)| folder);
    debian.or_else(|| std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| has_programs(folder)))
}

fn has_programs(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file())
}

/// The processes that `parent` has started.
fn children(parent: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_child = |pid: &String| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|of| of.trim() == parent))
    };
    let pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(is_child).collect()
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

fn has_user(name: &str) -> bool {
    std::fs::read_to_string("/etc/passwd").unwrap_or_default().lines().any(|line| line.split(':').next() == Some(name))
}

fn group_of(user: &str) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let group = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| fields.nth(2).map(str::to_owned))?
    });
    group.expect("the user is there")
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
