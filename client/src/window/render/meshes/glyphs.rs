//! Thin glyphs over the picture: the crosshair's parts, and the arc that shows the direction of a hit.

use crate::window::render::meshes::shape_builder::{Paint, ShapeBuilder};
use bevy::prelude::*;
use std::f32::consts::{FRAC_PI_2, TAU};

/// Half the angle that the arc spans, radians.
const ARC_HALF: f32 = 0.34;

/// The corner of a frame whose middle is towards the lower left: its tip is at the origin, its legs are one unit.
pub(crate) fn bracket() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    sketch.stroke(&[Vec2::new(-1.0, 0.0), Vec2::ZERO, Vec2::new(0.0, -1.0)], false, 0.28, Paint::tint(1.0));
    sketch.finish()
}

/// A circle with four ticks inward and a dot: the aiming mark.
pub(crate) fn aim() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let rim: Vec<Vec2> = (0..24).map(|corner| Vec2::from_angle(TAU * corner as f32 / 24.0) * 0.86).collect();
    sketch.stroke(&rim, true, 0.17, Paint::tint(1.0));
    for quarter in 0..4 {
        let along = Vec2::from_angle(FRAC_PI_2 * quarter as f32);
        sketch.stroke(&[along * 0.86, along * 1.3], false, 0.17, Paint::tint(1.0));
    }
    sketch.rings(Vec2::ZERO, &[(0.0, Paint::tint(1.0)), (0.2, Paint::tint(1.0))], 10);
    sketch.finish()
}

/// A cross with an open middle: the line of fire.
pub(crate) fn cross() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    for quarter in 0..4 {
        let along = Vec2::from_angle(FRAC_PI_2 * quarter as f32);
        sketch.stroke(&[along * 0.35, along], false, 0.2, Paint::tint(1.0));
    }
    sketch.finish()
}

/// An arc of light around the x axis, one unit from the origin, that points inwards.
pub(crate) fn arc() -> Mesh {
    const STEPS: u32 = 14;
    let mut sketch = ShapeBuilder::default();
    let at = |step: u32, radius: f32| {
        let share = step as f32 / STEPS as f32 * 2.0 - 1.0;
        // Thick in the middle, thin at its ends.
        let swell = 1.0 - share * share;
        let radius = 1.0 - (1.0 - radius) * swell;
        (Vec2::from_angle(share * ARC_HALF) * radius, swell)
    };
    let bands = [(1.02, 0.0), (1.0, 1.0), (0.975, 0.8), (0.92, 0.0)];
    for step in 0..STEPS {
        for pair in bands.windows(2) {
            let corner = |step: u32, (radius, light): (f32, f32)| {
                let (place, swell) = at(step, radius);
                (place, Paint::light(light * swell, 1.0))
            };
            let [a, b] = [corner(step, pair[0]), corner(step + 1, pair[0])];
            let [c, d] = [corner(step, pair[1]), corner(step + 1, pair[1])];
            sketch.triangle([a, b, d]);
            sketch.triangle([a, d, c]);
        }
    }
    sketch.finish()
}
