//! The relay: its sockets, a thread that receives and a thread that sends.
//!
//! One thread receives: on the door, to which all peers send, and on one socket per peer, to which the target answers.
//! It puts everything on the [`Line`]. The other thread sleeps until the next datagram is due, and sends it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::conditions::Conditions;
use crate::line::{Line, Way};
use crate::peers::Peers;
use crate::report::{Lateness, Totals};

/// More than the largest UDP datagram.
const LARGEST_DATAGRAM: usize = 1 << 16;

/// Requested buffer size of every socket, so that a burst is not lost while the relay does not run.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Datagrams that are read from one socket before another one has its turn.
const BURST: usize = 64;

/// The shortest sleep of the sending thread. Datagrams that become due during it leave together, late by at most this.
const SHORTEST_SLEEP: Duration = Duration::from_micros(100);

/// How often silent peers are removed.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// A bound address before forwarding begins: arriving datagrams wait.
#[derive(Debug)]
pub struct Door {
    socket: std::net::UdpSocket,
    local_addr: SocketAddr,
}

impl Door {
    /// Binds `listen`; port 0 takes any free one.
    ///
    /// # Errors
    /// The system does not grant the address.
    pub fn open(listen: SocketAddr) -> io::Result<Self> {
        let socket = bind(listen)?;
        let local_addr = socket.local_addr()?;
        Ok(Self { socket, local_addr })
    }

    /// The address that peers send to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // The system may grant less; then a burst loses more.
    let _ = SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = SockRef::from(&socket).set_send_buffer_size(SOCKET_BUFFER_BYTES);
    Ok(socket)
}

/// One waiting datagram.
#[derive(Clone, Debug)]
struct Parcel {
    peer: Arc<Peer>,
    bytes: Arc<[u8]>,
}

/// One peer: its address, and the socket that represents it to the target.
#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    socket: UdpSocket,
}

/// The receiving thread's state of a peer. When it is dropped, no more answers are received.
#[derive(Debug)]
struct Upstream {
    peer: Arc<Peer>,
    answers: AbortHandle,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

#[derive(Debug)]
struct Shared {
    door: UdpSocket,
    target: SocketAddr,
    began: Instant,
    line: Mutex<Line<Parcel>>,
    /// A datagram on the line is due earlier than the previous next one, or the relay ends.
    sooner: Condvar,
    has_ended: AtomicBool,
    /// The buffer of the receiving thread, for one datagram at a time.
    incoming: Mutex<Box<[u8]>>,
    late: Mutex<Lateness>,
    unsent: AtomicU64,
    peers_max: AtomicU64,
    refused: AtomicU64,
}

/// A running relay. Dropping it ends it.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    end: Option<oneshot::Sender<()>>,
    receiving: Option<JoinHandle<io::Result<()>>>,
    sending: Option<JoinHandle<()>>,
}

impl Relay {
    /// Forwards the datagrams that arrive at `door` to `target`, and the answers back, under `conditions` with random
    /// numbers from `seed`.
    ///
    /// # Errors
    /// The system cannot create a thread or an event queue.
    pub fn start(door: Door, target: SocketAddr, conditions: Conditions, seed: u64) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let door = {
            let _context = runtime.enter();
            UdpSocket::from_std(door.socket)?
        };
        let shared = Arc::new(Shared {
            door,
            target,
            began: Instant::now(),
            line: Mutex::new(Line::new(conditions, seed)),
            sooner: Condvar::new(),
            has_ended: AtomicBool::new(false),
            incoming: Mutex::new(vec![0; LARGEST_DATAGRAM].into()),
            late: Mutex::default(),
            unsent: AtomicU64::new(0),
            peers_max: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let (end, ended) = oneshot::channel();
        // Made first: if the second thread cannot be started, dropping this ends the first one.
        let mut relay = Self { shared: Arc::clone(&shared), end: Some(end), receiving: None, sending: None };
        let for_sending = Arc::clone(&shared);
        relay.sending = Some(spawn("send", move || send_when_due(&for_sending))?);
        relay.receiving = Some(spawn("receive", move || {
            runtime.block_on(async {
                tokio::select! {
                    result = receive(shared) => result,
                    _ = ended => Ok(()),
                }
            })
        })?);
        Ok(relay)
    }

    /// The counts so far.
    pub fn totals(&self) -> Totals {
        let shared = &self.shared;
        let line = shared.lock_line();
        Totals {
            to_target: line.counts(Way::ToTarget),
            to_peer: line.counts(Way::ToPeer),
            unsent: shared.unsent.load(Ordering::Relaxed),
            peers_max: shared.peers_max.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            late_us: lock(&shared.late).percentiles(),
        }
    }

    /// Whether it still receives datagrams. If not, [`Relay::stop`] returns the reason.
    pub fn is_running(&self) -> bool {
        self.receiving.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends it. Datagrams on the line are lost.
    ///
    /// # Errors
    /// Why it ended by itself before: the system closed the door's socket.
    pub fn stop(mut self) -> io::Result<Totals> {
        self.end_threads()?;
        Ok(self.totals())
    }

    fn end_threads(&mut self) -> io::Result<()> {
        // Dropping the sender is the signal.
        self.end.take();
        {
            // Under the lock, because the sending thread could otherwise miss it between its check and its sleep.
            let _line = self.shared.lock_line();
            self.shared.has_ended.store(true, Ordering::Relaxed);
            self.shared.sooner.notify_all();
        }
        if let Some(thread) = self.sending.take() {
            thread.join().map_err(|_| io::Error::other("the sending thread panicked"))?;
        }
        let Some(thread) = self.receiving.take() else { return Ok(()) };
        thread.join().map_err(|_| io::Error::other("the receiving thread panicked"))?
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // On drop the result does not matter.
        let _ = self.end_threads();
    }
}

fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn lock_line(&self) -> MutexGuard<'_, Line<Parcel>> {
        lock(&self.line)
    }

    /// Reads with `read` until the socket is empty, or for a burst, and passes each datagram to `take`.
    fn drain<A>(
        &self,
        read: impl Fn(&mut [u8]) -> io::Result<(usize, A)>,
        mut take: impl FnMut(A, Arc<[u8]>, Duration) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut buffer = lock(&self.incoming);
        for _ in 0..BURST {
            match read(&mut buffer) {
                Ok((length, from)) => take(from, buffer[..length].into(), self.began.elapsed())?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_of_the_other_end(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn put_on_line(&self, now: Duration, way: Way, parcel: Parcel) {
        let bytes = parcel.bytes.len();
        let mut line = self.lock_line();
        let next_before = line.next_due();
        line.enter(now, way, parcel, bytes);
        if line.next_due() != next_before {
            self.sooner.notify_one();
        }
    }
}

/// The other end does not (or no longer) listen. The system reports it at the next call; it is no reason to end.
fn is_of_the_other_end(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | ConnectionAborted | Interrupted)
}

async fn receive(shared: Arc<Shared>) -> io::Result<()> {
    let mut peers = Peers::new();
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    loop {
        tokio::select! {
            ready = shared.door.readable() => {
                ready?;
                shared.drain(|buffer| shared.door.try_recv_from(buffer), |from, bytes, now| {
                    take_from_peer(&shared, &mut peers, from, bytes, now);
                    Ok(())
                })?;
            }
            _ = housekeeping.tick() => peers.forget_idle(shared.began.elapsed()),
        }
    }
}

fn take_from_peer(
    shared: &Arc<Shared>,
    peers: &mut Peers<Upstream>,
    from: SocketAddr,
    bytes: Arc<[u8]>,
    now: Duration,
) {
    let known = match peers.heard(from, now, || open_upstream(shared, from)) {
        Ok(known) => known.map(|upstream| Arc::clone(&upstream.peer)),
        Err(error) => {
            tracing::debug!(%error, peer = %from, "no socket for a peer");
            None
        }
    };
    let Some(peer) = known else {
        if shared.refused.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(peer = %from, peers = peers.len(), "no room for another peer: what it sends is dropped");
        }
        return;
    };
    shared.peers_max.fetch_max(peers.len() as u64, Ordering::Relaxed);
    shared.put_on_line(now, Way::ToTarget, Parcel { peer, bytes });
}

/// Opens the socket that represents the peer at `address` to the target, and the task that receives its answers.
fn open_upstream(shared: &Arc<Shared>, address: SocketAddr) -> io::Result<Upstream> {
    let any: SocketAddr = match (shared.target.is_ipv4(), shared.target.ip().is_loopback()) {
        (true, true) => (Ipv4Addr::LOCALHOST, 0).into(),
        (true, false) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        (false, true) => (Ipv6Addr::LOCALHOST, 0).into(),
        (false, false) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = bind(any)?;
    // From now on it receives only the target's datagrams.
    socket.connect(shared.target)?;
    let peer = Arc::new(Peer { address, socket: UdpSocket::from_std(socket)? });
    let (shared, of_peer) = (Arc::clone(shared), Arc::clone(&peer));
    let answers = tokio::spawn(async move {
        if let Err(error) = take_answers(&shared, &of_peer).await {
            tracing::warn!(%error, peer = %of_peer.address, "no more answers for a peer");
        }
    });
    Ok(Upstream { peer, answers: answers.abort_handle() })
}

async fn take_answers(shared: &Shared, peer: &Arc<Peer>) -> io::Result<()> {
    loop {
        peer.socket.readable().await?;
        shared.drain(
            |buffer| peer.socket.try_recv(buffer).map(|length| (length, ())),
            |(), bytes, now| {
                shared.put_on_line(now, Way::ToPeer, Parcel { peer: Arc::clone(peer), bytes });
                Ok(())
            },
        )?;
    }
}

fn send_when_due(shared: &Shared) {
    let mut batch = Vec::with_capacity(BURST);
    let mut line = shared.lock_line();
    while !shared.has_ended.load(Ordering::Relaxed) {
        let now = shared.began.elapsed();
        batch.extend(std::iter::from_fn(|| line.leave(now)).take(BURST));
        if batch.is_empty() {
            line = match line.next_due() {
                Some(due) => {
                    let sleep = due.saturating_sub(now).max(SHORTEST_SLEEP);
                    shared.sooner.wait_timeout(line, sleep).unwrap_or_else(PoisonError::into_inner).0
                }
                None => shared.sooner.wait(line).unwrap_or_else(PoisonError::into_inner),
            };
            continue;
        }
        drop(line);
        for due in batch.drain(..) {
            lock(&shared.late).push(shared.began.elapsed().saturating_sub(due.at));
            let Parcel { peer, bytes } = due.item;
            // Not through the runtime, which would first wait for room.
            let sent = match due.way {
                Way::ToTarget => SockRef::from(&peer.socket).send(&bytes),
                Way::ToPeer => SockRef::from(&shared.door).send_to(&bytes, &peer.address.into()),
            };
            if sent.is_err() {
                shared.unsent.fetch_add(1, Ordering::Relaxed);
            }
        }
        line = shared.lock_line();
    }
}
