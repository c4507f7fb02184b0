//! The meshes of rocks, of their cracks, and of their chips. One unit in radius.

use crate::window::render::meshes::{
    dice::SeededRandom,
    shape_builder::{Paint, ShapeBuilder},
};
use bevy::prelude::*;
use std::f32::consts::TAU;

/// Degrees of cracks: a rock gets the first when it is slightly damaged, the last when it is about to break.
pub(crate) const CRACKS: u8 = 3;
/// Number of different chips.
pub(crate) const CHIPS: u8 = 3;

/// A rock: class 0 is a small one, 2 a large one.
pub(crate) fn rock(class: u8, look: u8) -> Mesh {
    let mut dice = SeededRandom::new(&[0xa57e, u64::from(class), u64::from(look)]);
    let mut sketch = ShapeBuilder::default();
    let corners = 9 + 3 * usize::from(class) + dice.index(3);
    // Two slow waves make it asymmetric, small steps make it rough.
    let (wave_a, wave_b) = (dice.unit() * TAU, dice.unit() * TAU);
    let rim: Vec<Vec2> = (0..corners)
        .map(|corner| {
            let angle = TAU * (corner as f32 + dice.between(-0.28, 0.28)) / corners as f32;
            let slow = 0.07 * (2.0 * angle + wave_a).cos() + 0.05 * (3.0 * angle + wave_b).cos();
            Vec2::from_angle(angle) * (0.97 + slow + dice.between(-0.07, 0.05))
        })
        .collect();
    let shade = dice.between(0.85, 1.1);
    let stone = |lightness: f32, lean: Vec2| {
        let lightness = lightness * shade;
        Paint::own(lightness * 1.06, lightness, lightness * 0.95).tinted(1.0).lean(lean)
    };
    sketch.stroke(&rim, true, 0.05, Paint::own(0.004, 0.005, 0.01).alpha(0.9));

    // Slopes from the rim to a shoulder, from the shoulder to a plateau, and the plateau.
    let inward = |dice: &mut SeededRandom, share: f32, spread: f32| -> Vec<Vec2> {
        rim.iter().map(|point| *point * (share + dice.between(-spread, spread))).collect()
    };
    let shoulder = inward(&mut dice, 0.78, 0.06);
    let plateau = inward(&mut dice, 0.46, 0.1);
    for index in 0..corners {
        let next = (index + 1) % corners;
        let outward = (rim[index] + rim[next]).normalize_or_zero();
        let mut slope = |share: f32| outward * share + Vec2::from_angle(dice.unit() * TAU) * 0.14;
        let outer = stone(0.16, slope(0.85));
        sketch.triangle([(rim[index], outer), (rim[next], outer), (shoulder[index], outer)]);
        let outer = stone(0.16, slope(0.85));
        sketch.triangle([(shoulder[index], outer), (rim[next], outer), (shoulder[next], outer)]);
        let inner = stone(0.19, slope(0.42));
        sketch.triangle([(shoulder[index], inner), (shoulder[next], inner), (plateau[index], inner)]);
        let inner = stone(0.19, slope(0.42));
        sketch.triangle([(plateau[index], inner), (shoulder[next], inner), (plateau[next], inner)]);
        let top = stone(0.2, slope(0.1));
        sketch.triangle([(plateau[index], top), (plateau[next], top), (Vec2::ZERO, top)]);
    }
    for _ in 0..usize::from(class) + dice.index(2) {
        let middle = Vec2::from_angle(dice.unit() * TAU) * dice.between(0.15, 0.55);
        let size = dice.between(0.1, 0.22) * (1.0 - middle.length() * 0.5);
        crater(&mut sketch, middle, size, &stone);
    }
    sketch.finish()
}

/// A crater leans inwards: its far wall is lit, its near one dark.
fn crater(sketch: &mut ShapeBuilder, middle: Vec2, size: f32, stone: &dyn Fn(f32, Vec2) -> Paint) {
    const CORNERS: u32 = 9;
    let floor = stone(0.09, Vec2::ZERO);
    for corner in 0..CORNERS {
        let spoke = |corner: u32| Vec2::from_angle(TAU * corner as f32 / CORNERS as f32);
        let (from, to) = (spoke(corner), spoke(corner + 1));
        let wall = stone(0.14, -(from + to).normalize_or_zero() * 0.8);
        let [a, b] = [middle + from * size, middle + to * size];
        let [c, d] = [middle + from * size * 0.6, middle + to * size * 0.6];
        sketch.fill(&[a, b, d, c], wall);
        sketch.fill(&[c, d, middle], floor);
    }
}

/// Cracks of a degree, 0 to 2: branches from the rim inwards, dark with a lit edge, and pieces missing at the rim.
pub(crate) fn cracks(degree: u8) -> Mesh {
    let mut dice = SeededRandom::new(&[0xc4ac, u64::from(degree)]);
    let mut sketch = ShapeBuilder::default();
    let dark = Paint::own(0.004, 0.004, 0.006).alpha(0.92);
    let lit = Paint::own(0.34, 0.33, 0.31).tinted(1.0).alpha(0.8);
    let branches = 2 + 2 * u32::from(degree);
    for branch in 0..branches {
        let turn = TAU * (branch as f32 + dice.between(-0.25, 0.25)) / branches as f32;
        let mut at = Vec2::from_angle(turn) * 0.93;
        let mut line = vec![at];
        let depth = 0.45 + 0.16 * f32::from(degree);
        for _ in 0..4 {
            let inward = -at.normalize_or_zero().rotate(Vec2::from_angle(dice.between(-0.75, 0.75)));
            at += inward * depth * 0.25;
            line.push(at);
        }
        let width = 0.035 + 0.02 * f32::from(degree);
        let shifted: Vec<Vec2> = line.iter().map(|point| *point + Vec2::new(0.018, -0.024)).collect();
        sketch.stroke(&shifted, false, width, lit);
        sketch.stroke(&line, false, width, dark);
        if degree > 0 {
            let twig = line[2] + (line[2] - line[1]).rotate(Vec2::from_angle(dice.between(0.6, 1.1))) * 1.4;
            sketch.stroke(&[line[2], twig], false, width * 0.7, dark);
        }
    }
    for _ in 0..2 * u32::from(degree) {
        // A fresh scar: paler stone, where a piece broke off.
        let middle = Vec2::from_angle(dice.unit() * TAU) * dice.between(0.55, 0.78);
        let size = dice.between(0.1, 0.2);
        let corners: Vec<Vec2> = (0..6)
            .map(|corner| middle + Vec2::from_angle(TAU * corner as f32 / 6.0) * size * dice.between(0.7, 1.1))
            .collect();
        sketch.fill(&corners, Paint::own(0.07, 0.066, 0.06).tinted(1.0).lean(-middle * 0.8));
        let [from, to] = [corners[0], corners[3]];
        sketch.stroke(&[from, middle, to], false, 0.025, lit);
    }
    sketch.finish()
}

/// A piece of rock: a splinter with three facets.
pub(crate) fn chip(look: u8) -> Mesh {
    let mut dice = SeededRandom::new(&[0xc41b, u64::from(look)]);
    let mut sketch = ShapeBuilder::default();
    let corners = 5 + usize::from(look % 2);
    let rim: Vec<Vec2> = (0..corners)
        .map(|corner| Vec2::from_angle(TAU * corner as f32 / corners as f32) * dice.between(0.6, 1.05))
        .collect();
    sketch.stroke(&rim, true, 0.12, Paint::own(0.004, 0.005, 0.01).alpha(0.85));
    let peak = Vec2::new(dice.between(-0.25, 0.25), dice.between(-0.25, 0.25));
    for index in 0..corners {
        let next = (index + 1) % corners;
        let lean = (rim[index] + rim[next]).normalize_or_zero() * 0.7;
        let stone = Paint::own(0.2, 0.19, 0.18).tinted(1.0).lean(lean);
        sketch.triangle([(rim[index], stone), (rim[next], stone), (peak, stone)]);
    }
    sketch.finish()
}
