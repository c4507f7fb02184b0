//! The entity that is being simulated, so that a shard whose simulation panics can report it.
//!
//! Runs in the shard, on the thread of its app. [`simulating`] marks all code except that of naia and the transport,
//! [`at`] marks the work on one entity. A mark remains after a panic, for [`take`].

use sidereal_protocol::world::ids::EntityId;
use std::cell::Cell;

thread_local! {
    static DOING: Cell<Doing> = const { Cell::new(Doing::Else) };
}

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Not the simulation.
    Else,
    /// The simulation, without a certain entity.
    Simulation,
    /// The simulation of this entity.
    Entity(EntityId),
}

/// Marks what this thread does until it is dropped.
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

/// Marks the simulation.
pub fn simulating() -> Mark {
    Mark::new(Doing::Simulation)
}

/// Marks the simulation of `id`.
pub fn at(id: EntityId) -> Mark {
    Mark::new(Doing::Entity(id))
}

/// Returns the mark that a caught panic has left, and clears it.
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
