//! The server's configuration, parsed once from flags and environment.

use clap::Parser;
use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// A text that is never printed.
#[derive(Clone)]
pub struct Secret(pub String);

impl FromStr for Secret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err("it is empty, and everybody knows that one: choose a secret, the same for server and shards");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "give an IP address and a port, like 127.0.0.1:7777 or [::]:7777")
}

/// Sidereal's replication server: the only door for players and shards.
#[derive(Debug, Clone, Parser)]
#[command(name = "sidereal-server", version)]
pub struct Config {
    /// Where players connect (UDP, WebTransport); port 0 takes any free one.
    #[arg(long, env = "SIDEREAL_PLAYER_ADDR", value_parser = address, default_value = "127.0.0.1:7777")]
    pub player_addr: SocketAddr,
    /// Where shards connect (UDP, WebTransport); keep it off public networks.
    #[arg(long, env = "SIDEREAL_SHARD_ADDR", value_parser = address, default_value = "127.0.0.1:7778")]
    pub shard_addr: SocketAddr,
    /// Where the HTTP API listens (TCP).
    #[arg(long, env = "SIDEREAL_HTTP_ADDR", value_parser = address, default_value = "127.0.0.1:7779")]
    pub http_addr: SocketAddr,
    /// The database: sqlite://FILE, a file's path, or :memory:.
    #[arg(long, env = "SIDEREAL_DATABASE_URL", default_value = "sqlite://sidereal.sqlite")]
    pub database_url: String,
    /// What shards must present; best given by the environment, where other users cannot read it.
    #[arg(long, env = "SIDEREAL_SHARD_SECRET", hide_env_values = true)]
    pub shard_secret: Secret,
    /// Seed of a new world. A world that is stored keeps its own, and another one here is refused.
    #[arg(long, env = "SIDEREAL_SEED")]
    pub seed: Option<u64>,
    /// No lease is given before this many shards are there, or five seconds have passed.
    #[arg(long, env = "SIDEREAL_EXPECT_SHARDS", default_value_t = 1)]
    pub expect_shards: usize,
    /// Write a report of the run here when it ends (JSON).
    #[arg(long, env = "SIDEREAL_REPORT")]
    pub report: Option<PathBuf>,
    /// Write the addresses here once the server listens (JSON).
    #[arg(long, env = "SIDEREAL_READY_FILE")]
    pub ready_file: Option<PathBuf>,
    /// End when the standard input ends: nothing outlives a launcher that was killed.
    #[arg(long, env = "SIDEREAL_DIE_WITH_STDIN")]
    pub die_with_stdin: bool,
}
