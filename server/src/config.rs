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

/// A database's URL, which may hold a password.
#[derive(Clone)]
pub struct DatabaseUrl(pub String);

impl FromStr for DatabaseUrl {
    type Err = std::convert::Infallible;

    /// What is wrong with it is told when it is opened, without its password.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "give an IP address and a port, like 127.0.0.1:7777 or [::]:7777")
}

/// There is no address that players could be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdvertiseError {
    /// It listens on all of the machine's addresses, and nobody said which one players reach.
    #[error(
        "--player-addr {0} is every address of this machine, and players cannot connect to that: name the one that \
         they reach with --advertise-player-addr, or give it as --player-addr"
    )]
    ListensEverywhere(SocketAddr),
    /// What is advertised is no address to connect to.
    #[error("--advertise-player-addr {0} is no address that players can connect to: name the one that they reach")]
    Unspecified(SocketAddr),
}

/// The database when nobody names one.
const DEFAULT_DATABASE_URL: &str = "sqlite://sidereal.sqlite";

impl Config {
    /// The database's URL; it may hold a password. In this order: the flag, its environment twin, `DATABASE_URL`, a
    /// file in the working folder.
    pub fn database_url(&self) -> String {
        self.database_url_or(std::env::var("DATABASE_URL").ok())
    }

    fn database_url_or(&self, from_environment: Option<String>) -> String {
        let given = self.database_url.as_ref().map(|url| url.0.clone());
        given
            .or_else(|| from_environment.filter(|url| !url.is_empty()))
            .unwrap_or_else(|| DEFAULT_DATABASE_URL.to_owned())
    }

    /// What logins tell players to connect to, when `bound` is what the system gave for `player_addr`.
    ///
    /// # Errors
    /// [`AdvertiseError`].
    pub fn advertised_player_addr(&self, bound: SocketAddr) -> Result<SocketAddr, AdvertiseError> {
        match self.advertise_player_addr {
            Some(address) if address.ip().is_unspecified() => Err(AdvertiseError::Unspecified(address)),
            Some(address) if address.port() == 0 => Ok(SocketAddr::new(address.ip(), bound.port())),
            Some(address) => Ok(address),
            None if bound.ip().is_unspecified() => Err(AdvertiseError::ListensEverywhere(self.player_addr)),
            None => Ok(bound),
        }
    }
}

/// Sidereal's replication server: the only door for players and shards.
#[derive(Debug, Clone, Parser)]
#[command(name = "sidereal-server", version)]
pub struct Config {
    /// Where players connect (UDP, WebTransport); port 0 takes any free one.
    #[arg(long, env = "SIDEREAL_PLAYER_ADDR", value_parser = address, default_value = "127.0.0.1:7777")]
    pub player_addr: SocketAddr,
    /// What logins tell players to connect to, where that is not --player-addr: an address of a router or a relay, or
    /// the one that others reach when --player-addr is 0.0.0.0 or ::. Port 0 means the port of --player-addr.
    #[arg(long, env = "SIDEREAL_ADVERTISE_PLAYER_ADDR", value_parser = address)]
    pub advertise_player_addr: Option<SocketAddr>,
    /// Where shards connect (UDP, WebTransport); keep it off public networks.
    #[arg(long, env = "SIDEREAL_SHARD_ADDR", value_parser = address, default_value = "127.0.0.1:7778")]
    pub shard_addr: SocketAddr,
    /// Where the HTTP API listens (TCP).
    #[arg(long, env = "SIDEREAL_HTTP_ADDR", value_parser = address, default_value = "127.0.0.1:7779")]
    pub http_addr: SocketAddr,
    /// The database: sqlite://FILE, a file's path, :memory:, or postgres://USER:PASSWORD@HOST/DATABASE (best given by
    /// the environment). Without it DATABASE_URL counts, and without that sqlite://sidereal.sqlite.
    #[arg(long, env = "SIDEREAL_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<DatabaseUrl>,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn advertised(arguments: &[&str], bound: &str) -> Result<String, String> {
        let secret = ["sidereal-server", "--shard-secret", "x"];
        let config = Config::try_parse_from(secret.iter().chain(arguments)).expect("a good command line");
        let bound = bound.parse().expect("an address");
        config.advertised_player_addr(bound).map(|address| address.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_database_is_the_one_that_is_named_nearest_and_never_printed() {
        let parse = |arguments: &[&str]| {
            let secret = ["sidereal-server", "--shard-secret", "x"];
            Config::try_parse_from(secret.iter().chain(arguments)).expect("a good command line")
        };
        let flag = parse(&["--database-url", "postgres://me:hunter2@h/world"]);
        assert_eq!(flag.database_url_or(Some("other.sqlite".into())), "postgres://me:hunter2@h/world");
        assert!(!format!("{flag:?}").contains("hunter2"));
        if std::env::var_os("SIDEREAL_DATABASE_URL").is_none() {
            let none = parse(&[]);
            assert_eq!(none.database_url_or(Some("other.sqlite".into())), "other.sqlite");
            assert_eq!(none.database_url_or(Some(String::new())), DEFAULT_DATABASE_URL);
            assert_eq!(none.database_url_or(None), DEFAULT_DATABASE_URL);
        }
    }

    #[test]
    fn players_are_told_an_address_that_they_can_connect_to() {
        let everywhere = ["--player-addr", "0.0.0.0:0"];
        let advertise = |address| [&everywhere[..], &["--advertise-player-addr", address]].concat();
        assert_eq!(advertised(&[], "127.0.0.1:7777"), Ok("127.0.0.1:7777".into()));
        assert_eq!(advertised(&advertise("192.0.2.1:0"), "0.0.0.0:4000"), Ok("192.0.2.1:4000".into()));
        assert_eq!(advertised(&advertise("192.0.2.1:9"), "0.0.0.0:4000"), Ok("192.0.2.1:9".into()));
        for (arguments, bound) in [
            (everywhere.to_vec(), "0.0.0.0:4000"),
            (vec!["--player-addr", "[::]:0"], "[::]:4000"),
            (advertise("[::]:9"), "0.0.0.0:4000"),
        ] {
            let error = advertised(&arguments, bound).expect_err("nobody can connect there");
            assert!(error.contains("--advertise-player-addr"), "{error}");
        }
    }
}
