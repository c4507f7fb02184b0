//! The waker on which a main loop sleeps: the network wakes it when data arrive. Runs in every process. In the browser,
//! where no thread sleeps, a task waits for it.

use std::sync::Arc;
#[cfg(not(target_family = "wasm"))]
use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};
#[cfg(target_family = "wasm")]
use tokio::sync::Notify;

/// Wakes one sleeping main loop. Cheap to clone; all clones are the same waker.
///
/// Several wakes before a [`wait`](Waker::wait) count as one, and a wake without a sleeper is kept for the next wait,
/// so that data that arrive between two waits are not missed.
#[derive(Clone, Default)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[cfg(not(target_family = "wasm"))]
#[derive(Default)]
struct Shared {
    woken: Mutex<bool>,
    condvar: Condvar,
}

#[cfg(target_family = "wasm")]
#[derive(Default)]
struct Shared {
    woken: Notify,
}

impl Waker {
    /// A waker without a pending wake.
    pub fn new() -> Self {
        Self::default()
    }
}

#[cfg(not(target_family = "wasm"))]
impl Waker {
    /// Sleeps until woken, at most for `timeout`. True if it was woken, false after the timeout.
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut woken = self.shared.woken.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if std::mem::take(&mut *woken) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            woken = self.shared.condvar.wait_timeout(woken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Wakes the sleeper, or lets the next [`wait`](Waker::wait) return at once.
    pub fn wake(&self) {
        let mut woken = self.shared.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *woken, true) {
            self.shared.condvar.notify_one();
        }
    }
}

#[cfg(target_family = "wasm")]
impl Waker {
    /// Returns once woken.
    pub async fn wait(&self) {
        self.shared.woken.notified().await;
    }

    /// Wakes the waiting task, or lets the next [`wait`](Waker::wait) return at once.
    pub fn wake(&self) {
        self.shared.woken.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_coalesce_and_are_kept_for_the_next_wait() {
        let waker = Waker::new();
        waker.wake();
        waker.clone().wake();
        assert!(waker.wait(Duration::from_secs(60)));
        assert!(!waker.wait(Duration::ZERO));
    }

    #[test]
    fn a_sleeper_is_woken_from_another_thread() {
        let waker = Waker::new();
        let other = waker.clone();
        let thread = std::thread::spawn(move || other.wake());
        assert!(waker.wait(Duration::from_secs(60)));
        thread.join().expect("the thread only wakes");
    }
}
