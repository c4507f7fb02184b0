//! Checks the colour schemes: computes their colours as colour-blind people see them, and the distances between them.
//! Tests only.
//!
//! Dichromats' vision after Machado, Oliveira and Fernandes (2009), "A Physiologically-based Model for Simulation of
//! Color Vision Deficiency", severity 1, on linear RGB; distances in CIE L*a*b* (D65), ΔE*ab of 1976. A ΔE of 2.3 is
//! barely noticed side by side; small moving objects that are seen alone need ten times that.

use crate::window::{
    render::colors::tint::{Palette, Role},
    settings::scheme::Scheme,
};

/// The least distance between any two flying kinds, and between any two states of a hull bar, ΔE.
const LEAST_APART: f64 = 22.0;
/// The least difference between them in lightness alone, L*: it is visible without any colour.
const LEAST_LIGHTNESS: f64 = 5.0;
/// The least lightness before the background, L*.
const LEAST_LIGHT: f64 = 49.0;

type Matrix = [[f64; 3]; 3];

const ALL_COLORS: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
const PROTANOPIA: Matrix =
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]];
const DEUTERANOPIA: Matrix =
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]];
const TRITANOPIA: Matrix =
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]];

/// sRGB's primaries and white.
const TO_XYZ: Matrix =
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]];
const WHITE: [f64; 3] = [0.95047, 1.0, 1.08883];

const FLIES: [Role; 5] = [Role::Own, Role::Player, Role::Drone, Role::Station, Role::Ore];
const HULL: [Role; 3] = [Role::HullGood, Role::HullWorn, Role::HullLow];

fn times(matrix: &Matrix, vector: [f64; 3]) -> [f64; 3] {
    matrix.map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum())
}

/// L*, a* and b* of an sRGB colour, as seen with `vision`.
fn lab(rgb: [u8; 3], vision: &Matrix) -> [f64; 3] {
    let linear = rgb.map(|part| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    let xyz = times(&TO_XYZ, times(vision, linear).map(|part| part.clamp(0.0, 1.0)));
    let f = |t: f64| if t > 216.0 / 24389.0 { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 };
    let [x, y, z] = [f(xyz[0] / WHITE[0]), f(xyz[1] / WHITE[1]), f(xyz[2] / WHITE[2])];
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

fn apart(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// The pairs in `scheme` that are too close for `vision`, in words.
fn confusions(scheme: Scheme, vision: &Matrix, least_lightness: f64) -> Vec<String> {
    let palette = Palette::of(scheme);
    let seen = |role: Role| lab(palette.roles()[role as usize], vision);
    let mut found = Vec::new();
    for group in [&FLIES[..], &HULL[..]] {
        for (index, a) in group.iter().enumerate() {
            if seen(*a)[0] < LEAST_LIGHT {
                found.push(format!("{a:?} is too dark"));
            }
            for b in &group[index + 1..] {
                let (distance, lightness) = (apart(seen(*a), seen(*b)), (seen(*a)[0] - seen(*b)[0]).abs());
                if distance < LEAST_APART || lightness < least_lightness {
                    found.push(format!("{a:?} and {b:?}: {distance:.1} apart, {lightness:.1} in lightness"));
                }
            }
        }
    }
    found
}

#[test]
fn the_usual_colours_are_apart_for_those_who_see_all_of_them() {
    assert_eq!(confusions(Scheme::Usual, &ALL_COLORS, 0.0), Vec::<String>::new());
}

#[test]
fn each_scheme_keeps_its_colours_apart_in_hue_and_lightness_for_those_whom_it_is_for() {
    for (scheme, vision) in [
        (Scheme::RedGreen, &PROTANOPIA),
        (Scheme::RedGreen, &DEUTERANOPIA),
        (Scheme::RedGreen, &ALL_COLORS),
        (Scheme::BlueYellow, &TRITANOPIA),
        (Scheme::BlueYellow, &ALL_COLORS),
    ] {
        assert_eq!(confusions(scheme, vision, LEAST_LIGHTNESS), Vec::<String>::new(), "{scheme:?} {vision:?}");
    }
}

#[test]
fn the_usual_colours_need_the_schemes() {
    for vision in [&PROTANOPIA, &DEUTERANOPIA, &TRITANOPIA] {
        assert_ne!(confusions(Scheme::Usual, vision, LEAST_LIGHTNESS), Vec::<String>::new());
    }
}

#[test]
fn white_is_white_in_lab_and_dichromats_see_no_hue_in_grey() {
    let [lightness, a, b] = lab([255, 255, 255], &ALL_COLORS);
    assert!((lightness - 100.0).abs() < 0.1 && a.abs() < 0.1 && b.abs() < 0.1);
    for vision in [&PROTANOPIA, &DEUTERANOPIA, &TRITANOPIA] {
        let [_, a, b] = lab([128, 128, 128], vision);
        assert!(a.abs() < 0.5 && b.abs() < 0.5, "{a} {b}");
    }
}
