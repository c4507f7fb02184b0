//! A proxy to a PostgreSQL server that can be slowed down: every answer then takes a multiple of its time.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

#[derive(Default)]
struct Shared {
    times: AtomicU32,
    ended: AtomicBool,
    /// How long answers took to arrive.
    answers: Mutex<Vec<Duration>>,
}

/// Listens on a free port of this machine; connections are forwarded to a Unix socket.
pub struct Way {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Way {
    pub fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared { times: AtomicU32::new(1), ..Shared::default() });
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                for client in listener.incoming().map_while(Result::ok) {
                    if shared.ended.load(Ordering::Relaxed) {
                        return;
                    }
                    // If nothing listens, the client's connection is closed.
                    let _ = pass_on(client, &socket, &shared);
                }
            }
        });
        Self { addr, shared, thread: Some(thread) }
    }

    /// From now on an answer takes this multiple of its time.
    pub fn slow_down(&self, times: u32) {
        self.shared.times.store(times, Ordering::Relaxed);
    }

    /// How long an answer took since the last call: median and mean, milliseconds.
    pub fn answers_ms(&self) -> (f64, f64) {
        let mut all = std::mem::take(&mut *self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner));
        all.sort_unstable();
        let sum: Duration = all.iter().sum();
        let median = all.get(all.len() / 2).copied().unwrap_or_default();
        (median.as_secs_f64() * 1e3, sum.as_secs_f64() * 1e3 / all.len().max(1) as f64)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes it.
        drop(TcpStream::connect(self.addr));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts two threads, which end when either side closes.
fn pass_on(client: TcpStream, socket: &Path, shared: &Arc<Shared>) -> std::io::Result<()> {
    let server = UnixStream::connect(socket)?;
    client.set_nodelay(true)?;
    let asked = Arc::new(Mutex::new(None));
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn({
        let asked = asked.clone();
        move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = from_client.read(&mut buffer) {
                *asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                if to_server.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            let _ = to_server.shutdown(Shutdown::Both);
        }
    });
    let (mut from_server, mut to_client, shared) = (server, client, shared.clone());
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer) {
            // The rest of an answer comes with its beginning.
            let begun: Option<Instant> = asked.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(begun) = begun {
                std::thread::sleep(begun.elapsed() * (shared.times.load(Ordering::Relaxed) - 1));
                shared.answers.lock().unwrap_or_else(PoisonError::into_inner).push(begun.elapsed());
            }
            if to_client.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
    Ok(())
}
