//! A world of its own for a run: the real server and its shards as child processes, on free ports of this machine.

use crate::children::spawned::Spawned;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Sessions that the server accepts from this machine: twice the most `--clients`.
const MAX_SESSIONS: &str = "8192";

/// How long the world may take until its central sectors are simulated.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// The ready file of the server.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// The HTTP API.
    pub http_addr: SocketAddr,
    /// Health and metrics.
    pub ops_addr: SocketAddr,
    /// The address for shards.
    pub shard_addr: SocketAddr,
    /// SHA-256 of its certificate for shards.
    pub certificate_hash: String,
}

/// A running server.
pub struct ServerProcess {
    /// The process.
    pub child: Spawned,
    /// Its addresses.
    pub ready: Ready,
    /// The secret of its shards.
    pub shard_secret: String,
}

/// This program, to be started in a role.
///
/// # Errors
/// When the system does not say where it is.
pub fn this_program() -> Result<PathBuf> {
    std::env::current_exe().context("the system does not say which program this is")
}

impl ServerProcess {
    /// Starts `program` in the role of a server with so many network threads for players, with a new database and its log
    /// in `folder`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(program: &Path, folder: &Path, shards: u32, player_threads: u32, seed: u64) -> Result<Self> {
        let ready_file = folder.join("ready.json");
        let shard_secret = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let database = format!("sqlite:{}", folder.join("world.sqlite").display());
        let (shards, player_threads, seed) = (shards.to_string(), player_threads.to_string(), seed.to_string());
        let ready_path = ready_file.display().to_string();
        let mut arguments = vec!["role", "server", "--die-with-stdin", "--ready-file", &ready_path];
        for address in ["--player-addr", "--shard-addr", "--http-addr", "--ops-addr"] {
            arguments.extend([address, "127.0.0.1:0"]);
        }
        for sessions in ["--sessions-total", "--sessions-per-address"] {
            arguments.extend([sessions, MAX_SESSIONS]);
        }
        for unlimited in [
            "--handshakes-per-address",
            "--handshakes-total",
            "--rate-limit-address",
            "--rate-limit-account",
            "--rate-limit-login",
            "--rate-limit-register",
        ] {
            arguments.extend([unlimited, "0"]);
        }
        arguments.extend([
            "--database-url",
            &database,
            "--expect-shards",
            &shards,
            "--player-threads",
            &player_threads,
            "--seed",
            &seed,
        ]);
        let environment = [("SIDEREAL_SHARD_SECRET", shard_secret.as_str())];
        let log = folder.join("server.log");
        let mut child = Spawned::start("the server", program, arguments, &environment, &log)?;
        let ready = child.wait_for_file(&ready_file)?;
        Ok(Self { child, ready, shard_secret })
    }

    /// Starts a real shard of this server.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_shard(&self, program: &Path, folder: &Path, number: usize) -> Result<Spawned> {
        let name = format!("shard-{number}");
        let address = self.ready.shard_addr.to_string();
        let arguments = [
            "role",
            "shard",
            "--die-with-stdin",
            "--server",
            &address,
            "--certificate-hash",
            &self.ready.certificate_hash,
            "--name",
            &name,
        ];
        let environment = [("SIDEREAL_SHARD_SECRET", self.shard_secret.as_str())];
        Spawned::start(&name, program, arguments, &environment, &folder.join(format!("{name}.log")))
    }

    /// The server's HTTP address.
    pub fn http(&self) -> String {
        format!("http://{}", self.ready.http_addr)
    }

    /// The server's figures.
    pub fn ops(&self) -> Ops {
        Ops::new(self.ready.ops_addr.to_string())
    }
}

/// Reads a server's `/ready` and `/metrics`.
#[derive(Debug, Clone)]
pub struct Ops {
    agent: ureq::Agent,
    address: String,
}

impl Ops {
    /// Of the server with this address for operations.
    pub fn new(address: String) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(5)))
            .http_status_as_error(false)
            .build();
        Self { agent: config.into(), address }
    }

    /// Waits until the central sectors are simulated.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_DEADLINE;
        let mut last = String::new();
        while Instant::now() < deadline {
            match self.agent.get(format!("http://{}/ready", self.address)).call() {
                Ok(answer) if answer.status() == 200 => return Ok(()),
                Ok(answer) => last = format!("status {}", answer.status()),
                Err(error) => last = error.to_string(),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("http://{}/ready: not ready after {} s: {last}", self.address, READY_DEADLINE.as_secs())
    }

    /// The present metrics.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn metrics(&self) -> Result<Metrics> {
        let url = format!("http://{}/metrics", self.address);
        let mut answer = self.agent.get(&url).call().with_context(|| format!("cannot read {url}"))?;
        Ok(Metrics(answer.body_mut().read_to_string()?))
    }

    /// The world's tick, at the moment when the metrics show a new one: they show every tenth.
    ///
    /// # Errors
    /// When the server does not answer, or its ticks stand still.
    pub fn tick_edge(&self) -> Result<(f64, Instant)> {
        let first = self.metrics()?.value("sidereal_tick")?;
        let deadline = Instant::now() + READY_DEADLINE;
        while Instant::now() < deadline {
            let tick = self.metrics()?.value("sidereal_tick")?;
            if tick > first {
                return Ok((tick, Instant::now()));
            }
            std::thread::sleep(Duration::from_millis(4));
        }
        bail!("the world stands still at tick {first}")
    }
}

/// A text of metrics.
#[derive(Debug, Clone)]
pub struct Metrics(pub String);

impl Metrics {
    /// One value, by the name with its labels.
    ///
    /// # Errors
    /// When it is missing.
    pub fn value(&self, name: &str) -> Result<f64> {
        self.get(name).with_context(|| format!("the server's metrics have no {name}"))
    }

    /// One value; `None` if it is missing.
    pub fn get(&self, name: &str) -> Option<f64> {
        let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
        self.0.lines().find_map(of)
    }

    /// All values of a metric with the label `label`: the label's value, and the metric's.
    pub fn labelled(&self, name: &str, label: &str) -> Vec<(String, f64)> {
        let of = |line: &str| {
            let rest = line.strip_prefix(name)?.strip_prefix('{')?.strip_prefix(label)?.strip_prefix("=\"")?;
            let (of, value) = rest.split_once("\"}")?;
            Some((of.to_owned(), value.trim().parse().ok()?))
        };
        self.0.lines().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_name() {
        let text = "# HELP a b\na_total 3\na 4.5\nb{map=\"x\"} 1\nb{map=\"y\"} 2\n";
        let metrics = Metrics(text.to_owned());
        assert_eq!(metrics.get("a"), Some(4.5));
        assert_eq!(metrics.get("a_total"), Some(3.0));
        assert_eq!(metrics.get("b{map=\"y\"}"), Some(2.0));
        assert!(metrics.value("c").is_err());
        assert_eq!(metrics.labelled("b", "map"), [("x".to_owned(), 1.0), ("y".to_owned(), 2.0)]);
    }
}
