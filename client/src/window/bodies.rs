//! Ships, drones and missiles, and what is remembered of all that has a body.
//!
//! Keeps one [`Look`] per net id: what a drawing remembers between frames (its trail, its glow, how
//! it flinched), and nothing that the simulation knows. A look goes a little after its entity: an explosion asks what blew up.

use super::{
    canvas::{Canvas, Layer},
    hulls::{DRONE_NOZZLES, GUNSHIP_NOZZLES, HAULER_NOZZLES, MISSILE_NOZZLES, SCOUT_NOZZLES},
    ink::Tint,
    lens::Lens,
    palette, places, rocks,
    shapes::Shape,
    warp, wounds,
};
use crate::{
    controls::PilotIntent,
    view::{Other, WorldView},
};
use bevy::{math::DVec2, prelude::*};
use sidereal_protocol::{
    flight::{Controls, FlightState, HullKind},
    ids::NetId,
    motion::EngineGlow,
    record::EntityKind,
};
use std::collections::{HashMap, VecDeque};

/// How long exhaust is seen, and the time between two points of a trail, seconds.
pub(super) const TRAIL_SECONDS: f64 = 0.6;
const TRAIL_STEP_S: f64 = 0.04;
/// Points of a trail: what that makes.
const TRAIL_POINTS: usize = (TRAIL_SECONDS / TRAIL_STEP_S) as usize;
/// A step longer than this is a jump, not a flight, units.
const TRAIL_GAP: f64 = 160.0;
/// How fast an engine's light comes and goes, per second.
const GLOW_RATE: f32 = 11.0;
/// How long a hull flashes after a hit, seconds.
pub(super) const FLINCH_SECONDS: f32 = 0.16;
/// How fast a hull bar follows, share per second.
const BAR_RATE: f32 = 6.0;
/// A hull of a smaller radius than this, pixels, is drawn as a mark, at least so large.
const FAR_PIXELS: f32 = 8.0;
const MARK_PIXELS: f32 = 6.5;
/// A missile is drawn larger than it is, in its radii, and at least so large: it has to be seen coming.
const MISSILE_RADII: f32 = 1.7;
const MISSILE_PIXELS: f32 = 5.0;
/// A missile that is seen for the first time within this distance of a ship, units, came from it: as far
/// as the two part until it is drawn.
const LAUNCH_UNITS: f64 = 150.0;
/// How long a look stays after its entity was last seen, seconds: as long as it is asked for what blew up.
const LINGER_SECONDS: f64 = 3.0;
/// The view has to be so old, seconds, before one that appears near has just come: at first all do.
const SETTLED_SECONDS: f64 = 1.5;
/// Turning slower than this, radians per second, is done without thrusters that are seen.
const JETS_FROM: f64 = 0.45;
/// Turning as fast as this, the thrusters burn with all they have.
const JETS_FULL: f64 = 2.2;
/// The brake burns until the ship is slower than this, units/s.
const BRAKES_ABOVE: f64 = 8.0;

/// What a drawing of one entity remembers.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    pub(super) trail: VecDeque<TrailPoint>,
    trail_next_s: f64,
    thrust: f32,
    boost: f32,
    pub(super) flinch_s: f32,
    hull: Option<u16>,
    /// What it is, and in what colour: an explosion looks it up when the entity is gone.
    pub(super) kind: Option<EntityKind>,
    pub(super) tint: Option<Tint>,
    /// When it came in, if it was seen to.
    came_s: Option<f64>,
    /// A missile's tint: its launcher's.
    pub(super) launched_by: Option<Tint>,
    /// The share of the hull that bars show; it follows the true one.
    pub(super) bar: f32,
    first_s: f64,
    seen_s: f64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct TrailPoint {
    pub(super) at: DVec2,
    pub(super) left_s: f64,
    heat: f32,
    boost: f32,
}

/// The looks of all that is in sight.
#[derive(Resource, Debug, Default)]
pub(super) struct Looks(pub(super) HashMap<NetId, Look>);

/// What is common to the own ship and all others.
struct Flyer {
    net_id: NetId,
    state: FlightState,
    glow: EngineGlow,
    hull_kind: HullKind,
    radius: f32,
    tint: Tint,
    own: bool,
    /// The engine burns forwards.
    retro: bool,
}

/// The tint that tells who `other` is; a missile's own is in its [`Look`].
pub(super) fn tint_of(other: &Other) -> Tint {
    tint_of_kind(other.kind)
}

/// The tint of everything of a kind that is not the pilot's own.
pub(super) fn tint_of_kind(kind: EntityKind) -> Tint {
    match kind {
        EntityKind::Ship => palette::PLAYER,
        EntityKind::Drone | EntityKind::Missile => palette::DRONE,
        EntityKind::Asteroid => palette::ROCK,
        EntityKind::Station => palette::STATION,
        EntityKind::Crate => palette::ORE,
    }
}

/// The tint of whoever launched `missile`, which nobody is told: it has just come out of the nearest.
fn launchers_tint(view: &WorldView, missile: &Other) -> Option<Tint> {
    let at = missile.state.position;
    let own = view.own.iter().map(|own| (own.state.position.distance(at), palette::OWN));
    let flyers = view.others.values().filter(|other| matches!(other.kind, EntityKind::Ship | EntityKind::Drone));
    let others = flyers.map(|other| (other.state.position.distance(at), tint_of(other)));
    let nearest = own.chain(others).min_by(|a, b| a.0.total_cmp(&b.0));
    nearest.filter(|(distance, _)| *distance < LAUNCH_UNITS).map(|(_, tint)| tint)
}

/// The share of the hull that is left; a whole one when nothing is known.
pub(super) fn hull_share(hull: u16, hull_max: u16) -> f32 {
    if hull_max == 0 { 1.0 } else { (f32::from(hull) / f32::from(hull_max)).clamp(0.0, 1.0) }
}

impl Look {
    /// What comes in at `now_s`: a look that was not there, or not for a while.
    fn appears(now_s: f64) -> Self {
        Self { first_s: now_s, seen_s: now_s, ..default() }
    }

    fn follow_hull(&mut self, hull: u16, hull_max: u16, seconds: f32) {
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

    fn follow_engine(&mut self, flyer: &Flyer, seconds: f32, now_s: f64) {
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

/// Whether the own ship's engine burns forwards: the view does not tell, the pilot's hands do.
fn is_retro(intent: &PilotIntent, state: &FlightState) -> bool {
    let brakes = intent.controls.holds(Controls::BRAKE) && state.velocity.length() > BRAKES_ABOVE;
    intent.controls.thrust < 0 || brakes
}

/// Paints everything that has a body.
pub(super) fn paint_bodies(
    mut canvas: ResMut<Canvas>,
    mut looks: ResMut<Looks>,
    lens: Res<Lens>,
    view: Res<WorldView>,
    intent: Res<PilotIntent>,
    time: Res<Time<Real>>,
) {
    let seconds = time.delta_secs().min(0.25);
    let now_s = view.time_s;
    // A session of its own has a clock of its own: what was seen in a later one is not remembered.
    looks.0.retain(|_, look| (0.0..LINGER_SECONDS).contains(&(now_s - look.seen_s)));
    let mut settled = false;
    if let Some(own) = &view.own {
        let flyer = Flyer {
            net_id: own.net_id,
            state: own.state,
            glow: own.glow,
            hull_kind: own.hull_kind,
            radius: own.radius as f32,
            tint: palette::OWN,
            own: true,
            retro: is_retro(&intent, &own.state),
        };
        let look = looks.0.entry(own.net_id).or_insert_with(|| Look::appears(now_s));
        if look.kind.is_none() || now_s - look.seen_s > f64::from(seconds) + 0.5 {
            look.came_s = Some(now_s);
            look.hull = None;
        }
        settled = now_s - look.first_s > SETTLED_SECONDS;
        (look.seen_s, look.kind, look.tint) = (now_s, Some(EntityKind::Ship), Some(flyer.tint));
        look.follow_hull(own.hull, own.hull_max, seconds);
        look.follow_engine(&flyer, seconds, now_s);
        paint_flyer(&mut canvas, &lens, &flyer, look, now_s);
    }
    for other in view.others.values() {
        let look = looks.0.entry(other.net_id).or_insert_with(|| Look {
            launched_by: if other.kind == EntityKind::Missile { launchers_tint(&view, other) } else { None },
            came_s: (settled && comes_in(&view, other)).then_some(now_s),
            ..Look::appears(now_s)
        });
        (look.seen_s, look.kind) = (now_s, Some(other.kind));
        look.follow_hull(other.hull, other.hull_max, seconds);
        let Some(hull_kind) = other.hull_kind else {
            look.tint = Some(tint_of(other));
            match other.kind {
                EntityKind::Station => places::paint_station(&mut canvas, &lens, other, &view),
                EntityKind::Crate => places::paint_crate(&mut canvas, &lens, other, now_s),
                _ => {
                    look.tint = Some(rocks::rock_look(other.net_id, other.radius).1);
                    rocks::paint_rock(&mut canvas, &lens, other, look);
                }
            }
            continue;
        };
        let flyer = Flyer {
            net_id: other.net_id,
            state: other.state,
            // A missile's engine burns as long as it flies.
            glow: EngineGlow { thrust: other.glow.thrust || hull_kind == HullKind::Missile, ..other.glow },
            hull_kind,
            radius: other.radius as f32,
            tint: look.launched_by.unwrap_or_else(|| tint_of(other)),
            own: false,
            retro: false,
        };
        look.tint = Some(flyer.tint);
        look.follow_engine(&flyer, seconds, now_s);
        paint_flyer(&mut canvas, &lens, &flyer, look, now_s);
    }
}

/// Whether `other`, which was not there before, has just come rather than flown into sight.
fn comes_in(view: &WorldView, other: &Other) -> bool {
    let near = other.state.position.distance(view.focus) < warp::WARP_UNITS;
    near && matches!(other.kind, EntityKind::Ship | EntityKind::Drone)
}

fn paint_flyer(canvas: &mut Canvas, lens: &Lens, flyer: &Flyer, look: &Look, now_s: f64) {
    let at = lens.local(flyer.state.position);
    if !lens.sees(at, flyer.radius * 3.0 + 400.0) {
        return;
    }
    paint_trail(canvas, lens, flyer, look, now_s);
    // Seen from far out a ship is a mark: it keeps its size and loses its details.
    let is_missile = flyer.hull_kind == HullKind::Missile;
    let far = !is_missile && flyer.radius < FAR_PIXELS * lens.scale;
    let size = match is_missile {
        true => (flyer.radius * MISSILE_RADII).max(MISSILE_PIXELS * lens.scale),
        false => flyer.radius.max(MARK_PIXELS * lens.scale),
    };
    let angle = flyer.state.angle as f32;
    let forward = Vec2::from_angle(angle);
    let (shape, nozzles): (Shape, &[Vec2]) = match flyer.hull_kind {
        HullKind::Scout => (Shape::Scout, &SCOUT_NOZZLES),
        HullKind::Hauler => (Shape::Hauler, &HAULER_NOZZLES),
        HullKind::Gunship => (Shape::Gunship, &GUNSHIP_NOZZLES),
        HullKind::Drone => (Shape::Drone, &DRONE_NOZZLES),
        HullKind::Missile => (Shape::Missile, &MISSILE_NOZZLES),
    };
    let halo = if flyer.own { 0.22 } else { 0.13 };
    let halo_size = Vec2::splat(size * if flyer.own { 4.6 } else { 3.4 });
    canvas.put(Shape::Glow, Layer::Halos, at, 0.0, halo_size, flyer.tint.at(halo));

    if look.thrust > 0.02 {
        let flicker = if lens.calm { 1.0 } else { flicker(flyer.net_id, now_s) };
        let fire = flame_tint(flyer.tint, look.boost);
        let length = size * (1.5 + 1.5 * look.boost) * look.thrust * flicker;
        let width = size * (0.85 + 0.25 * look.boost) * if nozzles.len() > 1 { 0.8 } else { 1.2 };
        for nozzle in nozzles {
            let root = at + forward.rotate(*nozzle * size);
            let stretch = Vec2::new(length, width);
            canvas.put(Shape::Flame, Layer::Flames, root, angle, stretch, fire);
        }
        let behind = at - forward * size * 1.25;
        let light = Vec2::splat(size * (1.9 + 1.0 * look.boost) * flicker);
        canvas.put(Shape::Glow, Layer::Flames, behind, 0.0, light, fire.at(0.5 * look.thrust));
    }
    if !far && !is_missile {
        paint_jets(canvas, flyer, (at, forward, size));
        wounds::paint_smoke(canvas, lens, look, (flyer.net_id, at, size), now_s);
    }
    let come = look.came_s.map_or(1.0, |came_s| warp::progress(now_s - came_s));
    warp::paint_warp(canvas, lens, (at, angle, size), come, flyer.tint);
    let (stretch, opacity) = warp::shape_of(come, lens.calm);
    let flinch = look.flinch_s / FLINCH_SECONDS * lens.flash();
    let tint = flyer.tint.toward(palette::WHITE, flinch);
    let shape = match flyer.hull_kind {
        _ if !far => shape,
        HullKind::Scout | HullKind::Hauler | HullKind::Gunship => Shape::Dart,
        HullKind::Drone | HullKind::Missile => Shape::Diamond,
    };
    canvas.put(shape, Layer::Hulls, at, angle, stretch * size, tint.at(opacity));
    if flinch > 0.0 {
        let flash = palette::WHITE.at(0.5 * flinch);
        canvas.put(Shape::Glow, Layer::Effects, at, 0.0, Vec2::splat(size * 1.9), flash);
    }
}

/// Paints the small thrusters: two that turn the hull, two that burn forwards.
fn paint_jets(canvas: &mut Canvas, flyer: &Flyer, (at, forward, size): (Vec2, Vec2, f32)) {
    let mut jet = |root: Vec2, toward: Vec2, strength: f32| {
        // A flame's mesh burns back along its own x axis.
        let angle = -forward.rotate(toward);
        let stretch = Vec2::new(1.0 * strength, 0.42) * size;
        let tint = flyer.tint.toward(palette::WHITE, 0.55).at(0.9 * strength);
        canvas.put(Shape::Flame, Layer::Jets, at + forward.rotate(root) * size, angle.to_angle(), stretch, tint);
    };
    let turn = flyer.state.angular_velocity;
    if turn.abs() > JETS_FROM {
        let strength = ((turn.abs() - JETS_FROM) / (JETS_FULL - JETS_FROM)).clamp(0.25, 1.0) as f32;
        let side = Vec2::new(0.0, -turn.signum() as f32);
        jet(Vec2::new(0.62, 0.0) + side * 0.26, side, strength);
        jet(Vec2::new(-0.68, 0.0) - side * 0.5, -side, strength);
    }
    if flyer.retro {
        jet(Vec2::new(0.55, 0.34), Vec2::X, 1.0);
        jet(Vec2::new(0.55, -0.34), Vec2::X, 1.0);
    }
}

/// The colour of exhaust: the ship's own, violet with the booster on.
fn flame_tint(tint: Tint, boost: f32) -> Tint {
    tint.toward(palette::WHITE, 0.15).toward(palette::BOOST, boost * 0.8)
}

fn paint_trail(canvas: &mut Canvas, lens: &Lens, flyer: &Flyer, look: &Look, now_s: f64) {
    let stern = flyer.state.position - flyer.state.heading() * f64::from(flyer.radius) * 0.8;
    let newest = TrailPoint { at: stern, left_s: now_s, heat: look.thrust, boost: look.boost };
    let points = look.trail.iter().copied().chain([newest]);
    let mut before: Option<TrailPoint> = None;
    for point in points {
        if let Some(from) = before {
            let age = ((now_s - from.left_s) / TRAIL_SECONDS).clamp(0.0, 1.0) as f32;
            let heat = from.heat.min(point.heat);
            let glow = heat * (1.0 - age).powi(3) * (0.34 + 0.3 * point.boost);
            let [a, b] = [lens.local(from.at), lens.local(point.at)];
            let along = b - a;
            if glow > 0.002 && along.length_squared() > 0.01 {
                let width = flyer.radius.max(4.0 * lens.scale) * (1.15 - 0.85 * age);
                let size = Vec2::new(along.length() * 1.04, width);
                let tint = flame_tint(flyer.tint, point.boost).at(glow);
                let middle = (a + b) * 0.5;
                canvas.put(Shape::Trail, Layer::Trails, middle, along.to_angle(), size, tint);
            }
        }
        before = Some(point);
    }
}

/// How an engine burns right now: about 1, restless.
fn flicker(net_id: NetId, now_s: f64) -> f32 {
    let phase = f64::from(net_id.0) * 1.7;
    let wave = (now_s * 47.0 + phase).sin() * 0.5 + (now_s * 83.0 + phase * 2.3).sin() * 0.5;
    1.0 + 0.09 * wave as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hull_that_loses_points_flinches_and_its_bar_follows() {
        let mut look = Look::default();
        look.follow_hull(100, 100, 0.016);
        assert_eq!((look.flinch_s, look.bar), (0.0, 1.0));
        look.follow_hull(50, 100, 0.016);
        assert_eq!(look.flinch_s, FLINCH_SECONDS);
        (0..200).for_each(|_| look.follow_hull(50, 100, 0.016));
        assert_eq!(look.flinch_s, 0.0);
        assert!((look.bar - 0.5).abs() < 0.01);
    }

    #[test]
    fn a_missile_has_the_tint_of_whom_it_came_from() {
        let other = |net_id: u32, kind: EntityKind, x: f64| Other {
            net_id: NetId(net_id),
            id: Default::default(),
            kind,
            hull_kind: None,
            name: "".into(),
            owner: None,
            state: FlightState { position: DVec2::new(x, 0.0), ..default() },
            glow: EngineGlow::default(),
            hull: 1,
            hull_max: 1,
            radius: 3.0,
            ore: None,
            silent_s: 0.0,
        };
        let mut view = WorldView::default();
        let missile = other(1, EntityKind::Missile, 0.0);
        assert_eq!(launchers_tint(&view, &missile), None);
        view.others.insert(NetId(2), other(2, EntityKind::Asteroid, 1.0));
        view.others.insert(NetId(3), other(3, EntityKind::Drone, 90.0));
        assert_eq!(launchers_tint(&view, &missile), Some(palette::DRONE));
        view.others.insert(NetId(4), other(4, EntityKind::Ship, -40.0));
        assert_eq!(launchers_tint(&view, &missile), Some(palette::PLAYER));
        assert_eq!(launchers_tint(&view, &other(1, EntityKind::Missile, 900.0)), None);
    }

    #[test]
    fn the_brake_burns_while_there_is_something_to_brake() {
        let mut intent = PilotIntent::default();
        let mut state = FlightState { velocity: DVec2::new(90.0, 0.0), ..default() };
        assert!(!is_retro(&intent, &state));
        intent.controls.buttons = Controls::BRAKE;
        assert!(is_retro(&intent, &state));
        state.velocity = DVec2::ZERO;
        assert!(!is_retro(&intent, &state));
        intent.controls.thrust = -127;
        assert!(is_retro(&intent, &state));
    }

    #[test]
    fn a_jump_leaves_no_trail_behind() {
        let mut flyer = Flyer {
            net_id: NetId(1),
            state: FlightState::default(),
            glow: EngineGlow { thrust: true, ..EngineGlow::default() },
            hull_kind: HullKind::Scout,
            radius: 9.0,
            tint: palette::OWN,
            own: true,
            retro: false,
        };
        let mut look = Look::default();
        for step in 0..100 {
            look.follow_engine(&flyer, 0.05, f64::from(step) * 0.05);
        }
        assert!(look.trail.len() > TRAIL_POINTS / 2, "{}", look.trail.len());
        flyer.state.position.x = 5_000.0;
        look.follow_engine(&flyer, 0.05, 5.05);
        assert_eq!(look.trail.len(), 1);
    }
}
