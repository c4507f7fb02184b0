//! The entrance of a ship: a line of light that becomes a hull, and a ring that closes on it.

use crate::window::render::{
    camera::CameraView,
    canvas::{Canvas, Layer},
    colors::{palette, tint::Tint},
    meshes::shapes::Shape,
};
use bevy::prelude::*;

/// How long the entrance takes, seconds.
pub(crate) const WARP_SECONDS: f64 = 0.9;
/// Another ship that appears within this distance, units, has just entered; farther out it has flown into view.
pub(crate) const WARP_UNITS: f64 = 650.0;

/// The progress of the entrance, 0 to 1, of a ship that appeared `age_s` seconds ago.
pub(crate) fn progress(age_s: f64) -> f32 {
    (age_s / WARP_SECONDS).clamp(0.0, 1.0) as f32
}

/// The stretching and the opacity of a hull during its entrance.
pub(crate) fn shape_of(progress: f32, calm: bool) -> (Vec2, f32) {
    let come = 1.0 - (1.0 - progress).powi(4);
    if calm || progress >= 1.0 {
        return (Vec2::ONE, progress);
    }
    (Vec2::new(1.0 + 3.5 * (1.0 - come), 0.15 + 0.85 * come), (progress * 3.0).min(1.0))
}

/// Paints the light of a ship at `at` that enters along `angle`.
pub(crate) fn paint_warp(
    canvas: &mut Canvas,
    camera: &CameraView,
    (at, angle, radius): (Vec2, f32, f32),
    progress: f32,
    tint: Tint,
) {
    if progress >= 1.0 {
        return;
    }
    let left = 1.0 - progress;
    let light = tint.toward(palette::WHITE, 0.4);
    if camera.calm {
        canvas.put(Shape::Ring, Layer::Effects, at, 0.0, Vec2::splat(radius * 2.2), light.at(0.6 * left));
        return;
    }
    // The line along which it entered, thin and short-lived.
    let forward = Vec2::from_angle(angle);
    let length = radius * 34.0 * left.powi(2);
    let width = radius * (0.6 + 1.2 * left);
    let line = Vec2::new(length, width);
    canvas.put(Shape::BeamEnd, Layer::Trails, at, (-forward).to_angle(), line, light.at(0.9 * left));
    canvas.put(Shape::Streak, Layer::Effects, at, angle, Vec2::new(radius * 7.0 * left, radius * 0.8), light.at(left));
    for (delay, size) in [(0.0, 7.0), (0.18, 4.2)] {
        let run = (progress - delay) / (1.0 - delay);
        if run > 0.0 {
            let ring = Vec2::splat(radius * (1.1 + size * (1.0 - run).powi(3)));
            canvas.put(Shape::Ring, Layer::Effects, at, 0.0, ring, light.at(0.85 * (1.0 - run) * run.min(0.25) * 4.0));
        }
    }
    let flash = Vec2::splat(radius * (2.0 + 3.0 * left));
    canvas.put(Shape::Glow, Layer::Effects, at, 0.0, flash, light.at(0.75 * left * left));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ship_that_has_come_in_is_whole() {
        assert_eq!(progress(-1.0), 0.0);
        assert_eq!(progress(WARP_SECONDS * 2.0), 1.0);
        assert_eq!(shape_of(1.0, false), (Vec2::ONE, 1.0));
        assert_eq!(shape_of(1.0, true), (Vec2::ONE, 1.0));
    }

    #[test]
    fn it_becomes_a_hull_out_of_a_line_and_with_less_motion_out_of_nothing() {
        let (size, _) = shape_of(0.0, false);
        assert!(size.x > 3.0 && size.y < 0.3, "{size}");
        assert_eq!(shape_of(0.0, true), (Vec2::ONE, 0.0));
    }
}
