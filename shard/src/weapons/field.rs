//! All bodies of a tick by their left edge, so that a path is tested only against those near it.
//!
//! Runs in the shard, while shots and missiles are judged.

use crate::{
    bodies::{
        authority::Authority,
        body::{Body, Flight},
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
        ids::{EntityId, NetId},
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

pub(crate) struct Field<'a> {
    targets: Vec<Target<'a>>,
    /// Left edges in rising order, with the index of the body.
    by_left_edge: Vec<(f64, usize)>,
    widest: f64,
    now: f64,
}

impl<'a> Field<'a> {
    /// The field of all bodies, at their states after the motion of the tick `now`.
    pub fn new(targets: impl Iterator<Item = Target<'a>>, now: SimTick) -> Self {
        let targets: Vec<_> = targets.collect();
        let mut widest: f64 = 0.0;
        let mut by_left_edge: Vec<(f64, usize)> = targets
            .iter()
            .enumerate()
            .map(|(index, target)| {
                widest = widest.max(2.0 * target.body.radius);
                (target.flight.0.position.x - target.body.radius, index)
            })
            .collect();
        by_left_edge.sort_by(|one, other| one.0.total_cmp(&other.0));
        Self { targets, by_left_edge, widest, now: now.0 as f64 }
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
        let low = start.x.min(end.x) - reach;
        let high = start.x.max(end.x) + reach;
        let first = self.by_left_edge.partition_point(|(edge, _)| *edge < low - self.widest);
        let mut best: Option<(f64, NetId, Target<'a>)> = None;
        for &(_, index) in self.by_left_edge[first..].iter().take_while(|(edge, _)| *edge <= high) {
            let target = self.targets[index];
            if spares(&target) {
                continue;
            }
            let net_id = target.body.net_id;
            if let Some(time) = target.met_by(path, leg, radius, self.now)
                && best.is_none_or(|(earliest, known, _)| (time, net_id) < (earliest, known))
            {
                best = Some((time, net_id, target));
            }
        }
        best.map(|(time, _, target)| (time, target))
    }
}
