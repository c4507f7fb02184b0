//! The browser's checks at the server, over real sockets: the page's origin is checked, and the certificate may change
//! while sessions continue.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::raw::{RawClient, RawServer, serve_until};
use common::*;
use sidereal_transport::{
    AllowedOrigins, ClientNetwork, Identity, Limits, LinkStatus, LiveCertificate, PeerKind, SESSION_PATH, ServerConfig,
};
use wtransport::endpoint::ConnectOptions as WebConnectOptions;
use wtransport::error::ConnectingError;
use wtransport::tls::Sha256Digest;

/// Connects like a browser from a page of `origin`, up to the session.
fn come_from(server: &RawServer, kind: PeerKind, origin: &str) -> Result<(), ConnectingError> {
    let address = server.handle.local_addr(kind).unwrap();
    let config = wtransport::ClientConfig::builder()
        .with_bind_default()
        .with_server_certificate_hashes([Sha256Digest::new(server.handle.certificate_hash())])
        .build();
    let options = WebConnectOptions::builder(format!("https://127.0.0.1:{}{SESSION_PATH}", address.port()))
        .add_header("origin", origin)
        .build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { wtransport::Endpoint::client(config).unwrap().connect(options).await.map(drop) })
}

#[test]
fn a_page_of_others_is_refused_and_counted() {
    let allowed = AllowedOrigins::new([], ["https://play.example.org".to_owned()]);
    let config = ServerConfig { allowed_origins: allowed, ..config(Limits::default()) };
    let server = RawServer::new(sidereal_transport::bind(config).unwrap());
    for origin in ["https://play.example.org", "http://localhost:7779"] {
        come_from(&server, PeerKind::Player, origin).unwrap_or_else(|error| panic!("{origin}: {error}"));
    }
    assert_eq!(server.handle.stats().admission.refused_origin, 0);
    for (number, origin) in ["https://evil.example", "null"].into_iter().enumerate() {
        let refused = come_from(&server, PeerKind::Player, origin);
        assert!(matches!(refused, Err(ConnectingError::SessionRejected)), "{origin}: {refused:?}");
        assert_eq!(server.handle.stats().admission.refused_origin, number as u64 + 1);
    }
}

#[test]
fn sessions_outlive_their_certificate_and_newcomers_see_the_next_one() {
    let [first, second] = [(); 2].map(|()| Identity::self_signed(&["localhost"]).unwrap());
    let shown = LiveCertificate::new(&first).unwrap();
    let config = ServerConfig { player_certificate: Some(shown.clone()), ..config(Limits::default()) };
    let mut server = RawServer::new(sidereal_transport::bind(config).unwrap());
    let waker = server.handle.waker();
    let network = ClientNetwork::new().unwrap();
    let pinning = |server: &RawServer, hash| {
        let mut options = server.options(PeerKind::Player);
        options.certificate_hash = hash;
        options
    };
    let mut old = RawClient::connect(&network, pinning(&server, first.certificate_hash()));
    serve_until(&mut server, &waker, |_| old.handle.status() == LinkStatus::Connected);

    shown.replace(&second).unwrap();
    // From another process: the first one still has the server's TLS session, and would resume it.
    let elsewhere = ClientNetwork::new().unwrap();
    let late = RawClient::connect(&elsewhere, pinning(&server, first.certificate_hash()));
    serve_until(&mut server, &waker, |_| late.handle.is_finished());
    assert!(matches!(late.handle.status(), LinkStatus::Rejected(_)), "{:?}", late.handle.status());
    let new = RawClient::connect(&network, pinning(&server, second.certificate_hash()));
    serve_until(&mut server, &waker, |_| new.handle.status() == LinkStatus::Connected);

    // The old session still carries packets. An even first byte: data (odd) waits until naia has connected.
    let session = server.sessions[0];
    server.packets_out.send(&session, b"here still").unwrap();
    serve_until(&mut server, &waker, |_| matches!(old.packets.receive(), Ok(Some(packet)) if packet == b"here still"));
    assert_eq!(old.handle.status(), LinkStatus::Connected);

    // Shards get the certificate of the server's start.
    let shard = RawClient::connect(&network, server.options(PeerKind::Shard));
    serve_until(&mut server, &waker, |_| shard.handle.status() == LinkStatus::Connected);
}
