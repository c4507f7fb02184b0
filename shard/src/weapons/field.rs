//! The bodies that the path of a shot or a missile may meet.
//!
//! Runs in the shard, while shots and missiles are judged.

use crate::{
    bodies::{
        authority::Authority,
        body::{Body, Flight},
        grid::Grid,
        past::Past,
    },
    economy::ship_locks::LockState,
    weapons::{
        shot_path::{self, Leg},
        warhead::Missile,
    },
};
use bevy::{ecs::query::QueryData, prelude::*};
use sidereal_protocol::{
    DVec2,
    record::EntityKind,
    rules::{
        flight::{FlightState, MAX_SPEED},
        shot::Shot,
    },
    world::{
        ids::EntityId,
        tick::{SimTick, TICK_SECONDS},
    },
};

/// A body that may be hit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The body.
    pub body: &'a Body,
    /// Its present state.
    pub flight: &'a Flight,
    /// Its past states.
    pub past: &'a Past,
    /// Whether it is this shard's own.
    pub own: bool,
    /// Whether it is locked.
    locked: bool,
    /// The ship that launched it, if it is an own missile.
    launched_by: Option<EntityId>,
}

/// The components of a body that can be hit.
#[derive(QueryData)]
pub(crate) struct Candidate {
    pub body: &'static Body,
    flight: &'static Flight,
    past: &'static Past,
    own: Has<Authority>,
    lock: LockState,
    missile: Option<&'static Missile>,
}

impl<'a> Target<'a> {
    /// A body that may be hit.
    pub fn of(candidate: CandidateItem<'a, '_>) -> Self {
        let CandidateItem { body, flight, past, own, lock, missile } = candidate;
        let launched_by = missile.map(|missile| missile.warhead.shooter);
        Self { body, flight, past, own, locked: lock.is_locked(), launched_by }
    }
}

impl Target<'_> {
    /// When a circle of `radius` on the path first meets it on `leg`. `now` is when its flight holds.
    fn met_by(&self, path: &Shot, leg: &Leg, radius: f64, now: f64) -> Option<f64> {
        let radius = radius + self.body.radius;
        let FlightState { position, velocity, .. } = self.flight.0;
        if leg.from >= now - 1.0 {
            return shot_path::meets(path, (leg.from, leg.to), position, velocity, now, radius);
        }
        // A late path, from a neighbour, is tested against past positions, tick by tick.
        let was = |tick: f64| if tick < now { self.past.position_at(tick).unwrap_or(position) } else { position };
        let mut from = leg.from;
        while from < leg.to {
            let tick = from.floor() + 1.0;
            let to = tick.min(leg.to);
            let (start, end): (DVec2, DVec2) = (was(tick - 1.0), was(tick));
            let met = shot_path::meets(path, (from, to), end, (end - start) / TICK_SECONDS, tick, radius);
            if met.is_some() {
                return met;
            }
            from = to;
        }
        None
    }

    /// Whether it is a missile that `shooter` launched. For ghosts that is not known here.
    pub fn is_missile_of(&self, shooter: EntityId) -> bool {
        self.launched_by == Some(shooter)
    }

    /// Whether everything passes through it: a crate, or a locked ship. Whether a ghost is docked is not known here:
    /// a shot ends at it, and its authority drops the impact.
    pub fn is_passed(&self) -> bool {
        !self.body.kind.spec().takes_hits || self.locked
    }

    /// Whether it is a missile.
    pub fn is_missile(&self) -> bool {
        self.body.kind == EntityKind::Missile
    }
}

/// All bodies that may be hit, at their states after the motion of a tick.
pub(crate) struct Field<'a, 'w, 's> {
    grid: &'a Grid,
    bodies: &'a Query<'w, 's, Candidate>,
    now: f64,
}

impl<'a, 'w, 's> Field<'a, 'w, 's> {
    /// The field of the tick `now`, for which `grid` was built.
    pub fn new(grid: &'a Grid, bodies: &'a Query<'w, 's, Candidate>, now: SimTick) -> Self {
        Self { grid, bodies, now: now.0 as f64 }
    }

    /// The first body that a circle of `radius` on the path meets on `leg`, and when; of two at once the one with the
    /// lower net id. Bodies for which `spares` is true are ignored.
    pub fn first_hit(
        &self,
        path: &Shot,
        leg: &Leg,
        radius: f64,
        spares: impl Fn(&Target) -> bool,
    ) -> Option<(f64, Target<'a>)> {
        let (start, end) = (path.position_at(leg.from), path.position_at(leg.to));
        // Positions are those of now; at the leg's times bodies were up to this far away.
        let age = (self.now - leg.from).max(leg.to - self.now).max(0.0);
        let reach = MAX_SPEED * TICK_SECONDS * age + radius;
        let mut best: Option<(f64, Target<'a>)> = None;
        for entity in self.grid.within(start.min(end) - reach, start.max(end) + reach) {
            let Ok(candidate) = self.bodies.get(entity) else { continue };
            let target = Target::of(candidate);
            if !spares(&target)
                && let Some(time) = target.met_by(path, leg, radius, self.now)
                // They come by rising net id.
                && best.is_none_or(|(earliest, _)| time < earliest)
            {
                best = Some((time, target));
            }
        }
        best
    }
}
