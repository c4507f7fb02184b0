//! The command line of `sidereal-relay`, parsed once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Parser};

use crate::conditions::{Conditions, ConditionsError};

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "give an IP address and a port, like 127.0.0.1:7777 or [::1]:7777")
}

fn milliseconds(text: &str) -> Result<Duration, &'static str> {
    const WANTED: &str = "give a number of milliseconds, like 20 or 0.5";
    let milliseconds: f64 = text.parse().map_err(|_| WANTED)?;
    Duration::try_from_secs_f64(milliseconds / 1e3).map_err(|_| WANTED)
}

/// Forwards UDP datagrams with the delay, jitter, loss and duplication of a bad network.
#[derive(Clone, Debug, Parser)]
#[command(name = "sidereal-relay", version, group(ArgGroup::new("target").required(true).args(["to", "to_file"])))]
pub struct Options {
    /// Address that peers send to (UDP); port 0 takes any free one.
    #[arg(long, value_name = "ADDR", env = "SIDEREAL_LISTEN", value_parser = address, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Address that everything is forwarded to (UDP).
    #[arg(long, value_name = "ADDR", env = "SIDEREAL_TO", value_parser = address)]
    pub to: Option<SocketAddr>,
    /// A file with that address in its only line. It may appear later; datagrams that arrive before wait.
    #[arg(long, value_name = "FILE", env = "SIDEREAL_TO_FILE")]
    pub to_file: Option<PathBuf>,
    /// Delay of each datagram, in each direction, milliseconds; up to 10000.
    #[arg(long, value_name = "MS", env = "SIDEREAL_DELAY_MS", value_parser = milliseconds, default_value = "0")]
    pub delay_ms: Duration,
    /// Largest deviation from it, evenly distributed, milliseconds; at most the delay. Later datagrams may overtake.
    #[arg(long, value_name = "MS", env = "SIDEREAL_JITTER_MS", value_parser = milliseconds, default_value = "0")]
    pub jitter_ms: Duration,
    /// Share of the datagrams that are lost, in each direction, 0 to 1.
    #[arg(long, value_name = "SHARE", env = "SIDEREAL_LOSS", default_value_t = 0.0)]
    pub loss: f64,
    /// Share of the others that arrive twice, 0 to 1.
    #[arg(long, value_name = "SHARE", env = "SIDEREAL_DUPLICATION", default_value_t = 0.0)]
    pub duplication: f64,
    /// Seed of jitter, loss and duplication.
    #[arg(long, value_name = "N", env = "SIDEREAL_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Allow addresses of other machines, or reachable from them. Datagrams of any sender are then forwarded.
    #[arg(long, env = "SIDEREAL_ALLOW_REMOTE")]
    pub allow_remote: bool,
    /// Write a report of the run here when it ends (JSON).
    #[arg(long, value_name = "FILE", env = "SIDEREAL_REPORT")]
    pub report: Option<PathBuf>,
    /// Write the address here once the relay listens (JSON).
    #[arg(long, value_name = "FILE", env = "SIDEREAL_READY_FILE")]
    pub ready_file: Option<PathBuf>,
    /// End when the standard input ends, so that nothing outlives a killed launcher.
    #[arg(long, env = "SIDEREAL_DIE_WITH_STDIN")]
    pub die_with_stdin: bool,
}

/// An address that the relay must not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {address} is not on this machine's loopback: give one that is, or add --allow-remote")]
pub struct RemoteAddress {
    flag: &'static str,
    address: SocketAddr,
}

impl Options {
    /// The conditions of the line.
    ///
    /// # Errors
    /// Impossible conditions.
    pub fn conditions(&self) -> Result<Conditions, ConditionsError> {
        Conditions::new(self.delay_ms, self.jitter_ms, self.loss, self.duplication)
    }

    /// Checks whether `address`, given by `flag`, is allowed.
    ///
    /// # Errors
    /// It is not on the loopback, and other addresses are not allowed.
    pub fn allow(&self, flag: &'static str, address: SocketAddr) -> Result<(), RemoteAddress> {
        match self.allow_remote || address.ip().is_loopback() {
            true => Ok(()),
            false => Err(RemoteAddress { flag, address }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(["sidereal-relay"].iter().chain(arguments))
    }

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
    fn bad_values_are_named() {
        for (arguments, named) in [
            (&["--to", "127.0.0.1:1", "--delay-ms", "soon"][..], "--delay-ms"),
            (&["--to", "127.0.0.1:1", "--delay-ms=-1"], "--delay-ms"),
            (&["--to", "127.0.0.1:1", "--jitter-ms", "nan"], "--jitter-ms"),
            (&["--to", "127.0.0.1:1", "--loss", "much"], "--loss"),
            (&["--to", "nowhere"], "--to"),
            (&["--to", "127.0.0.1:1", "--to-file", "x"], "--to-file"),
            (&[], "--to"),
        ] {
            let error = parse(arguments).expect_err("a bad value").to_string();
            assert!(error.contains(named), "{error}");
        }
        let options = parse(&["--to", "127.0.0.1:1", "--delay-ms", "0.5", "--jitter-ms", "0.25"]).expect("good");
        let conditions = options.conditions().expect("possible");
        assert_eq!(conditions.longest(), Duration::from_micros(750));
        assert!(parse(&["--to", "127.0.0.1:1", "--loss", "2"]).expect("a number").conditions().is_err());
    }

    #[test]
    fn only_the_loopback_is_used_unless_more_is_allowed() {
        let addresses = ["127.0.0.1:1", "[::1]:1", "0.0.0.0:1", "192.0.2.1:1"].map(|text| text.parse().expect("one"));
        let allowed = |options: &Options| addresses.map(|address| options.allow("--listen", address).is_ok());
        assert_eq!(allowed(&parse(&["--to", "127.0.0.1:1"]).expect("good")), [true, true, false, false]);
        assert_eq!(allowed(&parse(&["--to", "127.0.0.1:1", "--allow-remote"]).expect("good")), [true; 4]);
    }
}
