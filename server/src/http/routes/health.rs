//! Health and metrics. Of these the public address serves only `/live` and `/ready`; the operations address, which has
//! its own thread, serves all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::json;
use sidereal_process::threads::thread_times;

use crate::http::door::peer::note_request_start;
use crate::http::refusal::refuse;
use crate::http::state::HttpState;
use crate::http::status::{HEARTBEAT_LIMIT, MetricsText, ServerStatus};

/// The first part of the names of the network threads of players.
const PLAYER_THREADS: &str = "player-net-";

/// The routes of the operations address.
pub(in crate::http) fn router(state: HttpState) -> Router {
    let state = Arc::new(state);
    Router::new()
        .route("/live", get(async |State(state): State<Arc<HttpState>>| live(&state.status)))
        .route("/ready", get(async |State(state): State<Arc<HttpState>>| ready(&state.status)))
        .route("/metrics", get(metrics))
        .fallback(async || refuse(StatusCode::NOT_FOUND, "only /live, /ready and /metrics are served here"))
        .layer(middleware::from_fn(note_request_start))
        .with_state(state)
}

pub(in crate::http) fn live(status: &ServerStatus) -> Response {
    if status.is_live(Instant::now()) {
        return "live\n".into_response();
    }
    let limit_s = HEARTBEAT_LIMIT.as_secs();
    let error = format!("the main loop has not run for {limit_s} s: check the log, and start the server again");
    refuse(StatusCode::SERVICE_UNAVAILABLE, error).into_response()
}

pub(in crate::http) fn ready(status: &ServerStatus) -> Response {
    let missing = status.missing(Instant::now());
    if missing.is_empty() {
        let (shards, leased_sectors) = (status.shards(), status.leased_sectors());
        return Json(json!({ "ready": true, "shards": shards, "leased_sectors": leased_sectors })).into_response();
    }
    let what_to_do = match status.leased_sectors() {
        0 => "start a sidereal-shard, or wait for it",
        _ => "check the log, and start the server again",
    };
    let error = format!("missing: {}: {what_to_do}", missing.join(", "));
    refuse(StatusCode::SERVICE_UNAVAILABLE, error).into_response()
}

/// The CPU time of this process's threads, where the system counts it; those of the same name together.
fn thread_metrics(text: &mut MetricsText) {
    let Ok(threads) = thread_times(std::process::id()) else { return };
    let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
    for thread in &threads {
        *by_name.entry(&thread.name).or_default() += thread.ns;
    }
    let of_players = by_name.iter().filter(|(name, _)| name.starts_with(PLAYER_THREADS)).map(|(_, ns)| ns).sum();
    let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
    text.counters(
        "sidereal_thread_cpu_seconds_total",
        "CPU time of the server's threads.",
        "thread",
        by_name.iter().map(|(name, ns)| (*name, seconds(*ns))),
    );
    text.counter(
        "sidereal_player_net_cpu_seconds_total",
        "CPU time of all network threads of players.",
        seconds(of_players),
    );
}

async fn metrics(State(state): State<Arc<HttpState>>) -> Response {
    let mut own = MetricsText::default();
    let hashed_kib = state.accounts.hashed_kib();
    own.counter("sidereal_password_hashed_kib_total", "Memory that password hashes have processed.", hashed_kib);
    own.gauge("sidereal_passwords_waiting", "Passwords in the hashing queue.", state.accounts.waiting());
    let (fetches, failures) = state.supabase.as_ref().map_or((0, 0), |supabase| supabase.fetches());
    own.counter("sidereal_jwks_fetches_total", "Fetches of the keys for access tokens.", fetches);
    own.counter("sidereal_jwks_failures_total", "Failed fetches of the keys for access tokens.", failures);
    let (changes, refusals) = (&state.certificate.changes, &state.certificate.refusals);
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    own.counter("sidereal_certificate_changes_total", "New certificates for players' connections.", read(changes));
    own.counter("sidereal_certificate_refusals_total", "New certificates that were rejected.", read(refusals));
    thread_metrics(&mut own);
    let text = state.status.metrics_text(own);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
