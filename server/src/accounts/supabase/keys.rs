//! The issuer's public keys, as far as they are known: when to fetch them, and how long to go on with old ones.
//! A state machine without I/O.

use std::collections::HashMap;

use jsonwebtoken::DecodingKey;

/// When keys are fetched, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyTimes {
    /// Fetched keys are used for so long before they are fetched again.
    pub lifetime_ms: u64,
    /// Between two fetches at least this passes, whatever tokens name: who makes up key ids costs the issuer no more.
    pub refetch_interval_ms: u64,
    /// While the issuer does not answer, old keys are used for so much longer.
    pub stale_ms: u64,
}

impl Default for KeyTimes {
    /// Supabase lets its keys be cached for 10 minutes. An hour of the issuer's silence keeps nobody out, and a key that
    /// was withdrawn because it leaked is not good for long.
    fn default() -> Self {
        Self { lifetime_ms: 600_000, refetch_interval_ms: 30_000, stale_ms: 3_600_000 }
    }
}

/// What is known of a key.
#[derive(Debug)]
pub enum LookUp {
    /// Use it.
    Key(DecodingKey),
    /// Fetch the keys and ask again.
    Fetch,
    /// The issuer has no such key.
    Unknown,
    /// The issuer was not reached for too long.
    Unreachable,
}

/// The keys of one issuer by their id.
#[derive(Debug)]
pub struct KeyCache {
    times: KeyTimes,
    keys: HashMap<String, DecodingKey>,
    fetched_ms: Option<u64>,
    tried_ms: Option<u64>,
}

impl KeyCache {
    /// Without a key.
    pub fn new(times: KeyTimes) -> Self {
        Self { times, keys: HashMap::new(), fetched_ms: None, tried_ms: None }
    }

    /// What is known of the key called `id`.
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

    /// The keys are being fetched. To be called before the fetch: also one that never ends is a try.
    pub fn begin_fetch(&mut self, now_ms: u64) {
        self.tried_ms = Some(now_ms);
    }

    /// The issuer has given its keys, all of them: those that are not among them are good no longer.
    pub fn fetched(&mut self, keys: HashMap<String, DecodingKey>, now_ms: u64) {
        self.keys = keys;
        self.fetched_ms = Some(now_ms);
    }

    /// What is known after a fetch, whether it went well or not: as [`look_up`](Self::look_up), but never to fetch.
    pub fn look_up_after_fetch(&self, id: &str, now_ms: u64) -> LookUp {
        match self.look_up(id, now_ms) {
            // Only with an interval of nothing.
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
