//! Blocking work for the HTTP thread, with a limit on what runs at a time and on what waits.

use std::sync::Arc;

use sidereal_process::crash::contain;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A limit for one kind of blocking work. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Turns {
    /// `at_once` jobs run at a time, `waiting` more wait; further ones are rejected.
    pub fn new(at_once: usize, waiting: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(at_once)), places: Arc::new(Semaphore::new(at_once + waiting)) }
    }

    /// Runs `work` on a blocking thread in its turn. If the caller is dropped, the work continues and keeps its turn.
    /// `None` if too many wait, the runtime ends, or the work panicked.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let turn = self.turn().await?;
        tokio::task::spawn_blocking(move || {
            let outcome = contain(work);
            drop(turn);
            outcome
        })
        .await
        .inspect_err(|error| tracing::error!(%error, "a request's blocking work was cancelled"))
        .ok()?
        .inspect_err(|panicked| tracing::error!(%panicked, "a request's blocking work panicked"))
        .ok()
    }

    async fn turn(&self) -> Option<[OwnedSemaphorePermit; 2]> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let turn = self.turns.clone().acquire_owned().await.ok()?;
        Some([place, turn])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn past_the_waiting_places_work_is_turned_away() {
        let turns = Turns::new(2, 3);
        let every_place = turns.places.clone().acquire_many_owned(5).await.expect("never closed");
        assert_eq!(turns.run(|| 7).await, None);
        drop(every_place);
        assert_eq!(turns.run(|| 7).await, Some(7));
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_place_back() {
        let turns = Turns::new(1, 0);
        assert_eq!(turns.run(|| -> u8 { panic!("planted") }).await, None);
        assert_eq!(turns.run(|| 7).await, Some(7));
    }
}
