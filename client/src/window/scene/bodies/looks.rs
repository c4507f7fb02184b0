//! The window's state of each entity from frame to frame: trail, engine light, flash of a hit, hull bar.
//!
//! Owns [`Looks`], which `ships` updates and everything else in `scene` reads.

use crate::{
    view::{Other, WorldView},
    window::render::colors::{
        palette::{self, hull_share, tint_of_kind},
        tint::Tint,
    },
};
use bevy::{math::DVec2, prelude::*};
use sidereal_protocol::{
    packets::motion::EngineGlow,
    rules::flight::{FlightState, HullKind},
    world::{ids::NetId, kind::EntityKind},
};
use std::collections::{HashMap, VecDeque};

/// How long a trail is visible, and the time between two of its points, seconds.
pub(crate) const TRAIL_SECONDS: f64 = 0.6;
const TRAIL_STEP_S: f64 = 0.04;
/// The resulting number of points of a trail.
pub(crate) const TRAIL_POINTS: usize = (TRAIL_SECONDS / TRAIL_STEP_S) as usize;
/// A step longer than this is a jump, not a flight, units.
const TRAIL_GAP: f64 = 160.0;
/// How fast an engine's light changes, per second.
const GLOW_RATE: f32 = 11.0;
/// How long a hull flashes after a hit, seconds.
pub(crate) const FLINCH_SECONDS: f32 = 0.16;
/// How fast a hull bar follows, share per second.
const BAR_RATE: f32 = 6.0;
/// How long a look stays after its entity was last in view, seconds: as long as explosions use it.
pub(crate) const LINGER_SECONDS: f64 = 3.0;
/// The age of the view, seconds, from which on an entity that appears nearby has just entered: at first all appear.
pub(crate) const SETTLED_SECONDS: f64 = 1.5;
/// A missile that appears within this distance of a ship, units, was launched by it: the largest distance that the two
/// can have when it is first drawn.
const LAUNCH_UNITS: f64 = 150.0;

/// The state of one entity's drawing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    pub(crate) trail: VecDeque<TrailPoint>,
    pub(crate) trail_next_s: f64,
    pub(crate) thrust: f32,
    pub(crate) boost: f32,
    pub(crate) flinch_s: f32,
    pub(crate) hull: Option<u16>,
    /// Its kind and colour, which an explosion uses when the entity is gone.
    pub(crate) kind: Option<EntityKind>,
    pub(crate) tint: Option<Tint>,
    /// When it entered, if that was observed.
    pub(crate) came_s: Option<f64>,
    /// A missile's tint: that of the ship that launched it.
    pub(crate) launched_by: Option<Tint>,
    /// The hull share that the bar shows; it follows the true one.
    pub(crate) bar: f32,
    pub(crate) first_s: f64,
    pub(crate) seen_s: f64,
}

/// A point of a trail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrailPoint {
    pub(crate) at: DVec2,
    pub(crate) left_s: f64,
    pub(crate) heat: f32,
    pub(crate) boost: f32,
}

/// The looks of all entities in view.
#[derive(Resource, Debug, Default)]
pub(crate) struct Looks(pub(crate) HashMap<NetId, Look>);

/// The common data of the own ship and all others.
pub(crate) struct Flyer {
    pub(crate) net_id: NetId,
    pub(crate) state: FlightState,
    pub(crate) glow: EngineGlow,
    pub(crate) hull_kind: HullKind,
    pub(crate) radius: f32,
    pub(crate) tint: Tint,
    pub(crate) own: bool,
    /// The engine is in reverse.
    pub(crate) retro: bool,
}

/// The tint by which `other` is recognised; a missile's own is in its [`Look`].
pub(crate) fn tint_of(other: &Other) -> Tint {
    tint_of_kind(other.kind)
}

/// The tint of the ship that launched `missile`, which is not sent: the nearest one when it appears.
pub(crate) fn launchers_tint(view: &WorldView, missile: &Other) -> Option<Tint> {
    let at = missile.state.position;
    let own = view.own.iter().map(|own| (own.state.position.distance(at), palette::OWN));
    let flyers = view.others.values().filter(|other| other.kind.spec().is_craft());
    let others = flyers.map(|other| (other.state.position.distance(at), tint_of(other)));
    let nearest = own.chain(others).min_by(|a, b| a.0.total_cmp(&b.0));
    nearest.filter(|(distance, _)| *distance < LAUNCH_UNITS).map(|(_, tint)| tint)
}

impl Look {
    /// The look of an entity that enters at `now_s`: one that was not there, or not for a while.
    pub(crate) fn appears(now_s: f64) -> Self {
        Self { first_s: now_s, seen_s: now_s, ..default() }
    }

    pub(crate) fn follow_hull(&mut self, hull: u16, hull_max: u16, seconds: f32) {
        self.flinch_s = (self.flinch_s - seconds).max(0.0);
        let share = hull_share(hull, hull_max);
        match self.hull {
            Some(before) if hull < before => self.flinch_s = FLINCH_SECONDS,
            None => self.bar = share,
            _ => {}
        }
        self.hull = Some(hull);
        self.bar += (share - self.bar) * (1.0 - (-BAR_RATE * seconds).exp());
    }

    pub(crate) fn follow_engine(&mut self, flyer: &Flyer, seconds: f32, now_s: f64) {
        let share = 1.0 - (-GLOW_RATE * seconds).exp();
        let on = |burns: bool| if burns { 1.0 } else { 0.0 };
        self.thrust += (on(flyer.glow.thrust || flyer.glow.boost) - self.thrust) * share;
        self.boost += (on(flyer.glow.boost) - self.boost) * share;
        let cold = |point: &TrailPoint| now_s - point.left_s > TRAIL_SECONDS;
        while self.trail.front().is_some_and(cold) {
            self.trail.pop_front();
        }
        if now_s < self.trail_next_s {
            return;
        }
        self.trail_next_s = now_s + TRAIL_STEP_S;
        let stern = flyer.state.position - flyer.state.heading() * f64::from(flyer.radius) * 0.8;
        let jumped = self.trail.back().is_some_and(|last| last.at.distance(stern) > TRAIL_GAP);
        if jumped {
            self.trail.clear();
        }
        if self.trail.len() >= TRAIL_POINTS {
            self.trail.pop_front();
        }
        let (heat, boost) = (self.thrust, self.boost);
        self.trail.push_back(TrailPoint { at: stern, left_s: now_s, heat, boost });
    }
}
