//! The meshes of stations and crates. One unit in radius.

use crate::window::render::meshes::shape_builder::{Paint, ShapeBuilder};
use bevy::prelude::*;
use std::f32::consts::TAU;

/// Modules on a station's ring, and spokes.
const MODULES: u32 = 12;
const SPOKES: u32 = 4;
/// A thin dark seam.
const DARK: Paint = Paint::own(0.004, 0.006, 0.012);

fn spoke(turn: f32) -> Vec2 {
    Vec2::from_angle(TAU * turn)
}

/// A station's ring: modules with lit windows, held by spokes. It turns.
pub(crate) fn station_ring() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    for index in 0..SPOKES {
        let along = spoke((index as f32 + 0.5) / SPOKES as f32);
        let across = along.perp() * 0.045;
        let [root, tip] = [along * 0.3, along * 0.8];
        sketch.stroke(&[root, tip], false, 0.15, DARK.alpha(0.85));
        sketch.fill(&[root - across, root + across, tip + across, tip - across], plate(0.2, across * 6.0));
    }
    let rim: Vec<Vec2> = (0..48).map(|corner| spoke(corner as f32 / 48.0) * 0.86).collect();
    sketch.stroke(&rim, true, 0.34, DARK.alpha(0.9));
    for index in 0..MODULES {
        let from = (index as f32 + 0.04) / MODULES as f32;
        let to = (index as f32 + 0.96) / MODULES as f32;
        let middle = (from + to) * 0.5;
        let lean = spoke(middle);
        let shade = if index % 3 == 0 { 0.34 } else { 0.22 };
        // Each module is two slopes, inner and outer, over three steps.
        for step in 0..3 {
            let turn = |part: u32| spoke(from + (to - from) * part as f32 / 3.0);
            let [a, b] = [turn(step), turn(step + 1)];
            sketch.fill(&[a * 0.87, b * 0.87, b, a], plate(shade, lean * 0.7));
            sketch.fill(&[a * 0.72, b * 0.72, b * 0.87, a * 0.87], plate(shade * 1.15, -lean * 0.4));
        }
        // Windows: some of them lit.
        for window in 0..4u32 {
            let lit = (index * 7 + window * 5) % 11 < 7;
            let at = spoke(from + (to - from) * (0.2 + 0.2 * window as f32));
            let across = at.perp() * 0.018;
            let pane = if lit { Paint::own(1.3, 1.05, 0.62) } else { Paint::own(0.02, 0.03, 0.05) };
            sketch.fill(&[at * 0.83 - across, at * 0.83 + across, at * 0.9 + across, at * 0.9 - across], pane);
        }
    }
    // Lamps on the outside, in the tint.
    for index in 0..SPOKES {
        let at = spoke(index as f32 / SPOKES as f32) * 0.99;
        sketch.rings(at, &[(0.0, Paint::tint(1.4)), (0.03, Paint::tint(1.2))], 8);
        sketch.rings(at, &[(0.0, Paint::light(0.8, 1.0)), (0.11, Paint::light(0.0, 1.0))], 12);
    }
    sketch.finish()
}

/// A station's outer truss: a thin ring on struts, with four gates where ships moor. It turns the other way.
pub(crate) fn station_truss() -> Mesh {
    const BAYS: u32 = 4;
    const STEPS: u32 = 9;
    let mut sketch = ShapeBuilder::default();
    for bay in 0..BAYS {
        let turn = |share: f32| spoke((bay as f32 + 0.13 + 0.74 * share) / BAYS as f32);
        let rails = [1.08, 1.18]
            .map(|radius| -> Vec<Vec2> { (0..=STEPS).map(|step| turn(step as f32 / STEPS as f32) * radius).collect() });
        for rail in &rails {
            sketch.stroke(rail, false, 0.06, DARK.alpha(0.85));
            sketch.stroke(rail, false, 0.03, plate(0.34, Vec2::ZERO));
        }
        for step in 0..STEPS as usize {
            let strut = [rails[step % 2][step], rails[(step + 1) % 2][step + 1]];
            sketch.stroke(&strut, false, 0.022, plate(0.24, Vec2::ZERO));
        }
        // The gates: a post at either side of the gap, with a lamp in the tint.
        for end in [0, STEPS as usize] {
            let [inner, outer] = [rails[0][end] * 0.96, rails[1][end] * 1.06];
            sketch.stroke(&[inner, outer], false, 0.1, DARK.alpha(0.9));
            sketch.stroke(&[inner, outer], false, 0.06, plate(0.45, Vec2::ZERO));
            sketch.rings(outer, &[(0.0, Paint::tint(1.5)), (0.035, Paint::tint(1.2))], 8);
        }
        // Tanks outside.
        for tank in 0..3u32 {
            let at = turn(0.3 + 0.2 * tank as f32) * 1.13;
            let shade = Paint::tint(if tank == 1 { 0.7 } else { 0.35 });
            sketch.rings(at, &[(0.0, shade), (0.055, shade), (0.075, DARK)], 10);
        }
    }
    sketch.finish()
}

/// A station's hub: a drum with an octagonal roof and a lit core.
pub(crate) fn station_hub() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let corner = |index: u32, radius: f32| spoke((index as f32 + 0.5) / 8.0) * radius;
    let octagon: Vec<Vec2> = (0..8).map(|index| corner(index, 0.42)).collect();
    sketch.stroke(&octagon, true, 0.1, DARK.alpha(0.9));
    for index in 0..8 {
        let [a, b] = [corner(index, 0.42), corner(index + 1, 0.42)];
        let [c, d] = [corner(index, 0.28), corner(index + 1, 0.28)];
        let lean = (a + b).normalize_or_zero();
        sketch.fill(&[a, b, d, c], plate(0.26, lean * 0.75));
        let [e, f] = [corner(index, 0.16), corner(index + 1, 0.16)];
        sketch.fill(&[c, d, f, e], plate(if index % 2 == 0 { 0.34 } else { 0.28 }, lean * 0.35));
    }
    // Docking arms, in the tint.
    for index in 0..4u32 {
        let along = spoke(index as f32 / 4.0);
        let across = along.perp() * 0.05;
        let [root, tip] = [along * 0.38, along * 0.56];
        sketch.stroke(&[root, tip], false, 0.17, DARK.alpha(0.9));
        sketch.fill(&[root - across, root + across, tip + across, tip - across], plate(0.3, across * 5.0));
        let [root, tip] = [along * 0.52, along * 0.56];
        sketch.fill(&[root - across, root + across, tip + across, tip - across], Paint::tint(1.1));
    }
    sketch.rings(Vec2::ZERO, &[(0.0, DARK), (0.16, DARK)], 16);
    sketch.rings(Vec2::ZERO, &[(0.0, Paint::tint(1.5)), (0.07, Paint::tint(1.1)), (0.12, Paint::tint(0.5))], 16);
    sketch.rings(Vec2::ZERO, &[(0.0, Paint::light(0.8, 1.0)), (0.4, Paint::light(0.0, 1.0))], 20);
    sketch.finish()
}

/// Steel that takes a little of the tint.
fn plate(lightness: f32, lean: Vec2) -> Paint {
    Paint::own(lightness * 0.96, lightness, lightness * 1.08).tinted(0.35).lean(lean)
}

/// A crate: a box with straps and a light.
pub(crate) fn cargo_crate() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let at = Vec2::new;
    let square = |side: f32| [at(-side, -side), at(side, -side), at(side, side), at(-side, side)];
    sketch.stroke(&square(0.74), true, 0.3, DARK.alpha(0.9));
    let [low, high] = [square(0.8), square(0.56)];
    for index in 0..4 {
        let next = (index + 1) % 4;
        let lean = (low[index] + low[next]).normalize_or_zero();
        sketch.fill(&[low[index], low[next], high[next], high[index]], Paint::tint(0.34).lean(lean * 0.6));
    }
    sketch.fill(&high, Paint::tint(0.5));
    sketch.fill(&[at(-0.1, -0.8), at(0.1, -0.8), at(0.1, 0.8), at(-0.1, 0.8)], Paint::own(0.05, 0.05, 0.06));
    sketch.fill(&[at(-0.8, -0.1), at(0.8, -0.1), at(0.8, 0.1), at(-0.8, 0.1)], Paint::own(0.05, 0.05, 0.06));
    sketch.rings(Vec2::ZERO, &[(0.0, Paint::own(1.2, 1.2, 1.2)), (0.2, Paint::tint(1.3))], 12);
    sketch.finish()
}
