//! Crowds and strangers before a server's real sockets: what is refused, and that shards are not affected.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use common::raw::*;
use common::*;
use naia_bevy_server::Server;
use sidereal_transport::{
    ClientNetwork, ConnectOptions, Limits, LinkStatus, ListenerConfig, PeerKind, SESSION_PATH, ServerConfig,
};
use wtransport::tls::Sha256Digest;

/// Waits until each of these was accepted or refused.
#[track_caller]
fn settle(server: &mut RawServer, clients: &[RawClient]) {
    let waker = server.handle.waker();
    serve_until(server, &waker, |_| clients.iter().all(|client| client.handle.status() != LinkStatus::Connecting));
}

fn connected(clients: &[RawClient]) -> usize {
    clients.iter().filter(|client| client.handle.status() == LinkStatus::Connected).count()
}

fn connect_all(server: &RawServer, network: &ClientNetwork, kind: PeerKind, count: usize) -> Vec<RawClient> {
    (0..count).map(|_| RawClient::connect(network, server.options(kind))).collect()
}

/// A frame from the shard and one to it.
#[track_caller]
fn shard_works(server: &mut RawServer, shard: &RawClient, frame: &'static [u8]) {
    shard.handle.send_stream(Bytes::from_static(frame)).unwrap();
    shard.handle.flush();
    let mut from = None;
    let waker = server.handle.waker();
    serve_until(server, &waker, |server| {
        from = from.take().or_else(|| server.handle.recv_stream());
        from.is_some()
    });
    let (session, got) = from.unwrap();
    assert_eq!(got, frame);
    server.handle.send_stream(&session, got).unwrap();
    let mut back = None;
    serve_until(server, &shard.handle.waker(), |_| {
        back = back.take().or_else(|| shard.handle.recv_stream());
        back.is_some()
    });
    assert_eq!(back.unwrap(), frame);
}

#[test]
fn players_and_strangers_without_end_leave_shards_their_places() {
    let limits = Limits { sessions_total: 4, pending_total: 3, shard_sessions_total: 2, ..Limits::default() };
    let mut server = RawServer::bind_with(limits);
    let network = ClientNetwork::new().unwrap();
    let mut players = Vec::new();
    let waker = server.handle.waker();
    while connected(&players) < 4 {
        players = connect_all(&server, &network, PeerKind::Player, 4);
        settle(&mut server, &players);
        if connected(&players) < 4 {
            players.clear();
            serve_until(&mut server, &waker, |server| server.handle.stats().sessions == 0);
        }
    }
    let crowd = connect_all(&server, &network, PeerKind::Player, 100);
    let shards = connect_all(&server, &network, PeerKind::Shard, 2);
    serve_until(&mut server, &waker, |_| connected(&shards) == 2);
    for shard in &shards {
        shard_works(&mut server, shard, b"handoff");
    }
    // Their own places are limited too.
    let third = connect_all(&server, &network, PeerKind::Shard, 1);
    settle(&mut server, &third);
    assert_eq!(connected(&third), 0);
    drop(crowd);
    assert_eq!(connected(&players), 4, "who is in stays in");
    let admission = server.handle.stats().admission;
    assert!(admission.refused_sessions > 0, "{admission:#?}");
}

#[test]
fn a_flood_of_handshakes_is_left_unanswered_and_shards_do_not_notice() {
    let limits = Limits { handshakes_per_network: 1, unproven_handshakes: 1, ..Limits::default() };
    let mut server = RawServer::bind_with(limits);
    let network = ClientNetwork::new().unwrap();
    let shard = connect_all(&server, &network, PeerKind::Shard, 1);
    settle(&mut server, &shard);
    let flood = connect_all(&server, &network, PeerKind::Player, 200);
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |server| server.handle.stats().admission.ignored_network_rate >= 100);
    shard_works(&mut server, &shard[0], b"through the flood");
    // Another one from the same address is accepted at the shards' door, which has rates of its own.
    let second = connect_all(&server, &network, PeerKind::Shard, 1);
    settle(&mut server, &second);
    assert_eq!(connected(&second), 1);
    let admission = server.handle.stats().admission;
    assert!(admission.retried > 0, "{admission:#?}");
    assert!(connected(&flood) < 100, "{admission:#?}");
}

#[test]
fn who_is_left_unanswered_comes_in_when_its_turn_is() {
    let limits = Limits { handshakes_total: 3, ..Limits::default() };
    let mut server = RawServer::bind_with(limits);
    let network = ClientNetwork::new().unwrap();
    // QUIC retries by itself, after one second and after three.
    let clients = connect_all(&server, &network, PeerKind::Player, 6);
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |_| connected(&clients) > 3);
    assert!(server.handle.stats().admission.ignored_total_rate > 0);
}

#[test]
fn what_players_leave_lying_takes_no_room_from_shards() {
    let limits = Limits { inbound_datagrams_per_session: 8, inbound_datagrams_total: 8, ..Limits::default() };
    let mut server = RawServer::bind_with(limits);
    let network = ClientNetwork::new().unwrap();
    let player = RawClient::connect(&network, server.options(PeerKind::Player));
    let shard = RawClient::connect(&network, server.options(PeerKind::Shard));
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |server| server.sessions.len() == 2);
    serve_until(&mut server, &waker, |_| {
        [&player, &shard].iter().all(|client| client.handle.status() == LinkStatus::Connected)
    });
    // No client reads.
    serve_until(&mut server, &waker, |server| {
        player.handle.send_lane(Bytes::from_static(b"noise"));
        player.handle.flush();
        server.handle.stats().traffic.inbound_dropped > 0
    });
    let received = server.handle.stats().traffic.lane_received;
    serve_until(&mut server, &waker, |server| {
        shard.handle.send_lane(Bytes::from_static(b"motion"));
        shard.handle.flush();
        server.handle.stats().traffic.lane_received > received
    });
    let (from, first) = server.handle.recv_lane().unwrap();
    assert_eq!(server.handle.peer_kind(&from), Some(PeerKind::Shard), "shards' datagrams are read first");
    assert_eq!(first, &b"motion"[..]);
}

/// Connects up to the session, from this address of this machine.
fn come_from(server: &RawServer, from: SocketAddr, to: &str) -> Result<(), wtransport::error::ConnectingError> {
    let config = wtransport::ClientConfig::builder()
        .with_bind_address(from)
        .with_server_certificate_hashes([Sha256Digest::new(server.handle.certificate_hash())])
        .build();
    let port = server.handle.local_addr(PeerKind::Player).unwrap().port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let endpoint = wtransport::Endpoint::client(config).unwrap();
        endpoint.connect(format!("https://{to}:{port}{SESSION_PATH}")).await.map(drop)
    })
}

#[test]
fn at_an_address_for_ipv6_too_each_ipv4_address_is_its_own_network() {
    if std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let everywhere = ListenerConfig { kind: PeerKind::Player, addr: (Ipv6Addr::UNSPECIFIED, 0).into() };
    let limits = Limits { sessions_per_address: 2, ..Limits::default() };
    let config = ServerConfig { listeners: vec![everywhere], ..config(limits) };
    let mut server = RawServer::new(sidereal_transport::bind(config).unwrap());
    let network = ClientNetwork::new().unwrap();
    let port = server.handle.local_addr(PeerKind::Player).unwrap().port();
    let options = |to: SocketAddr| ConnectOptions::new(to, PeerKind::Player, server.handle.certificate_hash(), VERSION);
    let v4 = options((Ipv4Addr::LOCALHOST, port).into());
    let v6 = options((Ipv6Addr::LOCALHOST, port).into());
    for options in [v4, v6] {
        let two: Vec<_> = (0..2).map(|_| RawClient::connect(&network, options.clone())).collect();
        settle(&mut server, &two);
        assert_eq!(connected(&two), 2);
        let third = [RawClient::connect(&network, options)];
        settle(&mut server, &third);
        assert_eq!(connected(&third), 0, "its network has two");
        // They stay connected until the end.
        std::mem::forget(two);
    }
    assert!(come_from(&server, (Ipv4Addr::new(127, 0, 0, 1), 0).into(), "127.0.0.1").is_err());
    come_from(&server, (Ipv4Addr::new(127, 0, 0, 2), 0).into(), "127.0.0.1").unwrap();
}

#[test]
fn naia_forgets_a_user_that_has_identified_itself_and_never_connected() {
    fn users(naia: Server<'_>) -> (usize, usize, usize) {
        (naia.users_count(), naia.user_keys().len(), naia.user_count())
    }
    let mut server = TestServer::bind();
    let network = ClientNetwork::new().unwrap();
    let mut clients: Vec<_> =
        (0..8).map(|n| TestClient::connect(&network, server.options(PeerKind::Player), &format!("{n}"))).collect();
    let waker = server.handle.waker();
    let start = std::time::Instant::now();
    // Each stops as soon as naia has its token.
    let mut stopped = Vec::new();
    while let Some(client) = clients.last_mut() {
        assert!(start.elapsed() < PATIENCE, "{:#?}", server.handle.stats());
        client.update();
        server.update();
        let (_, identified, connected) = server.app.world_mut().run_system_cached(users).unwrap();
        assert_eq!(connected, 0, "the client was not stopped in time");
        if identified > stopped.len() {
            stopped.extend(clients.pop());
        }
        waker.wait(Duration::from_millis(1));
    }
    assert_eq!(server.app.world_mut().run_system_cached(users).unwrap(), (8, 8, 0));
    drop(stopped);
    let mut ended = 0;
    while server.app.world_mut().run_system_cached(users).unwrap().0 > 0 {
        assert!(start.elapsed() < PATIENCE, "{:#?}", server.app.world_mut().run_system_cached(users));
        while server.handle.poll_closed().is_some() {
            ended += 1;
        }
        server.update();
        for user in std::mem::take(&mut server.seen_mut().users) {
            let disconnect = move |mut naia: Server<'_>| naia.user_mut(&user).disconnect();
            let disconnect = server.app.register_system(disconnect);
            server.app.world_mut().run_system(disconnect).unwrap();
        }
        waker.wait(Duration::from_millis(1));
    }
    assert_eq!(ended, 8);
}
