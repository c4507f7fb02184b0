//! What is being simulated at this moment, so that a shard whose simulation panics can say in its last words what it was
//! at.
//!
//! Runs in the shard, on the thread of its app. [`simulating`] stands round everything that is no news of naia's or the
//! transport's, [`at`] round what is done with one entity. A mark that a panic unwinds stays, for [`take`].

use sidereal_protocol::ids::EntityId;
use std::cell::Cell;

thread_local! {
    static DOING: Cell<Doing> = const { Cell::new(Doing::Else) };
}

/// What a thread is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Not the simulation.
    Else,
    /// The simulation, of nobody in particular.
    Simulation,
    /// The simulation of this entity.
    Entity(EntityId),
}

/// Until it is dropped, this thread does something.
#[must_use]
pub struct Mark(Doing);

impl Mark {
    fn new(doing: Doing) -> Self {
        Self(DOING.replace(doing))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            DOING.set(self.0);
        }
    }
}

/// From now on it is the simulation.
pub fn simulating() -> Mark {
    Mark::new(Doing::Simulation)
}

/// From now on it is the simulation of `id`.
pub fn at(id: EntityId) -> Mark {
    Mark::new(Doing::Entity(id))
}

/// What was being done when a panic was caught. It is over then.
pub fn take() -> Doing {
    DOING.replace(Doing::Else)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_ends_with_its_scope_and_stays_after_a_panic() {
        let (outer, inner) = (EntityId::from_halves(1, 1), EntityId::from_halves(1, 2));
        let run = |fails: bool| {
            let _simulation = simulating();
            {
                let _at = at(outer);
            }
            assert_eq!(DOING.get(), Doing::Simulation);
            let _at = at(inner);
            assert!(!fails, "planted");
        };
        run(false);
        assert_eq!(take(), Doing::Else);
        assert!(std::panic::catch_unwind(|| run(true)).is_err());
        assert_eq!(take(), Doing::Entity(inner));
        assert_eq!(take(), Doing::Else);
    }
}
