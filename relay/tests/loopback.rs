//! The relay over real sockets of this machine: which datagrams arrive where. Times are not tested: a busy machine may
//! be late.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use sidereal_relay::conditions::Conditions;
use sidereal_relay::relay::{Door, Relay};
use sidereal_relay::report::Totals;

/// A test that waits this long fails.
const LONG: Duration = Duration::from_secs(60);

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(ANY).expect("some port is free");
    socket.set_read_timeout(Some(LONG)).expect("a time above nought");
    socket
}

/// A relay to `target` with a delay of 2 ± 2 ms, and its address.
fn relay(target: &UdpSocket, loss: f64, duplication: f64) -> (Relay, SocketAddr) {
    let delay = Duration::from_millis(2);
    let conditions = Conditions::new(delay, delay, loss, duplication).expect("possible");
    let door = Door::open(ANY.into()).expect("some port is free");
    let address = door.local_addr();
    let target = target.local_addr().expect("it is bound");
    (Relay::start(door, target, conditions, 1).expect("threads are there"), address)
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 1 << 16];
    let (length, from) = socket.recv_from(&mut buffer).expect("it comes");
    buffer.truncate(length);
    (buffer, from)
}

#[track_caller]
fn wait_until(relay: &Relay, done: impl Fn(&Totals) -> bool) {
    let deadline = Instant::now() + LONG;
    while !done(&relay.totals()) {
        assert!(Instant::now() < deadline, "{:#?}", relay.totals());
        std::thread::yield_now();
    }
}

#[test]
fn every_peer_gets_its_own_answers_and_is_another_one_to_the_target() {
    let target = socket();
    let (relay, door) = relay(&target, 0.0, 0.0);
    let peers = [socket(), socket(), socket()];
    let mut known = BTreeMap::new();
    // Few at a time, so that no socket's buffer overflows.
    for round in 0..50u8 {
        for (number, peer) in (0u8..).zip(&peers) {
            peer.send_to(&[number, round], door).expect("sent");
        }
        for _ in &peers {
            let (bytes, from) = receive(&target);
            assert_eq!(bytes[1], round);
            assert_eq!(*known.entry(bytes[0]).or_insert(from), from, "a peer keeps its address");
            target.send_to(&[&bytes[..], b"answer"].concat(), from).expect("sent");
        }
        for (number, peer) in (0u8..).zip(&peers) {
            assert_eq!(receive(peer), ([&[number, round], &b"answer"[..]].concat(), door));
        }
    }
    assert_eq!(known.values().collect::<std::collections::BTreeSet<_>>().len(), peers.len());
    let totals = relay.stop().expect("it ran");
    for way in [totals.to_target, totals.to_peer] {
        assert_eq!((way.entered, way.left), (150, 150));
    }
    assert_eq!((totals.peers_max, totals.unsent, totals.refused), (3, 0, 0));
}

#[test]
fn datagrams_of_all_sizes_arrive_unchanged() {
    let target = socket();
    let (_relay, door) = relay(&target, 0.0, 0.0);
    let peer = socket();
    for length in [0, 1, 1_200, 1_472, 9_000, 65_507] {
        let bytes: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        peer.send_to(&bytes, door).expect("sent");
        let (arrived, from) = receive(&target);
        assert!(arrived == bytes, "{length} bytes");
        target.send_to(&bytes, from).expect("sent");
        assert!(receive(&peer).0 == bytes, "{length} bytes back");
    }
}

#[test]
fn what_is_doubled_comes_twice_and_what_is_lost_does_not_come() {
    let target = socket();
    let (doubling, door) = relay(&target, 0.0, 1.0);
    let peer = socket();
    peer.send_to(b"once", door).expect("sent");
    let [first, second] = [receive(&target), receive(&target)];
    assert_eq!(first.0, b"once");
    assert_eq!(first, second);
    assert_eq!(doubling.stop().expect("it ran").to_target.left, 2);

    let (losing, door) = relay(&target, 1.0, 0.0);
    (0..10).for_each(|_| {
        peer.send_to(b"never", door).expect("sent");
    });
    wait_until(&losing, |totals| totals.to_target.entered == 10);
    let totals = losing.stop().expect("it ran");
    assert_eq!((totals.to_target.lost, totals.to_target.left), (10, 0));
}

#[test]
fn a_target_that_is_not_there_yet_is_no_end() {
    let target = socket();
    let (relay, door) = relay(&target, 0.0, 0.0);
    let address = target.local_addr().expect("it is bound");
    drop(target);
    let peer = socket();
    for sent in 1..=5 {
        peer.send_to(b"anybody", door).expect("sent");
        wait_until(&relay, |totals| totals.to_target.left == sent);
    }
    // If another process has the port by now, there is nothing to test.
    let Ok(target) = UdpSocket::bind(address) else { return };
    target.set_read_timeout(Some(LONG)).expect("a time above nought");
    // The system may report the earlier refusals at the cost of this datagram.
    let deadline = Instant::now() + LONG;
    target.set_nonblocking(true).expect("allowed");
    while target.recv(&mut [0; 64]).is_err() {
        assert!(Instant::now() < deadline && relay.is_running(), "{:#?}", relay.totals());
        peer.send_to(b"you", door).expect("sent");
        std::thread::yield_now();
    }
}
