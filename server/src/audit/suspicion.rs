//! Which entity it was that made shards fail, without I/O.
//!
//! An entity whose simulation panics does so on every shard that gets it: with its block it would walk from one to the
//! next and end them all. A shard says in its last words at which entity it failed, where it knows ([`crashed`]):
//! what two have named is *guilty*. Where they do not know (the fault came up in the middle of a step of physics, say),
//! those that both shards had are the suspects, and are halved: one half is held back, the other one goes on. If a
//! shard fails with that one, the half that was held back is innocent; if none does for [`TRIAL_TICKS`], the other
//! one is. Nobody is guilty without a shard that failed with nobody else left to suspect, so that two failures that
//! had nothing to do with each other cost nobody more than a wait.
//!
//! [`crashed`]: Suspicion::crashed

use sidereal_protocol::{
    ids::EntityId,
    tick::{SimTick, TICK_HZ},
};
use std::collections::{BTreeSet, VecDeque};

/// Two crashes further apart than this have nothing to do with each other, ticks: 10 min.
pub const WINDOW_TICKS: u64 = 10 * 60 * TICK_HZ as u64;

/// How long suspects are simulated without a crash until they count as innocent, ticks: 30 s. What is deterministic
/// shows at once or at its next collision.
pub const TRIAL_TICKS: u64 = 30 * TICK_HZ as u64;

/// Crashes that are remembered. Each keeps the ids of what the shard had; more in one window come of something else
/// than two of the same entity.
const MAX_CRASHES: usize = 16;

/// How a shard has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// The entity that it was at, if it could say.
    pub at: Option<EntityId>,
    /// What it simulated, and what it was shown of its neighbours': that is in the same step of physics.
    pub held: BTreeSet<EntityId>,
}

/// What is to be done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// To be set aside: found guilty.
    pub guilty: Vec<EntityId>,
    /// To be set aside for a while.
    pub held_back: Vec<EntityId>,
    /// Not held back any longer.
    pub freed: Vec<EntityId>,
}

/// Suspects of crashes that named nobody. One of `held_back` and `free` together is guilty, or nobody is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trial {
    held_back: Vec<EntityId>,
    free: Vec<EntityId>,
    /// How long those that are free have been simulated.
    simulated_ticks: u64,
    absences: Absences,
}

/// Suspects that leave the world during a trial and may come back: players' ships.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Absences {
    ships: BTreeSet<EntityId>,
    /// One has left. Whoever remains at the end is not found guilty for want of others.
    any: bool,
}

/// The crashes of late, and what they say.
#[derive(Debug, Default)]
pub struct Suspicion {
    crashes: VecDeque<(SimTick, Crash)>,
    trial: Option<Trial>,
}

impl Suspicion {
    /// A shard has failed. `rank` orders suspects: those of a lower one are held back first; above 0 are players' ships.
    pub fn crashed(&mut self, now: SimTick, crash: Crash, rank: impl Fn(EntityId) -> u8) -> Verdict {
        self.crashes.retain(|(when, _)| now.since(*when) <= WINDOW_TICKS);
        if let Some(id) = crash.at {
            if self.crashes.iter().any(|(_, earlier)| earlier.at == Some(id)) {
                self.crashes.retain(|(_, earlier)| earlier.at != Some(id));
                return Verdict { guilty: vec![id], ..Verdict::default() };
            }
            self.remember(now, crash);
            return Verdict::default();
        }
        if let Some(trial) = self.trial.take() {
            let suspects: Vec<EntityId> = trial.free.iter().copied().filter(|id| crash.held.contains(id)).collect();
            if suspects.is_empty() {
                // Of another cause: the trial goes on.
                self.trial = Some(trial);
                return Verdict::default();
            }
            if suspects.len() == 1 && trial.absences.any {
                // It may have been the one that is gone: all that is known is this failure.
                self.remember(now, crash);
                return Verdict { freed: trial.held_back, ..Verdict::default() };
            }
            let mut verdict = self.try_again(suspects, true, trial.absences);
            verdict.freed.extend(trial.held_back);
            return verdict;
        }
        let earlier = self.crashes.iter().rposition(|(_, earlier)| earlier.at.is_none());
        let Some(mut suspects) = earlier.and_then(|index| {
            let (_, earlier) = &self.crashes[index];
            let both: Vec<EntityId> = earlier.held.intersection(&crash.held).copied().collect();
            (!both.is_empty()).then_some(both)
        }) else {
            self.remember(now, crash);
            return Verdict::default();
        };
        self.crashes.retain(|(_, earlier)| earlier.at.is_some());
        suspects.sort_by_key(|id| (rank(*id), *id));
        let ships = suspects.iter().copied().filter(|id| rank(*id) > 0).collect();
        self.try_again(suspects, true, Absences { ships, any: false })
    }

    /// A tick has passed. `simulated` tells whether a shard has an entity now, and `None` when it is no more.
    pub fn tick(&mut self, simulated: impl Fn(EntityId) -> Option<bool>) -> Verdict {
        let Some(trial) = &mut self.trial else { return Verdict::default() };
        // What was destroyed or has left proves nothing; it may have taken the fault with it.
        let gone: Vec<EntityId> = trial.free.extract_if(.., |id| simulated(*id).is_none()).collect();
        trial.absences.any |= gone.iter().any(|id| trial.absences.ships.contains(id));
        if trial.free.iter().any(|id| simulated(*id) == Some(false)) {
            return Verdict::default();
        }
        trial.simulated_ticks += 1;
        if trial.simulated_ticks < TRIAL_TICKS {
            return Verdict::default();
        }
        let suspects = std::mem::take(&mut trial.held_back);
        let absences = std::mem::take(&mut trial.absences);
        self.trial = None;
        // They were held back until now; the half that stays so is not told again.
        let verdict = self.try_again(suspects.clone(), false, absences);
        Verdict {
            freed: suspects.into_iter().filter(|id| !verdict.held_back.contains(id)).collect(),
            ..Verdict::default()
        }
    }

    /// Halves the suspects. Of one alone: guilty if a shard has just failed with it, else it is let go to see.
    fn try_again(&mut self, mut suspects: Vec<EntityId>, has_crashed: bool, absences: Absences) -> Verdict {
        match suspects.as_slice() {
            [] => Verdict::default(),
            [only] if has_crashed => Verdict { guilty: vec![*only], ..Verdict::default() },
            _ => {
                let free = suspects.split_off(suspects.len() / 2);
                self.trial = Some(Trial { held_back: suspects.clone(), free, simulated_ticks: 0, absences });
                Verdict { held_back: suspects, ..Verdict::default() }
            }
        }
    }

    fn remember(&mut self, now: SimTick, crash: Crash) {
        if self.crashes.len() == MAX_CRASHES {
            self.crashes.pop_front();
        }
        self.crashes.push_back((now, crash));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: u64) -> EntityId {
        EntityId::from_halves(1, number)
    }

    fn ids(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<EntityId> {
        numbers.into_iter().map(id).collect()
    }

    fn unnamed(held: impl IntoIterator<Item = u64>) -> Crash {
        Crash { at: None, held: ids(held) }
    }

    fn named(at: u64, held: impl IntoIterator<Item = u64>) -> Crash {
        Crash { at: Some(id(at)), held: ids(held) }
    }

    fn same(_: EntityId) -> u8 {
        0
    }

    #[test]
    fn who_was_named_by_two_is_guilty_and_nobody_by_one() {
        let mut suspicion = Suspicion::default();
        assert_eq!(suspicion.crashed(SimTick(1), named(3, 0..9), same), Verdict::default());
        assert_eq!(suspicion.crashed(SimTick(5), named(4, 0..9), same), Verdict::default());
        let verdict = suspicion.crashed(SimTick(9), named(3, 0..20), same);
        assert_eq!(verdict, Verdict { guilty: vec![id(3)], ..Verdict::default() });
        // Released by an operator, it is as good as new.
        assert_eq!(suspicion.crashed(SimTick(12), named(3, 0..9), same), Verdict::default());
    }

    #[test]
    fn crashes_far_apart_have_nothing_to_do_with_each_other() {
        let mut suspicion = Suspicion::default();
        suspicion.crashed(SimTick(1), named(3, 0..9), same);
        suspicion.crashed(SimTick(1), unnamed(0..9), same);
        let later = SimTick(2 + WINDOW_TICKS);
        assert_eq!(suspicion.crashed(later, named(3, 0..9), same), Verdict::default());
        assert_eq!(suspicion.crashed(later, unnamed(0..9), same), Verdict::default());
    }

    #[test]
    fn shards_that_had_nothing_in_common_say_nothing() {
        let mut suspicion = Suspicion::default();
        suspicion.crashed(SimTick(1), unnamed(0..5), same);
        assert_eq!(suspicion.crashed(SimTick(2), unnamed(5..9), same), Verdict::default());
    }

    #[test]
    fn those_of_a_higher_rank_are_held_back_last() {
        let mut suspicion = Suspicion::default();
        let rank = |entity: EntityId| u8::from(entity < id(2));
        suspicion.crashed(SimTick(1), unnamed(0..4), rank);
        let verdict = suspicion.crashed(SimTick(2), unnamed(0..4), rank);
        assert_eq!(verdict.held_back, vec![id(2), id(3)]);
    }

    #[test]
    fn a_trial_waits_until_its_suspects_are_simulated() {
        let mut suspicion = Suspicion::default();
        suspicion.crashed(SimTick(1), unnamed(0..2), same);
        suspicion.crashed(SimTick(2), unnamed(0..2), same);
        for _ in 0..3 * TRIAL_TICKS {
            assert_eq!(suspicion.tick(|_| Some(false)), Verdict::default());
        }
        for _ in 1..TRIAL_TICKS {
            assert_eq!(suspicion.tick(|_| Some(true)), Verdict::default());
        }
        assert_eq!(suspicion.tick(|_| Some(true)).freed, vec![id(0)]);
    }

    /// Shards that have everything which is not held back fail as long as the culprit is among it.
    fn drive(suspects: u64, culprit: Option<u64>) -> (BTreeSet<EntityId>, BTreeSet<EntityId>, u32) {
        let mut suspicion = Suspicion::default();
        let mut away = BTreeSet::new();
        let mut guilty = BTreeSet::new();
        let mut crashes = 0;
        for now in 0..12 * TRIAL_TICKS {
            let free = |id: &EntityId| !away.contains(id) && !guilty.contains(id);
            // Without a culprit, two crashes that have nothing to do with anybody stand at the beginning.
            let fails = culprit.map_or(now < 2, |culprit| free(&id(culprit)));
            let verdict = if fails {
                crashes += 1;
                let held = ids(0..suspects).into_iter().filter(free).collect();
                suspicion.crashed(SimTick(now), Crash { at: None, held }, same)
            } else {
                suspicion.tick(|_| Some(true))
            };
            verdict.freed.iter().for_each(|id| assert!(away.remove(id), "freed, but not held back: {id}"));
            away.extend(verdict.held_back);
            guilty.extend(verdict.guilty);
        }
        (guilty, away, crashes)
    }

    #[test]
    fn nobody_is_guilty_for_want_of_a_ship_that_has_left() {
        let mut suspicion = Suspicion::default();
        let ships = |_| 1;
        suspicion.crashed(SimTick(1), unnamed(0..3), ships);
        assert_eq!(suspicion.crashed(SimTick(2), unnamed(0..3), ships).held_back, vec![id(0)]);
        assert_eq!(suspicion.tick(|other| (other != id(2)).then_some(true)), Verdict::default());
        let freed = Verdict { freed: vec![id(0)], ..Verdict::default() };
        assert_eq!(suspicion.crashed(SimTick(3), unnamed(1..2), ships), freed);
        // The next failure is the second one of a new search.
        assert_eq!(suspicion.crashed(SimTick(4), unnamed(1..2), ships).guilty, vec![id(1)]);
    }

    #[test]
    fn without_a_culprit_everybody_is_free_again() {
        for suspects in [1, 2, 3, 64, 100] {
            let (guilty, away, _) = drive(suspects, None);
            // One alone that two shards have failed with is guilty by that.
            assert_eq!((guilty.len(), away.len()), (usize::from(suspects == 1), 0), "{suspects} suspects");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_culprit_is_found_and_nobody_else(suspects in 1u64..120, culprit in 0u64..120) {
            let culprit = culprit % suspects;
            let (guilty, away, crashes) = drive(suspects, Some(culprit));
            prop_assert_eq!(guilty, ids([culprit]));
            prop_assert_eq!(away, BTreeSet::new());
            // Each one halves the suspects, and each trial that ends without one does.
            prop_assert!(crashes <= 3 + u64::BITS - suspects.leading_zeros(), "{} crashes", crashes);
        }
    }
}
