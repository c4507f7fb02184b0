//! The simulated network of a run between the server and all other processes: relays before the server's two doors.
//!
//! A relay takes the port that was chosen for the door; the server takes any free port behind it. The players' relay
//! must start before the server, which publishes the relay's address. The relay gets the server's address afterwards,
//! from a file.

use serde::Serialize;

use crate::options::Options;

/// The highest share of lost datagrams. Beyond it connections break, and a run has no meaning.
pub const MAX_LOSS: f64 = 0.5;

/// The longest latency, ms: ten times the latency between any two places on earth.
pub const MAX_LATENCY_MS: f64 = 1_000.0;

/// The faults added to every datagram between the server and players or shards, in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct AddedNetwork {
    /// The delay, ms.
    pub latency_ms: f64,
    /// The largest deviation from it, ms.
    pub jitter_ms: f64,
    /// The share that is lost.
    pub loss: f64,
}

/// Network options out of range.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NetworkError {
    /// A parameter is out of range.
    #[error("{flag} is {value}: give a number from 0 to {max}")]
    OutOfRange {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: f64,
        /// The largest allowed value.
        max: f64,
    },
    /// Some datagrams would arrive before they were sent.
    #[error("--jitter-ms ({jitter_ms}) is more than --latency-ms ({latency_ms}): give at most as much")]
    Jitter {
        /// The latency.
        latency_ms: f64,
        /// The jitter.
        jitter_ms: f64,
    },
    /// The relay for players leads to one port.
    #[error(
        "--player-threads {0} needs as many ports, and a simulated network has one: leave --player-threads out, or \
         --latency-ms, --jitter-ms and --loss"
    )]
    PlayerThreads(u32),
}

impl AddedNetwork {
    /// The network that `options` request; `None` if they request none, so that there are no relays. A latency of 0 is
    /// a request too: relays that change nothing.
    ///
    /// # Errors
    /// A parameter is out of range.
    pub fn wanted(options: &Options) -> Result<Option<Self>, NetworkError> {
        let Options { latency_ms, jitter_ms, loss, .. } = *options;
        if !options.adds_network() {
            return Ok(None);
        }
        if let Some(threads) = options.player_threads.filter(|threads| *threads > 1) {
            return Err(NetworkError::PlayerThreads(threads));
        }
        let in_range = |flag, value: Option<f64>, max: f64| match value.unwrap_or(0.0) {
            value if (0.0..=max).contains(&value) => Ok(value),
            value => Err(NetworkError::OutOfRange { flag, value, max }),
        };
        let latency_ms = in_range("--latency-ms", latency_ms, MAX_LATENCY_MS)?;
        let jitter_ms = in_range("--jitter-ms", jitter_ms, MAX_LATENCY_MS)?;
        if jitter_ms > latency_ms {
            return Err(NetworkError::Jitter { latency_ms, jitter_ms });
        }
        Ok(Some(Self { latency_ms, jitter_ms, loss: in_range("--loss", loss, MAX_LOSS)? }))
    }
}

/// A door of the server that can have a relay before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The players' door.
    Players,
    /// The shards' door.
    Shards,
}

impl Door {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Players, Self::Shards];

    /// The name of the relay before it.
    pub fn relay_name(self) -> &'static str {
        match self {
            Self::Players => "relay-players",
            Self::Shards => "relay-shards",
        }
    }

    /// The launcher's flag for its port.
    pub fn port_flag(self) -> &'static str {
        match self {
            Self::Players => "--player-port",
            Self::Shards => "--shard-port",
        }
    }

    /// Its chosen port.
    pub fn port(self, options: &Options) -> u16 {
        match self {
            Self::Players => options.player_port,
            Self::Shards => options.shard_port,
        }
    }
}

/// The addresses of the relays, `address:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAddrs {
    /// The one before the players' door.
    pub players: String,
    /// The one before the shards' door.
    pub shards: String,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn wanted(arguments: &[&str]) -> Result<Option<AddedNetwork>, String> {
        let options = Options::parse_from(["run-local"].iter().chain(arguments));
        AddedNetwork::wanted(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn any_of_the_flags_adds_a_network_and_none_adds_none() {
        assert_eq!(wanted(&[]), Ok(None));
        for (arguments, latency_ms, jitter_ms, loss) in [
            (&["--latency-ms", "0"][..], 0.0, 0.0, 0.0),
            (&["--latency-ms", "20.5", "--jitter-ms", "5"], 20.5, 5.0, 0.0),
            (&["--loss", "0.5"], 0.0, 0.0, 0.5),
        ] {
            assert_eq!(wanted(arguments), Ok(Some(AddedNetwork { latency_ms, jitter_ms, loss })));
        }
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        for (arguments, named) in [
            (&["--latency-ms=-1"][..], "--latency-ms"),
            (&["--latency-ms", "5000"], "--latency-ms"),
            (&["--latency-ms", "nan"], "--latency-ms"),
            (&["--latency-ms", "5", "--jitter-ms", "6"], "--jitter-ms"),
            (&["--jitter-ms", "6"], "--latency-ms"),
            (&["--loss", "0.6"], "--loss"),
            (&["--loss", "0.1", "--player-threads", "2"], "--player-threads 2"),
        ] {
            let error = wanted(arguments).expect_err("out of range");
            assert!(error.contains(named), "{error}");
        }
    }
}
