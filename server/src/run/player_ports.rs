//! The UDP ports of players: one for each network thread that serves them, and what players are given for each.

use std::{net::SocketAddr, num::NonZeroUsize, thread::available_parallelism};

/// Maximum configurable number of network threads of players: the main thread keeps up with a few of them.
pub const MAX_PLAYER_THREADS: u64 = 16;

/// The most that are the default.
const MAX_DEFAULT_THREADS: usize = 4;

/// Cores of the machine for each thread by default. In a crowd a network thread does about twice the work of the main
/// thread, and shards and their network thread need the rest.
const CORES_PER_THREAD: usize = 4;

/// The default number of threads on this machine, 1 to 4: one for every four cores.
pub fn default_player_threads() -> usize {
    threads_of(available_parallelism().map_or(1, NonZeroUsize::get))
}

fn threads_of(cores: usize) -> usize {
    (cores / CORES_PER_THREAD).clamp(1, MAX_DEFAULT_THREADS)
}

/// There are not enough ports above that of `--player-addr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "--player-threads {threads} needs as many ports from {first} on, and there is none above 65535: choose a lower \
     port, or fewer threads"
)]
pub struct TooFewPorts {
    /// The port in the flag.
    pub first: u16,
    /// The wanted number.
    pub threads: usize,
}

/// There is no address to advertise to players.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdvertiseError {
    /// It listens on all of the machine's addresses, and none was named for players.
    #[error(
        "--player-addr {0} is every address of this machine, and players cannot connect to that: name the one that \
         they reach with --advertise-player-addr, or give it as --player-addr"
    )]
    ListensEverywhere(SocketAddr),
    /// Players cannot connect to the advertised address.
    #[error("--advertise-player-addr {0} is not an address that players can connect to: name the one that they reach")]
    Unspecified(SocketAddr),
    /// There are not enough ports above the advertised one.
    #[error(
        "--advertise-player-addr {0} needs a port for each of --player-threads, and there is none above 65535: name a \
         lower port, or fewer threads"
    )]
    TooFewPorts(SocketAddr),
}

/// What decides the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayerPorts {
    /// `--player-addr`.
    pub listen: SocketAddr,
    /// `--player-threads`.
    pub threads: usize,
    /// `--advertise-player-addr`.
    pub advertise: Option<SocketAddr>,
    /// The port of `--shard-addr`.
    pub shard_port: u16,
}

impl PlayerPorts {
    /// Where the server listens for players: an address for each network thread. Their ports follow each other, without
    /// that of the shards; with port 0 each is any free one.
    ///
    /// # Errors
    /// [`TooFewPorts`].
    pub fn listening(&self) -> Result<Vec<SocketAddr>, TooFewPorts> {
        let first = self.listen.port();
        let ports: Vec<u16> = match first {
            0 => vec![0; self.threads],
            // The first one is taken in any case, so that a clash with the shards' is reported.
            _ => {
                let is_free = |port: &u16| *port == first || *port != self.shard_port;
                (first..=u16::MAX).filter(is_free).take(self.threads).collect()
            }
        };
        if ports.len() < self.threads {
            return Err(TooFewPorts { first, threads: self.threads });
        }
        Ok(ports.into_iter().map(|port| SocketAddr::new(self.listen.ip(), port)).collect())
    }

    /// The addresses that logins give to players, when the system has bound those of [`listening`](Self::listening) to
    /// `bound`. An advertised port stands for the first one; the others are as far above it as those that are listened
    /// to.
    ///
    /// # Errors
    /// [`AdvertiseError`].
    pub fn advertised(&self, bound: &[SocketAddr]) -> Result<Vec<SocketAddr>, AdvertiseError> {
        bound.iter().enumerate().map(|(index, bound)| self.advertised_one(index, *bound)).collect()
    }

    fn advertised_one(&self, index: usize, bound: SocketAddr) -> Result<SocketAddr, AdvertiseError> {
        let Some(address) = self.advertise else {
            return match bound.ip().is_unspecified() {
                true => Err(AdvertiseError::ListensEverywhere(self.listen)),
                false => Ok(bound),
            };
        };
        if address.ip().is_unspecified() {
            return Err(AdvertiseError::Unspecified(address));
        }
        if address.port() == 0 {
            return Ok(SocketAddr::new(address.ip(), bound.port()));
        }
        let above = match self.listen.port() {
            0 => u16::try_from(index).ok(),
            first => bound.port().checked_sub(first),
        };
        let port = above.and_then(|above| address.port().checked_add(above));
        Ok(SocketAddr::new(address.ip(), port.ok_or(AdvertiseError::TooFewPorts(address))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn of(listen: &str, threads: usize, advertise: Option<&str>) -> PlayerPorts {
        PlayerPorts { listen: address(listen), threads, advertise: advertise.map(address), shard_port: 7778 }
    }

    fn ports(addresses: &[SocketAddr]) -> Vec<u16> {
        addresses.iter().map(SocketAddr::port).collect()
    }

    /// Where it listens, and what players are given if the system binds just that.
    fn both(ports_of: &PlayerPorts) -> (Vec<u16>, Vec<u16>) {
        let listening = ports_of.listening().expect("enough ports");
        let given = ports_of.advertised(&listening).expect("addresses to connect to");
        (ports(&listening), ports(&given))
    }

    #[test]
    fn a_small_machine_has_one_thread_and_a_big_one_some() {
        let cores = [1, 2, 4, 7, 8, 12, 16, 128];
        assert_eq!(cores.map(threads_of), [1, 1, 1, 1, 2, 3, 4, 4]);
    }

    #[test]
    fn ports_follow_the_first_one_and_leave_the_shards_port_out() {
        assert_eq!(both(&of("127.0.0.1:7777", 1, None)), (vec![7777], vec![7777]));
        assert_eq!(both(&of("127.0.0.1:7777", 3, None)), (vec![7777, 7779, 7780], vec![7777, 7779, 7780]));
        assert_eq!(both(&of("127.0.0.1:7000", 3, None)).0, [7000, 7001, 7002]);
        assert_eq!(both(&of("127.0.0.1:7778", 2, None)).0, [7778, 7779], "the clash is reported when it is bound");
        assert_eq!(ports(&of("0.0.0.0:0", 3, None).listening().expect("enough")), [0, 0, 0]);
    }

    #[test]
    fn an_advertised_port_is_that_of_the_first() {
        assert_eq!(both(&of("0.0.0.0:7777", 3, Some("192.0.2.1:0"))).1, [7777, 7779, 7780]);
        assert_eq!(both(&of("0.0.0.0:7777", 3, Some("192.0.2.1:9000"))).1, [9000, 9002, 9003]);
        // Where the system chooses the ports, those in front of them follow each other.
        let bound = [40_001, 31_234].map(|port| SocketAddr::from(([0, 0, 0, 0], port)));
        let given = of("0.0.0.0:0", 2, Some("192.0.2.1:9000")).advertised(&bound).expect("addresses to connect to");
        assert_eq!(given, [address("192.0.2.1:9000"), address("192.0.2.1:9001")]);
    }

    #[test]
    fn players_are_given_addresses_that_they_can_connect_to() {
        for (listen, advertise) in [("0.0.0.0:0", None), ("[::]:0", None), ("0.0.0.0:0", Some("[::]:9"))] {
            let ports = of(listen, 1, advertise);
            let bound = SocketAddr::new(ports.listen.ip(), 4000);
            let error = ports.advertised(&[bound]).expect_err("no address to connect to").to_string();
            assert!(error.contains("--advertise-player-addr"), "{error}");
        }
    }

    #[test]
    fn too_few_ports_are_reported_with_the_flag() {
        let error = of("127.0.0.1:65534", 3, None).listening().expect_err("two are left").to_string();
        assert!(error.contains("--player-threads 3") && error.contains("65534"), "{error}");
        let advertised = of("127.0.0.1:7777", 2, Some("192.0.2.1:65535"));
        let listening = advertised.listening().expect("enough ports");
        let error = advertised.advertised(&listening).expect_err("none above").to_string();
        assert!(error.contains("--advertise-player-addr 192.0.2.1:65535"), "{error}");
    }
}
