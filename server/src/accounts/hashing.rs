//! The threads that hash passwords. There are fewer than there are cores and their priority is lower than the rest of
//! the process, so that logins never take cores from the simulation. Their queue is bounded and fair between networks.
//!
//! No work that others wait for runs here. In particular there are no database calls: a thread that gets no time would
//! keep their locks.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use sidereal_process::crash;
use tokio::sync::oneshot;

use crate::accounts::fair_queue::FairQueue;

/// Maximum number of threads: 100 hashes a second, more than the rate limits admit.
const MAX_THREADS: usize = 4;

/// Maximum number of queued passwords: some seconds of hashing. One more is rejected, or displaces one of a longer
/// line.
pub(crate) const MAX_WAITING: usize = 64;

/// The threads' `nice` increment: on a contended core they get a tenth of the time.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

struct State {
    waiting: FairQueue<IpAddr, Job>,
    has_ended: bool,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread pool. Dropping it ends each thread after its present job.
pub(crate) struct Hashing {
    shared: Arc<Shared>,
}

impl Hashing {
    /// Starts the threads, with a queue of [`MAX_WAITING`].
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with(cores.saturating_sub(1).clamp(1, MAX_THREADS), MAX_WAITING)
    }

    fn with(threads: usize, places: usize) -> io::Result<Self> {
        let state = State { waiting: FairQueue::new(places), has_ended: false };
        let hashing = Self { shared: Arc::new(Shared { state: Mutex::new(state), work: Condvar::new() }) };
        for number in 1..=threads {
            let shared = hashing.shared.clone();
            std::thread::Builder::new().name(format!("password-{number}")).spawn(move || run(&shared))?;
        }
        Ok(hashing)
    }

    /// The number of queued jobs.
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting.len()
    }

    /// Runs `work` in its turn, unless the caller has dropped the future by then. Returns `None` if the queue is full,
    /// if the job was displaced, or if it panicked.
    pub async fn run<T: Send + 'static>(&self, asker: IpAddr, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, outcome) = oneshot::channel();
        let job: Job = Box::new(move || {
            if !sender.is_closed() {
                // The receiver may have been dropped just now.
                let _ = sender.send(work());
            }
        });
        // A displaced job is dropped, which notifies its caller, once the lock is open again.
        let pushed = self.shared.lock().waiting.push(asker, job);
        drop(pushed.ok()?);
        self.shared.work.notify_one();
        outcome.await.ok()
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        self.shared.lock().has_ended = true;
        self.shared.work.notify_all();
    }
}

fn run(shared: &Shared) {
    lower_priority();
    loop {
        let mut state = shared.lock();
        let job = loop {
            if state.has_ended {
                return;
            }
            match state.waiting.pop() {
                Some(job) => break job,
                None => state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(state);
        if let Err(panicked) = crash::contain(job) {
            tracing::error!(%panicked, "hashing a password panicked");
        }
    }
}

/// Linux has a niceness per thread. Elsewhere it applies to the whole process, and stays unchanged.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "cannot lower the priority of the threads that hash passwords");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn network(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    /// A pool of one thread, which is blocked until the sender is dropped.
    async fn held_up(places: usize) -> (Arc<Hashing>, mpsc::Sender<()>) {
        let hashing = Arc::new(Hashing::with(1, places).expect("a thread"));
        let (hold, held) = mpsc::channel::<()>();
        let (begin, begun) = oneshot::channel();
        let first = hashing.clone();
        tokio::spawn(async move {
            let work = move || {
                begin.send(()).expect("the receiver waits");
                held.recv().expect_err("only dropped");
            };
            first.run(network(0), work).await
        });
        begun.await.expect("it begins");
        (hashing, hold)
    }

    /// Queues a job; it is in the queue when this returns.
    async fn ask(hashing: &Arc<Hashing>, from: u8, done: &mpsc::Sender<u8>) -> tokio::task::JoinHandle<Option<u8>> {
        let (before, hashing, done) = (hashing.waiting(), hashing.clone(), done.clone());
        let asked = hashing.clone();
        let task = tokio::spawn(async move {
            let work = move || {
                done.send(from).expect("the receiver waits");
                from
            };
            hashing.run(network(from), work).await
        });
        while asked.waiting() == before && !task.is_finished() {
            tokio::task::yield_now().await;
        }
        task
    }

    #[tokio::test]
    async fn one_network_s_many_do_not_hold_up_another_s_one() {
        let (hashing, hold) = held_up(10).await;
        let (done, order) = mpsc::channel();
        let mut tasks = Vec::new();
        for from in [1, 1, 1, 1, 2] {
            tasks.push(ask(&hashing, from, &done).await);
        }
        drop(hold);
        for task in tasks {
            assert!(task.await.expect("no panic").is_some());
        }
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [1, 2, 1, 1, 1]);
    }

    #[tokio::test]
    async fn past_the_places_somebody_is_turned_away_and_the_rest_is_done() {
        let (hashing, hold) = held_up(2).await;
        let (done, order) = mpsc::channel();
        let first = ask(&hashing, 1, &done).await;
        let second = ask(&hashing, 1, &done).await;
        let third = ask(&hashing, 1, &done).await;
        assert_eq!(third.await.expect("no panic"), None, "no place");
        // The job that displaces the second one is queued by the time that the second one fails.
        let other = {
            let (hashing, done) = (hashing.clone(), done.clone());
            tokio::spawn(async move { hashing.run(network(2), move || done.send(2)).await.is_some() })
        };
        assert_eq!(second.await.expect("no panic"), None, "no place any more");
        drop(hold);
        assert_eq!(first.await.expect("no panic"), Some(1));
        assert!(other.await.expect("no panic"));
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_done() {
        let (hashing, hold) = held_up(10).await;
        let (done, order) = mpsc::channel();
        let gone = ask(&hashing, 1, &done).await;
        gone.abort();
        assert!(gone.await.expect_err("aborted").is_cancelled());
        drop(hold);
        assert_eq!(hashing.run(network(2), || 7).await, Some(7));
        assert_eq!(order.try_iter().count(), 0);
    }

    #[tokio::test]
    async fn work_that_panics_leaves_its_thread() {
        let hashing = Hashing::with(1, 1).expect("a thread");
        assert_eq!(hashing.run(network(1), || -> u8 { panic!("planted") }).await, None);
        assert_eq!(hashing.run(network(1), || 7).await, Some(7));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_threads_are_less_urgent_than_the_others() {
        // The nineteenth field of a thread's `stat`, counted after its name in parentheses.
        let niceness = || -> Option<i32> {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
            stat.rsplit_once(')')?.1.split_whitespace().nth(16)?.parse().ok()
        };
        let own = niceness().expect("Linux has it");
        let hashing = Hashing::start().expect("threads");
        let theirs = hashing.run(network(1), niceness).await.flatten().expect("Linux has it");
        assert_eq!(theirs, (own + NICENESS).min(19));
        assert_eq!(niceness(), Some(own), "this one is unchanged");
    }
}
