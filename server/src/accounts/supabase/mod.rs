//! Access tokens of Supabase Auth (JWT): identities from another token issuer.
//!
//! Owned by the server process, used by its HTTP thread. The operator configures the algorithm, the issuer and the
//! audience; nothing in a token changes how it is verified. This module does not use accounts: it returns an
//! [`Identity`].

mod fetch;
mod keys;
mod ring_crypto;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use sidereal_process::crash::contain;
use thiserror::Error;
use tokio::sync::Mutex;
use uuid::Uuid;

use fetch::KeySource;
use keys::{KeyCache, LookUp};

pub use keys::KeyTimes;

/// Maximum length of a token, bytes. One with much metadata has two or three thousand.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Maximum difference between the clocks of issuer and server, seconds.
pub const LEEWAY_S: u64 = 30;

/// Minimum length of a secret for HS256, bytes: as long as its hash (RFC 7518, 3.2). Supabase's have 40 and more.
pub const MIN_SECRET_BYTES: usize = 32;

/// The role of a user who has logged in. `anon` and `service_role` are keys of programs, not persons.
const ROLE: &str = "authenticated";

/// The signature algorithm of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Algorithm {
    /// ECDSA on P-256, keys by JWKS.
    #[value(name = "ES256")]
    Es256,
    /// RSA, keys by JWKS.
    #[value(name = "RS256")]
    Rs256,
    /// HMAC with a shared secret.
    #[value(name = "HS256")]
    Hs256,
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Es256 => Self::ES256,
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Hs256 => Self::HS256,
        }
    }
}

/// How tokens are verified.
#[derive(Clone)]
pub struct SupabaseConfig {
    /// The only accepted algorithm.
    pub algorithm: Algorithm,
    /// Address of the keys, for ES256 and RS256.
    pub jwks_url: Option<String>,
    /// The secret, for HS256.
    pub secret: Option<String>,
    /// The required `iss`.
    pub issuer: String,
    /// The required entry of `aud`.
    pub audience: String,
    /// Times of the key cache.
    pub times: KeyTimes,
}

/// An invalid configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SupabaseConfigError {
    /// Neither a key address nor a secret, or both.
    #[error(
        "ES256 and RS256 go with --supabase-jwks-url, HS256 with --supabase-jwt-secret: give only the matching one"
    )]
    WrongKeys,
    /// The issuer is missing.
    #[error("--supabase-issuer is missing: give what `iss` is in the tokens, like https://PROJECT.supabase.co/auth/v1")]
    NoIssuer,
    /// The keys would be fetched over an unencrypted network.
    #[error("--supabase-jwks-url is not an https:// address (http:// is for 127.0.0.1, [::1] and localhost only)")]
    BadUrl,
    /// The secret is short enough to be guessed.
    #[error("--supabase-jwt-secret has less than 32 bytes: take the project's own")]
    ShortSecret,
}

/// Why a token was rejected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Not a token of this issuer for this server; the answer does not say what exactly is wrong.
    #[error("this access token is not valid here: log in again at its issuer")]
    Invalid,
    /// It was valid and has expired.
    #[error("this access token has expired: get a new one from its issuer")]
    Expired,
    /// It is not valid yet.
    #[error("this access token is not valid yet: check this machine's clock")]
    NotYet,
    /// It belongs to a program.
    #[error("this access token is not a person's: log in as a user")]
    WrongRole,
    /// The issuer's keys are unavailable.
    #[error("the keys for access tokens are unavailable at the moment: try again in half a minute")]
    KeysUnreachable,
}

/// A user, as identified by the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The issuer.
    pub issuer: String,
    /// The issuer's id of the user.
    pub subject: Uuid,
    /// The name in the token: any text, chosen by the user.
    pub wished_name: Option<String>,
}

enum Keys {
    Secret(DecodingKey),
    Fetched(Arc<Fetched>),
}

struct Fetched {
    source: KeySource,
    algorithm: jsonwebtoken::Algorithm,
    cache: Mutex<KeyCache>,
    fetches: AtomicU64,
    failures: AtomicU64,
}

struct Inner {
    issuer: String,
    validation: Validation,
    keys: Keys,
    opened: Instant,
}

/// Verifies tokens. Clones share the keys.
#[derive(Clone)]
pub struct Supabase {
    inner: Arc<Inner>,
}

impl fmt::Debug for Supabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supabase").field("issuer", &self.inner.issuer).finish_non_exhaustive()
    }
}

/// The claims that are read. Each field that decides accepts only its one type.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: Uuid,
    role: String,
    #[serde(default)]
    email: Option<String>,
    /// Chosen by the user: any shape is accepted.
    #[serde(default)]
    user_metadata: serde_json::Value,
}

impl Supabase {
    /// Makes a verifier; fetches no keys yet.
    ///
    /// # Errors
    /// [`SupabaseConfigError`].
    pub fn new(config: SupabaseConfig) -> Result<Self, SupabaseConfigError> {
        ring_crypto::install();
        let algorithm = config.algorithm.into();
        let keys = match (config.algorithm, &config.jwks_url, &config.secret) {
            (Algorithm::Hs256, None, Some(secret)) => {
                if secret.len() < MIN_SECRET_BYTES {
                    return Err(SupabaseConfigError::ShortSecret);
                }
                Keys::Secret(DecodingKey::from_secret(secret.as_bytes()))
            }
            (Algorithm::Es256 | Algorithm::Rs256, Some(url), None) => Keys::Fetched(Arc::new(Fetched {
                source: KeySource::new(url).ok_or(SupabaseConfigError::BadUrl)?,
                algorithm,
                cache: Mutex::new(KeyCache::new(config.times)),
                fetches: AtomicU64::new(0),
                failures: AtomicU64::new(0),
            })),
            _ => return Err(SupabaseConfigError::WrongKeys),
        };
        if config.issuer.is_empty() {
            return Err(SupabaseConfigError::NoIssuer);
        }
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Ok(Self { inner: Arc::new(Inner { issuer: config.issuer, validation, keys, opened: Instant::now() }) })
    }

    /// Milliseconds since this was made.
    pub fn now_ms(&self) -> u64 {
        self.inner.opened.elapsed().as_millis() as u64
    }

    /// The number of key fetches, and how many of them failed.
    pub fn fetches(&self) -> (u64, u64) {
        match &self.inner.keys {
            Keys::Secret(_) => (0, 0),
            Keys::Fetched(fetched) => {
                (fetched.fetches.load(Ordering::Relaxed), fetched.failures.load(Ordering::Relaxed))
            }
        }
    }

    /// Verifies a token and returns its user. `now_ms` (see [`now_ms`](Self::now_ms)) is the key cache's clock; `exp`
    /// and `nbf` are compared with the system's.
    ///
    /// # Errors
    /// [`TokenError`] says why it was rejected.
    pub async fn verify(&self, token: &str, now_ms: u64) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let header = decode_header(token).map_err(|_| TokenError::Invalid)?;
        // Before the key lookup: only a token that could be valid causes a request to the issuer.
        if !self.inner.validation.algorithms.contains(&header.alg) || header.crit.is_some() {
            return Err(TokenError::Invalid);
        }
        let key = match &self.inner.keys {
            Keys::Secret(key) => key.clone(),
            Keys::Fetched(fetched) => {
                let id = header.kid.ok_or(TokenError::Invalid)?;
                let fetched = fetched.clone();
                // A separate task: if the caller disconnects, the fetched keys are not lost.
                tokio::spawn(async move { fetched.key(&id, now_ms).await })
                    .await
                    .unwrap_or(Err(TokenError::KeysUnreachable))?
            }
        };
        let claims = self.claims(token, &key)?;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let wished_name =
            text(&claims.user_metadata["name"]).or_else(|| Some(claims.email?.split('@').next()?.to_owned()));
        Ok(Identity { issuer: claims.iss, subject: claims.sub, wished_name })
    }

    fn claims(&self, token: &str, key: &DecodingKey) -> Result<Claims, TokenError> {
        use jsonwebtoken::errors::ErrorKind;
        let claims = decode::<Claims>(token, key, &self.inner.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => TokenError::Expired,
                ErrorKind::ImmatureSignature => TokenError::NotYet,
                _ => TokenError::Invalid,
            })?
            .claims;
        if claims.iss != self.inner.issuer || claims.sub.is_nil() {
            return Err(TokenError::Invalid);
        }
        if claims.role != ROLE {
            return Err(TokenError::WrongRole);
        }
        Ok(claims)
    }
}

impl Fetched {
    /// The key `id`. One fetch at a time: concurrent callers wait for it.
    async fn key(self: Arc<Self>, id: &str, now_ms: u64) -> Result<DecodingKey, TokenError> {
        let mut cache = self.cache.lock().await;
        let mut found = cache.look_up(id, now_ms);
        if matches!(found, LookUp::Fetch) {
            cache.begin_fetch(now_ms);
            self.fetches.fetch_add(1, Ordering::Relaxed);
            let (source, algorithm) = (self.source.clone(), self.algorithm);
            let fetched = tokio::task::spawn_blocking(move || contain(|| source.fetch(algorithm))).await;
            let fetched = fetched.map_err(|error| error.to_string()).and_then(|done| done.map_err(|it| it.to_string()));
            match fetched.flatten() {
                Ok(keys) => cache.fetched(keys, now_ms),
                Err(reason) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(reason, "the keys for access tokens could not be fetched");
                }
            }
            found = cache.look_up_after_fetch(id, now_ms);
        }
        match found {
            LookUp::Key(key) => Ok(key),
            LookUp::Unknown => Err(TokenError::Invalid),
            LookUp::Fetch | LookUp::Unreachable => Err(TokenError::KeysUnreachable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SupabaseConfig {
        SupabaseConfig {
            algorithm: Algorithm::Es256,
            jwks_url: Some("https://x.supabase.co/auth/v1/.well-known/jwks.json".to_owned()),
            secret: None,
            issuer: "https://x.supabase.co/auth/v1".to_owned(),
            audience: "authenticated".to_owned(),
            times: KeyTimes::default(),
        }
    }

    #[test]
    fn a_configuration_that_judges_nothing_is_refused() {
        assert!(Supabase::new(config()).is_ok());
        let secret = Some("s".repeat(32));
        let hs256 = SupabaseConfig { algorithm: Algorithm::Hs256, jwks_url: None, secret: secret.clone(), ..config() };
        assert!(Supabase::new(hs256.clone()).is_ok());
        for (config, error) in [
            (SupabaseConfig { jwks_url: None, ..config() }, SupabaseConfigError::WrongKeys),
            (SupabaseConfig { secret: secret.clone(), ..config() }, SupabaseConfigError::WrongKeys),
            (SupabaseConfig { algorithm: Algorithm::Hs256, ..config() }, SupabaseConfigError::WrongKeys),
            (SupabaseConfig { algorithm: Algorithm::Rs256, ..hs256.clone() }, SupabaseConfigError::WrongKeys),
            (SupabaseConfig { issuer: String::new(), ..config() }, SupabaseConfigError::NoIssuer),
            (SupabaseConfig { jwks_url: Some("http://x.org/".to_owned()), ..config() }, SupabaseConfigError::BadUrl),
            (SupabaseConfig { secret: Some("s".repeat(31)), ..hs256 }, SupabaseConfigError::ShortSecret),
        ] {
            assert_eq!(Supabase::new(config).expect_err("it judges nothing"), error);
        }
    }
}
