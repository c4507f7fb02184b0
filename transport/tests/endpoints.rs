//! Several endpoints for players on ports of their own: their sessions are one server's, and so are all limits.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use common::raw::*;
use common::*;
use sidereal_transport::{
    ClientNetwork, EndCause, LaneBatch, Limits, LinkStatus, ListenerConfig, PeerKind, ServerConfig, SessionEnd,
    SharedDatagrams,
};

const ENDPOINTS: usize = 3;

/// The configuration of a server with several endpoints for players.
fn spread(limits: Limits) -> ServerConfig {
    let mut config = config(limits);
    let players = ListenerConfig { kind: PeerKind::Player, addr: "127.0.0.1:0".parse().unwrap() };
    config.listeners.extend([players; ENDPOINTS - 1]);
    config
}

fn serve(limits: Limits) -> RawServer {
    RawServer::new(sidereal_transport::bind(spread(limits)).unwrap())
}

/// Connects to the endpoint with this number.
fn connect(server: &RawServer, network: &ClientNetwork, endpoint: usize) -> RawClient {
    let mut options = server.options(PeerKind::Player);
    options.server = server.handle.local_addrs(PeerKind::Player)[endpoint];
    RawClient::connect(network, options)
}

fn sessions(server: &RawServer) -> Vec<usize> {
    server.handle.admitted_by_endpoint(PeerKind::Player).collect()
}

/// Waits until each of these was accepted or refused. True for those that were accepted.
#[track_caller]
fn verdicts(server: &mut RawServer, clients: &[RawClient]) -> Vec<bool> {
    let waker = server.handle.waker();
    serve_until(server, &waker, |_| clients.iter().all(|client| client.handle.status() != LinkStatus::Connecting));
    clients.iter().map(|client| client.handle.status() == LinkStatus::Connected).collect()
}

#[test]
fn all_endpoints_get_the_tick_s_motion_and_answer_to_one_server() {
    let mut server = serve(Limits::default());
    let network = ClientNetwork::new().unwrap();
    let ports: BTreeSet<u16> = server.handle.local_addrs(PeerKind::Player).iter().map(SocketAddr::port).collect();
    assert_eq!(ports.len(), ENDPOINTS);
    assert_eq!(server.handle.local_addr(PeerKind::Player), Some(server.handle.local_addrs(PeerKind::Player)[0]));

    let clients: Vec<RawClient> = (0..2 * ENDPOINTS).map(|n| connect(&server, &network, n % ENDPOINTS)).collect();
    assert_eq!(verdicts(&mut server, &clients), [true; 2 * ENDPOINTS]);
    assert_eq!(sessions(&server), [2; ENDPOINTS]);
    let known: BTreeSet<SocketAddr> = server.sessions.iter().copied().collect();
    assert_eq!(known.len(), 2 * ENDPOINTS, "no two sessions have the same name");

    // One batch for all; what each sends is read with its name.
    let motion = SharedDatagrams::new([b"motion"]);
    let mut received_from = BTreeSet::new();
    let mut has_motion = vec![false; clients.len()];
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |server| {
        let mut batch = LaneBatch::default();
        for session in &known {
            batch.push(&server.handle.lane_peer(session).unwrap(), &motion, 1);
        }
        server.handle.send_batch(batch);
        server.handle.flush();
        for (client, has_motion) in clients.iter().zip(&mut has_motion) {
            client.handle.send_lane(Bytes::from_static(b"input"));
            client.handle.flush();
            *has_motion |= client.handle.recv_lane().is_some_and(|payload| &payload[..] == b"motion");
        }
        received_from.extend(std::iter::from_fn(|| server.handle.recv_lane()).map(|(session, _)| session));
        received_from == known && has_motion.iter().all(|has| *has)
    });

    // The sum of the endpoints is the server's.
    let endpoints = server.handle.endpoints(PeerKind::Player);
    let names: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.thread.as_str()).collect();
    assert_eq!(names, ["player-net-0", "player-net-1", "player-net-2"]);
    assert!(endpoints.iter().all(|endpoint| endpoint.traffic.lane_sent >= 2 && endpoint.traffic.lane_received >= 2));
    let all: u64 = endpoints.iter().map(|endpoint| endpoint.traffic.lane_bytes_sent).sum();
    assert_eq!(server.handle.stats().sessions, 2 * ENDPOINTS as u64);
    assert!(server.handle.stats().traffic.lane_bytes_sent >= all);
}

#[test]
fn a_session_s_end_frees_its_place_at_its_endpoint_and_concerns_no_other() {
    let mut server = serve(Limits::default());
    let network = ClientNetwork::new().unwrap();
    let clients: Vec<RawClient> = (0..ENDPOINTS).map(|endpoint| connect(&server, &network, endpoint)).collect();
    assert_eq!(verdicts(&mut server, &clients), [true; ENDPOINTS]);
    clients[1].handle.close("goodbye");
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |server| sessions(server) == [1, 0, 1]);
    for client in [&clients[0], &clients[2]] {
        assert_eq!(client.handle.status(), LinkStatus::Connected);
    }
    // At the end each session is closed in order, at whichever endpoint it is.
    server.handle.shutdown("the end");
    for client in [&clients[0], &clients[2]] {
        wait_until(
            &client.handle.waker(),
            &mut (),
            |()| client.handle.is_finished(),
            |()| format!("{:?}", client.handle.status()),
        );
        assert_eq!(client.handle.status(), LinkStatus::Closed("the end".to_owned()));
    }
    let ends: Vec<SessionEnd> = std::iter::from_fn(|| server.handle.poll_closed()).map(|(_, end)| end).collect();
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|end| end.cause == EndCause::ClosedHere && end.reason == "the end"), "{ends:?}");
}

#[test]
fn an_address_has_its_places_at_all_ports_together() {
    let mut server = serve(Limits { sessions_per_address: 4, ..Limits::default() });
    let network = ClientNetwork::new().unwrap();
    let first: Vec<RawClient> = [0, 0, 1, 2].map(|endpoint| connect(&server, &network, endpoint)).into();
    assert_eq!(verdicts(&mut server, &first), [true; 4]);
    let more: Vec<RawClient> = (0..ENDPOINTS).map(|endpoint| connect(&server, &network, endpoint)).collect();
    assert_eq!(verdicts(&mut server, &more), [false; ENDPOINTS]);
    assert_eq!(server.handle.stats().admission.refused_sessions, ENDPOINTS as u64);
    // A place that becomes free at one port can be taken at another one.
    first[0].handle.close("goodbye");
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |server| sessions(server) == [1, 1, 1]);
    let mut next = Vec::new();
    while !next.iter().any(|client: &RawClient| client.handle.status() == LinkStatus::Connected) {
        // The session is gone a moment before its connection.
        next = vec![connect(&server, &network, 2)];
        verdicts(&mut server, &next);
    }
    assert_eq!(sessions(&server), [1, 1, 2]);
}

#[test]
fn all_players_have_their_places_at_all_ports_together() {
    let mut server = serve(Limits { sessions_total: 3, ..Limits::default() });
    let network = ClientNetwork::new().unwrap();
    let first: Vec<RawClient> = (0..ENDPOINTS).map(|endpoint| connect(&server, &network, endpoint)).collect();
    assert_eq!(verdicts(&mut server, &first), [true; ENDPOINTS]);
    let more: Vec<RawClient> = (0..ENDPOINTS).map(|endpoint| connect(&server, &network, endpoint)).collect();
    assert_eq!(verdicts(&mut server, &more), [false; ENDPOINTS]);
    // Shards have places of their own.
    let shard = RawClient::connect(&network, server.options(PeerKind::Shard));
    assert_eq!(verdicts(&mut server, &[shard]), [true]);
}

#[test]
fn a_flood_over_all_ports_starts_no_more_handshakes_than_at_one() {
    let limits = Limits { handshakes_per_network: 1, unproven_handshakes: 0, ..Limits::default() };
    let began = Instant::now();
    let mut server = serve(limits);
    let network = ClientNetwork::new().unwrap();
    let _flood: Vec<RawClient> = (0..90).map(|n| connect(&server, &network, n % ENDPOINTS)).collect();
    let waker = server.handle.waker();
    serve_until(&mut server, &waker, |server| server.handle.stats().admission.ignored_network_rate >= 60);
    let admission = server.handle.stats().admission;
    // The burst is ten seconds' worth, once for all ports; each second adds one.
    let served = admission.auth_requests + admission.failed_handshake;
    assert!(served <= 11 + began.elapsed().as_secs(), "{admission:#?}");
    assert!(admission.retried > 0, "{admission:#?}");
}

#[test]
fn what_players_leave_lying_is_limited_over_all_ports() {
    let limits = Limits { inbound_datagrams_per_session: 8, inbound_datagrams_total: 12, ..Limits::default() };
    let mut server = serve(limits);
    let network = ClientNetwork::new().unwrap();
    let clients: Vec<RawClient> = (0..ENDPOINTS).map(|endpoint| connect(&server, &network, endpoint)).collect();
    assert_eq!(verdicts(&mut server, &clients), [true; ENDPOINTS]);
    let waker = server.handle.waker();
    // Three could leave 24 together.
    serve_until(&mut server, &waker, |server| {
        for client in &clients {
            client.handle.send_lane(Bytes::from_static(b"noise"));
            client.handle.flush();
        }
        let endpoints = server.handle.endpoints(PeerKind::Player);
        endpoints.iter().all(|endpoint| endpoint.traffic.inbound_dropped > 0)
    });
    assert_eq!(std::iter::from_fn(|| server.handle.recv_lane()).take(100).count(), 12);
}

#[test]
fn a_taken_port_among_several_is_named() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = spread(Limits::default());
    config.listeners[ENDPOINTS].addr = taken.local_addr().unwrap();
    let text = sidereal_transport::bind(config).err().unwrap().to_string();
    assert!(text.contains("players") && text.contains(&taken.local_addr().unwrap().to_string()), "{text}");
}
