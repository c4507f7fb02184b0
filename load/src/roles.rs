//! What a child process of this program does. The parent starts itself with `role NAME`.

use crate::{
    compare::{
        naia_clients::{self, NaiaClientsOptions},
        naia_server::{self, NaiaServerOptions},
        source::{self, SourceOptions},
    },
    fleet::{self, FleetOptions},
};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use sidereal_protocol::limits::PROTOCOL_VERSION;
use sidereal_shard::{config::Arguments as ShardArguments, config::ShardConfig, session};
use sidereal_transport::{ClientNetwork, ConnectOptions, PeerKind};

/// The roles.
#[derive(Debug, Clone, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, at the start of the process")]
pub enum Role {
    /// The real server: the options of `sidereal-server`
    Server(sidereal_server::run::config::Config),
    /// A real shard: the options of `sidereal-shard`
    Shard(ShardArguments),
    /// Thin players
    Players(FleetOptions),
    /// The server of the comparison's way (a)
    NaiaServer(NaiaServerOptions),
    /// The clients of the comparison's way (a)
    NaiaClients(NaiaClientsOptions),
    /// The stand-in shard of the comparison's way (b)
    Source(SourceOptions),
}

impl Role {
    /// Runs until the parent ends it.
    ///
    /// # Errors
    /// Whatever ends it otherwise.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Server(config) => sidereal_server::run::run(&config).map_err(|failure| anyhow::anyhow!("{failure}")),
            Self::Shard(arguments) => run_shard(&arguments),
            Self::Players(options) => fleet::run(&options),
            Self::NaiaServer(options) => naia_server::run(&options),
            Self::NaiaClients(options) => naia_clients::run(&options),
            Self::Source(options) => source::run(&options),
        }
    }
}

/// A shard as `sidereal-shard` runs it, without its report and its exit statuses.
fn run_shard(arguments: &ShardArguments) -> Result<()> {
    let stop = sidereal_process::stop_flag(arguments.die_with_stdin)?;
    let network = ClientNetwork::new().context("cannot start the network")?;
    let options =
        ConnectOptions::new(arguments.server, PeerKind::Shard, arguments.certificate_hash.0, PROTOCOL_VERSION);
    let config = ShardConfig::from(arguments);
    match session::run(&config, || network.connector(options.clone()), &stop).0 {
        session::Ended::Cleanly => Ok(()),
        session::Ended::Refused(reason) | session::Ended::Alone(reason) => bail!("{reason}"),
    }
}

/// The bytes of 64 hexadecimal digits.
pub fn hash_of(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_digits_and_nothing_else() {
        assert_eq!(hash_of(&"0f".repeat(32)), Some([15; 32]));
        assert_eq!(hash_of(&"0f".repeat(31)), None);
        assert_eq!(hash_of(&"0g".repeat(32)), None);
        assert_eq!(hash_of(&"é".repeat(32)), None);
    }
}
