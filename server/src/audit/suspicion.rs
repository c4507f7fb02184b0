//! Finds the entity that makes shards fail, without I/O.
//!
//! An entity whose simulation panics does so on every shard that gets it: with its block it would move from one to the
//! next and crash them all. A crashing shard reports the entity at which it failed if it can ([`crashed`]): an entity
//! that two have named is *guilty*. If they cannot (the fault arose in the middle of a physics step, for example), the
//! entities that both shards had are the suspects, and are halved: one half is held back, the other half continues. If
//! a shard fails with that half, the half that was held back is innocent; if none does for [`TRIAL_TICKS`], the other
//! half is. An entity is found guilty only if a shard failed with it as the only suspect, so that two unrelated
//! failures cost no more than a wait.
//!
//! [`crashed`]: Suspicion::crashed

use sidereal_protocol::world::{
    ids::EntityId,
    tick::{SimTick, TICK_HZ},
};
use std::collections::{BTreeSet, VecDeque};

/// Two crashes further apart than this are unrelated, ticks: 10 min.
pub const WINDOW_TICKS: u64 = 10 * 60 * TICK_HZ as u64;

/// How long suspects are simulated without a crash before they count as innocent, ticks: 30 s. A deterministic fault
/// appears at once or at the next collision.
pub const TRIAL_TICKS: u64 = 30 * TICK_HZ as u64;

/// Maximum number of crashes kept. Each keeps the ids of the shard's entities. More crashes in one window have another
/// cause than one entity.
const MAX_CRASHES: usize = 16;

/// A crash of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// The entity at which it failed, if known.
    pub at: Option<EntityId>,
    /// The entities that it simulated, and the ghosts it had: those are in the same physics step.
    pub held: BTreeSet<EntityId>,
}

/// The entities to set aside and to release.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// To set aside: found guilty.
    pub guilty: Vec<EntityId>,
    /// To set aside for a while.
    pub held_back: Vec<EntityId>,
    /// To release.
    pub freed: Vec<EntityId>,
}

/// Suspects of crashes that named no entity. One of `held_back` and `free` together is guilty, or none is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trial {
    held_back: Vec<EntityId>,
    free: Vec<EntityId>,
    /// How long the free suspects have been simulated, ticks.
    simulated_ticks: u64,
    absences: Absences,
}

/// Suspects that leave the world during a trial and may return: players' ships.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Absences {
    ships: BTreeSet<EntityId>,
    /// One has left. The last remaining suspect is then not found guilty merely because it is the last.
    any: bool,
}

/// Recent crashes, and the present search.
#[derive(Debug, Default)]
pub struct Suspicion {
    crashes: VecDeque<(SimTick, Crash)>,
    trial: Option<Trial>,
}

impl Suspicion {
    /// A shard has failed. `rank` orders suspects: lower ranks are held back first; ranks above 0 are players' ships.
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
                // It has another cause: the trial continues.
                self.trial = Some(trial);
                return Verdict::default();
            }
            if suspects.len() == 1 && trial.absences.any {
                // The cause may have been one that left: only this failure counts.
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

    /// Call once per tick. `simulated` returns whether a shard has an entity now, and `None` if it no longer exists.
    pub fn tick(&mut self, simulated: impl Fn(EntityId) -> Option<bool>) -> Verdict {
        let Some(trial) = &mut self.trial else { return Verdict::default() };
        // Entities that were destroyed or have left prove nothing; the fault may have gone with them.
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
        // They were held back until now; the half that stays so is not reported again.
        let verdict = self.try_again(suspects.clone(), false, absences);
        Verdict {
            freed: suspects.into_iter().filter(|id| !verdict.held_back.contains(id)).collect(),
            ..Verdict::default()
        }
    }

    /// Halves the suspects. A single suspect is guilty if a shard has just failed with it; otherwise it is released on
    /// trial.
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
        // Released by an operator, it starts without any history.
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

    /// Shards that have all entities which are not held back fail as long as the culprit is among them.
    fn drive(suspects: u64, culprit: Option<u64>) -> (BTreeSet<EntityId>, BTreeSet<EntityId>, u32) {
        let mut suspicion = Suspicion::default();
        let mut away = BTreeSet::new();
        let mut guilty = BTreeSet::new();
        let mut crashes = 0;
        for now in 0..12 * TRIAL_TICKS {
            let free = |id: &EntityId| !away.contains(id) && !guilty.contains(id);
            // Without a culprit, the search starts with two unrelated crashes.
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
            // A single suspect that two shards have failed with is guilty.
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
            // Each crash halves the suspects, and so does each trial that ends without one.
            prop_assert!(crashes <= 3 + u64::BITS - suspects.leading_zeros(), "{} crashes", crashes);
        }
    }
}
