//! A cache of the issuer's public keys: when to fetch them, and how long to use old ones. A state machine without I/O.

use std::collections::HashMap;

use jsonwebtoken::DecodingKey;

/// Times of the key cache, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyTimes {
    /// How long fetched keys are used before the next fetch.
    pub lifetime_ms: u64,
    /// Minimum time between two fetches, whatever key ids tokens name: invented ids cause no more requests to the
    /// issuer.
    pub refetch_interval_ms: u64,
    /// How much longer old keys are used while the issuer does not answer.
    pub stale_ms: u64,
}

impl Default for KeyTimes {
    /// Supabase allows its keys to be cached for 10 minutes. An hour's outage of the issuer locks nobody out, and a
    /// key that was revoked because it leaked is not accepted for long.
    fn default() -> Self {
        Self { lifetime_ms: 600_000, refetch_interval_ms: 30_000, stale_ms: 3_600_000 }
    }
}

/// The result of a lookup.
#[derive(Debug)]
pub enum LookUp {
    /// The key.
    Key(DecodingKey),
    /// The keys must be fetched before the next lookup.
    Fetch,
    /// The issuer has no such key.
    Unknown,
    /// The issuer was unreachable for too long.
    Unreachable,
}

/// The keys of one issuer, by id.
#[derive(Debug)]
pub struct KeyCache {
    times: KeyTimes,
    keys: HashMap<String, DecodingKey>,
    fetched_ms: Option<u64>,
    tried_ms: Option<u64>,
}

impl KeyCache {
    /// An empty cache.
    pub fn new(times: KeyTimes) -> Self {
        Self { times, keys: HashMap::new(), fetched_ms: None, tried_ms: None }
    }

    /// Looks up the key `id`.
    pub fn look_up(&self, id: &str, now_ms: u64) -> LookUp {
        let age_ms = self.fetched_ms.map(|fetched_ms| now_ms.saturating_sub(fetched_ms));
        let is_fresh = age_ms.is_some_and(|age_ms| age_ms < self.times.lifetime_ms);
        let is_usable = age_ms.is_some_and(|age_ms| age_ms < self.times.lifetime_ms + self.times.stale_ms);
        let may_fetch =
            self.tried_ms.is_none_or(|tried_ms| now_ms >= tried_ms.saturating_add(self.times.refetch_interval_ms));
        match self.keys.get(id) {
            Some(key) if is_fresh => LookUp::Key(key.clone()),
            _ if may_fetch => LookUp::Fetch,
            Some(key) if is_usable => LookUp::Key(key.clone()),
            None if is_usable => LookUp::Unknown,
            _ => LookUp::Unreachable,
        }
    }

    /// A fetch starts. Call this before the fetch, so that one that never ends counts as an attempt.
    pub fn begin_fetch(&mut self, now_ms: u64) {
        self.tried_ms = Some(now_ms);
    }

    /// The issuer has returned all its keys: keys that are missing are no longer valid.
    pub fn fetched(&mut self, keys: HashMap<String, DecodingKey>, now_ms: u64) {
        self.keys = keys;
        self.fetched_ms = Some(now_ms);
    }

    /// As [`look_up`](Self::look_up) after a fetch, successful or not, but never returns [`LookUp::Fetch`].
    pub fn look_up_after_fetch(&self, id: &str, now_ms: u64) -> LookUp {
        match self.look_up(id, now_ms) {
            // Only with an interval of zero.
            LookUp::Fetch => {
                let times = KeyTimes { refetch_interval_ms: u64::MAX, ..self.times };
                let settled = Self { times, keys: self.keys.clone(), ..*self };
                settled.look_up(id, now_ms)
            }
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: KeyTimes = KeyTimes { lifetime_ms: 1_000, refetch_interval_ms: 100, stale_ms: 5_000 };

    fn keys(ids: &[&str]) -> HashMap<String, DecodingKey> {
        ids.iter().map(|id| ((*id).to_owned(), DecodingKey::from_secret(id.as_bytes()))).collect()
    }

    fn says(cache: &KeyCache, id: &str, now_ms: u64) -> &'static str {
        match cache.look_up(id, now_ms) {
            LookUp::Key(_) => "key",
            LookUp::Fetch => "fetch",
            LookUp::Unknown => "unknown",
            LookUp::Unreachable => "unreachable",
        }
    }

    #[test]
    fn keys_are_fetched_once_in_their_lifetime() {
        let mut cache = KeyCache::new(TIMES);
        assert_eq!(says(&cache, "a", 0), "fetch");
        cache.begin_fetch(0);
        assert_eq!(says(&cache, "a", 99), "unreachable", "one fetch at a time");
        cache.fetched(keys(&["a"]), 50);
        for now in [50, 500, 1_049] {
            assert_eq!(says(&cache, "a", now), "key");
        }
        assert_eq!(says(&cache, "a", 1_050), "fetch");
        cache.begin_fetch(1_050);
        cache.fetched(keys(&["b"]), 1_060);
        assert_eq!(says(&cache, "b", 1_060), "key");
        assert_eq!(says(&cache, "a", 1_060), "unknown", "the issuer has withdrawn it");
    }

    #[test]
    fn an_unknown_id_is_looked_for_once_in_the_interval() {
        let mut cache = KeyCache::new(TIMES);
        cache.begin_fetch(0);
        cache.fetched(keys(&["a"]), 0);
        let mut fetches = 0;
        for now in 0..1_000 {
            if says(&cache, &format!("made up {now}"), now) == "fetch" {
                fetches += 1;
                cache.begin_fetch(now);
                cache.fetched(keys(&["a"]), now);
            }
        }
        assert_eq!(fetches, 9);
    }

    #[test]
    fn while_the_issuer_is_away_old_keys_are_used_for_a_bounded_time() {
        let mut cache = KeyCache::new(TIMES);
        cache.begin_fetch(0);
        cache.fetched(keys(&["a"]), 0);
        let mut fetches = 0;
        for now in 1_000..6_000 {
            if says(&cache, "a", now) == "fetch" {
                fetches += 1;
                cache.begin_fetch(now);
            }
            assert_eq!(says(&cache, "a", now), "key", "{now}");
            assert_eq!(says(&cache, "b", now), "unknown", "{now}");
        }
        assert_eq!(fetches, 50);
        assert_eq!(says(&cache, "a", 6_000), "fetch");
        cache.begin_fetch(6_000);
        assert_eq!(says(&cache, "a", 6_000), "unreachable");
        assert_eq!(says(&cache, "b", 6_001), "unreachable");
    }

    #[test]
    fn after_a_fetch_nobody_is_told_to_fetch() {
        let mut cache = KeyCache::new(KeyTimes { refetch_interval_ms: 0, ..TIMES });
        cache.begin_fetch(0);
        assert!(matches!(cache.look_up_after_fetch("a", 0), LookUp::Unreachable));
        cache.fetched(keys(&["a"]), 0);
        assert!(matches!(cache.look_up_after_fetch("a", 0), LookUp::Key(_)));
        assert!(matches!(cache.look_up_after_fetch("b", 0), LookUp::Unknown));
    }
}
