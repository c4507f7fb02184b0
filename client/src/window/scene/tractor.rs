//! Tractor beams: a flickering band from the ship to the body that it pulls.

use crate::{
    view::{Other, WorldView},
    weapons::tractor,
    window::{
        render::{
            camera::CameraView,
            canvas::{Canvas, Layer},
            colors::palette,
            meshes::shapes::Shape,
        },
        schedule::PaintSteps,
    },
};
use bevy::prelude::*;
use sidereal_protocol::{DVec2, world::ids::NetId};

/// Width of the band, units, and the least, pixels.
const BAND_WIDTH: f32 = 5.0;
const BAND_PIXELS: f32 = 3.0;
/// Rings that run along the beam, and their speed, beam lengths per second.
const RINGS: usize = 3;
const RING_PACE: f64 = 0.7;

/// Tractor beams.
pub(crate) struct TractorPlugin;

impl Plugin for TractorPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Update, paint_tractors.in_set(PaintSteps::Tractors));
    }
}

fn paint_tractors(mut canvas: ResMut<Canvas>, camera: Res<CameraView>, view: Res<WorldView>) {
    let own = view.own.iter().filter(|own| own.glow.tractor).map(|own| (own.net_id, own.state.position, own.radius));
    let others = view.others.values().filter(|other| other.glow.tractor);
    for (ship, position, radius) in own.chain(others.map(|other| (other.net_id, other.state.position, other.radius))) {
        if let Some(pulled) = tractor::target(&view, ship, position, radius) {
            paint_tractor(&mut canvas, &camera, (ship, position, radius), pulled, view.time_s);
        }
    }
}

fn paint_tractor(canvas: &mut Canvas, camera: &CameraView, ship: (NetId, DVec2, f64), pulled: &Other, now_s: f64) {
    let (name, position, radius) = ship;
    let (middle, end) = (camera.local(position), camera.local(pulled.state.position));
    let along = end - middle;
    if !camera.sees((middle + end) * 0.5, along.length() * 0.5 + 40.0) {
        return;
    }
    let way = along.normalize_or_zero();
    let (from, to) = (middle + way * radius as f32 * 0.8, end - way * pulled.radius as f32 * 0.8);
    let band = to - from;
    let tremble = if camera.calm { 0.0 } else { 0.15 * (now_s * 23.0 + f64::from(name.0)).sin() as f32 };
    let width = BAND_WIDTH.max(BAND_PIXELS * camera.scale) * (1.0 + tremble);
    let tint = palette::TRACTOR;
    let size = Vec2::new(band.length(), width);
    canvas.put(Shape::Beam, Layer::Shots, (from + to) * 0.5, band.to_angle(), size, tint.at(0.55));
    // They run from the body to the ship: the way that it is pulled.
    for ring in 0..RINGS {
        let share = (now_s * RING_PACE + ring as f64 / RINGS as f64).fract() as f32;
        let at = to.lerp(from, share);
        let size = Vec2::splat(width * (1.0 + 2.0 * (1.0 - share)));
        canvas.put(Shape::Ring, Layer::Effects, at, 0.0, size, tint.at(0.5));
    }
    let held = Vec2::splat(pulled.radius as f32 * 1.15 + 2.0 * camera.scale);
    canvas.put(Shape::Ring, Layer::Marks, end, 0.0, held, tint.at(0.35));
}
