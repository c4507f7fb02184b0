//! The client's address: the remote address of the connection, or the one that trusted proxies report.

use std::net::{IpAddr, SocketAddr};

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::IncomingStream;

use crate::http::door::listener::{Connection, GuardedListener};

/// The connection of a request.
#[derive(Clone)]
pub(in crate::http) struct Peer {
    /// Its remote address.
    pub addr: SocketAddr,
    pub connection: Connection,
}

impl Connected<IncomingStream<'_, GuardedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, GuardedListener>) -> Self {
        Self { addr: *stream.remote_addr(), connection: stream.io().connection() }
    }
}

/// The address of a request's client behind `proxies` trusted proxies: each appends its client's address to
/// `X-Forwarded-For`, so the last entry but `proxies - 1` counts. Anybody may have written the entries before it. If
/// there are too few entries, or it is not an address, the request did not come through the proxies, and the
/// connection's address counts.
pub(in crate::http) fn asked_from(peer: SocketAddr, headers: &HeaderMap, proxies: usize) -> IpAddr {
    let Some(from_the_end) = proxies.checked_sub(1) else { return peer.ip() };
    let mut named = headers.get_all("x-forwarded-for").iter().rev().flat_map(|value| {
        let value = value.to_str().unwrap_or_default();
        value.rsplit(',').map(|address| parse(address.trim()))
    });
    named.nth(from_the_end).flatten().unwrap_or(peer.ip())
}

/// An address, with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

/// From here on the time limit of a request's work applies to its connection.
pub(in crate::http) async fn note_request_start(
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    peer.connection.asked();
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(proxies: usize, headers: &[&str]) -> String {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append("x-forwarded-for", value.parse().expect("a header"));
        }
        asked_from(SocketAddr::from(([10, 0, 0, 1], 80)), &map, proxies).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(from(0, &["192.0.2.1"]), "10.0.0.1");
        assert_eq!(from(1, &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(from(1, &["203.0.113.9, 192.0.2.1"]), "192.0.2.1", "what a client wrote itself");
        assert_eq!(from(1, &["203.0.113.9", "192.0.2.1"]), "192.0.2.1");
        assert_eq!(from(2, &["203.0.113.9, 192.0.2.1 ,198.51.100.1"]), "192.0.2.1");
        assert_eq!(from(2, &["203.0.113.9, 192.0.2.1", "198.51.100.1"]), "192.0.2.1");
    }

    #[test]
    fn what_names_no_address_is_the_connections() {
        for headers in [&[][..], &[""], &["unknown"], &["192.0.2.1,"], &["192.0.2.1, x"], &["1.2.3.4.5"]] {
            assert_eq!(from(1, headers), "10.0.0.1", "{headers:?}");
        }
        assert_eq!(from(3, &["192.0.2.1, 198.51.100.1"]), "10.0.0.1");
        assert_eq!(from(usize::MAX, &["192.0.2.1"]), "10.0.0.1");
    }

    #[test]
    fn an_address_may_have_a_port() {
        for (text, address) in [
            ("192.0.2.1:4000", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4000", "2001:db8::1"),
        ] {
            assert_eq!(from(1, &[text]), address);
        }
    }
}
