//! `sidereal-load compare`: the same moving entities to the same number of clients, (a) as naia's replicated
//! components, (b) on the motion plane, in one run and the same layout of processes.
//!
//! | | (a) | (b) |
//! |---|---|---|
//! | server process | [`naia_server`]: a Bevy app with naia's server, its entities in one room with all users | the whole real server: `sidereal_server::run` |
//! | moved by | the server itself, each tick | [`source`]: a stand-in shard that sends sector updates like a real one |
//! | clients | [`naia_clients`]: naia applies each change | [`crate::fleet`]: real logins, a ship each at rest in the same sector |
//! | on the wire | QUIC on loopback, TLS, pinned certificate: the same transport | the same |
//!
//! Only the server process is measured. (b) carries the whole game besides: sessions, ships, their exact states once a
//! tick, rocks, the database, metrics. (a) carries nothing else, and each of its values is as wide as the motion
//! plane's (`protocol::packets::precision`). Both run naia on a single-threaded executor, with its bandwidth limit lifted.
//! (a) runs a whole update at most every 2 ms, (b) has the real server's loop.

pub mod mover;
pub mod naia_clients;
pub mod naia_server;
pub mod run;
pub mod source;
pub mod table;

use clap::Args;
use std::path::PathBuf;

/// The options of the comparison.
#[derive(Debug, Clone, Args)]
pub struct CompareOptions {
    /// Moving entities of each case; as many values as --clients
    #[arg(long, value_delimiter = ',', default_values_t = [50, 100, 200])]
    pub entities: Vec<u32>,
    /// Clients of each case
    #[arg(long, value_delimiter = ',', default_values_t = [25, 50, 100])]
    pub clients: Vec<u32>,
    /// All combinations of --entities and --clients instead of pairs
    #[arg(long)]
    pub all: bool,
    /// How long each case is measured, seconds
    #[arg(long, default_value_t = 4.0, value_parser = seconds)]
    pub seconds: f64,
    /// How long it runs before that once all clients see everything, seconds
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub warm_up: f64,
    /// How often each entity changes in a second of 30 ticks
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=30))]
    pub rate_hz: u32,
    /// Write the figures here (JSON)
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// Fail if the ratio of a case has fallen by a third against this earlier report
    #[arg(long)]
    pub against: Option<PathBuf>,
}

pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds from 0.1 to 600".to_owned()),
    }
}

impl CompareOptions {
    /// The cases: entities and clients.
    ///
    /// # Errors
    /// When the two lists do not pair, or a value is out of range.
    pub fn cases(&self) -> Result<Vec<(u32, u32)>, String> {
        let range = |values: &[u32], most: u32| values.iter().all(|value| (1..=most).contains(value));
        if !range(&self.entities, 2_000) || !range(&self.clients, 1_000) {
            return Err("give 1 to 2000 entities and 1 to 1000 clients".to_owned());
        }
        if self.all {
            let pairs =
                self.entities.iter().flat_map(|entities| self.clients.iter().map(|clients| (*entities, *clients)));
            return Ok(pairs.collect());
        }
        if self.entities.len() != self.clients.len() {
            return Err("give as many --entities as --clients, or --all for all combinations".to_owned());
        }
        Ok(self.entities.iter().copied().zip(self.clients.iter().copied()).collect())
    }
}
