//! Plain queues between the simulation and the link, so that the simulation needs no network.
//!
//! Runs in the shard. The link (or a test) fills inboxes and empties outboxes in every update.

use bevy::prelude::*;
use sidereal_protocol::{
    frames::control::{ToServer, ToShard},
    packets::motion::SectorUpdate,
    world::tick::SimTick,
};
use std::collections::VecDeque;

/// Limit of frames and datagrams that wait for the link. The grant of a full block of sectors causes some thousand
/// records at most; when this many wait, the link is stuck, and the session is closed ([`Outbox::is_overfull`]).
pub const MAX_OUTBOX: usize = 65_536;

/// Adds the queues.
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

/// Received and not yet handled items. It is emptied in every update; the transport's queues limit what one update can
/// bring.
#[derive(Resource, Debug)]
pub struct Inbox<T: Send + Sync + 'static>(VecDeque<T>);

/// Items to send.
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
    /// Adds `item` at the end.
    pub fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    /// Removes and returns the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    /// Removes and returns all items, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.0.drain(..)
    }

    /// Whether it is empty.
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
    /// Adds `item` at the end. Beyond [`MAX_OUTBOX`] it is dropped and the outbox counts as overfull.
    pub fn push(&mut self, item: T) {
        if self.queue.len() >= MAX_OUTBOX {
            self.overfull = true;
        } else {
            self.queue.push_back(item);
        }
    }

    /// Puts an item that could not be sent yet back at the front.
    pub fn push_front(&mut self, item: T) {
        self.queue.push_front(item);
    }

    /// Removes and returns the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        self.queue.pop_front()
    }

    /// Removes and returns all items, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.queue.drain(..)
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether an item was dropped: the session can no longer be trusted.
    pub fn is_overfull(&self) -> bool {
        self.overfull
    }
}

/// A datagram for the lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneDatagram(pub Vec<u8>);
