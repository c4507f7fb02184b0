//! All connections of a listener, and QUIC's endpoint that assigns packets to them. Runs on the network thread; the
//! socket is the loop's.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, EndpointEvent, Incoming, ServerConfig, Transmit,
};
use quinn_udp::RecvMeta;
use sidereal_process::crash::{contain, fault_point};

use super::desk::Desk;
use super::peer::Peer;
use super::timers::Timers;
use crate::network::link::FAILED;
use crate::server::door::Verdict;
use crate::session::Session;
use crate::session::ending::{EndCause, SessionEnd};
use crate::session::hub::Parcel;
use crate::session::wire::OutDatagram;

/// A packet, or a batch of one connection's packets, that is ready for the socket.
pub(super) struct Outgoing {
    pub(super) transmit: Transmit,
    pub(super) contents: Vec<u8>,
}

pub(super) struct Connections {
    pub(super) desk: Desk,
    endpoint: Endpoint,
    /// By QUIC's handles, which are small numbers.
    peers: Vec<Option<Box<Peer>>>,
    timers: Timers,
    /// Connections with something to do, each once.
    queue: Vec<usize>,
    /// Packets of the endpoint itself (retries, refusals); sent after each batch of packets.
    pub(super) answers: Vec<Outgoing>,
    is_closing: bool,
    /// Buffers that are used again.
    due: Vec<usize>,
    datagrams: Vec<OutDatagram>,
    parcels: Vec<Parcel<Session>>,
}

impl Connections {
    pub(super) fn new(desk: Desk, config: Arc<ServerConfig>, may_fragment: bool) -> Self {
        let endpoint = Endpoint::new(Arc::default(), Some(config), !may_fragment, None);
        Self {
            desk,
            endpoint,
            peers: Vec::new(),
            timers: Timers::default(),
            queue: Vec::new(),
            answers: Vec::new(),
            is_closing: false,
            due: Vec::new(),
            datagrams: Vec::new(),
            parcels: Vec::new(),
        }
    }

    fn peer(&mut self, slot: usize) -> Option<&mut Peer> {
        self.peers.get_mut(slot)?.as_deref_mut()
    }

    fn enqueue(&mut self, slot: usize) {
        if let Some(peer) = self.peer(slot)
            && !std::mem::replace(&mut peer.is_queued, true)
        {
            self.queue.push(slot);
        }
    }

    /// When a connection has to be looked at though nothing arrives.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Whether a connection has something to do now.
    pub(super) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn on_packet(&mut self, meta: &RecvMeta, ecn: Option<EcnCodepoint>, packet: BytesMut) {
        let mut contents = Vec::new();
        let now = self.desk.now;
        match self.endpoint.handle(now, meta.addr, meta.dst_ip, ecn, packet, &mut contents) {
            Some(DatagramEvent::ConnectionEvent(ConnectionHandle(slot), event)) => {
                let Some(peer) = self.peer(slot) else { return };
                // It decrypts the packet, and reads its frames.
                match contain(|| peer.quic.handle_event(event)) {
                    Ok(()) => self.enqueue(slot),
                    Err(panicked) => self.fail(slot, &panicked),
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.on_incoming(incoming, contents),
            Some(DatagramEvent::Response(transmit)) => self.answers.push(Outgoing { transmit, contents }),
            None => {}
        }
    }

    fn on_incoming(&mut self, incoming: Incoming, mut contents: Vec<u8>) {
        fault_point("accept");
        if self.is_closing {
            return self.endpoint.ignore(incoming);
        }
        contents.clear();
        let ip = incoming.remote_address().ip();
        match self.desk.judge(ip, incoming.remote_address_validated()) {
            Verdict::Serve => self.accept(incoming, contents),
            Verdict::Retry => match self.endpoint.retry(incoming, &mut contents) {
                Ok(transmit) => self.answers.push(Outgoing { transmit, contents }),
                Err(error) => self.endpoint.ignore(error.into_incoming()),
            },
            Verdict::Ignore(_) => self.endpoint.ignore(incoming),
            Verdict::Refuse(_) => {
                let transmit = self.endpoint.refuse(incoming, &mut contents);
                self.answers.push(Outgoing { transmit, contents });
            }
        }
    }

    fn accept(&mut self, incoming: Incoming, mut contents: Vec<u8>) {
        let ip = incoming.remote_address().ip();
        match self.endpoint.accept(incoming, self.desk.now, &mut contents, None) {
            Ok((ConnectionHandle(slot), quic)) => {
                if slot >= self.peers.len() {
                    self.peers.resize_with(slot + 1, || None);
                }
                self.peers[slot] = Some(Box::new(Peer::new(quic, slot, &self.desk)));
                self.enqueue(slot);
            }
            Err(error) => {
                self.desk.registry.admission.failed_handshake.one();
                self.desk.settle();
                self.desk.leave(ip);
                if let Some(transmit) = error.response {
                    self.answers.push(Outgoing { transmit, contents });
                }
            }
        }
    }

    /// Queues the connections whose deadlines have come.
    pub(super) fn check_deadlines(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.timers.take_due(self.desk.now, &mut due);
        for slot in due.drain(..) {
            self.enqueue(slot);
        }
        self.due = due;
    }

    /// Runs the state machines of all queued connections.
    pub(super) fn step(&mut self) {
        for at in 0..self.queue.len() {
            let slot = self.queue[at];
            let (desk, peers) = (&mut self.desk, &mut self.peers);
            let Some(peer) = peers.get_mut(slot).and_then(Option::as_deref_mut) else { continue };
            match contain(|| peer.step(desk)) {
                Ok(()) if peer.is_over() => self.forget(slot),
                Ok(()) => {}
                Err(panicked) => self.fail(slot, &panicked),
            }
        }
    }

    /// Passes what the main loop has queued to QUIC.
    pub(super) fn take_output(&mut self) {
        let hub = self.desk.hub().clone();
        let mut datagrams = std::mem::take(&mut self.datagrams);
        for session in hub.take_dirty() {
            let has_stream_output = session.take_datagrams(&mut datagrams);
            self.with_peer_of(&session, |peer, desk| peer.on_output(&mut datagrams, has_stream_output, desk));
            datagrams.clear();
        }
        self.datagrams = datagrams;
        let mut parcels = std::mem::take(&mut self.parcels);
        hub.take_parcels(&mut parcels);
        let (mut sent, mut bytes) = (0, 0);
        for Parcel { session, datagrams, count } in parcels.drain(..) {
            let datagrams: &[Bytes] = &datagrams[..count.min(datagrams.len())];
            self.with_peer_of(&session, |peer, desk| {
                let (number, size) = peer.send_shared(datagrams, desk);
                sent += number;
                bytes += size;
            });
        }
        self.parcels = parcels;
        hub.counters.lane_sent.add(sent);
        hub.counters.lane_bytes_sent.add(bytes);
    }

    /// Calls `f` for the connection of a session, if it still has one.
    fn with_peer_of(&mut self, session: &Arc<Session>, f: impl FnOnce(&mut Peer, &mut Desk)) {
        let Some(slot) = session.path.get().map(|path| path.slot) else { return };
        let (desk, peers) = (&mut self.desk, &mut self.peers);
        let Some(peer) = peers.get_mut(slot).and_then(Option::as_deref_mut) else { return };
        if !peer.session.as_ref().is_some_and(|own| Arc::ptr_eq(own, session)) {
            return;
        }
        match contain(|| f(peer, desk)) {
            Ok(()) => self.enqueue(slot),
            Err(panicked) => self.fail(slot, &panicked),
        }
    }

    /// Lets all queued connections send: `send` passes packets to the socket, and returns false if it takes none now.
    /// Those that could not send everything stay queued.
    pub(super) fn transmit(
        &mut self,
        segments: usize,
        buffer: &mut Vec<u8>,
        mut send: impl FnMut(&Transmit, &[u8]) -> bool,
    ) {
        let mut queue = std::mem::take(&mut self.queue);
        let mut done = 0;
        let mut is_blocked = false;
        while done < queue.len() && !is_blocked {
            let slot = queue[done];
            is_blocked = !self.transmit_of(slot, segments, buffer, &mut send);
            done += 1;
            if is_blocked {
                self.enqueue(slot);
            }
        }
        queue.drain(..done);
        // Others may have been queued meanwhile.
        queue.append(&mut self.queue);
        self.queue = queue;
    }

    fn transmit_of(
        &mut self,
        slot: usize,
        segments: usize,
        buffer: &mut Vec<u8>,
        send: &mut impl FnMut(&Transmit, &[u8]) -> bool,
    ) -> bool {
        self.pass_events(slot);
        let now = self.desk.now;
        let Some(peer) = self.peer(slot) else { return true };
        peer.is_queued = false;
        let sent = contain(|| {
            loop {
                buffer.clear();
                let Some(transmit) = peer.quic.poll_transmit(now, segments, buffer) else { return true };
                // Until QUIC has nothing more: a batch may end early, and only its empty answer tells its congestion
                // control that the window was not used up.
                if !send(&transmit, buffer) {
                    return false;
                }
            }
        });
        match sent {
            Ok(is_sent) => {
                let deadline = peer.next_deadline();
                self.timers.set(slot, deadline);
                is_sent
            }
            Err(panicked) => {
                self.fail(slot, &panicked);
                true
            }
        }
    }

    /// Exchanges what the endpoint and a connection have for each other. Removes the connection once it is over.
    fn pass_events(&mut self, slot: usize) {
        loop {
            let Some(peer) = self.peers.get_mut(slot).and_then(Option::as_deref_mut) else { return };
            let Some(event) = peer.quic.poll_endpoint_events() else { return };
            let is_drained = event.is_drained();
            if let Some(answer) = self.endpoint.handle_event(ConnectionHandle(slot), event) {
                peer.quic.handle_event(answer);
            }
            if is_drained {
                self.remove(slot);
            }
        }
    }

    fn remove(&mut self, slot: usize) {
        self.timers.set(slot, None);
        self.peers[slot] = None;
    }

    /// A panic in one connection's own code ends this connection and nothing else.
    fn fail(&mut self, slot: usize, panicked: &sidereal_process::crash::Panicked) {
        let (desk, peers) = (&mut self.desk, &mut self.peers);
        let Some(peer) = peers.get_mut(slot).and_then(Option::as_deref_mut) else { return };
        tracing::error!(remote = %peer.remote(), %panicked, "a session's part");
        let is_closed = !peer.has_ended() && contain(|| peer.fail(desk)).is_ok();
        if is_closed {
            self.enqueue(slot);
        } else {
            // It fails even at its end: it is forgotten.
            let _ = contain(|| peer.finish(SessionEnd::new(EndCause::Failed, FAILED), desk));
            self.forget(slot);
        }
    }

    /// Removes a connection that QUIC still has.
    fn forget(&mut self, slot: usize) {
        self.endpoint.handle_event(ConnectionHandle(slot), EndpointEvent::drained());
        self.remove(slot);
    }

    /// From now on nobody is let in. Connections without a session end at once.
    pub(super) fn begin_closing(&mut self) {
        self.is_closing = true;
        self.cut_off(|peer| peer.session.is_none());
    }

    /// Ends the connections for which `is_meant` returns true. Returns their number.
    pub(super) fn cut_off(&mut self, is_meant: impl Fn(&Peer) -> bool) -> usize {
        let mut count = 0;
        for slot in 0..self.peers.len() {
            let (desk, peers) = (&mut self.desk, &mut self.peers);
            let Some(peer) = peers[slot].as_deref_mut() else { continue };
            if !peer.has_ended() && is_meant(peer) {
                count += 1;
                match contain(|| peer.cut_off(desk)) {
                    Ok(()) => self.enqueue(slot),
                    Err(panicked) => self.fail(slot, &panicked),
                }
            }
        }
        count
    }

    /// Whether every connection has ended.
    pub(super) fn have_all_ended(&self) -> bool {
        self.peers.iter().flatten().all(|peer| peer.has_ended())
    }

    /// Whether QUIC has nothing more to answer either.
    pub(super) fn are_all_gone(&self) -> bool {
        self.peers.iter().all(Option::is_none)
    }
}
