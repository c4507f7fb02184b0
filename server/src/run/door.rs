//! Limits of the players' address: the flags, and the transport's limits made from them.

use clap::{Args, builder::RangedU64ValueParser};
use sidereal_transport::Limits;

/// Maximum configurable number of sessions: a session takes about half a megabyte.
const MAX_SESSIONS: u64 = 65_536;

/// Maximum configurable number of handshakes per second: more than any machine can do.
const MAX_HANDSHAKES: u64 = 100_000;

fn sessions() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=MAX_SESSIONS)
}

fn handshakes() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(0..=MAX_HANDSHAKES)
}

/// Limits of the addresses at which players and shards connect.
#[derive(Debug, Clone, Args)]
pub struct DoorOptions {
    /// Maximum number of players, including those that are connecting. Shards have places of their own.
    #[arg(long, env = "SIDEREAL_SESSIONS_TOTAL", value_parser = sessions(), default_value_t = Limits::default().sessions_total)]
    pub sessions_total: usize,
    /// The same from one IPv4 address, or one IPv6 network of 64 bits; a club, or all clients behind a container's
    /// gateway, share one address.
    #[arg(long, env = "SIDEREAL_SESSIONS_PER_ADDRESS", value_parser = sessions(), default_value_t = Limits::default().sessions_per_address)]
    pub sessions_per_address: usize,
    /// Connections that one such address may start per second, and ten times as many at once; 0: no limit.
    #[arg(long, env = "SIDEREAL_HANDSHAKES_PER_ADDRESS", value_parser = handshakes(), default_value_t = Limits::default().handshakes_per_network)]
    pub handshakes_per_address: u32,
    /// Connections that may be started per second in total; 0: no limit.
    #[arg(long, env = "SIDEREAL_HANDSHAKES_TOTAL", value_parser = handshakes(), default_value_t = Limits::default().handshakes_total)]
    pub handshakes_total: u32,
}

impl DoorOptions {
    /// The transport's limits with these values.
    pub fn limits(&self) -> Limits {
        Limits {
            sessions_total: self.sessions_total,
            sessions_per_address: self.sessions_per_address,
            handshakes_per_network: self.handshakes_per_address,
            handshakes_total: self.handshakes_total,
            ..Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        door: DoorOptions,
    }

    fn limits(arguments: &[&str]) -> Result<Limits, String> {
        let line = Line::try_parse_from(["x"].iter().chain(arguments)).map_err(|error| error.to_string())?;
        Ok(line.door.limits())
    }

    #[test]
    fn an_operator_changes_what_a_deployment_needs() {
        let given = ["--sessions-total", "9000", "--sessions-per-address", "800", "--handshakes-per-address", "7"];
        let limits = limits(&[&given[..], &["--handshakes-total", "0"]].concat()).expect("good values");
        assert_eq!((limits.sessions_total, limits.sessions_per_address), (9_000, 800));
        assert_eq!((limits.handshakes_per_network, limits.handshakes_total), (7, 0));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_the_flags_name() {
        for (flag, value) in [
            ("--sessions-total", "0"),
            ("--sessions-total", "70000"),
            ("--sessions-per-address", "0"),
            ("--sessions-per-address", "-1"),
            ("--handshakes-per-address", "many"),
            ("--handshakes-total", "100001"),
        ] {
            let error = limits(&[&format!("{flag}={value}")]).expect_err("refused");
            assert!(error.contains(flag) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn five_hundred_bots_of_one_machine_may_come_at_once() {
        let limits = limits(&[]).expect("the defaults");
        assert!(limits.sessions_per_address >= 500 && limits.handshakes_per_network * 10 >= 500);
    }
}
