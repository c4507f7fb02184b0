//! The peers of the relay: limited in number, and without the silent ones. No socket and no clock.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The most peers at a time, each with a socket of its own. A server accepts 512 sessions from one address; a process
/// may have 1024 open files by default.
pub const MAX_PEERS: usize = 640;

/// A peer that sent nothing for this long is removed. The connections of this project time out after 10 s of silence.
pub const PEER_IDLE: Duration = Duration::from_secs(30);

/// The peers by address; `T` is the state of each. All times are counted from a moment that the caller chooses.
#[derive(Debug)]
pub struct Peers<T> {
    by_address: HashMap<SocketAddr, Known<T>>,
}

#[derive(Debug)]
struct Known<T> {
    kept: T,
    heard: Duration,
}

impl<T> Peers<T> {
    /// Without peers.
    pub fn new() -> Self {
        Self { by_address: HashMap::new() }
    }

    /// The state of the peer at `address`, which sent something `now`. A new peer gets the result of `make`; `None` if
    /// there are [`MAX_PEERS`] others.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn heard<E>(
        &mut self,
        address: SocketAddr,
        now: Duration,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Option<&T>, E> {
        if !self.by_address.contains_key(&address) {
            if self.by_address.len() >= MAX_PEERS {
                return Ok(None);
            }
            self.by_address.insert(address, Known { kept: make()?, heard: now });
        }
        Ok(self.by_address.get_mut(&address).map(|known| {
            known.heard = now;
            &known.kept
        }))
    }

    /// Removes the peers that sent nothing for [`PEER_IDLE`].
    pub fn forget_idle(&mut self, now: Duration) {
        self.by_address.retain(|_, known| now.saturating_sub(known.heard) < PEER_IDLE);
    }

    /// The number of peers.
    pub fn len(&self) -> usize {
        self.by_address.len()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: usize) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, u16::try_from(number).expect("a port")).into()
    }

    fn heard(peers: &mut Peers<usize>, number: usize, at_s: u64) -> Option<usize> {
        let make = || Ok::<_, Infallible>(number);
        let Ok(kept) = peers.heard(address(number), Duration::from_secs(at_s), make);
        kept.copied()
    }

    #[test]
    fn there_is_room_for_so_many_and_again_when_one_fell_silent() {
        let mut peers = Peers::new();
        for number in 0..MAX_PEERS {
            assert_eq!(heard(&mut peers, number, 0), Some(number));
        }
        assert_eq!(heard(&mut peers, MAX_PEERS, 1), None);
        assert_eq!(heard(&mut peers, 0, 20), Some(0), "who is known stays so");
        peers.forget_idle(Duration::from_secs(29));
        assert_eq!(peers.len(), MAX_PEERS);
        peers.forget_idle(Duration::from_secs(30));
        assert_eq!(peers.len(), 1);
        assert_eq!(heard(&mut peers, MAX_PEERS, 31), Some(MAX_PEERS));
    }

    #[test]
    fn a_peer_for_whom_nothing_can_be_made_is_not_known() {
        let mut peers = Peers::<usize>::new();
        assert_eq!(peers.heard(address(1), Duration::ZERO, || Err("no socket")), Err("no socket"));
        assert_eq!(peers.len(), 0);
        assert_eq!(heard(&mut peers, 1, 0), Some(1));
    }
}
