//! Public information: the world's address, its certificate's hash, and its protocol version.

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sidereal_protocol::limits::PROTOCOL_VERSION;
use sidereal_transport::SESSION_PATH;

use crate::http::routes::api::{Api, Shared};

/// The address for players, and its certificate.
#[derive(Serialize)]
pub(in crate::http) struct Door<'a> {
    player_addr: &'a str,
    web_transport_url: String,
    certificate_hash: String,
    certificate_hashes: Vec<String>,
    certificate_pinned: bool,
}

impl Api {
    /// The present values, for a player of this endpoint.
    pub fn door(&self, endpoint: usize) -> Door<'_> {
        let place = self.players.of(endpoint);
        // Read once, so that both fields refer to the same certificate.
        let certificate_hashes = self.certificate.hashes();
        Door {
            player_addr: &place.addr,
            web_transport_url: format!("{}{SESSION_PATH}", place.origin),
            certificate_hash: certificate_hashes[0].clone(),
            certificate_hashes,
            certificate_pinned: self.certificate.is_pinned,
        }
    }
}

#[derive(Serialize)]
struct World<'a> {
    protocol_version: u32,
    server_version: &'a str,
    #[serde(flatten)]
    door: Door<'a>,
}

pub(in crate::http) async fn world(api: Shared) -> Response {
    let world =
        World { protocol_version: PROTOCOL_VERSION, server_version: env!("CARGO_PKG_VERSION"), door: api.door(0) };
    ([(header::CACHE_CONTROL, "no-store")], Json(world)).into_response()
}
