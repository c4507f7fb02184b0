//! How often somebody may ask: a token bucket for each network, for what costs much (logins and registrations) one more,
//! and one for each account's name.
//!
//! Owned by the server's HTTP thread, and by [`crate::players::chat`] for who talks; it has no I/O and no clock of its own. A
//! bucket begins full, mostly with a minute's worth, and fills up evenly.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use sidereal_transport::network_of;

/// Buckets of one kind that are remembered, about a megabyte. A bucket that is full again is forgotten; while more than
/// this many are not, all who are new share one bucket.
pub const MAX_BUCKETS: usize = 16_384;

/// How often buckets that are full again are looked for, ms.
const SWEEP_INTERVAL_MS: u64 = 1_000;

/// Too much was asked; what is left is to come back after so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComeBack {
    /// Milliseconds, at least 1.
    pub after_ms: u64,
}

impl ComeBack {
    /// Whole seconds, rounded up: the value of `Retry-After`.
    pub fn after_s(self) -> u64 {
        self.after_ms.div_ceil(1_000).max(1)
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Below zero for who has overdrawn.
    tokens: f64,
    at_ms: u64,
}

impl Bucket {
    fn fill(&mut self, per_minute: f64, burst: f64, now_ms: u64) {
        let gained = now_ms.saturating_sub(self.at_ms) as f64 * per_minute / 60_000.0;
        self.tokens = (self.tokens + gained).min(burst);
        self.at_ms = self.at_ms.max(now_ms);
    }

    fn come_back(&self, per_minute: f64) -> Result<(), ComeBack> {
        if self.tokens >= 1.0 {
            return Ok(());
        }
        let after_ms = ((1.0 - self.tokens) * 60_000.0 / per_minute).ceil();
        Err(ComeBack { after_ms: (after_ms as u64).max(1) })
    }
}

/// Buckets for one kind of key.
#[derive(Debug)]
pub struct Buckets<K> {
    per_minute: f64,
    /// What a full bucket holds.
    burst: f64,
    max_buckets: usize,
    buckets: HashMap<K, Bucket>,
    /// Of all who are new while there is no room.
    shared: Bucket,
    swept_ms: Option<u64>,
}

impl<K: Hash + Eq> Buckets<K> {
    /// `per_minute` for each key, 0 for no limit; `max_buckets` are remembered.
    pub fn new(per_minute: u32, max_buckets: usize) -> Self {
        Self::with_burst(per_minute, per_minute, max_buckets)
    }

    /// The same with `burst` at once instead of a minute's worth.
    pub fn with_burst(per_minute: u32, burst: u32, max_buckets: usize) -> Self {
        let (per_minute, burst) = (f64::from(per_minute), f64::from(burst));
        let shared = Bucket { tokens: burst, at_ms: 0 };
        Self { per_minute, burst, max_buckets, buckets: HashMap::new(), shared, swept_ms: None }
    }

    /// Keys that are remembered.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`ComeBack`] when there is none.
    pub fn take(&mut self, key: K, now_ms: u64) -> Result<(), ComeBack> {
        if self.per_minute == 0.0 {
            return Ok(());
        }
        let per_minute = self.per_minute;
        let bucket = self.bucket(key, now_ms);
        bucket.come_back(per_minute)?;
        bucket.tokens -= 1.0;
        Ok(())
    }

    /// Whether there is one to take.
    ///
    /// # Errors
    /// [`ComeBack`] when there is none.
    pub fn look(&mut self, key: &K, now_ms: u64) -> Result<(), ComeBack> {
        if self.per_minute == 0.0 {
            return Ok(());
        }
        let has_room = self.buckets.len() < self.max_buckets;
        let mut bucket = match self.buckets.get(key) {
            Some(bucket) => *bucket,
            None if has_room => return Ok(()),
            None => self.shared,
        };
        bucket.fill(self.per_minute, self.burst, now_ms);
        bucket.come_back(self.per_minute)
    }

    /// Takes one whether it is there or not: who looked at the same time as others may overdraw, by a minute's worth
    /// at most, and pays with time.
    pub fn spend(&mut self, key: K, now_ms: u64) {
        if self.per_minute == 0.0 {
            return;
        }
        let least = -self.burst;
        let bucket = self.bucket(key, now_ms);
        bucket.tokens = (bucket.tokens - 1.0).max(least);
    }

    fn bucket(&mut self, key: K, now_ms: u64) -> &mut Bucket {
        let (per_minute, burst) = (self.per_minute, self.burst);
        if !self.buckets.contains_key(&key) && self.buckets.len() >= self.max_buckets {
            self.sweep(now_ms);
        }
        let bucket = if self.buckets.len() >= self.max_buckets && !self.buckets.contains_key(&key) {
            &mut self.shared
        } else {
            self.buckets.entry(key).or_insert(Bucket { tokens: burst, at_ms: now_ms })
        };
        bucket.fill(per_minute, burst, now_ms);
        bucket
    }

    fn sweep(&mut self, now_ms: u64) {
        if self.swept_ms.is_some_and(|swept_ms| now_ms < swept_ms.saturating_add(SWEEP_INTERVAL_MS)) {
            return;
        }
        self.swept_ms = Some(now_ms);
        let (per_minute, burst) = (self.per_minute, self.burst);
        self.buckets.retain(|_, bucket| {
            bucket.fill(per_minute, burst, now_ms);
            bucket.tokens < burst
        });
    }
}

/// The limits of the HTTP API.
#[derive(Debug)]
pub struct RateLimits {
    addresses: Mutex<Buckets<IpAddr>>,
    logins: Mutex<Costly>,
    registrations: Mutex<Costly>,
    /// Failures under a name from a network.
    names: Mutex<Buckets<(String, IpAddr)>>,
    /// Failures under a name from everywhere.
    names_in_all: Mutex<Buckets<String>>,
}

/// The buckets of what costs much: one for each network, and one for all of them.
#[derive(Debug)]
struct Costly {
    networks: Buckets<IpAddr>,
    all: Buckets<()>,
}

impl Costly {
    fn new(per_minute: u32, burst: u32) -> Self {
        let in_all = |one: u32| one.saturating_mul(NETWORKS_AT_ONCE);
        Self {
            networks: Buckets::with_burst(per_minute, burst, MAX_BUCKETS),
            all: Buckets::with_burst(in_all(per_minute), in_all(burst), 1),
        }
    }

    /// What is refused to a network takes nothing from all.
    fn take(&mut self, network: IpAddr, now_ms: u64) -> Result<(), ComeBack> {
        self.networks.take(network, now_ms)?;
        self.all.take((), now_ms)
    }
}

/// Networks that may log in and register at their full rate at the same time.
const NETWORKS_AT_ONCE: u32 = 20;

/// Networks from which the same name may be tried at the full rate of failures at the same time. Who fails from one
/// network thus does not keep the name's owner out of another.
const NETWORKS_PER_NAME: u32 = 10;

/// A third of a minute's log ins passes at once: what a flood begins with has to be hashed too.
const LOGIN_BURST_PART: u32 = 3;

/// Registrations that one network may make at once: a class at school, or the bots of a test.
const REGISTRATION_BURST: u32 = 60;

/// How much is allowed in a minute; 0: as much as one likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Requests of a remote address.
    pub requests_per_address: u32,
    /// Logins with a wrong password for an account's name, from one network; ten times as many from all.
    pub failures_per_account: u32,
    /// Logins with a password, good or not, of a network, a third of them at once; twenty times as many of all.
    pub logins_per_address: u32,
    /// Registrations of a network, once it has made 60; twenty times as many of all.
    pub registrations_per_address: u32,
}

impl Rates {
    /// No limits.
    pub const NONE: Self =
        Self { requests_per_address: 0, failures_per_account: 0, logins_per_address: 0, registrations_per_address: 0 };
}

impl Default for Rates {
    /// A new bot takes three requests: 60 of them on one address, and more behind a provider's one address, pass at
    /// once. A hundred guesses a minute, the most from all networks, are 50 million a year, and a password of eight random
    /// letters is one of 200,000 million. A login costs a core some 40 ms, and who was in comes back without one.
    fn default() -> Self {
        Self {
            requests_per_address: 600,
            failures_per_account: 10,
            logins_per_address: 30,
            registrations_per_address: 10,
        }
    }
}

impl RateLimits {
    /// With nothing used up.
    pub fn new(rates: Rates) -> Self {
        Self {
            addresses: Mutex::new(Buckets::new(rates.requests_per_address, MAX_BUCKETS)),
            logins: Mutex::new(Costly::new(
                rates.logins_per_address,
                rates.logins_per_address.div_ceil(LOGIN_BURST_PART),
            )),
            registrations: Mutex::new(Costly::new(
                rates.registrations_per_address,
                rates.registrations_per_address.max(REGISTRATION_BURST),
            )),
            names: Mutex::new(Buckets::new(rates.failures_per_account, MAX_BUCKETS)),
            names_in_all: Mutex::new(Buckets::new(
                rates.failures_per_account.saturating_mul(NETWORKS_PER_NAME),
                MAX_BUCKETS,
            )),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`ComeBack`] when the address has asked too often.
    pub fn request(&self, address: IpAddr, now_ms: u64) -> Result<(), ComeBack> {
        lock(&self.addresses).take(network_of(address), now_ms)
    }

    /// Counts a login with a password.
    ///
    /// # Errors
    /// [`ComeBack`] when the network, or all of them, have logged in too often.
    pub fn login(&self, from: IpAddr, now_ms: u64) -> Result<(), ComeBack> {
        lock(&self.logins).take(network_of(from), now_ms)
    }

    /// Counts a registration.
    ///
    /// # Errors
    /// [`ComeBack`] when the network, or all of them, have registered too often.
    pub fn registration(&self, from: IpAddr, now_ms: u64) -> Result<(), ComeBack> {
        lock(&self.registrations).take(network_of(from), now_ms)
    }

    /// Whether a login under a name may be tried. Names are alike in whatever case.
    ///
    /// # Errors
    /// [`ComeBack`] when there were too many failures from that network, or from all of them.
    pub fn may_try(&self, name: &str, from: IpAddr, now_ms: u64) -> Result<(), ComeBack> {
        let name = name.to_ascii_lowercase();
        lock(&self.names_in_all).look(&name, now_ms)?;
        lock(&self.names).look(&(name, network_of(from)), now_ms)
    }

    /// Counts a login that failed, whether there is an account of that name or not.
    pub fn failed(&self, name: &str, from: IpAddr, now_ms: u64) {
        let name = name.to_ascii_lowercase();
        lock(&self.names_in_all).spend(name.clone(), now_ms);
        lock(&self.names).spend((name, network_of(from)), now_ms);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn a_minutes_worth_passes_at_once_and_then_one_by_one() {
        let mut buckets = Buckets::new(60, 10);
        for _ in 0..60 {
            assert_eq!(buckets.take("a", 0), Ok(()));
        }
        assert_eq!(buckets.take("a", 0), Err(ComeBack { after_ms: 1_000 }));
        assert_eq!(buckets.take("a", 400), Err(ComeBack { after_ms: 600 }));
        assert_eq!(buckets.take("b", 400), Ok(()), "others are not concerned");
        assert_eq!(buckets.take("a", 1_000), Ok(()));
        assert!(buckets.take("a", 1_000).is_err());
        for _ in 0..60 {
            assert_eq!(buckets.take("a", 3_600_000), Ok(()));
        }
        assert!(buckets.take("a", 3_600_000).is_err(), "no more than a minute's worth is saved up");
        assert!(buckets.take("a", 0).is_err(), "a clock that goes back gives nothing");
    }

    #[test]
    fn a_burst_of_its_own_passes_at_once_and_the_rest_at_the_rate() {
        let mut buckets = Buckets::with_burst(30, 5, 10);
        for _ in 0..5 {
            assert_eq!(buckets.take("a", 0), Ok(()));
        }
        assert_eq!(buckets.take("a", 0), Err(ComeBack { after_ms: 2_000 }));
        assert_eq!(buckets.take("a", 2_000), Ok(()));
        assert!(buckets.take("a", 2_000).is_err());
        for _ in 0..5 {
            assert_eq!(buckets.take("a", 3_600_000), Ok(()));
        }
        assert!(buckets.take("a", 3_600_000).is_err(), "no more than the burst is saved up");
    }

    #[test]
    fn who_comes_back_when_told_is_let_in() {
        for per_minute in [1, 7, 600] {
            let mut buckets = Buckets::new(per_minute, 10);
            let mut now = 12_345;
            for _ in 0..10 * per_minute {
                if let Err(wait) = buckets.take((), now) {
                    now += wait.after_ms;
                    assert_eq!(buckets.take((), now), Ok(()), "{per_minute} at {now}");
                }
            }
        }
        assert_eq!(ComeBack { after_ms: 1 }.after_s(), 1);
        assert_eq!(ComeBack { after_ms: 1_001 }.after_s(), 2);
    }

    #[test]
    fn without_room_newcomers_share_one_bucket_and_the_known_keep_theirs() {
        let mut buckets = Buckets::new(2, 100);
        for key in 0..100 {
            assert_eq!(buckets.take(key, 0), Ok(()));
        }
        assert_eq!((buckets.take(1_000, 0), buckets.take(1_001, 0)), (Ok(()), Ok(())));
        assert!(buckets.take(1_002, 0).is_err());
        assert!(buckets.look(&1_003, 0).is_err());
        assert_eq!(buckets.take(7, 0), Ok(()), "the second of a known one");
        assert_eq!(buckets.buckets.len(), 100);
        assert_eq!(buckets.take(1_002, 60_000), Ok(()), "those that are full again are forgotten");
        assert!(buckets.buckets.len() < 100);
    }

    #[test]
    fn failures_are_paid_with_time_and_looking_costs_nothing() {
        let limits = RateLimits::new(Rates { failures_per_account: 3, ..Rates::NONE });
        let [here, there] = [1, 2].map(|number| IpAddr::from([192, 0, 2, number]));
        for _ in 0..100 {
            assert_eq!(limits.may_try("Ann", here, 0), Ok(()));
        }
        // As many at once as got past the look.
        for _ in 0..20 {
            limits.failed("ann", here, 0);
        }
        assert_eq!(limits.may_try("ANN", here, 0), Err(ComeBack { after_ms: 80_000 }), "overdrawn by three at most");
        assert_eq!(limits.may_try("bob", here, 0), Ok(()));
        assert_eq!(limits.may_try("ann", here, 80_000), Ok(()));
        assert_eq!(limits.may_try("ann", there, 0), Ok(()), "who guesses elsewhere keeps nobody out");
        for number in 0..10 {
            limits.failed("ann", [198, 51, 100, number].into(), 0);
        }
        assert!(limits.may_try("ann", there, 0).is_err(), "but guesses from everywhere are few as well");
        for _ in 0..1_000 {
            let from = Ipv6Addr::LOCALHOST.into();
            let all = (limits.request(from, 0), limits.login(from, 0), limits.registration(from, 0));
            assert_eq!(all, (Ok(()), Ok(()), Ok(())), "0 is no limit");
        }
    }

    #[test]
    fn what_costs_much_is_bounded_for_a_network_and_for_all_of_them() {
        let limits = RateLimits::new(Rates { logins_per_address: 6, registrations_per_address: 1, ..Rates::NONE });
        let passed = |networks: std::ops::Range<u8>, what: fn(&RateLimits, IpAddr, u64) -> Result<(), ComeBack>| {
            let tries = networks.flat_map(|number| std::iter::repeat_n(IpAddr::from([192, 0, 2, number]), 100));
            tries.filter(|network| what(&limits, *network, 0).is_ok()).count()
        };
        assert_eq!(passed(0..1, RateLimits::login), 2);
        assert_eq!(passed(0..10, RateLimits::login), 18, "what was refused to one took nothing from the others");
        assert_eq!(passed(10..60, RateLimits::login), 20, "twenty networks' worth in all");
        assert_eq!(passed(0..1, RateLimits::registration), 60, "logins are not counted against registrations");
        assert_eq!(passed(1..60, RateLimits::registration), 19 * 60);
    }

    #[test]
    fn an_address_is_a_subscriber() {
        let limits = RateLimits::new(Rates { requests_per_address: 1, ..Rates::NONE });
        let request = |address: &str| limits.request(address.parse().expect("an address"), 0).is_ok();
        assert!(request("2001:db8:1:2::1") && !request("2001:db8:1:2:ffff::9") && request("2001:db8:1:3::1"));
        assert!(request("192.0.2.1") && !request("::ffff:192.0.2.1") && request("192.0.2.2"));
    }
}
