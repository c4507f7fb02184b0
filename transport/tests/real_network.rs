//! naia, the lane and the stream over real sockets on loopback.
#![allow(clippy::unwrap_used, clippy::field_reassign_with_default, missing_docs, elided_lifetimes_in_paths)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::raw::*;
use common::*;
use naia_bevy_client::transport::IdentityReceiverResult;
use sidereal_transport::{
    ClientNetwork, ConnectOptions, EndCause, Limits, LinkStatus, MAX_PLAYER_FRAME_BYTES, PeerKind, SessionEnd,
    StreamError,
};

#[test]
fn naia_replicates_over_real_sockets() {
    let mut server = TestServer::bind();
    let network = ClientNetwork::new().unwrap();
    let mut client = TestClient::connect(&network, server.options(PeerKind::Player), "ann");
    run_until(&mut server, &mut [&mut client], |_, clients| clients[0].place() == Some(1));
    server.set_place(77);
    run_until(&mut server, &mut [&mut client], |_, clients| clients[0].place() == Some(77));
    client.shout(5);
    run_until(&mut server, &mut [&mut client], |server, _| server.seen().shouts == [5]);

    let user = server.seen().users[0];
    let session = server.seen().admitted[0];
    let find = server.app.register_system(move |naia: naia_bevy_server::Server| naia.user(&user).address());
    let address = server.app.world_mut().run_system(find).unwrap();
    assert_eq!(session, address);
    assert_eq!(server.handle.session_of(&user), Some(address), "naia numbers its users as the transport thinks");
    assert_eq!(server.handle.peer_kind(&address), Some(PeerKind::Player));
    assert!(server.handle.remote_addr(&address).unwrap().ip().is_loopback());
}

#[test]
fn many_clients_share_one_network_and_one_address() {
    let mut server = TestServer::bind();
    let network = ClientNetwork::new().unwrap();
    let mut clients: Vec<_> =
        (0..20).map(|n| TestClient::connect(&network, server.options(PeerKind::Player), &format!("bot{n}"))).collect();
    let mut clients: Vec<_> = clients.iter_mut().collect();
    run_until(&mut server, &mut clients, |_, clients| clients.iter_mut().all(|client| client.place() == Some(1)));
    assert_eq!(server.handle.stats().admission.accepted, 20);
    assert_eq!(server.handle.stats().sessions, 20);
    assert_eq!(server.handle.stats().traffic.violations, 0, "an honest client violates nothing");
}

#[test]
fn a_rejection_carries_its_reason_and_naia_fires_its_event() {
    let mut server = TestServer::bind();
    let network = ClientNetwork::new().unwrap();
    let mut client = TestClient::connect(&network, server.options(PeerKind::Player), "");
    run_until(&mut server, &mut [&mut client], |_, clients| clients[0].was_rejected());
    assert_eq!(client.handle.status(), LinkStatus::Rejected("a name must not be empty".into()));
    assert_eq!(server.handle.stats().admission.rejected, 1);
}

#[test]
fn another_certificate_is_refused_and_named() {
    let mut server = RawServer::bind();
    let network = ClientNetwork::new().unwrap();
    let mut options = server.options(PeerKind::Player);
    options.certificate_hash[0] ^= 1;
    let mut client = RawClient::connect(&network, options);
    let waker = client.handle.waker();
    serve_until(&mut server, &waker, |_| client.handle.is_finished());
    let LinkStatus::Rejected(reason) = client.handle.status() else { panic!("{:?}", client.handle.status()) };
    assert!(reason.starts_with("the server's certificate is not the pinned one"), "{reason}");
    assert!(matches!(client.identity.receive(), IdentityReceiverResult::ErrorResponseCode(401)));
    assert_eq!(server.handle.stats().admission.auth_requests, 0);

    // The same process still connects with the right hash.
    let client = RawClient::connect(&network, server.options(PeerKind::Player));
    serve_until(&mut server, &waker, |_| client.handle.status() == LinkStatus::Connected);
}

#[test]
fn another_protocol_version_is_refused_and_named() {
    let mut server = RawServer::bind();
    let network = ClientNetwork::new().unwrap();
    let mut options = server.options(PeerKind::Player);
    options.protocol_version = VERSION - 1;
    let client = RawClient::connect(&network, options);
    let waker = client.handle.waker();
    serve_until(&mut server, &waker, |_| client.handle.is_finished());
    let LinkStatus::Rejected(reason) = client.handle.status() else { panic!("{:?}", client.handle.status()) };
    assert!(reason.contains("server speaks 3") && reason.contains("client 2") && reason.contains("update"), "{reason}");
    assert_eq!(server.handle.stats().admission.refused_version, 1);
}

#[test]
fn a_player_is_refused_at_the_shards_address() {
    let mut server = RawServer::bind();
    let network = ClientNetwork::new().unwrap();
    let mut options = server.options(PeerKind::Player);
    options.server = server.handle.local_addr(PeerKind::Shard).unwrap();
    let client = RawClient::connect(&network, options);
    let waker = client.handle.waker();
    serve_until(&mut server, &waker, |_| client.handle.is_finished());
    let LinkStatus::Rejected(reason) = client.handle.status() else { panic!("{:?}", client.handle.status()) };
    assert!(reason.contains("for shards, not for players"), "{reason}");
    assert_eq!(server.handle.stats().admission.refused_kind, 1);
}

#[test]
fn no_server_is_told_as_such() {
    // A socket that is bound and never answers.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let network = ClientNetwork::new().unwrap();
    let mut options = ConnectOptions::new(silent.local_addr().unwrap(), PeerKind::Player, [0; 32], VERSION);
    options.limits.connect_deadline = Duration::from_millis(300);
    let client = RawClient::connect(&network, options);
    wait_until(
        &client.handle.waker(),
        &mut (),
        |()| client.handle.is_finished(),
        |()| format!("{:?}", client.handle.status()),
    );
    let LinkStatus::Closed(reason) = client.handle.status() else { panic!("{:?}", client.handle.status()) };
    assert!(reason.contains("no server answers"), "{reason}");
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = config(Limits::default());
    config.listeners[1].addr = taken.local_addr().unwrap();
    let Err(error) = sidereal_transport::bind(config) else { panic!("a taken port was bound") };
    let text = error.to_string();
    assert!(text.contains("shards") && text.contains(&taken.local_addr().unwrap().to_string()), "{text}");
    assert!(text.contains("another process has this port"), "{text}");
}

#[test]
fn a_server_that_gives_no_verdict_lets_go() {
    let mut limits = Limits::default();
    limits.connect_deadline = Duration::from_millis(300);
    let mut server = RawServer::bind_with(limits);
    let network = ClientNetwork::new().unwrap();
    let client = RawClient::new(network.connector(server.options(PeerKind::Player)), b"wait");
    let waker = client.handle.waker();
    serve_until(&mut server, &waker, |server| client.handle.is_finished() && server.closed.len() == 1);
    let LinkStatus::Rejected(reason) = client.handle.status() else { panic!("{:?}", client.handle.status()) };
    assert!(reason.contains("no answer in time"), "{reason}");
    assert_eq!(server.handle.stats().sessions, 0);
    assert_eq!(server.handle.stats().admission.unanswered, 1);
}

#[test]
fn both_kinds_have_their_listener_and_are_known_by_it() {
    let (mut server, network, player) = connected(PeerKind::Player);
    let shard = RawClient::connect(&network, server.options(PeerKind::Shard));
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |_| shard.handle.status() == LinkStatus::Connected);
    let kinds: Vec<_> = server.sessions.iter().map(|s| server.handle.peer_kind(s)).collect();
    assert_eq!(kinds, [Some(PeerKind::Player), Some(PeerKind::Shard)]);
    assert_ne!(server.handle.local_addr(PeerKind::Player), server.handle.local_addr(PeerKind::Shard));
    drop(player);
}

#[test]
fn the_lane_goes_both_ways_beside_naia() {
    let (mut server, _network, client) = connected(PeerKind::Player);
    let session = server.sessions[0];
    let waker = server.handle.waker();
    // Datagrams may be lost even on loopback: send until one arrives.
    let mut got = None;
    serve_until(&mut server, &waker, |server| {
        client.handle.send_lane(Bytes::from_static(b"up"));
        client.handle.flush();
        got = got.take().or_else(|| server.handle.recv_lane());
        got.is_some()
    });
    assert_eq!(got, Some((session, Bytes::from_static(b"up"))));

    let biggest = Bytes::from(vec![7; sidereal_transport::MAX_LANE_BYTES]);
    let mut got = None;
    serve_until(&mut server, &client.handle.waker(), |server| {
        server.handle.send_lane(&session, biggest.clone());
        got = got.take().or_else(|| client.handle.recv_lane());
        got.is_some()
    });
    assert_eq!(got, Some(biggest.clone()));
    assert_eq!(server.handle.stats().traffic.datagrams_too_large, 0);

    server.handle.send_lane(&session, [&biggest[..], b"x"].concat().into());
    assert_eq!(server.handle.stats().traffic.lane_oversize, 1);
}

#[test]
fn twenty_megabytes_come_in_order_and_with_back_pressure() {
    const FRAMES: u32 = 400;
    const FRAME_BYTES: usize = 50_000;
    let mut limits = Limits::default();
    limits.outbound_stream_bytes = 4 << 20;
    limits.inbound_stream_bytes = 1 << 20;
    let mut server = RawServer::bind_with(limits.clone());
    let network = ClientNetwork::new().unwrap();
    let mut options = server.options(PeerKind::Shard);
    options.limits = limits;
    let client = RawClient::connect(&network, options);
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |_| client.handle.status() == LinkStatus::Connected);

    let frame = |n: u32| {
        let mut bytes = vec![n as u8; FRAME_BYTES];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        Bytes::from(bytes)
    };
    let (mut sent, mut full, mut received) = (0, 0, 0);
    // Nothing is read until the sender is stopped: the queues do not grow without limit.
    serve_until(&mut server, &waker, |_| {
        while sent < FRAMES {
            match client.handle.send_stream(frame(sent)) {
                Ok(()) => sent += 1,
                Err(error) => {
                    assert_eq!(error, StreamError::Full);
                    full += 1;
                    break;
                }
            }
        }
        client.handle.flush();
        full > 200
    });
    assert!(sent < FRAMES, "20 MB fit into queues of 5 MiB and a window");
    serve_until(&mut server, &waker, |server| {
        while sent < FRAMES && client.handle.send_stream(frame(sent)).is_ok() {
            sent += 1;
        }
        client.handle.flush();
        while let Some((_, bytes)) = server.handle.recv_stream() {
            assert_eq!(bytes, frame(received), "frame {received}");
            received += 1;
        }
        received == FRAMES
    });
    assert_eq!(client.handle.send_stream(vec![0; (1 << 20) + 1].into()), Err(StreamError::TooLarge));
}

#[test]
fn a_close_comes_after_everything_that_was_queued() {
    let (mut server, _network, client) = connected(PeerKind::Shard);
    for n in 0..100u32 {
        client.handle.send_stream(vec![n as u8; 20_000].into()).unwrap();
    }
    client.handle.close("the shard ends");
    assert_eq!(client.handle.status(), LinkStatus::Closed("the shard ends".into()));
    assert_eq!(client.handle.send_stream(Bytes::new()), Err(StreamError::Closed));
    let waker = server.handle.waker();
    let mut frames = 0;
    serve_until(&mut server, &waker, |server| {
        if server.closed.is_empty() {
            while let Some((_, bytes)) = server.handle.recv_stream() {
                assert_eq!(bytes[..], [frames as u8; 20_000]);
                frames += 1;
            }
        }
        !server.closed.is_empty()
    });
    assert_eq!(frames, 100);
    assert_eq!(server.closed, [(server.sessions[0], SessionEnd::new(EndCause::ClosedByPeer, "the shard ends"))]);
    assert_eq!(server.handle.peer_kind(&server.sessions[0]), None);
    wait_until(&client.handle.waker(), &mut (), |()| client.handle.is_finished(), |()| "not finished".into());
}

#[test]
fn a_server_ends_cleanly_and_its_clients_are_told_why() {
    let (mut server, network, player) = connected(PeerKind::Player);
    let shard = RawClient::connect(&network, server.options(PeerKind::Shard));
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |_| shard.handle.status() == LinkStatus::Connected);
    server.handle.send_stream(&server.sessions[1], Bytes::from_static(b"last words")).unwrap();
    assert!(server.handle.is_running());
    server.handle.shutdown("maintenance");
    assert!(!server.handle.is_running());
    for client in [&player, &shard] {
        wait_until(&client.handle.waker(), &mut (), |()| client.handle.is_finished(), |()| "not finished".into());
        assert_eq!(client.handle.status(), LinkStatus::Closed("maintenance".into()));
    }
    assert_eq!(shard.handle.recv_stream(), Some(Bytes::from_static(b"last words")));
}

#[test]
fn a_closed_player_is_told_why() {
    let (mut server, _network, client) = connected(PeerKind::Player);
    server.handle.close(&server.sessions[0], "you were kicked");
    let waker = client.handle.waker();
    serve_until(&mut server, &waker, |server| client.handle.is_finished() && server.closed.len() == 1);
    assert_eq!(client.handle.status(), LinkStatus::Closed("you were kicked".into()));
    assert_eq!(server.closed[0].1, SessionEnd::new(EndCause::ClosedHere, "you were kicked"));
}

#[test]
fn a_player_is_heard_in_short_frames_and_a_long_one_ends_its_session() {
    let (mut server, _network, client) = connected(PeerKind::Player);
    let waker = server.handle.waker();
    client.handle.send_stream(Bytes::from(vec![7; MAX_PLAYER_FRAME_BYTES])).unwrap();
    client.handle.flush();
    let mut heard = Vec::new();
    serve_until(&mut server, &waker, |server| {
        heard.extend(server.handle.recv_stream().map(|(_, frame)| frame.len()));
        heard == [MAX_PLAYER_FRAME_BYTES]
    });
    client.handle.send_stream(Bytes::from(vec![7; MAX_PLAYER_FRAME_BYTES + 1])).unwrap();
    client.handle.flush();
    serve_until(&mut server, &waker, |server| !server.closed.is_empty());
    assert_eq!(server.handle.recv_stream(), None);
    assert_eq!(server.handle.stats().traffic.closed_for_violations, 1);
    wait_until(&client.handle.waker(), &mut (), |()| client.handle.is_finished(), |()| "not finished".into());
}

/// A player that reads nothing while the server sends on: the session ends, and the server keeps no more than its limit
/// for it.
#[test]
fn a_player_that_does_not_read_is_closed() {
    let limits = Limits { outbound_player_stream_bytes: 256 << 10, ..Limits::default() };
    let mut server = RawServer::bind_with(limits);
    let network = ClientNetwork::new().unwrap();
    let mut options = server.options(PeerKind::Player);
    // The client reads a hundred bytes and then stops reading the stream, because its main loop does not read.
    options.limits.inbound_stream_bytes = 100;
    let client = RawClient::connect(&network, options);
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |_| client.handle.status() == LinkStatus::Connected);
    let session = server.sessions[0];
    serve_until(&mut server, &waker, |server| {
        let _ = server.handle.send_stream(&session, Bytes::from(vec![1; 10_000]));
        !server.closed.is_empty()
    });
    let end = &server.closed[0].1;
    assert!(end.cause == EndCause::Backlog && end.reason.contains("too slow"), "{end:?}");
    assert_eq!(server.handle.stats().traffic.closed_for_backlog, 1);
    // What had arrived can still be read, and then the client detects the end.
    let read_all = |(): &mut ()| {
        while client.handle.recv_stream().is_some() {}
        client.handle.is_finished()
    };
    wait_until(&client.handle.waker(), &mut (), read_all, |()| "not finished".into());
}

#[test]
fn an_address_has_a_limited_number_of_sessions() {
    let mut limits = Limits::default();
    limits.sessions_per_address = 2;
    let mut server = RawServer::bind_with(limits);
    let network = ClientNetwork::new().unwrap();
    let mut clients: Vec<_> = (0..2).map(|_| RawClient::connect(&network, server.options(PeerKind::Player))).collect();
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |server| server.sessions.len() == 2);
    let third = RawClient::connect(&network, server.options(PeerKind::Player));
    serve_until(&mut server, &waker, |_| third.handle.is_finished());
    assert!(matches!(third.handle.status(), LinkStatus::Closed(reason) if reason.contains("refused")));
    assert!(server.handle.stats().admission.refused_sessions > 0);

    // A freed place can be taken again.
    clients.pop();
    serve_until(&mut server, &waker, |server| server.closed.len() == 1);
    let mut fourth = RawClient::connect(&network, server.options(PeerKind::Player));
    serve_until(&mut server, &waker, |server| {
        if fourth.handle.is_finished() {
            fourth = RawClient::connect(&network, server.options(PeerKind::Player));
        }
        server.sessions.len() == 3
    });
}

#[test]
fn a_client_that_ends_is_noticed_at_once() {
    let (mut server, network, client) = connected(PeerKind::Player);
    drop(client);
    drop(network);
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |server| !server.closed.is_empty());
    assert_eq!(server.closed[0].1, SessionEnd::new(EndCause::ClosedByPeer, "the client ended"));
}

#[test]
fn addresses_prove_themselves_under_load_and_too_many_pending_are_refused() {
    let mut limits = Limits::default();
    limits.pending_retry_above = 0;
    let mut server = RawServer::bind_with(limits.clone());
    let network = ClientNetwork::new().unwrap();
    let client = RawClient::connect(&network, server.options(PeerKind::Player));
    let waker = client.handle.waker();
    serve_until(&mut server, &waker, |_| client.handle.status() == LinkStatus::Connected);
    assert_eq!(server.handle.stats().admission.retried, 1);

    // A connection that waits for its verdict is pending.
    limits.pending_total = 1;
    let mut server = RawServer::bind_with(limits);
    let waiting = RawClient::new(network.connector(server.options(PeerKind::Player)), b"wait");
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |server| server.handle.stats().admission.auth_requests == 1);
    let second = RawClient::connect(&network, server.options(PeerKind::Player));
    serve_until(&mut server, &second.handle.waker(), |_| second.handle.is_finished());
    assert_eq!(waiting.handle.status(), LinkStatus::Connecting);
    assert_eq!(server.handle.stats().admission.refused_pending, 1);
}
