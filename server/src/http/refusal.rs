//! Answers that are errors: a status, and one sentence that says what to do.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::accounts::rate_limit::RetryAfter;

/// An error answer.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, self.header.map(|header| [header]), Json(json!({ "error": self.error }))).into_response()
    }
}

pub(super) fn refuse(status: StatusCode, error: impl Into<String>) -> Refusal {
    Refusal { status, error: error.into(), header: None }
}

/// The database failed, or too many requests wait for it.
pub(super) fn unavailable(error: impl Into<String>) -> Refusal {
    refuse(StatusCode::SERVICE_UNAVAILABLE, error)
}

/// `Retry-After` of a busy server, seconds: about the time that the queue needs.
const BUSY_AFTER_S: u64 = 3;

/// Too many concurrent requests; with a time to retry.
pub(super) fn busy() -> Refusal {
    let header = Some((header::RETRY_AFTER, BUSY_AFTER_S.into()));
    Refusal { header, ..unavailable("the server is busy: try again in a few seconds") }
}

/// The required token is missing or invalid.
pub(super) fn unauthorized(error: impl Into<String>) -> Refusal {
    let header = Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
    Refusal { header, ..refuse(StatusCode::UNAUTHORIZED, error) }
}

/// Rate limit exceeded; with a time to retry, in the text and in a header.
pub(super) fn too_many(what: &str, come_back: RetryAfter) -> Refusal {
    let after_s = come_back.after_s();
    let header = Some((header::RETRY_AFTER, after_s.into()));
    Refusal { header, ..refuse(StatusCode::TOO_MANY_REQUESTS, format!("{what}: try again in {after_s} s")) }
}
