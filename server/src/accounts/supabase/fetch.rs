//! Fetches an issuer's public keys (JWKS, RFC 7517) and reads them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use axum::http::Uri;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// Limit of a whole fetch: players wait for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum length of an answer, bytes: a key takes some hundreds.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Maximum number of keys of one issuer: it has one or two, and a few during a rotation.
const MAX_KEYS: usize = 32;

/// The location of an issuer's keys.
#[derive(Clone, Debug)]
pub(super) struct KeySource {
    url: String,
    agent: ureq::Agent,
}

#[derive(Deserialize)]
struct KeySet {
    /// Parsed one by one: a key of an unknown kind does not hide the others.
    keys: Vec<serde_json::Value>,
}

impl KeySource {
    /// The source at `url`, which must be HTTPS or local; otherwise `None`.
    pub fn new(url: &str) -> Option<Self> {
        let parsed: Uri = url.parse().ok()?;
        let host = parsed.host().filter(|host| !host.is_empty())?;
        let is_local = is_loopback(host);
        match parsed.scheme_str() {
            Some("https") => {}
            Some("http") if is_local => {}
            _ => return None,
        }
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(FETCH_TIMEOUT))
            // A redirect may lead to an address that the operator did not configure.
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("sidereal-server/", env!("CARGO_PKG_VERSION")));
        if is_local {
            config = config.proxy(None);
        }
        Some(Self { url: url.to_owned(), agent: config.build().new_agent() })
    }

    /// The keys for `algorithm`, by their ids. Blocks for up to [`FETCH_TIMEOUT`].
    pub fn fetch(&self, algorithm: Algorithm) -> Result<HashMap<String, DecodingKey>, String> {
        let mut answer = self.agent.get(&self.url).call().map_err(|error| error.to_string())?;
        if answer.status() != 200 {
            return Err(format!("HTTP status {}", answer.status()));
        }
        let text =
            answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map_err(|error| error.to_string())?;
        let set: KeySet = serde_json::from_slice(&text).map_err(|error| format!("it is no key set: {error}"))?;
        let keys: HashMap<_, _> = set.keys.iter().take(MAX_KEYS).filter_map(|key| usable_key(key, algorithm)).collect();
        if keys.is_empty() {
            return Err(format!("it holds no key for {algorithm:?}"));
        }
        Ok(keys)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The key with its id, if it is a signing key for `algorithm`. A secret in a set of public keys is ignored.
fn usable_key(key: &serde_json::Value, algorithm: Algorithm) -> Option<(String, DecodingKey)> {
    let key = Jwk::deserialize(key).ok()?;
    let (named, fits) = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::EllipticCurve(point), Algorithm::ES256) => {
            (KeyAlgorithm::ES256, point.curve == EllipticCurve::P256)
        }
        (AlgorithmParameters::RSA(_), Algorithm::RS256) => (KeyAlgorithm::RS256, true),
        _ => return None,
    };
    let common = &key.common;
    let signs = common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
    if !fits || !signs || common.key_algorithm.is_some_and(|algorithm| algorithm != named) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(&key).ok()?;
    Some((key.common.key_id?, decoding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for url in [
            "https://x.supabase.co/auth/v1/.well-known/jwks.json",
            "http://127.0.0.1:9/k",
            "http://[::1]/k",
            "http://localhost/k",
        ] {
            assert!(KeySource::new(url).is_some(), "{url}");
        }
        for url in [
            "",
            "x",
            "/k",
            "ftp://127.0.0.1/k",
            "http://x.supabase.co/k",
            "http://127.0.0.1.nip.io/k",
            "http://10.0.0.1/k",
            "https://",
            "http://127.0.0.1@x.org/k",
        ] {
            assert!(KeySource::new(url).is_none(), "{url}");
        }
    }

    #[test]
    fn only_keys_of_the_one_algorithm_are_taken() {
        let point = "A".repeat(43);
        let ec =
            json!({"kty": "EC", "crv": "P-256", "x": point, "y": point, "kid": "ec", "alg": "ES256", "use": "sig"});
        let rsa = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "rsa"});
        let with = |key: &serde_json::Value, name: &str, value: serde_json::Value| {
            let mut key = key.clone();
            key[name] = value;
            key
        };
        assert!(usable_key(&ec, Algorithm::ES256).is_some_and(|(id, _)| id == "ec"));
        assert!(usable_key(&rsa, Algorithm::RS256).is_some_and(|(id, _)| id == "rsa"));
        for (key, algorithm) in [
            (ec.clone(), Algorithm::RS256),
            (rsa.clone(), Algorithm::ES256),
            (json!({"kty": "oct", "k": point, "kid": "oct", "alg": "HS256"}), Algorithm::ES256),
            (json!({"kty": "oct", "k": point, "kid": "oct"}), Algorithm::RS256),
            (with(&ec, "crv", json!("P-384")), Algorithm::ES256),
            (with(&ec, "use", json!("enc")), Algorithm::ES256),
            (with(&ec, "alg", json!("ES384")), Algorithm::ES256),
            (with(&ec, "kid", json!(null)), Algorithm::ES256),
            (with(&ec, "x", json!("not base64!")), Algorithm::ES256),
            (with(&rsa, "alg", json!("RS512")), Algorithm::RS256),
            (json!(7), Algorithm::ES256),
        ] {
            assert!(usable_key(&key, algorithm).is_none(), "{key}");
        }
    }
}
