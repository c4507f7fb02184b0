//! The HTTP API answers any input with an error and continues: never a 5xx, never a panic.

mod http_world;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use http_world::World;
use proptest::prelude::*;
use sidereal_server::accounts::supabase::{Algorithm, KeyTimes, Supabase, SupabaseConfig};
use sidereal_server::http::HttpLimits;

const PATHS: [&str; 7] =
    ["/api/register", "/api/login", "/api/refresh", "/api/ticket", "/api/logout", "/api/openapi.json", "/api/nothing"];

fn world() -> World {
    World::with(HttpLimits::default(), |state| {
        // The only algorithm that needs no other server; limits are on, so that they get every request, but too high
        // to matter.
        let config = SupabaseConfig {
            algorithm: Algorithm::Hs256,
            jwks_url: None,
            secret: Some("0123456789abcdef0123456789abcdef".to_owned()),
            issuer: "https://x".to_owned(),
            audience: "authenticated".to_owned(),
            times: KeyTimes::default(),
        };
        state.supabase = Some(Supabase::new(config).expect("a good configuration"));
        state.rates.requests_per_address = u32::MAX;
        state.rates.failures_per_account = 1_000_000;
        state.rates.logins_per_address = 1_000_000;
        state.rates.registrations_per_address = 1_000_000;
        state.trusted_proxies = 2;
    })
}

/// The status of the answer, if any. With `hangs_up` the connection is closed before the answer, which may then be
/// missing: for requests without an end.
fn send(world: &World, request: &[u8], hangs_up: bool) -> Option<u16> {
    let mut stream = TcpStream::connect(world.server.local_addr).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
    // It may close the connection midway, which counts as an answer.
    let _ = stream.write_all(request);
    if hangs_up {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// Bytes that may be in a header: all except those that end it.
fn header_bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>().prop_map(|c| if c < 32 || c == 127 { b'\t' } else { c }), 0..longest)
}

fn base64ish() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_=.-]{0,300}"
}

/// Headers and claims in the shape of a JWT, of any types.
fn json(depth: u32) -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
        prop::sample::select(vec!["HS256", "ES256", "none", "https://x", "authenticated", "JWT"]).prop_map(Into::into),
    ];
    leaf.prop_recursive(depth, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(
                prop::sample::select(vec![
                    "alg", "typ", "kid", "crit", "jwk", "iss", "aud", "sub", "exp", "nbf", "role", "user", "password"
                ]),
                inner,
                0..8
            )
            .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

fn encoded(value: &serde_json::Value) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in value.to_string().as_bytes().chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..=three.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * at)) as usize & 63]));
        }
    }
    text
}

fn token() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        header_bytes(200),
        base64ish().prop_map(String::into_bytes),
        "[0-9a-f]{60,70}".prop_map(String::into_bytes),
        (json(3), json(3), base64ish()).prop_map(|(head, claims, signature)| format!(
            "{}.{}.{signature}",
            encoded(&head),
            encoded(&claims)
        )
        .into_bytes()),
        (0usize..20_000)
            .prop_map(|length| [b"eyJhbGciOiJIUzI1NiJ9.".to_vec(), vec![b'A'; length], b".AA".to_vec()].concat()),
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        json(4).prop_map(|value| value.to_string().into_bytes()),
        (".{0,40}", ".{0,140}").prop_map(|(user, password)| {
            serde_json::json!({ "user": user, "password": password }).to_string().into_bytes()
        }),
        ("[a-zA-Z0-9_-]{3,24}", ".{8,128}").prop_map(|(user, password)| {
            serde_json::json!({ "user": user, "password": password }).to_string().into_bytes()
        }),
        (0usize..3_000).prop_map(|depth| [b"{\"user\":".to_vec(), vec![b'['; depth]].concat()),
        (8_000usize..9_000).prop_map(|length| vec![b' '; length]),
    ]
}

#[test]
fn whatever_is_sent_is_answered_or_cut_off_and_the_server_goes_on() {
    let world = world();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 600,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let requests = (
        prop::sample::select(&PATHS[..]),
        prop::sample::select(vec!["POST", "POST", "POST", "GET", "PUT", "OPTIONS"]),
        token(),
        prop::option::of(header_bytes(80)),
        prop::option::of(header_bytes(80)),
        body(),
    );
    let ran = runner.run(&requests, |(path, method, token, key, forwarded, body)| {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ").into_bytes();
        request.extend(&token);
        for (name, value) in [("idempotency-key", key), ("x-forwarded-for", forwarded)] {
            let Some(value) = value else { continue };
            request.extend(format!("\r\n{name}: ").into_bytes());
            request.extend(value);
        }
        request.extend(format!("\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes());
        request.extend(&body);
        // Every request is answered: a handler that panics would close the connection.
        let status = send(&world, &request, false);
        prop_assert!(status.is_some_and(|status| status < 500), "{status:?} for {}", String::from_utf8_lossy(&request));
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    world.is_live();
    // The requests got far enough to be meaningful.
    for name in ["registrations", "logins_refused", "access_tokens_refused", "session_tokens_refused"] {
        assert!(world.metric(&format!("sidereal_{name}_total")) > 0, "no {name}");
    }
}

#[test]
fn what_is_no_request_is_refused_or_cut_off() {
    let world = world();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let ran = runner.run(&prop::collection::vec(any::<u8>(), 0..2_000), |bytes| {
        let status = send(&world, &bytes, true);
        prop_assert!(status.is_none_or(|status| (400..500).contains(&status)), "{status:?}");
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    world.is_live();
}
