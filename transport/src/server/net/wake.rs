//! Wakes a listener's network thread, which sleeps in the system's event queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

/// Wakes one network thread. Several wakes before it looks are one system call.
pub(super) struct NetworkWaker {
    queue: mio::Waker,
    is_awake: AtomicBool,
    stop: AtomicBool,
}

impl NetworkWaker {
    pub(super) fn new(queue: mio::Waker) -> Arc<Self> {
        Arc::new(Self { queue, is_awake: AtomicBool::new(false), stop: AtomicBool::new(false) })
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
