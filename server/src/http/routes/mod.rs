//! The routes, and the layers around all of them. Every answer is JSON except `/live` and the browser client's files;
//! every error is `{"error": "<one sentence that says what to do>"}`.

mod accounts;
pub(in crate::http) mod api;
pub(in crate::http) mod health;
mod sessions;
mod world;

use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use sidereal_process::crash;

use crate::http::door::peer::{Peer, asked_from, note_request_start};
use crate::http::refusal::{refuse, too_many};
use crate::http::routes::api::{Api, AskedFrom, BODY_LIMIT_BYTES, Shared};
use crate::http::state::HttpState;
use sidereal_transport::network_of;

/// The description of everything under `/api/` (OpenAPI 3.1).
const OPENAPI: &str = include_str!("../openapi.json");

/// A route under `/api/`. All of them are in `openapi.json`.
struct ApiRoute {
    method: &'static str,
    path: &'static str,
    handler: MethodRouter<Arc<Api>>,
}

fn api_routes() -> Vec<ApiRoute> {
    let route = |method, path, handler| ApiRoute { method, path, handler };
    vec![
        route("post", "/api/register", post(accounts::register)),
        route("post", "/api/login", post(accounts::login)),
        route("post", "/api/refresh", post(sessions::refresh)),
        route("post", "/api/ticket", post(sessions::ticket)),
        route("post", "/api/logout", post(sessions::logout)),
        route("get", "/api/world", get(world::world)),
        route("get", "/api/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI))),
    ]
}

pub(in crate::http) fn router(state: HttpState) -> Router {
    let api = Arc::new(Api::new(state));
    let mut router = Router::new();
    for ApiRoute { method, path, handler } in api_routes() {
        tracing::debug!(method, path, "route");
        router = router.route(path, handler);
    }
    router
        .route_layer(middleware::from_fn_with_state(api.clone(), within_rate))
        .route("/live", get(async |api: Shared| health::live(&api.status)))
        .route("/ready", get(async |api: Shared| health::ready(&api.status)))
        .fallback(web_file)
        .method_not_allowed_fallback(async || {
            refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "this route takes another method: POST for /api/, GET for the others, for /api/world and for /api/openapi.json",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(middleware::from_fn_with_state(api.clone(), within_time))
        .layer(middleware::from_fn(contain_request))
        .layer(middleware::map_response_with_state(Arc::new(security_headers(&api)), guard_browsers))
        .layer(middleware::from_fn(note_request_start))
        .with_state(api)
}

/// Serves the browser client's files, without a rate limit.
async fn web_file(api: Shared, request: Request) -> Response {
    let path = request.uri().path();
    let answer = api.web.as_ref().and_then(|web| web.answer(request.method(), path, request.headers()));
    answer.unwrap_or_else(|| {
        let error = match path {
            "/" | "/index.html" => {
                "the browser client is not served here: build it as in README.md, and start the server with --web-dir target/web"
            }
            _ => "there is no such page: see docs/PROTOCOL.md for the routes",
        };
        refuse(StatusCode::NOT_FOUND, error).into_response()
    })
}

/// Security headers of all answers to browsers.
fn security_headers(state: &HttpState) -> HeaderMap {
    let origins: Vec<&str> = state.players.iter().map(|door| door.origin.as_str()).collect();
    let policy = format!(
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' {}; img-src 'self' data:; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        origins.join(" ")
    );
    let policy = HeaderValue::try_from(policy).expect("a host and a port are visible characters");
    let fixed = HeaderValue::from_static;
    HeaderMap::from_iter([
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
        (header::X_FRAME_OPTIONS, fixed("DENY")),
        (HeaderName::from_static("cross-origin-opener-policy"), fixed("same-origin")),
    ])
}

async fn guard_browsers(State(headers): State<Arc<HeaderMap>>, mut response: Response) -> Response {
    response.headers_mut().extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    response
}

/// A panicking request gets an error answer and affects no other.
async fn contain_request(request: Request, next: Next) -> Response {
    let answered = crash::contain_task(async {
        crash::fault_point("http-request");
        next.run(request).await
    });
    answered.await.unwrap_or_else(|panicked| {
        tracing::error!(%panicked, "a request panicked");
        refuse(StatusCode::INTERNAL_SERVER_ERROR, "the server failed to handle this request, and has logged why")
            .into_response()
    })
}

/// Applies the rate limit per address.
async fn within_rate(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = network_of(asked_from(peer.addr, request.headers(), api.trusted_proxies));
    match api.rates.request(address, api.now_ms()) {
        Ok(()) => {
            request.extensions_mut().insert(AskedFrom(address));
            next.run(request).await
        }
        Err(come_back) => {
            api.count(|counts| &counts.limited_by_address);
            too_many("too many requests from this address", come_back).into_response()
        }
    }
}

/// Applies the time limit to a request's work.
async fn within_time(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(api.limits.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            refuse(StatusCode::SERVICE_UNAVAILABLE, "this took too long: try again in a few seconds").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The router is made from the same list, so the served routes are the described ones.
    #[test]
    fn every_route_is_described_and_every_description_is_a_route() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, methods)| methods.as_object().expect("methods").keys().map(|m| (m.clone(), path.clone())))
            .collect();
        let served: BTreeSet<(String, String)> =
            api_routes().iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
        assert_eq!(served, described);
    }
}
