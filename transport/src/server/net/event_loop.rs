//! A listener's network thread: one loop over its socket, its connections' deadlines and what the main loop has queued.
//!
//! A round of the loop reads what has arrived, runs the connections that it concerns, passes the main loop's output to
//! QUIC, and then lets every connection that has something to send do so, once. So a tick's datagrams, acknowledgements
//! and stream data of a connection leave together, in as few packets and system calls as QUIC can.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use quinn_proto::{ServerConfig, Transmit};
use sidereal_process::crash::fault_point;

use super::connections::{Connections, Outgoing};
use super::desk::Desk;
use super::socket::{Left, Socket};
use super::wake::NetworkWaker;
use crate::PeerKind;
use crate::session::ending::EndCause;

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);

/// How long a round reads packets, with the batch that it has begun: a flood must not keep the loop from sending.
const MAX_RECEIVE: Duration = Duration::from_millis(1);
/// The least time between two rounds that read packets of players: hundreds of players send at any time, and each wake
/// costs more than a packet. So packets that arrive within this time are read together. The main loop's output does not
/// wait for it.
const PLAYERS_INTERVAL: Duration = Duration::from_millis(1);
/// The same for shards: they are few, and everybody waits for what they send.
const SHARDS_INTERVAL: Duration = Duration::from_micros(200);
/// The longest sleep. Nothing depends on it.
const MAX_SLEEP: Duration = Duration::from_secs(1);
/// How long a closed endpoint answers late packets.
const CLOSED_LINGER: Duration = Duration::from_secs(1);

pub(super) struct EventLoop {
    poll: Poll,
    waker: Arc<NetworkWaker>,
    socket: Socket,
    connections: Connections,
    /// More packets may wait.
    is_readable: bool,
    /// The last round has read packets.
    has_read: bool,
    /// Packets that the socket did not take. Nothing else is sent before them.
    unsent: Option<Outgoing>,
    buffer: Vec<u8>,
    end: End,
}

/// How far the loop is on its way to its end.
#[derive(Clone, Copy)]
enum End {
    Not,
    /// Sessions are closed in order, until this moment.
    Sessions(Instant),
    /// Late packets are answered, until this moment.
    Late(Instant),
    Now,
}

impl EventLoop {
    /// # Errors
    /// The system's, if it has no event queue for the socket.
    pub(super) fn new(socket: std::net::UdpSocket, config: ServerConfig, desk: Desk) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = NetworkWaker::new(mio::Waker::new(poll.registry(), WAKE)?);
        let mut socket = Socket::new(socket)?;
        poll.registry().register(socket.source(), SOCKET, Interest::READABLE)?;
        let connections = Connections::new(desk, Arc::new(config), socket.may_fragment());
        Ok(Self {
            poll,
            waker,
            socket,
            connections,
            is_readable: true,
            has_read: false,
            unsent: None,
            buffer: Vec::new(),
            end: End::Not,
        })
    }

    pub(super) fn waker(&self) -> &Arc<NetworkWaker> {
        &self.waker
    }

    /// Runs until it is stopped. A panic in one connection's code ends that connection. Any other panic ends all of
    /// them, and the process, which logs it ([`sidereal_process::crash`]).
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(8);
        while !matches!(self.end, End::Now) {
            fault_point("net");
            if let Err(error) = self.sleep(&mut events) {
                tracing::error!(%error, "the network's event queue failed");
                break;
            }
            self.waker.rearm();
            self.connections.desk.now = Instant::now();
            self.receive();
            self.connections.check_deadlines();
            self.connections.step();
            self.connections.take_output();
            self.send();
            self.close();
        }
        let desk = &self.connections.desk;
        for session in desk.registry.all() {
            if Arc::ptr_eq(&session.hub, desk.hub()) {
                session.on_closed(EndCause::ClosedHere, "the server ended");
            }
        }
    }

    /// Sleeps until there is something to do.
    fn sleep(&mut self, events: &mut Events) -> io::Result<()> {
        let is_blocked = self.unsent.is_some();
        if self.has_read && !self.is_readable && !is_blocked && !self.connections.is_busy() {
            self.pause();
            self.is_readable = true;
            return Ok(());
        }
        let is_busy = self.is_readable || (self.connections.is_busy() && !is_blocked);
        let timeout = if is_busy {
            Duration::ZERO
        } else {
            let until = |at: Instant| at.saturating_duration_since(Instant::now());
            let deadline = self.connections.next_deadline().map_or(MAX_SLEEP, until);
            match self.end {
                End::Sessions(at) | End::Late(at) => deadline.min(until(at)).min(MAX_SLEEP),
                End::Not | End::Now => deadline.min(MAX_SLEEP),
            }
        };
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            polled => polled?,
        }
        let is_of_packets =
            |event: &mio::event::Event| event.token() == SOCKET && (event.is_readable() || event.is_error());
        self.is_readable |= events.iter().any(is_of_packets);
        Ok(())
    }

    /// Sleeps until packets may be read again.
    fn pause(&self) {
        let interval = match self.connections.desk.kind {
            PeerKind::Player => PLAYERS_INTERVAL,
            PeerKind::Shard => SHARDS_INTERVAL,
        };
        let begun = self.connections.desk.now;
        let until = self.connections.next_deadline().map_or(begun + interval, |at| at.min(begun + interval));
        let left = until.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            self.waker.park(left);
        }
    }

    fn receive(&mut self) {
        self.has_read = false;
        while self.is_readable && self.connections.desk.now.elapsed() < MAX_RECEIVE {
            let (connections, has_read) = (&mut self.connections, &mut self.has_read);
            let left = self.socket.receive(|meta, ecn, packet| {
                *has_read = true;
                connections.on_packet(meta, ecn, packet);
            });
            self.is_readable = left == Left::More;
            // It is read again after a pause.
            self.has_read |= left == Left::Failed;
            for Outgoing { transmit, contents } in self.connections.answers.drain(..) {
                // One that the socket does not take is lost like any packet.
                self.socket.send(&transmit, &contents);
            }
        }
    }

    fn send(&mut self) {
        let was_blocked = self.unsent.is_some();
        self.send_all();
        let is_blocked = self.unsent.is_some();
        // Asked for always, the event queue would report every packet that has left.
        if is_blocked != was_blocked {
            let interest = if is_blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            if let Err(error) = self.poll.registry().reregister(self.socket.source(), SOCKET, interest) {
                tracing::error!(%error, "the network's event queue failed");
            }
        }
    }

    fn send_all(&mut self) {
        if let Some(Outgoing { transmit, contents }) = &self.unsent {
            if !self.socket.send(transmit, contents) {
                return;
            }
            self.unsent = None;
        }
        let (socket, unsent) = (&self.socket, &mut self.unsent);
        let send = |transmit: &Transmit, contents: &[u8]| {
            let is_sent = socket.send(transmit, contents);
            if !is_sent {
                *unsent = Some(Outgoing { transmit: copy_of(transmit), contents: contents[..transmit.size].to_vec() });
            }
            is_sent
        };
        self.connections.transmit(socket.max_segments(), &mut self.buffer, send);
    }

    /// Goes on with the end as far as possible, if the loop is to end.
    fn close(&mut self) {
        let now = self.connections.desk.now;
        if matches!(self.end, End::Not) && self.waker.is_stopped() {
            self.end = End::Sessions(now + self.connections.desk.limits().drain_deadline);
            self.connections.begin_closing();
        }
        if let End::Sessions(deadline) = self.end {
            if now >= deadline {
                let left = self.connections.cut_off(|_| true);
                if left > 0 {
                    tracing::warn!(left, "sessions did not end in time and are cut off");
                }
            }
            if self.connections.have_all_ended() {
                self.end = End::Late(now + CLOSED_LINGER);
            }
        }
        if let End::Late(deadline) = self.end
            && (now >= deadline || self.connections.are_all_gone())
        {
            self.end = End::Now;
        }
    }
}

fn copy_of(transmit: &Transmit) -> Transmit {
    Transmit {
        destination: transmit.destination,
        ecn: transmit.ecn,
        size: transmit.size,
        segment_size: transmit.segment_size,
        src_ip: transmit.src_ip,
    }
}
