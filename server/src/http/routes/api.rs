//! What the routes under `/api/` share.

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

/// The largest body that is read: credentials are a few hundred bytes.
pub const BODY_LIMIT_BYTES: usize = 8 * 1024;

/// Calls of the database at a time that are no password's: as many as there are connections to spare.
const STORAGE_AT_ONCE: usize = 2;

/// Such calls that wait: as many as there may be connections.
const STORAGE_WAITING: usize = 512;

/// What the routes share.
pub(in crate::http) struct Api {
    state: HttpState,
    pub rates: RateLimits,
    /// Calls of the database.
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
    /// From now on, answering from `state`.
    pub fn new(state: HttpState) -> Self {
        Self {
            rates: RateLimits::new(state.rates),
            storage: Turns::new(STORAGE_AT_ONCE, STORAGE_WAITING),
            opened: Instant::now(),
            state,
        }
    }

    /// Milliseconds since the server was started.
    pub fn now_ms(&self) -> u64 {
        self.opened.elapsed().as_millis() as u64
    }

    /// Counts one.
    pub fn count(&self, which: impl FnOnce(&ApiCounts) -> &AtomicU64) {
        which(&self.state.status.api).fetch_add(1, Ordering::Relaxed);
    }

    /// There was no place for the work on a request.
    pub fn busy(&self) -> Refusal {
        self.count(|counts| &counts.busy);
        busy()
    }
}

/// Where a request came from, as far as limits tell networks apart.
#[derive(Clone, Copy)]
pub(in crate::http) struct AskedFrom(pub IpAddr);

/// What the routes share, as they take it.
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
