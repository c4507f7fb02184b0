//! An in-memory network for tests: the same handles as the real one, with seeded faults and a clock that the test
//! moves. There is no thread and no wall clock.
//!
//! Packets leave with `flush` and arrive with [`MemoryNetwork::advance`]. Every link has a random sequence of its own
//! for each direction, derived from the network's seed and the link's number: the same seed and the same sends give the
//! same faults, whatever happens on other links. A link has the network's conditions, or its own.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, Weak};

use bytes::{BufMut, Bytes, BytesMut};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::PeerKind;
use crate::client::{self, ClientHandle, ClientSocket};
use crate::limits::Limits;
use crate::server::batch::SHARED_PREFIX;
use crate::server::{self, Registry, ServerHandle, ServerSocket};
use crate::session::ending::{EndCause, SessionEnd};
use crate::session::hub::{Parcel, lock};
use crate::session::wire::{AuthReply, AuthRequest, FrameWay, OutFrame};
use crate::session::{End, Hub, Next, Session};

/// The faults of a link, in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkConditions {
    /// The least delay in one direction.
    pub latency_ms: u32,
    /// The most additional delay, evenly distributed.
    pub jitter_ms: u32,
    /// Share of datagrams that are lost, 0 to 1. A lost stream frame arrives late by a retransmission.
    pub loss: f64,
    /// Share of datagrams that arrive twice, 0 to 1.
    pub duplication: f64,
    /// Share of datagrams that later ones may overtake, 0 to 1. The others keep their order.
    pub reordering: f64,
}

/// Bytes of stream frames on the way in one direction of a link: what QUIC's flow control would allow.
const STREAM_WINDOW_BYTES: usize = 4 << 20;
/// The shortest time after which QUIC retransmits.
const MIN_RETRANSMIT_MS: u64 = 20;
/// The least additional delay of a datagram that is to be overtaken.
const REORDER_MS: u64 = 10;

/// An in-memory network. Cheap to clone; all clones are the same network. See the [module](self).
#[derive(Clone)]
pub struct MemoryNetwork {
    shared: Arc<Mutex<Net>>,
}

struct Net {
    seed: u64,
    now_ms: u64,
    conditions: LinkConditions,
    limits: Limits,
    server: Option<Weak<Registry>>,
    links: Vec<Link>,
    datagrams: BinaryHeap<Reverse<InFlight>>,
    next_sequence: u64,
}

struct Link {
    client: Arc<Session>,
    server: Option<Arc<Session>>,
    kind: PeerKind,
    protocol_version: u32,
    /// Its own conditions; `None`: the network's.
    conditions: Option<LinkConditions>,
    up: Direction,
    down: Direction,
    /// What each datagram of a hostile client is replaced by.
    tamper: Option<Tamper>,
    cut_since: Option<u64>,
    over: bool,
}

/// Turns one datagram into none, one or several.
type Tamper = Box<dyn FnMut(&[u8]) -> Vec<Vec<u8>> + Send>;

/// One direction of a link.
struct Direction {
    random: Pcg64Mcg,
    last_datagram_due: u64,
    last_frame_due: u64,
    frames: VecDeque<(u64, StreamItem)>,
    frame_bytes: usize,
    /// The sender was flushed, and may have more than the window allows.
    flushed: bool,
}

enum StreamItem {
    Auth(Bytes),
    Reply(AuthReply),
    Frame(OutFrame),
    Close(SessionEnd),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct InFlight {
    due_ms: u64,
    sequence: u64,
    link: usize,
    to_server: bool,
    datagram: Bytes,
}

impl Direction {
    fn new(seed: u64, link: usize, up: bool) -> Self {
        // Two streams of the generator always differ; the multiplier only spreads small seeds.
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(2 * link as u64 + u64::from(up));
        Self {
            random: Pcg64Mcg::seed_from_u64(mixed),
            last_datagram_due: 0,
            last_frame_due: 0,
            frames: VecDeque::new(),
            frame_bytes: 0,
            flushed: false,
        }
    }

    fn delay(&mut self, conditions: &LinkConditions) -> u64 {
        u64::from(conditions.latency_ms) + self.random.random_range(0..=u64::from(conditions.jitter_ms))
    }

    fn chance(&mut self, share: f64) -> bool {
        self.random.random_bool(share.clamp(0.0, 1.0))
    }

    /// The arrival times of the copies of a datagram that is sent now: none, one or two.
    fn datagram_dues(&mut self, now_ms: u64, conditions: &LinkConditions) -> impl Iterator<Item = u64> + use<> {
        let lost = self.chance(conditions.loss);
        let twice = self.chance(conditions.duplication);
        let late = self.chance(conditions.reordering);
        let mut due = now_ms + self.delay(conditions);
        if late {
            due += REORDER_MS + u64::from(conditions.latency_ms / 2 + conditions.jitter_ms);
        } else {
            due = due.max(self.last_datagram_due);
            self.last_datagram_due = due;
        }
        let again = now_ms + REORDER_MS + self.delay(conditions);
        (!lost).then_some(due).into_iter().chain(twice.then_some(again))
    }

    /// The arrival time of a stream frame that is sent now: always, in order, later by its losses.
    fn frame_due(&mut self, now_ms: u64, conditions: &LinkConditions) -> u64 {
        let mut due = now_ms + self.delay(conditions);
        let retransmit = MIN_RETRANSMIT_MS + 2 * u64::from(conditions.latency_ms + conditions.jitter_ms);
        // Half a minute of consecutive losses is the end: the link is then as good as cut.
        let loss = conditions.loss.min(0.99);
        while self.chance(loss) && due < now_ms + 30_000 {
            due += retransmit;
        }
        self.last_frame_due = due.max(self.last_frame_due);
        self.last_frame_due
    }

    fn push(&mut self, now_ms: u64, conditions: &LinkConditions, item: StreamItem) {
        let due = self.frame_due(now_ms, conditions);
        if let StreamItem::Frame(frame) = &item {
            self.frame_bytes += frame.payload.len();
        }
        self.frames.push_back((due, item));
    }
}

impl MemoryNetwork {
    /// A network at time 0 with these conditions on every link.
    pub fn new(seed: u64, conditions: LinkConditions) -> Self {
        Self::with_limits(seed, conditions, Limits::default())
    }

    /// The same with other limits.
    pub fn with_limits(seed: u64, conditions: LinkConditions, limits: Limits) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Net {
                seed,
                now_ms: 0,
                conditions,
                limits,
                server: None,
                links: Vec::new(),
                datagrams: BinaryHeap::new(),
                next_sequence: 0,
            })),
        }
    }

    /// The network's server, with a listener for each kind. A second call makes a new server in place of the old one,
    /// as after a restart. When all handles of a server are dropped, its links end without a goodbye;
    /// [`ServerHandle::shutdown`] ends them cleanly before that.
    pub fn server(&self, protocol_version: u32) -> (ServerHandle, ServerSocket) {
        let mut net = lock(&self.shared);
        let registry = Registry::new(&net.limits, protocol_version, 1);
        net.server = Some(Arc::downgrade(&registry));
        let backend = Box::new(ServerEnd { net: self.shared.clone(), registry: registry.clone() });
        ServerHandle::new(server::Core { registry, backend, gate: Default::default() })
    }

    /// A client that connects when naia's `Client::connect` gets its socket. Its link has the network's conditions.
    pub fn connector(&self, kind: PeerKind, protocol_version: u32) -> (ClientHandle, ClientSocket) {
        self.connect_over(kind, protocol_version, None)
    }

    /// The same over a link with its own conditions, which the network's do not change.
    pub fn connector_with(
        &self,
        kind: PeerKind,
        protocol_version: u32,
        conditions: LinkConditions,
    ) -> (ClientHandle, ClientSocket) {
        self.connect_over(kind, protocol_version, Some(conditions))
    }

    fn connect_over(
        &self,
        kind: PeerKind,
        protocol_version: u32,
        conditions: Option<LinkConditions>,
    ) -> (ClientHandle, ClientSocket) {
        let mut net = lock(&self.shared);
        let index = net.links.len();
        let port = u16::try_from(index % 60_000).expect("under 60,000") + 1;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let session = Session::new(Hub::new(net.limits.clone()), End::Client, kind, address);
        let seed = net.seed;
        net.links.push(Link {
            client: session.clone(),
            server: None,
            kind,
            protocol_version,
            conditions,
            up: Direction::new(seed, index, true),
            down: Direction::new(seed, index, false),
            tamper: None,
            cut_since: None,
            over: false,
        });
        let _ = session.memory_link.set(index);
        let backend = Box::new(ClientEnd { net: self.shared.clone(), session: session.clone(), link: index });
        ClientHandle::new(client::Core { session, server_addr: address, backend })
    }

    /// The network's time.
    pub fn now_ms(&self) -> u64 {
        lock(&self.shared).now_ms
    }

    /// Moves the time forward to `now_ms` and delivers what is due by then. Never backward.
    pub fn advance(&self, now_ms: u64) {
        lock(&self.shared).advance(now_ms);
    }

    /// Changes the conditions of every link that has none of its own, for later sends.
    pub fn set_conditions(&self, conditions: LinkConditions) {
        lock(&self.shared).conditions = conditions;
    }

    /// Gives a client's link its own conditions, for later sends. `None` gives it the network's again.
    pub fn set_conditions_of(&self, client: &ClientHandle, conditions: impl Into<Option<LinkConditions>>) {
        if let Some(link) = lock(&self.shared).link_of(client) {
            link.conditions = conditions.into();
        }
    }

    /// Makes a client hostile: from now on `tamper` replaces each of its datagrams, including the prefix.
    pub fn tamper(&self, client: &ClientHandle, tamper: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) {
        if let Some(link) = lock(&self.shared).link_of(client) {
            link.tamper = Some(Box::new(tamper));
        }
    }

    /// Cuts a client's link without a goodbye: datagrams are lost, stream frames wait. Both ends detect it after the
    /// idle timeout.
    pub fn cut(&self, client: &ClientHandle) {
        let mut net = lock(&self.shared);
        let now_ms = net.now_ms;
        if let Some(link) = net.link_of(client) {
            link.cut_since.get_or_insert(now_ms);
        }
    }

    /// Makes a cut link work again, if its ends have not timed out.
    pub fn restore(&self, client: &ClientHandle) {
        if let Some(link) = lock(&self.shared).link_of(client) {
            link.cut_since = None;
        }
    }
}

impl Net {
    fn link_of(&mut self, client: &ClientHandle) -> Option<&mut Link> {
        self.links.get_mut(*client.session().memory_link.get()?)
    }

    /// Sends what the sessions of a hub have queued.
    fn flush(&mut self, hub: &Hub) {
        let mut parcels = Vec::new();
        hub.take_parcels(&mut parcels);
        for Parcel { session, datagrams, count } in parcels {
            for shared in datagrams.iter().take(count) {
                session.send_lane(shared.slice(SHARED_PREFIX.len()..));
            }
        }
        let dirty = hub.take_dirty();
        if !dirty.is_empty() {
            hub.counters.flushes.one();
        }
        let mut datagrams = Vec::new();
        for session in dirty {
            session.take_datagrams(&mut datagrams);
            let Some(&index) = session.memory_link.get().filter(|index| !self.links[**index].over) else {
                datagrams.clear();
                continue;
            };
            let link = &mut self.links[index];
            let conditions = link.conditions.unwrap_or(self.conditions);
            let to_server = session.end == End::Client;
            let direction = if to_server { &mut link.up } else { &mut link.down };
            let mut outgoing: Vec<Bytes> = Vec::with_capacity(datagrams.len());
            for datagram in datagrams.drain(..) {
                let mut bytes = BytesMut::with_capacity(1 + datagram.payload.len());
                bytes.put_u8(datagram.prefix);
                bytes.put_slice(&datagram.payload);
                match link.tamper.as_mut().filter(|_| to_server) {
                    Some(tamper) => outgoing.extend(tamper(&bytes).into_iter().map(Bytes::from)),
                    None => outgoing.push(bytes.freeze()),
                }
            }
            for bytes in outgoing {
                for due_ms in direction.datagram_dues(self.now_ms, &conditions) {
                    self.datagrams.push(Reverse(InFlight {
                        due_ms,
                        sequence: self.next_sequence,
                        link: index,
                        to_server,
                        datagram: bytes.clone(),
                    }));
                    self.next_sequence += 1;
                }
            }
            if let Some(reply) = session.take_verdict() {
                direction.push(self.now_ms, &conditions, StreamItem::Reply(reply));
            }
            direction.flushed = true;
            self.fill_stream(index, to_server);
        }
    }

    /// Sends stream frames as far as the window allows.
    fn fill_stream(&mut self, index: usize, to_server: bool) {
        let link = &mut self.links[index];
        let conditions = link.conditions.unwrap_or(self.conditions);
        let (sender, direction) =
            if to_server { (Some(&link.client), &mut link.up) } else { (link.server.as_ref(), &mut link.down) };
        let Some(sender) = sender.filter(|_| direction.flushed) else {
            return;
        };
        while direction.frame_bytes < STREAM_WINDOW_BYTES {
            let item = match sender.next_out() {
                Next::Frame(frame) => StreamItem::Frame(frame),
                Next::Close(close) => StreamItem::Close(close),
                Next::Wait => {
                    direction.flushed = false;
                    return;
                }
            };
            direction.push(self.now_ms, &conditions, item);
        }
    }

    fn connect(&mut self, index: usize, auth: Bytes) {
        let link = &mut self.links[index];
        let conditions = link.conditions.unwrap_or(self.conditions);
        let request = AuthRequest { protocol_version: link.protocol_version, kind: link.kind, auth };
        link.up.push(self.now_ms, &conditions, StreamItem::Auth(request.encode()));
    }

    fn advance(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        while self.datagrams.peek().is_some_and(|Reverse(first)| first.due_ms <= self.now_ms) {
            let Some(Reverse(packet)) = self.datagrams.pop() else { break };
            let link = &self.links[packet.link];
            if link.over || link.cut_since.is_some() {
                continue;
            }
            let receiver = if packet.to_server { link.server.as_ref() } else { Some(&link.client) };
            if let Some(receiver) = receiver {
                receiver.on_datagram(&packet.datagram, self.now_ms);
            }
        }
        for index in 0..self.links.len() {
            if self.links[index].over {
                continue;
            }
            let idle_ms = self.limits.idle_timeout.as_millis() as u64;
            match self.links[index].cut_since {
                Some(since) if self.now_ms >= since + idle_ms => {
                    let reason = format!("nothing arrived from the peer for {} s", idle_ms / 1000);
                    self.end(index, EndCause::Lost, &reason);
                }
                Some(_) => {}
                None => {
                    self.deliver_stream(index, true);
                    self.deliver_stream(index, false);
                }
            }
        }
    }

    /// Delivers the stream items that are due and for which the receiver has room, in order.
    fn deliver_stream(&mut self, index: usize, to_server: bool) {
        loop {
            self.fill_stream(index, to_server);
            let now_ms = self.now_ms;
            let link = &mut self.links[index];
            if link.over {
                return;
            }
            let receiver = if to_server { link.server.clone() } else { Some(link.client.clone()) };
            let direction = if to_server { &mut link.up } else { &mut link.down };
            match direction.frames.front() {
                Some((due_ms, _)) if *due_ms > now_ms => return,
                Some((_, StreamItem::Frame(frame))) => {
                    let has_room = |receiver: &Arc<Session>| match frame.way {
                        FrameWay::Data => receiver.has_stream_room(frame.payload.len()),
                        FrameWay::Naia => receiver.has_naia_room(),
                    };
                    if receiver.as_ref().is_some_and(|receiver| !has_room(receiver)) {
                        return;
                    }
                }
                Some(_) => {}
                None => return,
            }
            let Some((_, item)) = direction.frames.pop_front() else { return };
            match (item, receiver) {
                (StreamItem::Auth(request), _) => self.admit(index, &request),
                (StreamItem::Reply(AuthReply::Accept(token)), Some(client)) => client.on_accepted(token),
                (StreamItem::Reply(AuthReply::Reject(reason)), Some(client)) => {
                    client.on_rejected(&reason);
                    self.end(index, EndCause::Refused, &reason);
                }
                (StreamItem::Frame(frame), Some(receiver)) => {
                    direction.frame_bytes -= frame.payload.len();
                    match frame.way {
                        FrameWay::Data => receiver.on_frame(frame.payload, now_ms),
                        FrameWay::Naia => receiver.on_naia_frame(frame.payload),
                    }
                }
                (StreamItem::Close(close), _) => self.end(index, EndCause::ClosedByPeer, &close.reason),
                (_, None) => {}
            }
        }
    }

    fn admit(&mut self, index: usize, request: &Bytes) {
        let link = &mut self.links[index];
        let Some(registry) = self.server.as_ref().and_then(Weak::upgrade) else {
            link.over = true;
            link.client
                .on_closed(EndCause::Lost, "no server answers in this network; make one with MemoryNetwork::server");
            return;
        };
        let hub = &registry.hubs_of(link.kind)[0];
        match registry.admit(request, link.kind, hub, link.client.address) {
            Ok(session) => {
                let _ = session.memory_link.set(index);
                link.server = Some(session);
            }
            Err(refusal) => {
                let reply = StreamItem::Reply(AuthReply::Reject(refusal.reason().to_owned()));
                let conditions = link.conditions.unwrap_or(self.conditions);
                link.down.push(self.now_ms, &conditions, reply);
            }
        }
    }

    /// A link ends at both ends. For the end that closed it, its own cause takes precedence.
    fn end(&mut self, index: usize, cause: EndCause, reason: &str) {
        let link = &mut self.links[index];
        link.over = true;
        link.client.on_closed(cause, reason);
        if let Some(server) = link.server.take() {
            server.on_closed(cause, reason);
        }
        link.up.frames.clear();
        link.down.frames.clear();
    }
}

struct ServerEnd {
    net: Arc<Mutex<Net>>,
    registry: Arc<Registry>,
}

impl server::Backend for ServerEnd {
    fn local_addrs(&self, kind: PeerKind) -> Vec<SocketAddr> {
        let port = match kind {
            PeerKind::Player => 1,
            PeerKind::Shard => 2,
        };
        vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]
    }

    fn certificate_hash(&self) -> [u8; 32] {
        [0; 32]
    }

    fn flush(&self) {
        for hub in self.registry.hubs() {
            lock(&self.net).flush(hub);
        }
    }

    fn is_running(&self) -> bool {
        let ours = |server: &Weak<Registry>| std::ptr::eq(server.as_ptr(), Arc::as_ptr(&self.registry));
        lock(&self.net).server.as_ref().is_some_and(ours)
    }

    fn shutdown(&self) {
        let mut net = lock(&self.net);
        let ours = |server: &Weak<Registry>| std::ptr::eq(server.as_ptr(), Arc::as_ptr(&self.registry));
        if net.server.as_ref().is_some_and(ours) {
            net.server = None;
        }
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        server::Backend::shutdown(self);
        let mut net = lock(&self.net);
        let now_ms = net.now_ms;
        for link in &mut net.links {
            let ours = |server: &Arc<Session>| self.registry.hubs().iter().any(|hub| Arc::ptr_eq(&server.hub, hub));
            // Closed ones still have their goodbye on the way.
            if link.server.as_ref().is_some_and(|s| ours(s) && s.close_request().is_none()) {
                link.cut_since.get_or_insert(now_ms);
            }
        }
    }
}

struct ClientEnd {
    net: Arc<Mutex<Net>>,
    session: Arc<Session>,
    link: usize,
}

impl client::Backend for ClientEnd {
    fn connect(&self, _session: &Arc<Session>, auth: Bytes) {
        lock(&self.net).connect(self.link, auth);
    }

    fn flush(&self) {
        lock(&self.net).flush(&self.session.hub);
    }
}
