//! A certificate that changes between a ticket and its connection, over real sockets: the in-memory network has no
//! certificates.

#![allow(clippy::unwrap_used)]

use sidereal_client::{
    account::{AccountApi, LoginTicket, SessionToken, WebDoor},
    session::{SessionState, player::Player, reconnect::Patience},
};
use sidereal_protocol::{frames::messages::Credential, limits::PROTOCOL_VERSION};
use sidereal_transport::{
    AllowedOrigins, CERTIFICATES_DIFFER, ClientNetwork, Identity, Limits, ListenerConfig, PeerKind, ServerConfig,
};
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long a test waits for an expected event, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers one request for each body; returns its address, and at the end the requests.
fn answers(bodies: [String; 2]) -> (String, JoinHandle<[String; 2]>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = move |body: String| {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        // A body ends with the brace of its JSON.
        while !request.ends_with(b"}") {
            let mut buffer = [0u8; 1024];
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the request ended early");
            request.extend_from_slice(&buffer[..read]);
        }
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
        String::from_utf8(request).unwrap()
    };
    (address, std::thread::spawn(move || bodies.map(answer)))
}

#[test]
fn who_was_told_of_the_certificate_before_gets_another_ticket_by_itself() {
    let (handle, socket) = sidereal_transport::bind(ServerConfig {
        listeners: vec![ListenerConfig { kind: PeerKind::Player, addr: "127.0.0.1:0".parse().unwrap() }],
        identity: Identity::self_signed(&["localhost"]).unwrap(),
        player_certificate: None,
        allowed_origins: AllowedOrigins::default(),
        protocol_version: PROTOCOL_VERSION,
        limits: Limits::default(),
    })
    .unwrap();
    // naia's side of it: no connection comes that far.
    let _socket = socket;
    let player_addr = handle.local_addr(PeerKind::Player).unwrap();
    let hash: String = handle.certificate_hash().iter().map(|byte| format!("{byte:02x}")).collect();
    let (http, asked) = answers([
        r#"{"session_token":"next","session_expires_in_s":9,"account_id":"x"}"#.to_owned(),
        format!(
            r#"{{"ticket":"second","player_addr":"{player_addr}","certificate_hash":"{hash}","expires_in_s":30,"account_id":"x"}}"#
        ),
    ]);
    let first = LoginTicket {
        ticket: "first".to_owned(),
        player_addr,
        certificate_hash: [7; 32],
        expires_in_s: 30,
        account_id: "x".to_owned(),
        web: WebDoor::default(),
        session_token: Some(SessionToken::new("token")),
    };
    let network = Arc::new(ClientNetwork::new().unwrap());
    let api = AccountApi::new(&http).unwrap();
    let mut player = Player::new(network, api, first, Some(Patience::default()), 1);

    let started = Instant::now();
    let mut told = String::new();
    let presented = loop {
        player.update(1.0 / 60.0);
        match player.state() {
            SessionState::Returning(reason) => told = reason,
            state => assert!(!state.is_over(), "{state:?}"),
        }
        if let Some((_, _, bytes)) = handle.poll_auth() {
            break Credential::decode(&bytes).unwrap().secret;
        }
        assert!(started.elapsed() < PATIENCE, "nobody came: {:?}", player.state());
        handle.waker().wait(Duration::from_millis(5));
    };
    assert_eq!(presented, "second");
    assert!(told.starts_with(CERTIFICATES_DIFFER), "{told}");
    let [refresh, ticket] = asked.join().unwrap();
    assert!(refresh.starts_with("POST /api/refresh ") && refresh.contains("authorization: Bearer token\r\n"));
    assert!(ticket.starts_with("POST /api/ticket ") && ticket.contains("authorization: Bearer next\r\n"));
    // There was no ship yet, so nothing was lost.
    assert_eq!((player.losses(), player.returns()), (0, 0));
}
