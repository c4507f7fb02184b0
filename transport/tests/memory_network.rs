//! The in-memory network: seeded faults, a clock that the test moves, the same handles.
#![allow(clippy::unwrap_used, clippy::field_reassign_with_default, missing_docs, elided_lifetimes_in_paths)]

mod common;

use bytes::Bytes;
use common::raw::*;
use common::*;
use sidereal_transport::network::memory::{LinkConditions, MemoryNetwork};
use sidereal_transport::{EndCause, Limits, LinkStatus, PeerKind, SessionEnd, StreamError};

const PERFECT: LinkConditions =
    LinkConditions { latency_ms: 0, jitter_ms: 0, loss: 0.0, duplication: 0.0, reordering: 0.0 };
const BAD: LinkConditions =
    LinkConditions { latency_ms: 40, jitter_ms: 30, loss: 0.1, duplication: 0.05, reordering: 0.1 };

/// Advances the time in steps of 10 ms.
struct Clock {
    network: MemoryNetwork,
    now_ms: u64,
}

impl Clock {
    fn new(network: &MemoryNetwork) -> Self {
        Self { network: network.clone(), now_ms: network.now_ms() }
    }

    fn step(&mut self, server: &mut RawServer, clients: &[&RawClient]) {
        self.now_ms += 10;
        self.network.advance(self.now_ms);
        server.update();
        for client in clients {
            client.handle.flush();
        }
    }

    #[track_caller]
    fn until(&mut self, server: &mut RawServer, clients: &[&RawClient], mut done: impl FnMut(&mut RawServer) -> bool) {
        for _ in 0..20_000 {
            self.step(server, clients);
            if done(server) {
                return;
            }
        }
        panic!("it never happened: {:#?}", server.handle.stats());
    }
}

fn pair(seed: u64, conditions: LinkConditions, kind: PeerKind) -> (MemoryNetwork, RawServer, RawClient, Clock) {
    let network = MemoryNetwork::new(seed, conditions);
    let mut server = RawServer::new(network.server(VERSION));
    let client = RawClient::new(network.connector(kind, VERSION), b"yes");
    let mut clock = Clock::new(&network);
    clock.until(&mut server, &[&client], |_| client.handle.status() == LinkStatus::Connected);
    (network, server, client, clock)
}

/// The arrival times of 1,000 datagrams.
fn arrivals(seed: u64) -> Vec<(u64, Bytes)> {
    let (_, mut server, client, mut clock) = pair(seed, BAD, PeerKind::Player);
    let mut arrivals = Vec::new();
    for n in 0..1100u32 {
        if n < 1000 {
            client.handle.send_lane(n.to_le_bytes().to_vec().into());
        }
        clock.step(&mut server, &[&client]);
        while let Some((_, bytes)) = server.handle.recv_lane() {
            arrivals.push((clock.now_ms, bytes));
        }
    }
    arrivals
}

#[test]
fn the_same_seed_gives_the_same_faults() {
    let first = arrivals(7);
    assert_eq!(first, arrivals(7));
    assert_ne!(first, arrivals(8));
    let numbers: Vec<_> = first.iter().map(|(_, bytes)| bytes.clone()).collect();
    assert!(!numbers.is_sorted(), "nothing was reordered");
}

#[test]
fn losses_and_duplicates_are_about_what_was_asked_for() {
    let (_, mut server, client, mut clock) = pair(1, LinkConditions { loss: 0.3, ..PERFECT }, PeerKind::Shard);
    let mut arrived = 0;
    for _ in 0..1000 {
        for _ in 0..10 {
            client.handle.send_lane(Bytes::from_static(b"x"));
        }
        clock.step(&mut server, &[&client]);
        arrived += std::iter::from_fn(|| server.handle.recv_lane()).count();
    }
    assert!((6700..7300).contains(&arrived), "{arrived} of 10,000 at 30 % loss");

    clock.network.set_conditions(LinkConditions { duplication: 0.5, ..PERFECT });
    let mut arrived = 0;
    for _ in 0..1010 {
        if arrived < 20_000 && clock.now_ms % 10 == 0 {
            client.handle.send_lane(Bytes::from_static(b"x"));
        }
        clock.step(&mut server, &[&client]);
        arrived += std::iter::from_fn(|| server.handle.recv_lane()).count();
    }
    assert!((1400..1620).contains(&arrived), "{arrived} of 1,010 at 50 % duplication");
}

#[test]
fn the_stream_is_reliable_and_ordered_under_loss_both_ways() {
    let conditions = LinkConditions { loss: 0.3, ..BAD };
    let (_, mut server, client, mut clock) = pair(3, conditions, PeerKind::Shard);
    let session = server.sessions[0];
    for n in 0..500u32 {
        client.handle.send_stream(n.to_le_bytes().to_vec().into()).unwrap();
        server.handle.send_stream(&session, n.to_le_bytes().to_vec().into()).unwrap();
    }
    let (mut up, mut down) = (Vec::new(), Vec::new());
    clock.until(&mut server, &[&client], |server| {
        up.extend(std::iter::from_fn(|| server.handle.recv_stream()).map(|(_, bytes)| bytes));
        down.extend(std::iter::from_fn(|| client.handle.recv_stream()));
        up.len() == 500 && down.len() == 500
    });
    let expected: Vec<_> = (0..500u32).map(|n| Bytes::from(n.to_le_bytes().to_vec())).collect();
    assert_eq!(up, expected);
    assert_eq!(down, expected);
}

#[test]
fn the_stream_pushes_back_and_then_delivers_all() {
    let mut limits = Limits::default();
    limits.outbound_stream_bytes = 1 << 20;
    limits.inbound_stream_bytes = 1 << 20;
    let network = MemoryNetwork::with_limits(1, PERFECT, limits);
    let mut server = RawServer::new(network.server(VERSION));
    let client = RawClient::new(network.connector(PeerKind::Shard, VERSION), b"yes");
    let mut clock = Clock::new(&network);
    clock.until(&mut server, &[&client], |_| client.handle.status() == LinkStatus::Connected);
    let mut sent = 0u32;
    // The receiver reads nothing: the queues and the window fill.
    for _ in 0..100 {
        while client.handle.send_stream(vec![sent as u8; 100_000].into()) == Ok(()) {
            sent += 1;
        }
        clock.step(&mut server, &[&client]);
    }
    assert!((50..80).contains(&sent), "{sent} frames of 100 kB in 2 MiB of queues and 4 MiB on the way");
    assert_eq!(client.handle.send_stream(vec![0; 100_000].into()), Err(StreamError::Full));
    let mut received = 0;
    clock.until(&mut server, &[&client], |server| {
        while let Some((_, bytes)) = server.handle.recv_stream() {
            assert_eq!(bytes[0], received as u8);
            received += 1;
        }
        received == sent
    });
}

#[test]
fn a_link_may_have_conditions_of_its_own() {
    let (network, mut server, near, mut clock) = pair(8, PERFECT, PeerKind::Shard);
    let late = LinkConditions { latency_ms: 200, ..PERFECT };
    let far = RawClient::new(network.connector_with(PeerKind::Player, VERSION, late), b"yes");
    clock.until(&mut server, &[&near, &far], |_| far.handle.status() == LinkStatus::Connected);
    let mut way_ms = |client: &RawClient| {
        client.handle.send_lane(Bytes::from_static(b"here"));
        let sent = clock.now_ms;
        clock.until(&mut server, &[&near, &far], |server| server.handle.recv_lane().is_some());
        clock.now_ms - sent
    };
    let ways = [way_ms(&near), way_ms(&far)];
    assert!(ways[0] <= 20 && ways[1] >= 200, "{ways:?}");
    // The network's conditions do not apply to it, until it has none of its own.
    network.set_conditions(LinkConditions { latency_ms: 50, ..PERFECT });
    let ways = [way_ms(&near), way_ms(&far)];
    assert!((50..200).contains(&ways[0]) && ways[1] >= 200, "{ways:?}");
    network.set_conditions_of(&far.handle, None);
    let way = way_ms(&far);
    assert!((50..200).contains(&way), "{way}");
}

#[test]
fn nothing_moves_by_itself() {
    let network = MemoryNetwork::new(1, LinkConditions { latency_ms: 50, ..PERFECT });
    let mut server = RawServer::new(network.server(VERSION));
    let client = RawClient::new(network.connector(PeerKind::Player, VERSION), b"yes");
    network.advance(49);
    server.update();
    assert!(server.sessions.is_empty());
    network.advance(50);
    server.update();
    assert_eq!(server.sessions.len(), 1);
    network.advance(99);
    assert_eq!(client.handle.status(), LinkStatus::Connecting);
    network.advance(100);
    assert_eq!(client.handle.status(), LinkStatus::Connected);
}

#[test]
fn a_cut_link_is_noticed_after_the_idle_timeout_and_a_restored_one_lives_on() {
    let (network, mut server, client, mut clock) = pair(1, PERFECT, PeerKind::Shard);
    network.cut(&client.handle);
    client.handle.send_stream(Bytes::from_static(b"held")).unwrap();
    client.handle.send_lane(Bytes::from_static(b"lost"));
    for _ in 0..500 {
        clock.step(&mut server, &[&client]);
    }
    assert_eq!(client.handle.status(), LinkStatus::Connected);
    network.restore(&client.handle);
    clock.step(&mut server, &[&client]);
    assert_eq!(server.handle.recv_stream().unwrap().1, Bytes::from_static(b"held"));
    assert_eq!(server.handle.recv_lane(), None);

    network.cut(&client.handle);
    clock.until(&mut server, &[&client], |server| !server.closed.is_empty());
    let end = &server.closed[0].1;
    assert!(end.cause == EndCause::Lost && end.reason.contains("nothing arrived"), "{end:?}");
    assert!(matches!(client.handle.status(), LinkStatus::Closed(_)));
}

#[test]
fn goodbyes_refusals_and_rejections_are_as_on_the_real_network() {
    let (network, mut server, client, mut clock) = pair(1, BAD, PeerKind::Shard);
    let rejected = RawClient::new(network.connector(PeerKind::Player, VERSION), b"no");
    let old = RawClient::new(network.connector(PeerKind::Player, VERSION - 1), b"yes");
    client.handle.send_stream(Bytes::from_static(b"last")).unwrap();
    client.handle.close("done");
    let all = [&client, &rejected, &old];
    clock.until(&mut server, &all, |server| {
        server.closed.len() == 2 || {
            server.handle.recv_stream();
            false
        }
    });
    assert!(server.closed.iter().any(|(_, end)| *end == SessionEnd::new(EndCause::ClosedByPeer, "done")));
    assert_eq!(rejected.handle.status(), LinkStatus::Rejected("not with these credentials".into()));
    clock.until(&mut server, &all, |_| old.handle.is_finished());
    assert!(matches!(old.handle.status(), LinkStatus::Rejected(reason) if reason.contains("update the client")));
    assert_eq!(server.handle.stats().sessions, 0);
}

#[test]
fn a_server_that_dies_leaves_links_that_time_out_and_a_new_one_takes_new_clients() {
    let (network, server, client, mut clock) = pair(1, PERFECT, PeerKind::Player);
    drop(server);
    let mut server = RawServer::new(network.server(VERSION));
    let second = RawClient::new(network.connector(PeerKind::Player, VERSION), b"yes");
    clock.until(&mut server, &[&client, &second], |_| second.handle.status() == LinkStatus::Connected);
    assert_eq!(client.handle.status(), LinkStatus::Connected);
    clock.until(&mut server, &[&client, &second], |_| client.handle.is_finished());
    assert_eq!(second.handle.status(), LinkStatus::Connected);

    assert!(server.handle.is_running());
    server.handle.shutdown("end");
    assert!(!server.handle.is_running());
    clock.until(&mut server, &[&second], |_| second.handle.is_finished());
    assert_eq!(second.handle.status(), LinkStatus::Closed("end".into()));
    let third = RawClient::new(network.connector(PeerKind::Player, VERSION), b"yes");
    clock.until(&mut server, &[&third], |_| third.handle.is_finished());
    assert!(matches!(third.handle.status(), LinkStatus::Closed(reason) if reason.contains("no server")));
}

#[test]
fn one_session_cannot_starve_the_others() {
    let mut limits = Limits::default();
    limits.inbound_datagrams_per_session = 100;
    let network = MemoryNetwork::with_limits(1, PERFECT, limits);
    let mut server = RawServer::new(network.server(VERSION));
    let loud = RawClient::new(network.connector(PeerKind::Player, VERSION), b"yes");
    let quiet = RawClient::new(network.connector(PeerKind::Player, VERSION), b"yes");
    let mut clock = Clock::new(&network);
    clock.until(&mut server, &[&loud, &quiet], |server| server.sessions.len() == 2);
    clock.step(&mut server, &[&loud, &quiet]);
    for n in 0..500u32 {
        loud.handle.send_lane(n.to_le_bytes().to_vec().into());
    }
    quiet.handle.send_lane(Bytes::from_static(b"here"));
    clock.step(&mut server, &[&loud, &quiet]);
    clock.step(&mut server, &[&loud, &quiet]);
    let got: Vec<_> = std::iter::from_fn(|| server.handle.recv_lane()).collect();
    assert_eq!(got.len(), 101);
    let turn = got.iter().position(|(_, bytes)| bytes == "here").unwrap();
    assert!(turn <= 1, "the quiet one came as number {turn}");
    assert_eq!(got[0].1[..], 0u32.to_le_bytes(), "the newest are dropped, not the oldest");
    assert_eq!(server.handle.stats().traffic.inbound_dropped, 400);
}

#[test]
fn a_full_lane_drops_its_oldest() {
    let mut limits = Limits::default();
    limits.outbound_datagrams = 10;
    let network = MemoryNetwork::with_limits(1, PERFECT, limits);
    let mut server = RawServer::new(network.server(VERSION));
    let client = RawClient::new(network.connector(PeerKind::Player, VERSION), b"yes");
    let mut clock = Clock::new(&network);
    clock.until(&mut server, &[&client], |_| client.handle.status() == LinkStatus::Connected);
    for n in 0..15u8 {
        server.handle.send_lane(&server.sessions[0], vec![n].into());
    }
    clock.step(&mut server, &[&client]);
    clock.step(&mut server, &[&client]);
    let got: Vec<_> = std::iter::from_fn(|| client.handle.recv_lane()).map(|bytes| bytes[0]).collect();
    assert_eq!(got, (5..15).collect::<Vec<_>>());
    assert_eq!(server.handle.stats().traffic.lane_dropped_outbound, 5);
}

#[test]
fn naia_replicates_over_a_bad_link() {
    let network = MemoryNetwork::new(
        5,
        LinkConditions { latency_ms: 10, jitter_ms: 5, loss: 0.1, duplication: 0.1, reordering: 0.1 },
    );
    let mut server = TestServer::new(network.server(VERSION));
    let mut client = TestClient::new(network.connector(PeerKind::Player, VERSION), "ann");
    let mut now_ms = 0;
    run_until(&mut server, &mut [&mut client], |_, clients| {
        now_ms += 5;
        network.advance(now_ms);
        clients[0].place() == Some(1)
    });
    server.set_place(9);
    client.shout(4);
    run_until(&mut server, &mut [&mut client], |server, clients| {
        now_ms += 5;
        network.advance(now_ms);
        clients[0].place() == Some(9) && server.seen().shouts == [4]
    });
    assert_eq!(server.handle.stats().traffic.violations, 0);
}

#[test]
fn a_gate_keeps_strangers_from_naia() {
    let network = MemoryNetwork::new(1, PERFECT);
    let mut server = RawServer::new(network.server(VERSION));
    let connector = |credential: &'static [u8]| {
        let (handle, socket) = network.connector(PeerKind::Shard, VERSION);
        RawClient::new((handle, socket), credential)
    };
    let (good, bad) = (connector(b"secret"), connector(b"no"));
    let mut clock = Clock::new(&network);
    clock.until(&mut server, &[&good, &bad], |server| {
        server.take_admitted();
        assert!(server.sessions.len() <= 1, "naia heard of a peer that was not admitted");
        good.handle.status() == LinkStatus::Connected && bad.handle.is_finished()
    });
    assert_eq!(bad.handle.status(), LinkStatus::Rejected("not with these credentials".into()));
    assert_eq!(server.sessions.len(), 1);
}
