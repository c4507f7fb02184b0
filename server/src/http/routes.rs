//! The routes and their answers. Every answer is JSON but for `/live` and `/metrics`; every refusal is
//! `{"error": "<one sentence that says what to do>"}`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::HttpState;
use crate::accounts::{LoginError, RegisterError};
use crate::tickets::TICKET_LIFETIME_MS;

/// The largest body that is read: credentials are a few hundred bytes.
pub const BODY_LIMIT_BYTES: usize = 8 * 1024;

type Shared = State<Arc<HttpState>>;

pub(super) fn router(state: HttpState) -> Router {
    let state = Arc::new(state);
    Router::new()
        .route("/api/register", post(register))
        .route("/api/login", post(login))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .fallback(|| async {
            refuse(StatusCode::NOT_FOUND, "there is no such page: see docs/PROTOCOL.md for the routes")
        })
        .method_not_allowed_fallback(|| async {
            refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "this route takes another method: POST for /api/, GET for the others",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), within_time))
        .with_state(state)
}

#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: String,
}

#[derive(Serialize)]
struct LoggedIn<'a> {
    ticket: String,
    player_addr: &'a str,
    certificate_hash: &'a str,
    expires_in_s: u64,
    account_id: Uuid,
}

async fn register(State(state): Shared, body: Result<Bytes, BytesRejection>) -> Response {
    let Credentials { user, password } = match credentials(body) {
        Ok(credentials) => credentials,
        Err(refusal) => return refusal.into_response(),
    };
    match state.accounts.register(user, password).await {
        Ok(account) => {
            state.status.registrations.fetch_add(1, Ordering::Relaxed);
            tracing::info!(account = %account.id, name = account.name, "account registered");
            (StatusCode::CREATED, Json(json!({ "account_id": account.id }))).into_response()
        }
        Err(error) => {
            let status = match &error {
                RegisterError::BadName | RegisterError::BadPassword => StatusCode::BAD_REQUEST,
                RegisterError::NameTaken => StatusCode::CONFLICT,
                RegisterError::Busy => StatusCode::SERVICE_UNAVAILABLE,
                RegisterError::Database(cause) => {
                    tracing::error!(%cause, "a registration failed");
                    StatusCode::SERVICE_UNAVAILABLE
                }
            };
            refuse(status, error.to_string()).into_response()
        }
    }
}

async fn login(State(state): Shared, body: Result<Bytes, BytesRejection>) -> Response {
    let Credentials { user, password } = match credentials(body) {
        Ok(credentials) => credentials,
        Err(refusal) => return refusal.into_response(),
    };
    match state.accounts.login(user, password).await {
        Ok(account) => {
            state.status.logins.fetch_add(1, Ordering::Relaxed);
            let ticket = state.tickets.issue(account.id, &account.name, state.tickets.now_ms());
            let answer = LoggedIn {
                ticket,
                player_addr: &state.player_addr,
                certificate_hash: &state.certificate_hash,
                expires_in_s: TICKET_LIFETIME_MS / 1_000,
                account_id: account.id,
            };
            ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
        }
        Err(error) => {
            let status = match &error {
                LoginError::WrongCredentials => {
                    state.status.logins_refused.fetch_add(1, Ordering::Relaxed);
                    StatusCode::UNAUTHORIZED
                }
                LoginError::Busy => StatusCode::SERVICE_UNAVAILABLE,
                LoginError::Database(cause) => {
                    tracing::error!(%cause, "a login failed");
                    StatusCode::SERVICE_UNAVAILABLE
                }
            };
            refuse(status, error.to_string()).into_response()
        }
    }
}

async fn ready(State(state): Shared) -> Response {
    if !state.status.is_ready() {
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "no shard holds a lease yet: start a sidereal-shard, or wait for it",
        )
        .into_response();
    }
    let (shards, leased_sectors) = (state.status.shards(), state.status.leased_sectors());
    Json(json!({ "ready": true, "shards": shards, "leased_sectors": leased_sectors })).into_response()
}

async fn metrics(State(state): Shared) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.status.metrics_text()).into_response()
}

/// The work on a request has an end, whatever it waits for.
async fn within_time(State(state): Shared, request: Request, next: Next) -> Response {
    match tokio::time::timeout(state.limits.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            refuse(StatusCode::SERVICE_UNAVAILABLE, "this took too long: try again in a few seconds").into_response()
        }
    }
}

fn credentials(body: Result<Bytes, BytesRejection>) -> Result<Credentials, Refusal> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is too large: send at most {BODY_LIMIT_BYTES} bytes"),
        ),
        _ => refuse(StatusCode::BAD_REQUEST, "the body did not arrive whole: send it again"),
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        // Its words may quote the body, so only the place is told.
        let (line, column) = (error.line(), error.column());
        let error = format!(
            "the body is not what is expected (line {line} column {column}): \
             send JSON with the texts \"user\" and \"password\""
        );
        refuse(StatusCode::BAD_REQUEST, error)
    })
}

/// An answer that is an error.
struct Refusal {
    status: StatusCode,
    error: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error }))).into_response()
    }
}

fn refuse(status: StatusCode, error: impl Into<String>) -> Refusal {
    Refusal { status, error: error.into() }
}
