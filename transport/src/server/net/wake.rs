//! Wakes a listener's network thread, which sleeps in the system's event queue, or for a moment without it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::Duration;

/// Wakes one network thread. Several wakes before it looks are one system call.
pub(super) struct NetworkWaker {
    queue: mio::Waker,
    /// The thread, once it runs.
    thread: OnceLock<Thread>,
    /// It is asleep without the queue.
    is_parked: AtomicBool,
    is_awake: AtomicBool,
    stop: AtomicBool,
}

impl NetworkWaker {
    pub(super) fn new(queue: mio::Waker) -> Arc<Self> {
        Arc::new(Self {
            queue,
            thread: OnceLock::new(),
            is_parked: AtomicBool::new(false),
            is_awake: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        })
    }

    /// Puts the calling thread, always the same one, to sleep for at most this long. Packets do not wake it.
    pub(super) fn park(&self, timeout: Duration) {
        self.thread.get_or_init(thread::current);
        self.is_parked.store(true, Ordering::SeqCst);
        if !self.is_awake.load(Ordering::SeqCst) {
            thread::park_timeout(timeout);
        }
        self.is_parked.store(false, Ordering::SeqCst);
    }

    /// Called by the thread before it looks for output: a later wake counts again.
    pub(super) fn rearm(&self) {
        self.is_awake.store(false, Ordering::SeqCst);
    }

    /// Makes the thread close its sessions and end.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        if self.is_awake.swap(true, Ordering::SeqCst) {
            return;
        }
        // If it falls asleep in the queue right now instead, it sees the wake before: both orders are the same to it.
        if self.is_parked.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            return thread.unpark();
        }
        // It fails only if the queue is gone, and its thread with it.
        if let Err(error) = self.queue.wake() {
            tracing::error!(%error, "a network thread cannot be woken");
        }
    }
}

impl Wake for NetworkWaker {
    fn wake(self: Arc<Self>) {
        NetworkWaker::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        NetworkWaker::wake(self);
    }
}
