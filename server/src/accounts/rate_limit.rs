//! Rate limits: a token bucket for each network, a second one for expensive requests (logins and registrations), and
//! one for each account name.
//!
//! Owned by the server's HTTP thread, and by [`crate::players::chat`] for chat. It has no I/O and no clock of its own.
//! A bucket starts full, mostly with a minute's worth, and fills up evenly.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use sidereal_transport::network_of;

/// Maximum number of stored buckets of one kind, about a megabyte. Full buckets are removed. While more than this many
/// are not full, all new keys share one bucket.
pub const MAX_BUCKETS: usize = 16_384;

/// Interval at which full buckets are removed, ms.
const SWEEP_INTERVAL_MS: u64 = 1_000;

/// The limit is exceeded; the request can be repeated after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter {
    /// Milliseconds, at least 1.
    pub after_ms: u64,
}

impl RetryAfter {
    /// Whole seconds, rounded up: the value of `Retry-After`.
    pub fn after_s(self) -> u64 {
        self.after_ms.div_ceil(1_000).max(1)
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Negative after an overdraft.
    tokens: f64,
    at_ms: u64,
}

impl Bucket {
    fn fill(&mut self, per_minute: f64, burst: f64, now_ms: u64) {
        let gained = now_ms.saturating_sub(self.at_ms) as f64 * per_minute / 60_000.0;
        self.tokens = (self.tokens + gained).min(burst);
        self.at_ms = self.at_ms.max(now_ms);
    }

    fn come_back(&self, per_minute: f64) -> Result<(), RetryAfter> {
        if self.tokens >= 1.0 {
            return Ok(());
        }
        let after_ms = ((1.0 - self.tokens) * 60_000.0 / per_minute).ceil();
        Err(RetryAfter { after_ms: (after_ms as u64).max(1) })
    }
}

/// Buckets for one kind of key.
#[derive(Debug)]
pub struct Buckets<K> {
    per_minute: f64,
    /// Capacity of a bucket.
    burst: f64,
    max_buckets: usize,
    buckets: HashMap<K, Bucket>,
    /// Shared by all new keys while there is no room.
    shared: Bucket,
    swept_ms: Option<u64>,
}

impl<K: Hash + Eq> Buckets<K> {
    /// `per_minute` tokens for each key, 0 for no limit. At most `max_buckets` are stored.
    pub fn new(per_minute: u32, max_buckets: usize) -> Self {
        Self::with_burst(per_minute, per_minute, max_buckets)
    }

    /// The same with a capacity of `burst` instead of a minute's worth.
    pub fn with_burst(per_minute: u32, burst: u32, max_buckets: usize) -> Self {
        let (per_minute, burst) = (f64::from(per_minute), f64::from(burst));
        let shared = Bucket { tokens: burst, at_ms: 0 };
        Self { per_minute, burst, max_buckets, buckets: HashMap::new(), shared, swept_ms: None }
    }

    /// The number of stored keys.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether no key is stored.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Takes one token.
    ///
    /// # Errors
    /// [`RetryAfter`] if there is none.
    pub fn take(&mut self, key: K, now_ms: u64) -> Result<(), RetryAfter> {
        if self.per_minute == 0.0 {
            return Ok(());
        }
        let per_minute = self.per_minute;
        let bucket = self.bucket(key, now_ms);
        bucket.come_back(per_minute)?;
        bucket.tokens -= 1.0;
        Ok(())
    }

    /// Checks for a token without taking it.
    ///
    /// # Errors
    /// [`RetryAfter`] if there is none.
    pub fn look(&mut self, key: &K, now_ms: u64) -> Result<(), RetryAfter> {
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

    /// Takes one token even if there is none. Concurrent callers of [`look`](Self::look) may overdraw by a minute's
    /// worth at most, which lengthens their wait.
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
    /// Failed logins by name and network.
    names: Mutex<Buckets<(String, IpAddr)>>,
    /// Failed logins by name, from all networks.
    names_in_all: Mutex<Buckets<String>>,
}

/// The buckets of expensive requests: one for each network, and one for all together.
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

    /// A request rejected for its network takes no token from the bucket of all.
    fn take(&mut self, network: IpAddr, now_ms: u64) -> Result<(), RetryAfter> {
        self.networks.take(network, now_ms)?;
        self.all.take((), now_ms)
    }
}

/// Number of networks that may log in and register at their full rate at the same time.
const NETWORKS_AT_ONCE: u32 = 20;

/// Number of networks from which the same name may fail at the full rate at the same time. Failures from one network
/// thus do not lock the name's owner out on another.
const NETWORKS_PER_NAME: u32 = 10;

/// A burst is a third of a minute's logins, because the start of a flood must be hashed too.
const LOGIN_BURST_PART: u32 = 3;

/// Registrations that one network may make at once: a school class, or the bots of a test.
const REGISTRATION_BURST: u32 = 60;

/// Limits per minute; 0 means unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Requests per remote address.
    pub requests_per_address: u32,
    /// Logins with a wrong password per account name and network; ten times as many from all networks.
    pub failures_per_account: u32,
    /// Password logins per network, successful or not, a third of them at once; twenty times as many from all
    /// networks.
    pub logins_per_address: u32,
    /// Registrations per network after the first 60; twenty times as many from all networks.
    pub registrations_per_address: u32,
}

impl Rates {
    /// No limits.
    pub const NONE: Self =
        Self { requests_per_address: 0, failures_per_account: 0, logins_per_address: 0, registrations_per_address: 0 };
}

impl Default for Rates {
    /// A new bot makes three requests: 60 bots on one address pass at once, and so do many players behind a provider's
    /// shared address. The maximum of a hundred guesses a minute from all networks is 50 million a year; a password of
    /// eight random letters is one of 200,000 million. A login costs a core some 40 ms; a session resumes without one.
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
    /// All buckets full.
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
    /// [`RetryAfter`] if the address has exceeded its rate.
    pub fn request(&self, address: IpAddr, now_ms: u64) -> Result<(), RetryAfter> {
        lock(&self.addresses).take(network_of(address), now_ms)
    }

    /// Counts a login with a password.
    ///
    /// # Errors
    /// [`RetryAfter`] if the network, or all together, have exceeded the rate.
    pub fn login(&self, from: IpAddr, now_ms: u64) -> Result<(), RetryAfter> {
        lock(&self.logins).take(network_of(from), now_ms)
    }

    /// Counts a registration.
    ///
    /// # Errors
    /// [`RetryAfter`] if the network, or all together, have exceeded the rate.
    pub fn registration(&self, from: IpAddr, now_ms: u64) -> Result<(), RetryAfter> {
        lock(&self.registrations).take(network_of(from), now_ms)
    }

    /// Checks whether a login under a name may be tried. Names are compared without case.
    ///
    /// # Errors
    /// [`RetryAfter`] after too many failures from that network, or from all together.
    pub fn may_try(&self, name: &str, from: IpAddr, now_ms: u64) -> Result<(), RetryAfter> {
        let name = name.to_ascii_lowercase();
        lock(&self.names_in_all).look(&name, now_ms)?;
        lock(&self.names).look(&(name, network_of(from)), now_ms)
    }

    /// Counts a failed login, whether or not the account exists.
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
        assert_eq!(buckets.take("a", 0), Err(RetryAfter { after_ms: 1_000 }));
        assert_eq!(buckets.take("a", 400), Err(RetryAfter { after_ms: 600 }));
        assert_eq!(buckets.take("b", 400), Ok(()), "others are not affected");
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
        assert_eq!(buckets.take("a", 0), Err(RetryAfter { after_ms: 2_000 }));
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
        assert_eq!(RetryAfter { after_ms: 1 }.after_s(), 1);
        assert_eq!(RetryAfter { after_ms: 1_001 }.after_s(), 2);
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
        assert_eq!(buckets.take(1_002, 60_000), Ok(()), "those that are full again are removed");
        assert!(buckets.buckets.len() < 100);
    }

    #[test]
    fn failures_are_paid_with_time_and_looking_costs_nothing() {
        let limits = RateLimits::new(Rates { failures_per_account: 3, ..Rates::NONE });
        let [here, there] = [1, 2].map(|number| IpAddr::from([192, 0, 2, number]));
        for _ in 0..100 {
            assert_eq!(limits.may_try("Ann", here, 0), Ok(()));
        }
        // As many concurrent attempts as passed the check.
        for _ in 0..20 {
            limits.failed("ann", here, 0);
        }
        assert_eq!(limits.may_try("ANN", here, 0), Err(RetryAfter { after_ms: 80_000 }), "overdrawn by three at most");
        assert_eq!(limits.may_try("bob", here, 0), Ok(()));
        assert_eq!(limits.may_try("ann", here, 80_000), Ok(()));
        assert_eq!(limits.may_try("ann", there, 0), Ok(()), "guesses from elsewhere lock nobody out");
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
        let passed = |networks: std::ops::Range<u8>, what: fn(&RateLimits, IpAddr, u64) -> Result<(), RetryAfter>| {
            let tries = networks.flat_map(|number| std::iter::repeat_n(IpAddr::from([192, 0, 2, number]), 100));
            tries.filter(|network| what(&limits, *network, 0).is_ok()).count()
        };
        assert_eq!(passed(0..1, RateLimits::login), 2);
        assert_eq!(passed(0..10, RateLimits::login), 18, "rejections of one took nothing from the others");
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
