//! What lies between the simulation and the link: plain queues, so that the simulation knows no network.
//!
//! Runs in the shard. The link (or a test) fills inboxes and empties outboxes once an update.

use bevy::prelude::*;
use sidereal_protocol::{
    control::{ToServer, ToShard},
    motion::SectorUpdate,
    tick::SimTick,
};
use std::collections::VecDeque;

/// Frames and datagrams that may wait for the link at most. A grant of a full block of sectors answers
/// with some thousand records at the worst; when this many wait the link does not move any more and the
/// session is given up ([`Outbox::is_overfull`]).
pub const MAX_OUTBOX: usize = 65_536;

/// The queues.
pub(crate) struct MailboxPlugin;

impl Plugin for MailboxPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Inbox<ToShard>>()
            .init_resource::<Inbox<SimTick>>()
            .init_resource::<Inbox<SectorUpdate>>()
            .init_resource::<Outbox<ToServer>>()
            .init_resource::<Outbox<LaneDatagram>>();
    }
}

/// What came in and was not handled yet. It is emptied in every update; what may come in one update is
/// bounded by the transport's queues.
#[derive(Resource, Debug)]
pub struct Inbox<T: Send + Sync + 'static>(VecDeque<T>);

/// What is to go out.
#[derive(Resource, Debug)]
pub struct Outbox<T: Send + Sync + 'static> {
    queue: VecDeque<T>,
    overfull: bool,
}

impl<T: Send + Sync + 'static> Default for Inbox<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Send + Sync + 'static> Inbox<T> {
    /// Puts `item` at the end.
    pub fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    /// Takes all, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.0.drain(..)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Send + Sync + 'static> Default for Outbox<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), overfull: false }
    }
}

impl<T: Send + Sync + 'static> Outbox<T> {
    /// Puts `item` at the end. Past [`MAX_OUTBOX`] it is dropped and the outbox counts as overfull.
    pub fn push(&mut self, item: T) {
        if self.queue.len() >= MAX_OUTBOX {
            self.overfull = true;
        } else {
            self.queue.push_back(item);
        }
    }

    /// Puts back what could not be sent yet, before everything else.
    pub fn push_front(&mut self, item: T) {
        self.queue.push_front(item);
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<T> {
        self.queue.pop_front()
    }

    /// Takes all, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.queue.drain(..)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether something was dropped: the session cannot be trusted any more.
    pub fn is_overfull(&self) -> bool {
        self.overfull
    }
}

/// A datagram for the lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneDatagram(pub Vec<u8>);
