//! Peers, with and without credentials, that send what no honest peer sends: the server survives, and another client is
//! not affected.
#![allow(clippy::unwrap_used, clippy::field_reassign_with_default, missing_docs, elided_lifetimes_in_paths)]

mod common;

use std::sync::{Arc, Mutex};

use common::raw::*;
use common::*;
use naia_bevy_client::transport::{IdentityReceiver, PacketReceiver, PacketSender, SendError, ServerAddr, Socket};
use naia_shared::handshake::HandshakeHeader;
use naia_shared::{BitWriter, PacketType, Serde, StandardHeader, UnsignedVariableInteger};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use sidereal_transport::network::memory::{LinkConditions, MemoryNetwork};
use sidereal_transport::{ClientHandle, ClientSocket, EndCause, Limits, LinkStatus, PeerKind, Rate};

/// A client's socket that records what naia sends, and through which a test sends its own packets.
struct Tap {
    inner: ClientSocket,
    wire: Wire,
}

#[derive(Clone, Default)]
struct Wire {
    sender: Arc<Mutex<Option<Box<dyn PacketSender>>>>,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Wire {
    fn inject(&self, packet: &[u8]) {
        let _ = self.sender.lock().unwrap().as_ref().unwrap().send(packet);
    }
}

struct TapSender {
    wire: Wire,
    server: ServerAddr,
}

impl PacketSender for TapSender {
    fn send(&self, payload: &[u8]) -> Result<(), SendError> {
        self.wire.sent.lock().unwrap().push(payload.to_vec());
        self.wire.sender.lock().unwrap().as_ref().unwrap().send(payload)
    }

    fn server_addr(&self) -> ServerAddr {
        self.server
    }
}

type Halves = (Box<dyn IdentityReceiver>, Box<dyn PacketSender>, Box<dyn PacketReceiver>);

impl Socket for Tap {
    fn connect(self: Box<Self>) -> Halves {
        let (identity, sender, receiver) = Box::new(self.inner).connect();
        let server = sender.server_addr();
        *self.wire.sender.lock().unwrap() = Some(sender);
        (identity, Box::new(TapSender { wire: self.wire, server }), receiver)
    }

    fn connect_with_auth(self: Box<Self>, _: Vec<u8>) -> Halves {
        unreachable!("the credential is the socket's")
    }

    fn connect_with_auth_headers(self: Box<Self>, _: Vec<(String, String)>) -> Halves {
        unreachable!("the test's client sends no headers")
    }

    fn connect_with_auth_and_headers(self: Box<Self>, _: Vec<u8>, _: Vec<(String, String)>) -> Halves {
        unreachable!("the test's client sends no headers")
    }
}

impl From<Tap> for Box<dyn Socket> {
    fn from(tap: Tap) -> Self {
        Box::new(tap)
    }
}

fn tapped((handle, inner): (ClientHandle, ClientSocket)) -> (TestClient, Wire) {
    let wire = Wire::default();
    let inner = inner.with_credential(b"mallory"[..].into());
    (TestClient::with_socket(handle, Tap { inner, wire: wire.clone() }), wire)
}

struct Scene {
    network: MemoryNetwork,
    now_ms: u64,
    server: TestServer,
    victim: TestClient,
}

impl Scene {
    fn new(limits: Limits) -> Self {
        let network = MemoryNetwork::with_limits(1, LinkConditions::default(), limits);
        let server = TestServer::new(network.server(VERSION));
        let victim = TestClient::new(network.connector(PeerKind::Player, VERSION), "victim");
        let mut scene = Self { network, now_ms: 0, server, victim };
        scene.until(&mut [], |scene, _| scene.victim.place() == Some(1));
        scene
    }

    fn step(&mut self, others: &mut [&mut TestClient]) {
        self.now_ms += 1;
        self.network.advance(self.now_ms);
        self.server.update();
        self.victim.update();
        for other in others.iter_mut() {
            other.update();
        }
    }

    #[track_caller]
    fn until(
        &mut self,
        others: &mut [&mut TestClient],
        mut done: impl FnMut(&mut Self, &mut [&mut TestClient]) -> bool,
    ) {
        let start = std::time::Instant::now();
        while !done(self, others) {
            assert!(start.elapsed() < PATIENCE, "it never happened: {:#?}", self.server.handle.stats());
            self.step(others);
            self.server.handle.waker().wait(std::time::Duration::from_millis(1));
        }
    }

    fn attacker(&mut self) -> (TestClient, Wire) {
        let (mut attacker, wire) = tapped(self.network.connector(PeerKind::Player, VERSION));
        self.until(&mut [&mut attacker], |_, others| others[0].place().is_some());
        (attacker, wire)
    }

    /// The victim still sees the world move, and its messages arrive.
    #[track_caller]
    fn victim_notices_nothing(&mut self, number: u32) {
        self.server.set_place(number);
        self.victim.shout(number);
        self.until(&mut [], |scene, _| {
            scene.victim.place() == Some(number) && scene.server.seen().shouts.contains(&number)
        });
        assert_eq!(self.victim.places(), 1);
        assert_eq!(self.victim.handle.status(), LinkStatus::Connected);
    }
}

/// Violations and floods end no session, so that one session is enough for all that a test sends.
fn patient() -> Limits {
    let mut limits = Limits::default();
    limits.violations_before_close = u32::MAX;
    limits.player_naia_packets = Rate { per_second: 1_000_000, burst: 1_000_000 };
    limits.player_frames = Rate { per_second: 1_000_000, burst: 1_000_000 };
    limits
}

/// The packets of a real client in half a minute, shortened.
fn real_packets() -> Vec<Vec<u8>> {
    let mut scene = Scene::new(patient());
    let (mut client, wire) = scene.attacker();
    for n in 0..40 {
        scene.server.set_place(100 + n);
        scene.until(&mut [&mut client], |_, others| others[0].place() == Some(100 + n));
    }
    let sent = wire.sent.lock().unwrap().clone();
    assert!(sent.len() > 40);
    sent
}

fn mutate(random: &mut Pcg64Mcg, corpus: &[Vec<u8>]) -> Vec<u8> {
    let pick = |random: &mut Pcg64Mcg| corpus[random.random_range(0..corpus.len())].clone();
    let mut packet = pick(random);
    match random.random_range(0..6) {
        0 => {
            let length = random.random_range(0..460);
            packet = (0..length).map(|_| random.random()).collect();
        }
        1 => packet.truncate(random.random_range(0..=packet.len())),
        2 => {
            // Real up to the end of the header and the tick, then random.
            packet.truncate(random.random_range(9..14));
            let length = random.random_range(0..100);
            packet.extend((0..length).map(|_| random.random::<u8>()));
        }
        3 => {
            for _ in 0..random.random_range(1..4) {
                let other = pick(random);
                let at = random.random_range(0..=packet.len());
                packet.truncate(at);
                packet.extend(other.into_iter().skip(at));
            }
        }
        _ => {
            for _ in 0..random.random_range(1..6) {
                if !packet.is_empty() {
                    let at = random.random_range(0..packet.len());
                    packet[at] ^= 1 << random.random_range(0..8);
                }
            }
        }
    }
    packet
}

#[test]
fn twenty_thousand_hostile_packets_do_not_reach_anyone() {
    let corpus = real_packets();
    let mut scene = Scene::new(patient());
    let mut random = Pcg64Mcg::seed_from_u64(42);
    let (mut attacker, mut wire) = scene.attacker();
    for case in 0..20_000u32 {
        let packet = mutate(&mut random, &corpus);
        wire.inject(&packet);
        if case % 50 == 49 {
            scene.step(&mut [&mut attacker]);
            if !attacker.is_connected() {
                // One of the packets was a real goodbye.
                attacker.handle.close("again");
                (attacker, wire) = scene.attacker();
            }
        }
        if case % 2000 == 1999 {
            scene.victim_notices_nothing(10_000 + case);
        }
    }
    let traffic = scene.server.handle.stats().traffic;
    assert!(traffic.naia_packets_refused > 5_000, "{traffic:#?}");
}

#[test]
fn a_hostile_session_is_closed_and_no_other() {
    let mut scene = Scene::new(Limits::default());
    let (mut attacker, wire) = scene.attacker();
    for _ in 0..1000 {
        wire.inject(&[0xff; 30]);
    }
    scene.until(&mut [&mut attacker], |_, others| others[0].handle.is_finished());
    let (address, end) = std::iter::from_fn(|| scene.server.handle.poll_closed()).next().unwrap();
    assert!(end.cause == EndCause::Violation && end.reason.contains("no honest peer"), "{end:?}");
    assert_eq!(scene.server.handle.peer_kind(&address), None);
    assert_eq!(scene.server.handle.stats().traffic.closed_for_violations, 1);
    scene.victim_notices_nothing(77);
}

#[test]
fn hostile_auth_requests_do_not_reach_naia() {
    let mut scene = Scene::new(Limits::default());
    let mut random = Pcg64Mcg::seed_from_u64(9);
    let admitted = scene.server.seen().admitted.len();
    let mut clients = Vec::new();
    for case in 0..3000u32 {
        let length = random.random_range(1..60);
        let auth: Vec<u8> = (0..length).map(|_| random.random()).collect();
        clients.push(RawClient::new(scene.network.connector(PeerKind::Player, VERSION), &auth));
        if case % 100 == 99 {
            scene.step(&mut []);
            scene.step(&mut []);
            clients.clear();
        }
    }
    clients.clear();
    scene.until(&mut [], |scene, _| {
        while scene.server.handle.poll_closed().is_some() {}
        scene.server.handle.stats().sessions < 100
    });
    let admission = scene.server.handle.stats().admission;
    // One or two letters can be a valid name by chance.
    let named = scene.server.seen().admitted.len() - admitted;
    assert!(named < 100 && admission.rejected as usize + named == 3000, "{named}, {admission:#?}");
    scene.victim_notices_nothing(78);
}

fn writer_bits(writer: &mut BitWriter, value: u32, width: u32) {
    for shift in 0..width {
        (value >> shift & 1 == 1).ser(writer);
    }
}

fn packet(kind: PacketType, body: impl FnOnce(&mut BitWriter)) -> Vec<u8> {
    let mut writer = BitWriter::new();
    StandardHeader::new(kind, 1, 1, 0).ser(&mut writer);
    body(&mut writer);
    writer.to_bytes().to_vec()
}

/// A data packet with one message of kind `kind` on the only channel, followed by `body`.
fn message(kind: u32, body: impl FnOnce(&mut BitWriter)) -> Vec<u8> {
    packet(PacketType::Data, |writer| {
        500u16.ser(writer);
        false.ser(writer);
        true.ser(writer);
        // A single channel needs no bits.
        true.ser(writer);
        0u16.ser(writer);
        writer_bits(writer, kind, 3);
        body(writer);
        false.ser(writer);
        false.ser(writer);
    })
}

#[test]
fn each_packet_that_ends_naia_is_refused() {
    let mut scene = Scene::new(patient());
    let (mut attacker, wire) = scene.attacker();
    let deadly: Vec<(&str, Vec<u8>)> = vec![
        ("a ping without its number", packet(PacketType::Ping, |_| {})),
        ("a pong without its number", packet(PacketType::Pong, |_| {})),
        ("a fragment", message(0, |writer| writer_bits(writer, 0, 30))),
        (
            "a response to no request",
            message(1, |writer| {
                true.ser(writer);
                3u8.ser(writer);
                UnsignedVariableInteger::<9>::new(1).ser(writer);
                7u8.ser(writer);
            }),
        ),
        (
            "a request with a length of 2^40",
            message(1, |writer| {
                false.ser(writer);
                3u8.ser(writer);
                UnsignedVariableInteger::<9>::new(1i64 << 40).ser(writer);
            }),
        ),
        (
            "an Auth with a name of 2^40 bytes",
            message(2, |writer| {
                UnsignedVariableInteger::<9>::new(1i64 << 40).ser(writer);
            }),
        ),
        ("a kind that is not registered", message(7, |_| {})),
        ("a message that only the server sends", message(5, |writer| 3u32.ser(writer))),
        (
            "a request that is no request",
            message(1, |writer| {
                false.ser(writer);
                3u8.ser(writer);
                UnsignedVariableInteger::<9>::new(1).ser(writer);
                7u8.ser(writer);
            }),
        ),
        (
            "a message far ahead",
            packet(PacketType::Data, |writer| {
                500u16.ser(writer);
                false.ser(writer);
                true.ser(writer);
                true.ser(writer);
                30_000u16.ser(writer);
                writer_bits(writer, 3, 3);
                3u32.ser(writer);
                false.ser(writer);
                false.ser(writer);
            }),
        ),
        (
            "a tick-buffered message",
            packet(PacketType::Data, |writer| {
                500u16.ser(writer);
                true.ser(writer);
            }),
        ),
        (
            "a token of 2^40 bytes",
            packet(PacketType::Handshake, |writer| {
                HandshakeHeader::Disconnect.ser(writer);
                UnsignedVariableInteger::<9>::new(1i64 << 40).ser(writer);
            }),
        ),
        (
            "a server's handshake",
            packet(PacketType::Handshake, |writer| HandshakeHeader::ServerConnectResponse.ser(writer)),
        ),
        ("nothing", Vec::new()),
        (
            "an endless number",
            packet(PacketType::Data, |writer| {
                500u16.ser(writer);
                false.ser(writer);
                writer_bits(writer, u32::MAX, 32);
            }),
        ),
    ];
    for (what, packet) in deadly {
        let before = scene.server.handle.stats().traffic.naia_packets_refused;
        wire.inject(&packet);
        scene.step(&mut [&mut attacker]);
        scene.step(&mut [&mut attacker]);
        let after = scene.server.handle.stats().traffic.naia_packets_refused;
        assert_eq!(after, before + 1, "{what} was let through");
    }
    // An honest frame is accepted.
    let before = scene.server.handle.stats().traffic;
    attacker.shout(5);
    scene.until(&mut [&mut attacker], |scene, _| scene.server.seen().shouts.contains(&5));
    assert_eq!(scene.server.handle.stats().traffic.violations, before.violations);
    scene.victim_notices_nothing(79);
}

/// Far more than any honest client sends, of each kind: it is not read, and then the session ends.
#[test]
fn a_flood_ends_its_session_and_no_other() {
    let floods: [fn(&TestClient, &Wire); 3] = [
        |_, wire| wire.inject(&packet(PacketType::Heartbeat, |_| {})),
        |client, _| client.handle.send_lane(bytes::Bytes::from_static(b"inputs")),
        |client, _| {
            let _ = client.handle.send_stream(bytes::Bytes::from_static(b"a word"));
        },
    ];
    let mut scene = Scene::new(Limits::default());
    for (number, flood) in (0..).zip(floods) {
        let (mut attacker, wire) = scene.attacker();
        for _ in 0..400 {
            (0..20).for_each(|_| flood(&attacker, &wire));
            scene.step(&mut [&mut attacker]);
        }
        scene.until(&mut [&mut attacker], |_, others| others[0].handle.is_finished());
        let LinkStatus::Closed(reason) = attacker.handle.status() else { panic!("{:?}", attacker.handle.status()) };
        assert!(reason.contains("far more"), "{reason}");
        let traffic = scene.server.handle.stats().traffic;
        assert_eq!((traffic.closed_for_violations, traffic.violations), (number + 1, 0), "{traffic:#?}");
        assert!(traffic.over_rate >= u64::from(Limits::default().player_excess.burst) * (number + 1));
        scene.victim_notices_nothing(80 + number as u32);
    }
}
