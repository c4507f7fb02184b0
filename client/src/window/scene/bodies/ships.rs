//! Ships, drones and missiles, and the looks of all bodies.
//!
//! Keeps one [`Look`] per net id: the state of its drawing between frames (its trail, its glow, its flash), and nothing
//! of the simulation. A look stays a little longer than its entity, because explosions use it.

use crate::{
    flight::controls::PilotIntent,
    view::{Other, WorldView},
    window::{
        render::{
            camera::CameraView,
            canvas::{Canvas, Layer},
            colors::{palette, tint::Tint},
            meshes::{
                hulls::{DRONE_NOZZLES, GUNSHIP_NOZZLES, HAULER_NOZZLES, MISSILE_NOZZLES, SCOUT_NOZZLES},
                shapes::Shape,
            },
        },
        scene::bodies::{
            damage_fx,
            looks::{
                FLINCH_SECONDS, Flyer, LINGER_SECONDS, Look, Looks, SETTLED_SECONDS, TRAIL_SECONDS, TrailPoint,
                launchers_tint, tint_of,
            },
            rocks, stations, warp,
        },
        schedule::PaintSteps,
    },
};
use bevy::prelude::*;
use sidereal_protocol::{
    packets::motion::EngineGlow,
    rules::flight::{Controls, FlightState, HullKind},
    world::{ids::NetId, kind::EntityKind},
};

/// A hull with a smaller radius than this, pixels, is drawn as a mark of at least this size.
const FAR_PIXELS: f32 = 8.0;
const MARK_PIXELS: f32 = 6.5;
/// A missile is drawn larger than it is, in its radii, and at least this large, to be noticed.
const MISSILE_RADII: f32 = 1.7;
const MISSILE_PIXELS: f32 = 5.0;
/// Turns slower than this, radians per second, show no thrusters.
const JETS_FROM: f64 = 0.45;
/// At this turning rate the thrusters are at full strength.
const JETS_FULL: f64 = 2.2;
/// The brake's flame is shown until the ship is slower than this, units/s.
const BRAKES_ABOVE: f64 = 8.0;

/// Draws all bodies.
pub(crate) struct BodiesPlugin;

impl Plugin for BodiesPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Looks>().add_systems(Update, paint_bodies.in_set(PaintSteps::Bodies));
    }
}

/// Whether the own ship's engine is in reverse: by the player's controls, because the view does not contain it.
fn is_retro(intent: &PilotIntent, state: &FlightState) -> bool {
    let brakes = intent.controls.holds(Controls::BRAKE) && state.velocity.length() > BRAKES_ABOVE;
    intent.controls.thrust < 0 || brakes
}

/// Paints all bodies.
fn paint_bodies(
    mut canvas: ResMut<Canvas>,
    mut looks: ResMut<Looks>,
    camera: Res<CameraView>,
    view: Res<WorldView>,
    intent: Res<PilotIntent>,
    time: Res<Time<Real>>,
) {
    let seconds = time.delta_secs().min(0.25);
    let now_s = view.time_s;
    // Each session has its own clock: looks from a later time are dropped.
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
        paint_flyer(&mut canvas, &camera, &flyer, look, now_s);
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
                EntityKind::Station => stations::paint_station(&mut canvas, &camera, other, &view),
                EntityKind::Crate => stations::paint_crate(&mut canvas, &camera, other, now_s),
                _ => {
                    look.tint = Some(rocks::rock_look(other.net_id, other.radius).1);
                    rocks::paint_rock(&mut canvas, &camera, other, look);
                }
            }
            continue;
        };
        let flyer = Flyer {
            net_id: other.net_id,
            state: other.state,
            // A missile's engine is on as long as it flies.
            glow: EngineGlow { thrust: other.glow.thrust || hull_kind == HullKind::Missile, ..other.glow },
            hull_kind,
            radius: other.radius as f32,
            tint: look.launched_by.unwrap_or_else(|| tint_of(other)),
            own: false,
            retro: false,
        };
        look.tint = Some(flyer.tint);
        look.follow_engine(&flyer, seconds, now_s);
        paint_flyer(&mut canvas, &camera, &flyer, look, now_s);
    }
}

/// Whether `other`, which was not there before, has just entered rather than flown into view.
fn comes_in(view: &WorldView, other: &Other) -> bool {
    let near = other.state.position.distance(view.focus) < warp::WARP_UNITS;
    near && other.kind.spec().is_craft()
}

fn paint_flyer(canvas: &mut Canvas, camera: &CameraView, flyer: &Flyer, look: &Look, now_s: f64) {
    let at = camera.local(flyer.state.position);
    if !camera.sees(at, flyer.radius * 3.0 + 400.0) {
        return;
    }
    paint_trail(canvas, camera, flyer, look, now_s);
    // From far out a ship is a mark: it keeps its size and loses its details.
    let is_missile = flyer.hull_kind == HullKind::Missile;
    let far = !is_missile && flyer.radius < FAR_PIXELS * camera.scale;
    let size = match is_missile {
        true => (flyer.radius * MISSILE_RADII).max(MISSILE_PIXELS * camera.scale),
        false => flyer.radius.max(MARK_PIXELS * camera.scale),
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
        let flicker = if camera.calm { 1.0 } else { flicker(flyer.net_id, now_s) };
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
        damage_fx::paint_smoke(canvas, camera, look, (flyer.net_id, at, size), now_s);
    }
    let come = look.came_s.map_or(1.0, |came_s| warp::progress(now_s - came_s));
    warp::paint_warp(canvas, camera, (at, angle, size), come, flyer.tint);
    let (stretch, opacity) = warp::shape_of(come, camera.calm);
    let flinch = look.flinch_s / FLINCH_SECONDS * camera.flash();
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

/// Paints the small thrusters: two that turn the hull, two that brake.
fn paint_jets(canvas: &mut Canvas, flyer: &Flyer, (at, forward, size): (Vec2, Vec2, f32)) {
    let mut jet = |root: Vec2, toward: Vec2, strength: f32| {
        // A flame's mesh points back along its own x axis.
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

fn paint_trail(canvas: &mut Canvas, camera: &CameraView, flyer: &Flyer, look: &Look, now_s: f64) {
    let stern = flyer.state.position - flyer.state.heading() * f64::from(flyer.radius) * 0.8;
    let newest = TrailPoint { at: stern, left_s: now_s, heat: look.thrust, boost: look.boost };
    let points = look.trail.iter().copied().chain([newest]);
    let mut before: Option<TrailPoint> = None;
    for point in points {
        if let Some(from) = before {
            let age = ((now_s - from.left_s) / TRAIL_SECONDS).clamp(0.0, 1.0) as f32;
            let heat = from.heat.min(point.heat);
            let glow = heat * (1.0 - age).powi(3) * (0.34 + 0.3 * point.boost);
            let [a, b] = [camera.local(from.at), camera.local(point.at)];
            let along = b - a;
            if glow > 0.002 && along.length_squared() > 0.01 {
                let width = flyer.radius.max(4.0 * camera.scale) * (1.15 - 0.85 * age);
                let size = Vec2::new(along.length() * 1.04, width);
                let tint = flame_tint(flyer.tint, point.boost).at(glow);
                let middle = (a + b) * 0.5;
                canvas.put(Shape::Trail, Layer::Trails, middle, along.to_angle(), size, tint);
            }
        }
        before = Some(point);
    }
}

/// The present strength of an engine's flame: about 1, flickering.
fn flicker(net_id: NetId, now_s: f64) -> f32 {
    let phase = f64::from(net_id.0) * 1.7;
    let wave = (now_s * 47.0 + phase).sin() * 0.5 + (now_s * 83.0 + phase * 2.3).sin() * 0.5;
    1.0 + 0.09 * wave as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::scene::bodies::looks::TRAIL_POINTS;
    use bevy::math::DVec2;

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
