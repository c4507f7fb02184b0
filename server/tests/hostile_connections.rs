//! Connections that only occupy places: silent ones, slow ones in both directions, many of one network. Other clients
//! still get answers.

// On other systems the loopback network has only one address.
#![cfg(target_os = "linux")]

mod http_world;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_world::World;
use sidereal_server::http::{HttpLimits, WebFiles};
use socket2::{Domain, Socket, Type};

/// Longer than any test runs: connections closed here are not closed for their time.
const NEVER: Duration = Duration::from_secs(3_600);

/// Time limit of expected events.
const PATIENCE: Duration = Duration::from_secs(60);

const FILE_BYTES: usize = 8 << 20;

fn patient() -> HttpLimits {
    HttpLimits {
        head_timeout: NEVER,
        request_timeout: NEVER,
        idle_timeout: NEVER,
        rate_window: NEVER,
        ..Default::default()
    }
}

/// A server with a large file.
fn world(limits: HttpLimits, trusted_proxies: usize) -> World {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("index.html"), "<!doctype html>").expect("writable");
    std::fs::write(folder.path().join("large.wasm"), vec![7; FILE_BYTES]).expect("writable");
    World::with(limits, |state| {
        state.web = Some(Arc::new(WebFiles::load(folder.path()).expect("a good folder")));
        state.trusted_proxies = trusted_proxies;
    })
}

/// A connection from 127.0.0.`number` with a small receive buffer.
fn connect(world: &World, number: u8) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("a size");
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, number), 0)).into()).expect("an address of this machine");
    socket.connect(&world.server.local_addr.into()).expect("it listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// Sends a request and reads the answer; the connection stays open.
#[track_caller]
fn ask(stream: &mut TcpStream, path: &str) -> Vec<u8> {
    try_ask(stream, path).expect("an answer")
}

fn try_ask(stream: &mut TcpStream, path: &str) -> std::io::Result<Vec<u8>> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body)?;
    Ok(body)
}

/// Checks that it was closed without an answer.
#[track_caller]
fn is_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => panic!("it is open"),
        _ => assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest)),
    }
}

#[track_caller]
fn is_answered_from(world: &World, number: u8) {
    assert_eq!(ask(&mut connect(world, number), "/index.html"), b"<!doctype html>");
}

fn count(world: &World, what: &str) -> u64 {
    world.metric(&format!("sidereal_http_connections_{what}_total"))
}

#[test]
fn who_sends_no_whole_head_in_time_is_cut_off_silent_or_bit_by_bit() {
    let world = world(HttpLimits { head_timeout: Duration::from_millis(100), ..patient() }, 0);
    is_closed(&mut connect(&world, 1));
    let mut begun = connect(&world, 1);
    begun.write_all(b"POST /api/login HTTP/1.1\r\nHost:").expect("sent");
    is_closed(&mut begun);
    // Each byte comes in time, and does not extend the time of the next one.
    let mut slow = connect(&world, 1);
    slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").expect("sent");
    slow.set_read_timeout(Some(Duration::from_millis(5))).expect("not zero");
    let begun = Instant::now();
    while let Ok(()) = slow.write_all(b"x") {
        match slow.read(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(1..) => panic!("an answer to half a request"),
            _ => break,
        }
        assert!(begun.elapsed() < PATIENCE, "it is still open");
    }
    // The next request of a connection has the same time, from its first byte on.
    let mut second = connect(&world, 1);
    ask(&mut second, "/index.html");
    second.write_all(b"G").expect("sent");
    is_closed(&mut second);
    assert_eq!(count(&world, "cut_off"), 4);
    is_answered_from(&world, 1);
}

#[test]
fn who_sends_the_body_bit_by_bit_is_answered_when_the_time_is_up() {
    let world = world(HttpLimits { request_timeout: Duration::from_millis(100), ..patient() }, 0);
    let mut slow = connect(&world, 1);
    slow.write_all(b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 8000\r\n\r\n{").expect("sent");
    slow.set_read_timeout(Some(Duration::from_millis(5))).expect("not zero");
    let (begun, mut answer) = (Instant::now(), Vec::new());
    loop {
        let mut some = [0; 1_024];
        match slow.read(&mut some) {
            Ok(read @ 1..) => answer.extend_from_slice(&some[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => break,
        }
        assert!(begun.elapsed() < PATIENCE, "it is still open: {}", String::from_utf8_lossy(&answer));
        let _ = slow.write_all(b" ");
    }
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&answer));
    is_answered_from(&world, 1);
}

#[test]
fn who_does_not_read_the_answer_is_cut_off_and_who_does_has_all_of_it() {
    let limits = HttpLimits { rate_window: Duration::from_millis(500), least_bytes_per_s: 4_096, ..patient() };
    let world = world(limits, 0);
    let mut slow = connect(&world, 1);
    slow.write_all(b"GET /large.wasm HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    let begun = Instant::now();
    while count(&world, "cut_off") == 0 {
        assert_eq!(ask(&mut connect(&world, 2), "/large.wasm").len(), FILE_BYTES);
        assert!(begun.elapsed() < PATIENCE, "it is still open");
    }
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(rest.len() < FILE_BYTES, "all was sent");
}

#[test]
fn one_network_holds_its_share_of_the_places_and_no_more() {
    let world = world(HttpLimits { max_connections: 8, max_connections_per_network: 4, ..patient() }, 0);
    let mut silent: Vec<_> = (0..100).map(|_| connect(&world, 2)).collect();
    for _ in 0..3 {
        is_answered_from(&world, 1);
    }
    is_answered_from(&world, 2);
    // 100 and one came from there, and one of them sent a request.
    for stream in &mut silent[..97] {
        is_closed(stream);
    }
    assert_eq!((count(&world, "gave_way"), count(&world, "refused")), (97, 0));
    for stream in &mut silent[97..] {
        assert_eq!(ask(stream, "/index.html").len(), 15, "its own place is kept");
    }
}

#[test]
fn when_many_networks_hold_all_places_there_is_one_for_who_has_none() {
    let world = world(HttpLimits { max_connections: 12, max_connections_per_network: 4, ..patient() }, 0);
    let mut silent: Vec<_> = (0..8).map(|number| connect(&world, 2 + number / 4)).collect();
    // They do not read; the system's buffers fill while the first bytes arrive.
    let slow: Vec<_> = (0..4)
        .map(|_| {
            let mut slow = connect(&world, 4);
            slow.write_all(b"GET /large.wasm HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
            slow.read_exact(&mut [0]).expect("it begins");
            slow
        })
        .collect();
    for _ in 0..3 {
        is_answered_from(&world, 1);
    }
    is_closed(&mut silent[0]);
    let given_way = count(&world, "gave_way");
    assert!((1..=3).contains(&given_way), "one place at a time: {given_way}");
    assert_eq!(count(&world, "refused"), 0);
    drop(slow);
}

#[test]
fn a_connection_goes_on_after_an_answer_until_it_was_idle_for_long() {
    let world = world(HttpLimits { idle_timeout: Duration::from_millis(200), ..patient() }, 0);
    let mut stream = connect(&world, 1);
    // One after the other, each within the time of a fast machine; a slow one finds it closed, and sends the request
    // again.
    let mut answers = 0;
    for _ in 0..1_000 {
        match try_ask(&mut stream, "/index.html") {
            Ok(_) => answers += 1,
            Err(_) => (stream, answers) = (connect(&world, 1), 0),
        }
        if answers == 3 {
            break;
        }
    }
    assert_eq!(answers, 3, "by one connection");
    is_closed(&mut stream);
    assert!(count(&world, "cut_off") >= 1);
}

#[test]
fn idle_connections_give_way_when_places_are_short() {
    let world = world(HttpLimits { max_connections: 3, max_connections_per_network: 3, ..patient() }, 0);
    let mut idle = [connect(&world, 1), connect(&world, 1), connect(&world, 1)];
    for stream in &mut idle {
        ask(stream, "/index.html");
    }
    ask(&mut idle[0], "/index.html");
    let mut next = connect(&world, 1);
    ask(&mut next, "/index.html");
    let [first, second, third] = &mut idle;
    is_closed(second);
    for stream in [first, third, &mut next] {
        ask(stream, "/index.html");
    }
    assert_eq!((count(&world, "gave_way"), count(&world, "refused")), (1, 0));
}

#[test]
fn who_is_served_is_not_cut_off_for_another_of_its_network() {
    let world = world(HttpLimits { max_connections: 2, max_connections_per_network: 2, ..patient() }, 0);
    let mut served = [connect(&world, 1), connect(&world, 1)];
    for stream in &mut served {
        stream.write_all(b"GET /large.wasm HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
        stream.read_exact(&mut [0]).expect("it begins");
    }
    is_closed(&mut connect(&world, 1));
    for stream in &mut served {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("all of it");
        assert!(rest.len() > FILE_BYTES);
    }
    assert_eq!((count(&world, "gave_way"), count(&world, "refused")), (0, 1));
    is_answered_from(&world, 1);
}

#[test]
fn behind_a_proxy_all_places_are_the_proxy_s() {
    let world = world(HttpLimits { max_connections: 6, max_connections_per_network: 2, ..patient() }, 1);
    let mut proxied: Vec<_> = (0..6).map(|_| connect(&world, 1)).collect();
    for stream in &mut proxied {
        ask(stream, "/index.html");
    }
    assert_eq!((count(&world, "gave_way"), count(&world, "refused")), (0, 0));
}

#[test]
fn who_watches_is_answered_however_many_connections_players_hold() {
    let world = world(HttpLimits { max_connections: 4, max_connections_per_network: 4, ..patient() }, 0);
    let slow: Vec<_> = (0..4)
        .map(|_| {
            let mut slow = connect(&world, 1);
            slow.write_all(b"GET /large.wasm HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
            slow.read_exact(&mut [0]).expect("it begins");
            slow
        })
        .collect();
    is_closed(&mut connect(&world, 1));
    assert_eq!(world.metric("sidereal_http_connections"), 4);
    assert_eq!(world.operations.local_addr.ip(), IpAddr::from([127, 0, 0, 1]));
    drop(slow);
}
