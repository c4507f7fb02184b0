//! The command line of the launcher, parsed once.
//!
//! Every flag has an environment twin, `SIDEREAL_<FLAG>`. The twins are the launcher's alone: [`own_variables`] lists
//! them, so that they are removed from the environment of the started processes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, Parser};

/// Starts a whole world on this machine: the server, shards, and a client (a window) or bots.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "sidereal-launcher",
    bin_name = "./run-local",
    version,
    after_help = "Each flag has an environment twin: SIDEREAL_SHARDS for --shards, and so on.\n\
                  Exit status: 0 all went well; 1 a process died, an invariant broke or a bot could not play; \
                  2 it could not be started like this."
)]
pub struct Options {
    /// Shards (simulation processes) to start.
    #[arg(long, value_name = "N", env = "SIDEREAL_SHARDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub shards: u32,

    /// Bots to start, all in one process.
    #[arg(long, value_name = "N", env = "SIDEREAL_BOTS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=500))]
    pub bots: u32,

    /// The bots stay in view of each other instead of roaming.
    #[arg(long, env = "SIDEREAL_GATHER")]
    pub gather: bool,

    /// Mission of the bots: roam, gather, or trade (mine, deal at stations, and trade with each other).
    #[arg(long, value_name = "WHAT", env = "SIDEREAL_MISSION", value_parser = ["roam", "gather", "trade"], conflicts_with = "gather")]
    pub mission: Option<String>,

    /// No window, even where there is a display.
    #[arg(long, env = "SIDEREAL_HEADLESS")]
    pub headless: bool,

    /// Builds the browser client as well, where there is a display (used by ./run-local); without a display it is
    /// always built.
    #[arg(long, env = "SIDEREAL_WEB")]
    pub web: bool,

    /// Folder of the built browser client, which the server then serves; set by ./run-local.
    #[arg(long, value_name = "DIR", env = "SIDEREAL_WEB_DIR")]
    pub web_dir: Option<PathBuf>,

    /// Ends this long after the world (with bots: the last bot) is ready; without it Ctrl-C ends it.
    #[arg(long, value_name = "N", env = "SIDEREAL_SECONDS", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub seconds: Option<u64>,

    /// Seed of a new world and of the bots; a stored world keeps its own.
    #[arg(long, value_name = "N", env = "SIDEREAL_SEED")]
    pub seed: Option<u64>,

    /// Database: sqlite://FILE, or :memory: [default: world.sqlite in the data folder].
    #[arg(long, value_name = "URL", env = "SIDEREAL_DB")]
    pub db: Option<String>,

    /// Starts with an empty world: deletes the SQLite file named by --db (or the default one), and reports it.
    #[arg(long, env = "SIDEREAL_FRESH")]
    pub fresh: bool,

    /// Writes the measurements to FILE when all processes have ended (JSON, see docs/REPORT.md).
    #[arg(long, value_name = "FILE", env = "SIDEREAL_REPORT")]
    pub report: Option<PathBuf>,

    /// UDP port for players; 0 = any free port.
    #[arg(long, value_name = "PORT", env = "SIDEREAL_PLAYER_PORT", default_value_t = 7777)]
    pub player_port: u16,

    /// The server's network threads for players: each has a UDP port of its own, from --player-port on, without that of
    /// --shard-port [default: one for every four cores, at most 4; with a simulated network 1].
    #[arg(long, value_name = "N", env = "SIDEREAL_PLAYER_THREADS", value_parser = clap::value_parser!(u32).range(1..=16))]
    pub player_threads: Option<u32>,

    /// UDP port for shards; 0 = any free port.
    #[arg(long, value_name = "PORT", env = "SIDEREAL_SHARD_PORT", default_value_t = 7778)]
    pub shard_port: u16,

    /// TCP port for accounts (HTTP); 0 = any free port.
    #[arg(long, value_name = "PORT", env = "SIDEREAL_HTTP_PORT", default_value_t = DEFAULT_HTTP_PORT)]
    pub http_port: u16,

    /// TCP port for health and metrics (HTTP); 0 = any free port [default: 7780; with another --http-port than 7779, any
    /// free port].
    #[arg(long, value_name = "PORT", env = "SIDEREAL_OPS_PORT")]
    pub ops_port: Option<u16>,

    /// Adds this many milliseconds to every UDP datagram of players and shards, in each direction (0 to 1000).
    #[arg(long, value_name = "MS", env = "SIDEREAL_LATENCY_MS")]
    pub latency_ms: Option<f64>,

    /// Largest deviation from --latency-ms, evenly distributed; at most as much.
    #[arg(long, value_name = "MS", env = "SIDEREAL_JITTER_MS")]
    pub jitter_ms: Option<f64>,

    /// Share of these datagrams that are lost, in each direction (0 to 0.5).
    #[arg(long, value_name = "SHARE", env = "SIDEREAL_LOSS")]
    pub loss: Option<f64>,

    /// Folder for the default database and the local player's account; created if missing.
    #[arg(long, value_name = "DIR", env = "SIDEREAL_DATA", default_value = ".sidereal")]
    pub data: PathBuf,

    /// Builds and runs the release profile (slow to build; used by ./run-local).
    #[arg(long, env = "SIDEREAL_RELEASE")]
    pub release: bool,
}

/// The default port of accounts.
const DEFAULT_HTTP_PORT: u16 = 7779;

/// The default port of health and metrics.
const DEFAULT_OPS_PORT: u16 = 7780;

impl Options {
    /// The port for health and metrics; 0 means any free one. With another --http-port than the default it is any free
    /// one, so that several worlds need only one other port.
    pub fn ops_port(&self) -> u16 {
        let beside_http = if self.http_port == DEFAULT_HTTP_PORT { DEFAULT_OPS_PORT } else { 0 };
        self.ops_port.unwrap_or(beside_http)
    }

    /// Whether relays are put before the server.
    pub fn adds_network(&self) -> bool {
        self.latency_ms.is_some() || self.jitter_ms.is_some() || self.loss.is_some()
    }

    /// Whether a window is opened: requested, and a display is available.
    pub fn opens_window(&self) -> bool {
        !self.headless && display_is_there()
    }
}

/// Whether the client can open a window. On Linux and similar systems the environment shows it.
fn display_is_there() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(any(target_os = "macos", windows)) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}

/// The environment twins of the launcher's own flags. Its children have flags of the same names (`--report`,
/// `--seconds`) with another meaning, and must not inherit these.
pub fn own_variables() -> Vec<OsString> {
    Options::command().get_arguments().filter_map(|argument| argument.get_env().map(OsString::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_every_flag_has_its_twin() {
        Options::command().debug_assert();
        for argument in Options::command().get_arguments() {
            let Some(flag) = argument.get_long() else { continue };
            let twin = format!("SIDEREAL_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env(), Some(OsString::from(twin).as_os_str()), "--{flag}");
        }
    }

    #[test]
    fn worlds_on_other_ports_do_not_meet_at_the_one_for_metrics() {
        let port = |arguments: &[&str]| Options::parse_from(["run-local"].iter().chain(arguments)).ops_port();
        assert_eq!(port(&[]), 7780);
        assert_eq!(port(&["--http-port", "0"]), 0);
        assert_eq!(port(&["--http-port", "9000"]), 0);
        assert_eq!(port(&["--http-port", "9000", "--ops-port", "9001"]), 9001);
    }

    #[test]
    fn bad_values_and_unknown_flags_are_named() {
        for (arguments, named) in [
            (["--shards", "0"], "--shards"),
            (["--player-port", "70000"], "--player-port"),
            (["--player-threads", "17"], "--player-threads"),
            (["--seconds", "soon"], "--seconds"),
            (["--latency-ms", "much"], "--latency-ms"),
            (["--sharts", "2"], "--sharts"),
            (["--mission", "steal"], "--mission"),
        ] {
            let error = Options::try_parse_from(["run-local"].iter().chain(&arguments)).expect_err("a bad value");
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
