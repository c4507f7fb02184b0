//! Measures what a tick's datagrams cost the server's network thread: many sessions, each of which gets the same two
//! lane datagrams and sends one short one in every tick, over real sockets on loopback.
//!
//! The machine's speed changes with what else runs on it, so the same run measures a plain packet of UDP over loopback,
//! and the cost is also reported in such packets.
//!
//! `cargo run --release -p sidereal-transport --example fan_out -- 100 10 16`: sessions, seconds, and over how many
//! moments of a tick the clients' sending is spread. A fourth number compares in the same run: one endpoint, then so many
//! with the sessions spread over them, twice each. Linux only: it reads `/proc`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use bytes::Bytes;
use naia_bevy_client::transport::Socket as _;
use naia_bevy_server::transport::Socket as _;
use sidereal_process::threads::thread_times;
use sidereal_transport::{
    ClientHandle, ClientNetwork, ConnectOptions, Identity, LaneBatch, LanePeer, Limits, LinkStatus, ListenerConfig,
    PeerKind, ServerConfig, ServerHandle, SharedDatagrams, bind,
};

const USAGE: &str =
    "give sessions (1 to 2000), seconds (1 to 60), moments of a tick (1 to 16), and endpoints (2 to 16) to compare";
const PROTOCOL_VERSION: u32 = 1;
const TICK: Duration = Duration::from_nanos(1_000_000_000 / 30);
const WARM_UP_TICKS: u32 = 60;
/// The payloads of a tick, bytes.
const OUT: [usize; 2] = [1_100, 60];
const IN: usize = 40;

/// What is measured.
#[derive(Clone, Copy)]
struct Load {
    sessions: usize,
    seconds: u32,
    moments: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<usize> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let (load, endpoints) = match arguments[..] {
        [] => (Load { sessions: 100, seconds: 10, moments: 16 }, 1),
        [sessions @ 1..=2000, seconds @ 1..=60, moments @ 1..=16] => {
            (Load { sessions, seconds: seconds as u32, moments }, 1)
        }
        [sessions @ 1..=2000, seconds @ 1..=60, moments @ 1..=16, endpoints @ 2..=16] => {
            (Load { sessions, seconds: seconds as u32, moments }, endpoints)
        }
        _ => return Err(USAGE.into()),
    };
    let rounds: &[usize] = if endpoints == 1 { &[1] } else { &[1, endpoints, 1, endpoints] };
    rounds.iter().try_for_each(|endpoints| measure(load, *endpoints))
}

/// Measures a server with so many endpoints, over which the sessions are spread.
fn measure(load: Load, endpoints: usize) -> Result<(), Box<dyn Error>> {
    let Load { sessions, seconds, moments } = load;
    let any = "127.0.0.1:0".parse()?;
    let limits = Limits {
        sessions_per_address: 4 * sessions,
        handshakes_per_network: 0,
        unproven_handshakes: 1_000,
        ..Limits::default()
    };
    let (server, socket) = bind(ServerConfig {
        listeners: vec![ListenerConfig { kind: PeerKind::Player, addr: any }; endpoints],
        identity: Identity::self_signed(&["localhost"])?,
        player_certificate: None,
        allowed_origins: Default::default(),
        protocol_version: PROTOCOL_VERSION,
        limits,
    })?;
    let (verdicts, mut admitted, _packets_out, _packets_in) = Box::new(socket).listen();
    let network = ClientNetwork::new()?;
    let addresses = server.local_addrs(PeerKind::Player);

    let (mut clients, mut halves, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    while peers.len() < sessions || clients.iter().any(|c: &ClientHandle| c.status() != LinkStatus::Connected) {
        // A few at a time: each handshake costs half a millisecond.
        if clients.len() < sessions.min(peers.len() + 32) {
            let address = addresses[clients.len() % endpoints];
            let options = ConnectOptions::new(address, PeerKind::Player, server.certificate_hash(), PROTOCOL_VERSION);
            let (client, socket) = network.connector(options);
            halves.push(Box::new(socket).connect_with_auth(b"yes".to_vec()));
            clients.push(client);
        }
        while let Some((address, ..)) = server.poll_auth() {
            server.admit(&address);
        }
        while let Ok(Some((address, _))) = admitted.receive() {
            verdicts.accept(&address, &"token".to_owned()).map_err(|_| "a session ended")?;
            peers.push(server.lane_peer(&address).ok_or("a session ended")?);
        }
        if server.poll_closed().is_some() {
            return Err("a session ended".into());
        }
        server.flush();
        server.waker().wait(Duration::from_millis(1));
    }

    run(&server, &clients, &peers, WARM_UP_TICKS, moments);
    let plain_before_us = plain_packet_us()?;
    let (before, began) = (figures(&server, &clients)?, Instant::now());
    let ticks = 30 * seconds;
    run(&server, &clients, &peers, ticks, moments);
    let (after, took) = (figures(&server, &clients)?, began.elapsed());
    let plain_us = f64::midpoint(plain_before_us, plain_packet_us()?);
    let per = f64::from(ticks) * sessions as f64;
    println!(
        "{sessions} sessions at {endpoints} endpoints, {ticks} ticks in {:.1} s, {moments} moments of a tick",
        took.as_secs_f64()
    );
    let share_of_core = |us: f64| us / took.as_micros() as f64 * 100.0;
    let mut net_us = 0.0;
    for (thread, now) in &after.net_ns {
        let us = (now - before.net_ns.get(thread).unwrap_or(&0)) as f64 / 1_000.0;
        println!("  {thread}: {:.1} % of a core", share_of_core(us));
        net_us += us;
    }
    println!("  all: {:.2} µs per session and tick, {:.1} % of a core", net_us / per, share_of_core(net_us));
    println!(
        "  a plain packet, sent and received: {plain_us:.2} µs; so a session's tick costs {:.1} of them",
        net_us / per / plain_us
    );
    let share = |part: u64, whole: f64| part as f64 / whole * 100.0;
    println!(
        "  arrived: {:.1} % of the datagrams out, {:.1} % of those in",
        share(after.out - before.out, per * OUT.len() as f64),
        share(after.received - before.received, per)
    );
    server.shutdown("the end");
    Ok(())
}

/// The processor time of sending and receiving a plain UDP packet of a tick's size over loopback, µs.
fn plain_packet_us() -> Result<f64, Box<dyn Error>> {
    const PACKETS: u32 = 20_000;
    let (from, to) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let target = to.local_addr()?;
    to.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut packet = vec![0; OUT.iter().sum()];
    let before_ns = on_processor_ns("/proc/thread-self/schedstat")?;
    for _ in 0..PACKETS {
        from.send_to(&packet, target)?;
        to.recv(&mut packet)?;
    }
    let ns = on_processor_ns("/proc/thread-self/schedstat")? - before_ns;
    Ok(ns as f64 / 1_000.0 / f64::from(PACKETS))
}

fn on_processor_ns(schedstat: impl AsRef<std::path::Path>) -> Result<u64, Box<dyn Error>> {
    Ok(fs::read_to_string(schedstat)?.split_whitespace().next().ok_or("an empty schedstat")?.parse()?)
}

/// So many ticks: each sends to every session, and every client sends.
fn run(server: &ServerHandle, clients: &[ClientHandle], peers: &[LanePeer], ticks: u32, moments: usize) {
    let input = Bytes::from(vec![7; IN]);
    let datagrams = SharedDatagrams::new(OUT.map(|bytes| vec![1; bytes]));
    let start = Instant::now();
    for tick in 0..ticks {
        let mut batch = LaneBatch::default();
        for peer in peers {
            batch.push(peer, &datagrams, datagrams.len());
        }
        server.send_batch(batch);
        server.flush();
        for moment in 0..moments {
            for client in clients.iter().skip(moment).step_by(moments) {
                client.send_lane(input.clone());
                client.flush();
            }
            for client in clients {
                while client.recv_lane().is_some() {}
            }
            let due = TICK * tick + TICK * (moment as u32 + 1) / moments as u32;
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            while server.recv_lane().is_some() {}
        }
    }
}

/// Totals so far.
struct Figures {
    /// By the name of the network thread.
    net_ns: BTreeMap<String, u64>,
    out: u64,
    received: u64,
}

fn figures(server: &ServerHandle, clients: &[ClientHandle]) -> Result<Figures, Box<dyn Error>> {
    let mut net_ns = BTreeMap::new();
    for thread in thread_times(std::process::id())? {
        if thread.name.starts_with("player-net-") {
            net_ns.insert(thread.name, thread.ns);
        }
    }
    Ok(Figures {
        net_ns,
        out: clients.iter().map(|client| client.stats().lane_received).sum(),
        received: server.stats().traffic.lane_received,
    })
}
