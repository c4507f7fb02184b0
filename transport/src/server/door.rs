//! Limits what strangers may cost: which connections may start a handshake, decided on their first packet. No I/O, no
//! clock of its own. The listeners of one kind share one: a peer gains nothing by using several ports, and players cannot
//! use up places and handshakes of shards.
//!
//! The source address of a first packet may be forged. So a peer with an unvalidated address (QUIC's retry validates
//! it) never counts against the rate of its network, and takes at most half of its places.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::PeerKind;
use crate::limits::Limits;
use crate::limits::rate::{self, Bucket};

/// Networks whose handshakes are counted, about a megabyte. A network whose bucket is full again is removed. While more
/// than this many are not, all new ones share one bucket.
const MAX_NETWORKS: usize = 16_384;

/// How often full buckets are removed.
const SWEEP_INTERVAL_MS: u64 = 1_000;

/// Seconds of its rate that a network may use at once: whole clubs, and all bots of a machine, start together.
const NETWORK_BURST_S: u32 = 10;

/// The network of an address: an IPv4 address itself (also one written as IPv6), for IPv6 the network of 64 bits,
/// because one subscriber has at least that.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// What happens to a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Accepted: it is pending until [`Door::settle`], and has a place until [`Door::leave`].
    Serve,
    /// Its address has to be validated first.
    Retry,
    /// Not answered, which costs least, and an honest peer's QUIC retries: its network, or all together, start too
    /// many.
    Ignore(Rate),
    /// Refused.
    Refuse(Full),
}

/// The rate of handshakes that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    Network,
    Total,
}

/// The kind of places that are all taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Pending,
    Sessions,
    Network,
}

#[derive(Debug)]
pub(super) struct Door {
    pending_total: usize,
    pending_retry_above: usize,
    places_total: usize,
    places_per_network: usize,
    /// Connections without a verdict.
    pending: usize,
    /// Taken places, of sessions and of connections that are not sessions yet.
    taken: usize,
    by_network: HashMap<IpAddr, usize>,

    /// Of each network; `None`: no limit.
    network_rate: Option<rate::Rate>,
    max_networks: usize,
    networks: HashMap<IpAddr, Bucket>,
    /// Of all networks that are new while the table is full.
    newcomers: Option<Bucket>,
    swept_ms: u64,

    unproven: Bucket,
    /// Of all networks; `None`: no limit.
    total: Option<Bucket>,
}

/// A number per second, and a burst of `burst_s` seconds' worth.
fn rate_of(per_second: u32, burst_s: u32) -> rate::Rate {
    rate::Rate { per_second, burst: per_second.saturating_mul(burst_s) }
}

/// The same, but 0 means no limit.
fn limited_rate(per_second: u32, burst_s: u32) -> Option<rate::Rate> {
    (per_second > 0).then(|| rate_of(per_second, burst_s))
}

impl Door {
    pub(super) fn new(limits: &Limits, kind: PeerKind) -> Self {
        let network_rate = limited_rate(limits.handshakes_per_network, NETWORK_BURST_S);
        Self {
            pending_total: limits.pending_total,
            pending_retry_above: limits.pending_retry_above,
            places_total: limits.sessions_of(kind),
            places_per_network: limits.sessions_per_address,
            pending: 0,
            taken: 0,
            by_network: HashMap::new(),
            network_rate,
            max_networks: MAX_NETWORKS,
            networks: HashMap::new(),
            newcomers: network_rate.map(Bucket::new),
            swept_ms: 0,
            unproven: Bucket::new(rate_of(limits.unproven_handshakes, 1)),
            total: limited_rate(limits.handshakes_total, 1).map(Bucket::new),
        }
    }

    /// Judges an attempt from `address`, while the server has so many `sessions`.
    pub(super) fn judge(&mut self, address: IpAddr, is_proven: bool, sessions: usize, now_ms: u64) -> Verdict {
        let network = network_of(address);
        if self.pending >= self.pending_total {
            return Verdict::Refuse(Full::Pending);
        }
        let taken_by_network = self.by_network.get(&network).copied().unwrap_or_default();
        if is_proven {
            if !self.take_of_network(network, now_ms) {
                return Verdict::Ignore(Rate::Network);
            }
        } else if self.pending >= self.pending_retry_above
            || 2 * (taken_by_network + 1) > self.places_per_network
            || !self.unproven.take(now_ms)
        {
            return Verdict::Retry;
        }
        if self.taken.max(sessions) >= self.places_total {
            return Verdict::Refuse(Full::Sessions);
        }
        if taken_by_network >= self.places_per_network {
            return Verdict::Refuse(Full::Network);
        }
        if self.total.as_mut().is_some_and(|total| !total.take(now_ms)) {
            return Verdict::Ignore(Rate::Total);
        }
        *self.by_network.entry(network).or_default() += 1;
        self.taken += 1;
        self.pending += 1;
        Verdict::Serve
    }

    /// An accepted connection is no longer pending.
    pub(super) fn settle(&mut self) {
        self.pending -= 1;
    }

    /// Frees the place of an accepted attempt from `address`.
    pub(super) fn leave(&mut self, address: IpAddr) {
        let network = network_of(address);
        if let Some(taken) = self.by_network.get_mut(&network) {
            *taken -= 1;
            self.taken -= 1;
            if *taken == 0 {
                self.by_network.remove(&network);
            }
        }
    }

    fn take_of_network(&mut self, network: IpAddr, now_ms: u64) -> bool {
        let Some(rate) = self.network_rate else { return true };
        if let Some(bucket) = self.networks.get_mut(&network) {
            return bucket.take(now_ms);
        }
        if self.networks.len() >= self.max_networks && now_ms >= self.swept_ms + SWEEP_INTERVAL_MS {
            self.swept_ms = now_ms;
            self.networks.retain(|_, bucket| !bucket.is_full(now_ms));
        }
        if self.networks.len() >= self.max_networks {
            return self.newcomers.as_mut().is_none_or(|newcomers| newcomers.take(now_ms));
        }
        self.networks.entry(network).or_insert_with(|| Bucket::new(rate)).take(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn door(change: impl FnOnce(&mut Limits)) -> Door {
        let mut limits = Limits::default();
        change(&mut limits);
        Door::new(&limits, PeerKind::Player)
    }

    /// Judges an attempt and settles it at once.
    fn judge(door: &mut Door, address: &str, is_proven: bool, now_ms: u64) -> Verdict {
        let verdict = door.judge(ip(address), is_proven, 0, now_ms);
        if verdict == Verdict::Serve {
            door.settle();
        }
        verdict
    }

    fn proven(door: &mut Door, address: &str, now_ms: u64) -> Verdict {
        judge(door, address, true, now_ms)
    }

    fn unproven(door: &mut Door, address: &str, now_ms: u64) -> Verdict {
        judge(door, address, false, now_ms)
    }

    #[test]
    fn an_address_stands_for_its_network() {
        assert_eq!(network_of(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_ne!(network_of(ip("2001:db8:1:3::")), network_of(ip("2001:db8:1:2::")));
        assert_eq!(network_of(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
        assert_ne!(network_of(ip("192.0.2.1")), network_of(ip("192.0.2.2")));
    }

    #[test]
    fn a_network_of_64_bits_shares_its_places() {
        let mut door = door(|limits| limits.sessions_per_address = 2);
        assert_eq!(proven(&mut door, "2001:db8:1:2::1", 0), Verdict::Serve);
        assert_eq!(proven(&mut door, "2001:db8:1:2:ffff::1", 0), Verdict::Serve);
        assert_eq!(proven(&mut door, "2001:db8:1:2:7::1", 0), Verdict::Refuse(Full::Network));
        assert_eq!(proven(&mut door, "2001:db8:1:3::1", 0), Verdict::Serve);
        door.leave(ip("2001:db8:1:2:7::1"));
        assert_eq!(proven(&mut door, "2001:db8:1:2:7::1", 0), Verdict::Serve);
        // An IPv4 address in either of its forms.
        assert_eq!(proven(&mut door, "192.0.2.1", 0), Verdict::Serve);
        assert_eq!(proven(&mut door, "::ffff:192.0.2.1", 0), Verdict::Serve);
        assert_eq!(proven(&mut door, "192.0.2.1", 0), Verdict::Refuse(Full::Network));
        assert_eq!(proven(&mut door, "::ffff:192.0.2.2", 0), Verdict::Serve);
    }

    #[test]
    fn players_and_shards_have_places_of_their_own() {
        let limits = Limits { sessions_total: 2, shard_sessions_total: 1, ..Limits::default() };
        let mut players = Door::new(&limits, PeerKind::Player);
        let mut shards = Door::new(&limits, PeerKind::Shard);
        assert_eq!(proven(&mut players, "192.0.2.1", 0), Verdict::Serve);
        assert_eq!(proven(&mut players, "192.0.2.1", 0), Verdict::Serve);
        assert_eq!(proven(&mut players, "192.0.2.2", 0), Verdict::Refuse(Full::Sessions));
        assert_eq!(proven(&mut shards, "192.0.2.1", 0), Verdict::Serve);
        assert_eq!(proven(&mut shards, "192.0.2.1", 0), Verdict::Refuse(Full::Sessions));
        // Ended sessions that are not removed yet use memory too.
        players.leave(ip("192.0.2.1"));
        assert_eq!(players.judge(ip("192.0.2.2"), true, 2, 0), Verdict::Refuse(Full::Sessions));
        assert_eq!(players.judge(ip("192.0.2.2"), true, 1, 0), Verdict::Serve);
    }

    #[test]
    fn a_network_starts_its_burst_at_once_and_then_its_rate() {
        let mut door = door(|limits| limits.handshakes_per_network = 2);
        let mut served = 0;
        while proven(&mut door, "192.0.2.1", 0) == Verdict::Serve {
            served += 1;
        }
        assert_eq!(served, 2 * NETWORK_BURST_S);
        assert_eq!(proven(&mut door, "192.0.2.1", 499), Verdict::Ignore(Rate::Network));
        assert_eq!(proven(&mut door, "192.0.2.1", 500), Verdict::Serve);
        assert_eq!(proven(&mut door, "192.0.2.1", 500), Verdict::Ignore(Rate::Network));
        assert_eq!(proven(&mut door, "192.0.2.2", 500), Verdict::Serve, "others are not concerned");
        assert_eq!(proven(&mut door, "192.0.2.1", 0), Verdict::Ignore(Rate::Network), "a clock that goes back");
    }

    #[test]
    fn all_networks_together_start_no_more_than_the_total() {
        let mut door = door(|limits| limits.handshakes_total = 3);
        let mut from = (1..).map(|n| format!("192.0.2.{n}"));
        for _ in 0..3 {
            assert_eq!(proven(&mut door, &from.next().unwrap(), 0), Verdict::Serve);
        }
        assert_eq!(proven(&mut door, &from.next().unwrap(), 0), Verdict::Ignore(Rate::Total));
        assert_eq!(proven(&mut door, &from.next().unwrap(), 334), Verdict::Serve);
    }

    #[test]
    fn no_limit_is_none() {
        let mut door = door(|limits| {
            (limits.handshakes_per_network, limits.handshakes_total) = (0, 0);
            (limits.sessions_per_address, limits.sessions_total) = (10_000, 10_000);
        });
        for _ in 0..10_000 {
            assert_eq!(proven(&mut door, "192.0.2.1", 0), Verdict::Serve);
        }
        assert!(door.networks.is_empty());
    }

    #[test]
    fn what_is_sent_in_anothers_name_costs_that_one_nothing() {
        let mut door = door(|limits| {
            (limits.handshakes_per_network, limits.sessions_per_address) = (1, 8);
            limits.unproven_handshakes = 100;
        });
        for _ in 0..4 {
            assert_eq!(unproven(&mut door, "192.0.2.1", 0), Verdict::Serve);
        }
        for now_ms in 0..1_000 {
            assert_eq!(unproven(&mut door, "192.0.2.1", now_ms), Verdict::Retry, "half of the places are taken");
        }
        for _ in 0..4 {
            assert_eq!(proven(&mut door, "192.0.2.1", 1_000), Verdict::Serve);
        }
    }

    #[test]
    fn under_load_addresses_are_to_be_proven() {
        let mut door = door(|limits| (limits.unproven_handshakes, limits.pending_retry_above) = (2, 1));
        let address = "192.0.2.1";
        assert_eq!(unproven(&mut door, address, 0), Verdict::Serve);
        assert_eq!(unproven(&mut door, address, 0), Verdict::Serve);
        assert_eq!(unproven(&mut door, address, 0), Verdict::Retry, "too many in this second");
        assert_eq!(unproven(&mut door, address, 500), Verdict::Serve);
        assert_eq!(door.judge(ip(address), true, 0, 500), Verdict::Serve);
        assert_eq!(unproven(&mut door, address, 1_500), Verdict::Retry, "too many are pending");
        door.settle();
        assert_eq!(unproven(&mut door, address, 1_500), Verdict::Serve);
    }

    #[test]
    fn who_is_pending_is_counted_until_there_is_a_verdict() {
        let mut door = door(|limits| limits.pending_total = 2);
        assert_eq!(door.judge(ip("192.0.2.1"), true, 0, 0), Verdict::Serve);
        assert_eq!(door.judge(ip("192.0.2.2"), true, 0, 0), Verdict::Serve);
        assert_eq!(door.judge(ip("192.0.2.3"), true, 0, 0), Verdict::Refuse(Full::Pending));
        door.settle();
        assert_eq!(door.judge(ip("192.0.2.3"), true, 0, 0), Verdict::Serve);
    }

    #[test]
    fn without_room_new_networks_share_one_bucket_and_the_known_keep_theirs() {
        let mut door = door(|limits| (limits.handshakes_per_network, limits.handshakes_total) = (1, 0));
        door.max_networks = 100;
        for n in 0..100 {
            assert_eq!(proven(&mut door, &format!("198.51.100.{n}"), 1_000), Verdict::Serve);
        }
        for n in 0..NETWORK_BURST_S {
            assert_eq!(proven(&mut door, &format!("203.0.113.{n}"), 1_000), Verdict::Serve);
        }
        assert_eq!(proven(&mut door, "203.0.113.200", 1_000), Verdict::Ignore(Rate::Network));
        assert_eq!(proven(&mut door, "198.51.100.7", 1_000), Verdict::Serve);
        assert_eq!(door.networks.len(), 100);
        assert_eq!(proven(&mut door, "203.0.113.200", 2_500), Verdict::Serve, "what is full again is forgotten");
        assert_eq!(door.networks.len(), 2, "the one that used two, and the new one");
    }
}
