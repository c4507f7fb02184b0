//! The crosshair: brackets around the target, the aiming mark, and the cross on the line of fire.

use crate::{
    view::{Dock, Other, OwnShip, WorldView},
    window::{
        render::{
            camera::CameraView,
            canvas::{Canvas, Layer},
            colors::palette,
            meshes::shapes::Shape,
        },
        scene::{bodies::looks::tint_of, overlay::aim},
        schedule::PaintSteps,
    },
};
use bevy::{math::DVec2, prelude::*};
use sidereal_protocol::world::{ids::NetId, tick::TICK_SECONDS};
use std::f32::consts::FRAC_PI_2;

/// From the hull's edge to the brackets, and their least distance, pixels.
const BRACKET_GAP: f32 = 8.0;
const BRACKET_PIXELS: f32 = 17.0;
/// Sizes of the mark and of the crosshair, pixels.
const MARK_PIXELS: f32 = 10.0;
const CROSS_PIXELS: f32 = 8.0;
/// The position of the cross without a target, units ahead.
const IDLE_UNITS: f64 = 210.0;
/// From a hull's edge to the start of its bullets, units.
const MUZZLE_UNITS: f64 = 1.0;
/// The most by which others are ahead of their drawing, seconds: more is not extrapolated.
const MAX_LEAD_S: f64 = 0.5;

/// The crosshair and its target.
pub(crate) struct CrosshairPlugin;

impl Plugin for CrosshairPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<AimTarget>().add_systems(Update, paint_crosshair.in_set(PaintSteps::Crosshair));
    }
}

/// The target of the crosshair.
#[derive(Resource, Debug, Default)]
struct AimTarget(pub(crate) Option<NetId>);

fn is_hostile(other: &Other) -> bool {
    other.kind.spec().is_target
}

/// The present position and motion of `target` relative to the own ship: it is drawn in the past, the ship is not.
fn relative(view: &WorldView, own: &OwnShip, target: &Other) -> (DVec2, DVec2) {
    let behind_s = ((view.own_tick - view.play_tick) * TICK_SECONDS).clamp(0.0, MAX_LEAD_S);
    let now = target.state.coast(behind_s);
    (now.position - own.state.position, now.velocity - own.state.velocity)
}

/// Chooses the target and paints the crosshair.
fn paint_crosshair(
    mut canvas: ResMut<Canvas>,
    mut target: ResMut<AimTarget>,
    camera: Res<CameraView>,
    view: Res<WorldView>,
) {
    let flies = |own: &&OwnShip| !own.stalled && !matches!(view.dock, Dock::Docked { .. });
    let Some(own) = view.own.as_ref().filter(flies) else {
        target.0 = None;
        return;
    };
    let hostile = view.others.values().filter(|other| is_hostile(other));
    let places = hostile.map(|other| (other.net_id, other.state.position - own.state.position));
    target.0 = aim::choose(own.state.angle, places, target.0);

    let mut reach = IDLE_UNITS;
    let mut aligned = false;
    if let Some(other) = target.0.and_then(|net_id| view.others.get(&net_id)) {
        paint_brackets(&mut canvas, &camera, other);
        let (position, velocity) = relative(&view, own, other);
        if let Some((at, _)) = aim::intercept(position, velocity, own.radius + MUZZLE_UNITS) {
            reach = at.length();
            aligned = aim::is_aligned(&own.state, at, other.radius);
            paint_mark(&mut canvas, &camera, other, camera.local(own.state.position + at), aligned);
        }
    }
    let cross = camera.local(own.state.position + own.state.heading() * reach);
    let tint = if aligned { palette::WHITE.at(0.95) } else { palette::OWN.at(0.42) };
    let size = camera.pixels(Vec2::splat(CROSS_PIXELS * if aligned { 1.25 } else { 1.0 }));
    canvas.put(Shape::Cross, Layer::Marks, cross, own.state.angle as f32, size, tint);
}

fn paint_brackets(canvas: &mut Canvas, camera: &CameraView, other: &Other) {
    let at = camera.local(other.state.position);
    let half = (other.radius as f32 * 1.2 + BRACKET_GAP * camera.scale).max(BRACKET_PIXELS * camera.scale);
    let tint = tint_of(other).toward(palette::WHITE, 0.3).at(0.85);
    for quarter in 0..4 {
        let turn = FRAC_PI_2 * quarter as f32;
        let corner = at + Vec2::from_angle(turn).rotate(Vec2::splat(half));
        canvas.put(Shape::Bracket, Layer::Marks, corner, turn, camera.pixels(Vec2::splat(7.0)), tint);
    }
}

/// The aiming mark, and a thin line from the target to it, which shows the target's direction.
fn paint_mark(canvas: &mut Canvas, camera: &CameraView, other: &Other, mark: Vec2, aligned: bool) {
    let tint = if aligned { palette::WHITE } else { tint_of(other).toward(palette::WHITE, 0.3) };
    let target = camera.local(other.state.position);
    let size = camera.pixels(Vec2::splat(MARK_PIXELS));
    let from = target + (mark - target).clamp_length_max(other.radius as f32 * 1.2);
    let to = mark - (mark - target).clamp_length_max(size.x);
    if (mark - target).length() > other.radius as f32 * 1.2 + size.x {
        canvas.line(Layer::Marks, from, to, camera.scale * 1.2, tint.at(0.35));
    }
    canvas.put(Shape::Aim, Layer::Marks, mark, 0.0, size, tint.at(0.9));
    if aligned {
        canvas.put(Shape::Glow, Layer::Marks, mark, 0.0, size * 2.4, palette::OWN.at(0.5));
    }
}
