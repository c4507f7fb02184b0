//! The state shared by the routes under `/api/`.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::accounts::rate_limit::RateLimits;
use crate::accounts::turns::Turns;
use crate::http::refusal::{Refusal, busy};
use crate::http::state::HttpState;
use crate::http::status::ApiCounts;

/// Maximum length of a body, bytes: credentials are a few hundred.
pub const BODY_LIMIT_BYTES: usize = 8 * 1024;

/// Concurrent database calls other than for passwords: as many as there are spare connections.
const STORAGE_AT_ONCE: usize = 2;

/// Maximum number of such calls that wait: as many as there may be connections.
const STORAGE_WAITING: usize = 512;

/// The shared state.
pub(in crate::http) struct Api {
    state: HttpState,
    pub rates: RateLimits,
    /// Limits database calls.
    pub storage: Turns,
    opened: Instant,
}

impl Deref for Api {
    type Target = HttpState;

    fn deref(&self) -> &HttpState {
        &self.state
    }
}

impl Api {
    /// Shared state that answers from `state`.
    pub fn new(state: HttpState) -> Self {
        Self {
            rates: RateLimits::new(state.rates),
            storage: Turns::new(STORAGE_AT_ONCE, STORAGE_WAITING),
            opened: Instant::now(),
            state,
        }
    }

    /// Milliseconds since the server started.
    pub fn now_ms(&self) -> u64 {
        self.opened.elapsed().as_millis() as u64
    }

    /// Increments a counter.
    pub fn count(&self, which: impl FnOnce(&ApiCounts) -> &AtomicU64) {
        which(&self.state.status.api).fetch_add(1, Ordering::Relaxed);
    }

    /// The answer when there is no room for a request's work.
    pub fn busy(&self) -> Refusal {
        self.count(|counts| &counts.busy);
        busy()
    }
}

/// The network of a request, as rate limits distinguish them.
#[derive(Clone, Copy)]
pub(in crate::http) struct AskedFrom(pub IpAddr);

/// The shared state, as an extractor.
pub(in crate::http) struct Shared(Arc<Api>);

impl Deref for Shared {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.0
    }
}

impl FromRequestParts<Arc<Api>> for Shared {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(_: &mut Parts, api: &Arc<Api>) -> Result<Self, Self::Rejection> {
        Ok(Self(api.clone()))
    }
}
