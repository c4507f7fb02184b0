//! The effect of a flood over HTTP on others: silent connections, slow ones, and wrong passwords, from eight addresses
//! of this machine, beside bots that play. The figures are for a reader, on request; requirements that do not depend on
//! the machine are asserted.
//!
//! It needs the programs built before (see `world::process`), without the feature `test-clock`.
//!
//! ```text
//! SIDEREAL_LOAD_SECONDS=60 SIDEREAL_BOTS=16 cargo test -p sidereal-tests --test http_load -- --ignored --nocapture
//! ```

// On other systems the loopback network has only one address.
#![cfg(target_os = "linux")]

#[allow(dead_code, unused_imports, reason = "the other tests of processes use the rest")]
mod world;

use socket2::{Domain, Socket, Type};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use world::{World, text};

/// The last numbers of the flood's addresses.
const FROM: std::ops::RangeInclusive<u8> = 2..=9;

/// Silent connections, and as many slow ones: half of these send a request head byte by byte, half do not read.
const SILENT: usize = 300;
const SLOW: usize = 300;

/// Wrong passwords a second of all addresses together.
const LOGINS_PER_SECOND: usize = 64;

/// How often a player logs in, and how often the server's liveness is checked.
const LOGIN_EVERY: Duration = Duration::from_millis(2_100);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The window of the server's tick figures.
const TICKS_WINDOW: Duration = Duration::from_secs(10);

const GOOD: &str = r#"{"user":"good-pilot","password":"correct horse battery"}"#;

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// A connection from 127.0.0.`number` with a small receive buffer.
fn connect(to: SocketAddr, number: u8) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(16 * 1024)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, number), 0)).into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(30))?;
    Ok(socket.into())
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Sends a request from 127.0.0.1 over a connection of its own: the status (0 without an answer), and its time, ms.
fn ask(to: SocketAddr, request: &str) -> (u16, f64) {
    let begun = Instant::now();
    let answer = connect(to, 1).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(status(&answer))
    });
    (answer.unwrap_or(0), begun.elapsed().as_secs_f64() * 1e3)
}

fn status(answer: &[u8]) -> u16 {
    let digits = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0)
}

/// The flood, as long as this lives.
struct Flood {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<BTreeMap<u16, u64>>>,
}

impl Flood {
    fn start(to: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let count = FROM.count();
        for number in FROM {
            let stopped = stop.clone();
            threads.push(std::thread::spawn(move || hold_places(to, number, count, &stopped)));
            let stopped = stop.clone();
            threads.push(std::thread::spawn(move || guess(to, number, count, &stopped)));
        }
        Self { stop, threads }
    }

    /// The answers to its logins, by status.
    fn end(self) -> BTreeMap<u16, u64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for thread in self.threads {
            for (status, count) in thread.join().expect("no panic") {
                *all.entry(status).or_default() += count;
            }
        }
        all
    }
}

/// Keeps this address's share of the connections open, and replaces each one that is closed.
fn hold_places(to: SocketAddr, number: u8, of: usize, stop: &AtomicBool) -> BTreeMap<u16, u64> {
    let mut held: Vec<Option<TcpStream>> = Vec::new();
    held.resize_with((SILENT + SLOW) / of, || None);
    while !stop.load(Ordering::Relaxed) {
        for (index, place) in held.iter_mut().enumerate() {
            if place.as_mut().is_none_or(|stream| is_closed(stream)) {
                let opened = connect(to, number).and_then(|mut stream| {
                    stream.set_nonblocking(true)?;
                    match index % 4 {
                        0 => stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ")?,
                        1 => stream.write_all(b"GET /large.wasm HTTP/1.1\r\nhost: x\r\n\r\n")?,
                        _ => {}
                    }
                    Ok(stream)
                });
                *place = opened.ok();
            } else if index % 4 == 0
                && let Some(stream) = place
            {
                let _ = stream.write(b"x");
            }
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    BTreeMap::new()
}

/// Checks without reading: a connection that does not read must not start to.
fn is_closed(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Wrong passwords at this address's share of the rate, whatever the answers: every other one for the good player.
fn guess(to: SocketAddr, number: u8, of: usize, stop: &AtomicBool) -> BTreeMap<u16, u64> {
    let mut statuses = BTreeMap::new();
    let mut waiting = VecDeque::new();
    let every = Duration::from_secs(1).mul_f64(of as f64 / LOGINS_PER_SECOND as f64);
    let begun = Instant::now();
    for count in 0u32.. {
        std::thread::sleep((begun + every * count).saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let user = if count % 2 == 0 { "good-pilot".to_owned() } else { format!("guess-{number}-{count}") };
        let body = format!(r#"{{"user":"{user}","password":"wrong {count:08}"}}"#);
        let opened = connect(to, number).and_then(|mut stream| {
            stream.write_all(post("/api/login", &body).as_bytes())?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => waiting.push_back(stream),
            Err(_) => *statuses.entry(0).or_default() += 1,
        }
        // At most some seconds' worth, so that a missing answer blocks nothing.
        while let Some(stream) = waiting.front_mut() {
            let mut answer = [0; 12];
            match stream.read(&mut answer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && waiting.len() < 100 => break,
                read => *statuses.entry(read.map_or(0, |read| status(&answer[..read]))).or_default() += 1,
            }
            waiting.pop_front();
        }
    }
    statuses
}

/// The measurements of a period.
#[derive(Default)]
struct Figures {
    logins_ms: Vec<f64>,
    live_ms: Vec<f64>,
    watch_ms: Vec<f64>,
    /// Of each window.
    tick_p50_ms: Vec<f64>,
    tick_p99_ms: Vec<f64>,
    most_connections: f64,
}

fn at(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

impl Figures {
    fn measure(world: &World, time: Duration) -> Self {
        let (http, operations) = (world.server.http_addr, world.server.ops_addr);
        let done = Arc::new(AtomicBool::new(false));
        let looks = |to: SocketAddr| {
            let done = done.clone();
            std::thread::spawn(move || {
                let mut taken = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let (status, ms) = ask(to, "GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
                    assert_eq!(status, 200, "/live at {to}");
                    taken.push(ms);
                    std::thread::sleep(LOOK_EVERY);
                }
                taken
            })
        };
        let looking = [looks(http), looks(operations)];
        let mut figures = Self::default();
        let begun = Instant::now();
        // The server's tick figures are those of the last window.
        let mut next_window = begun + TICKS_WINDOW;
        while begun.elapsed() < time {
            let (status, ms) = ask(http, &post("/api/login", GOOD));
            assert_eq!(status, 200, "a good log in");
            figures.logins_ms.push(ms);
            if Instant::now() >= next_window {
                next_window += TICKS_WINDOW;
                figures.tick_p50_ms.push(world.server.figure("sidereal_tick_ms_p50"));
                figures.tick_p99_ms.push(world.server.figure("sidereal_tick_ms_p99"));
            }
            let connections = world.server.figure("sidereal_http_connections");
            figures.most_connections = figures.most_connections.max(connections);
            std::thread::sleep(LOGIN_EVERY);
        }
        done.store(true, Ordering::Relaxed);
        let [live, watch] = looking.map(|thread| thread.join().expect("all were answered"));
        Self { live_ms: live, watch_ms: watch, ..figures }
    }

    fn print(&self, what: &str) {
        let three = |values: &[f64]| {
            format!("{:.1} / {:.1} / {:.1} ms of {}", at(values, 0.5), at(values, 0.99), at(values, 1.0), values.len())
        };
        println!(
            "{what}: a good log in p50/p99/max {}; /live {}; the same at operations {}; tick p50 {:.3} ms, p99 {:.3} ms \
             (windows {:.3?}); at most {} connections",
            three(&self.logins_ms),
            three(&self.live_ms),
            three(&self.watch_ms),
            at(&self.tick_p50_ms, 0.5),
            at(&self.tick_p99_ms, 0.5),
            self.tick_p99_ms,
            self.most_connections
        );
    }
}

#[test]
#[ignore = "figures by hand: minutes of load"]
fn a_flood_over_http_costs_the_others_little() {
    let seconds = Duration::from_secs(setting("SIDEREAL_LOAD_SECONDS", 30));
    let bots = u32::try_from(setting("SIDEREAL_BOTS", 16)).expect("some");
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let web = folder.path().join("web");
    std::fs::create_dir(&web).expect("a folder");
    std::fs::write(web.join("index.html"), "<!doctype html>").expect("writable");
    std::fs::write(web.join("large.wasm"), vec![7; 8 << 20]).expect("writable");
    // The default rate limit: the other tests use another one.
    let mut world = World::start_with(folder, 2, &[("--web-dir", &text(&web)), ("--rate-limit-login", "30")]);
    assert_eq!(ask(world.server.http_addr, &post("/api/register", GOOD)).0, 201);
    let mut playing = world.bots(bots);
    world.play_on(bots, 10);

    let mut all = [Figures::default(), Figures::default()];
    for round in 1..=2 {
        for (flooded, figures) in [false, true].into_iter().zip(&mut all) {
            let flood = flooded.then(|| Flood::start(world.server.http_addr));
            // Then the window of the ticks contains only this phase.
            std::thread::sleep(TICKS_WINDOW);
            let measured = Figures::measure(&world, seconds);
            measured.print(&format!("{} {round}", if flooded { "flooded" } else { "calm" }));
            if let Some(flood) = flood {
                println!("    the flood's log ins by status: {:?}", flood.end());
            }
            figures.logins_ms.extend(&measured.logins_ms);
            figures.live_ms.extend(&measured.live_ms);
            figures.watch_ms.extend(&measured.watch_ms);
            figures.tick_p50_ms.extend(&measured.tick_p50_ms);
            figures.tick_p99_ms.extend(&measured.tick_p99_ms);
            figures.most_connections = figures.most_connections.max(measured.most_connections);
            playing.listen();
            world.is_well();
        }
    }
    for (what, figures) in ["calm", "flooded"].into_iter().zip(&all) {
        figures.print(what);
    }
    let [calm, flooded] = &all;
    println!("flooded to calm: tick p99 {:.2}", at(&flooded.tick_p99_ms, 0.5) / at(&calm.tick_p99_ms, 0.5));
    for name in ["gave_way", "refused", "cut_off"] {
        println!("connections {name}: {}", world.server.metric(&format!("sidereal_http_connections_{name}_total")));
    }
    playing.noticed_nothing();
    world.stop();
}
