//! The meshes of ships, drones and missiles.
//!
//! Hulls are one unit in radius and point along the x axis. Facets have a slope, so that the light stays in place while
//! a hull turns.

use crate::window::render::meshes::shape_builder::{Paint, ShapeBuilder, mirrored};
use bevy::prelude::*;
use std::f32::consts::TAU;

/// The positions of the scout's exhausts, in radii.
pub(crate) const SCOUT_NOZZLES: [Vec2; 2] = [Vec2::new(-0.84, 0.2), Vec2::new(-0.84, -0.2)];
/// The positions of the hauler's exhausts, in radii.
pub(crate) const HAULER_NOZZLES: [Vec2; 2] = [Vec2::new(-1.0, 0.42), Vec2::new(-1.0, -0.42)];
/// The positions of the gunship's exhausts, in radii.
pub(crate) const GUNSHIP_NOZZLES: [Vec2; 3] = [Vec2::new(-0.92, 0.0), Vec2::new(-0.82, 0.46), Vec2::new(-0.82, -0.46)];
/// The position of the drone's exhaust, in radii.
pub(crate) const DRONE_NOZZLES: [Vec2; 1] = [Vec2::new(-0.78, 0.0)];

/// The position of the missile's exhaust, in radii.
pub(crate) const MISSILE_NOZZLES: [Vec2; 1] = [Vec2::new(-1.25, 0.0)];

/// A player's ship: an arrow with swept wings.
pub(crate) fn scout() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let at = Vec2::new;
    let plate = |lightness: f32, lean: Vec2| Paint::tint(lightness).tinted(0.8).lean(lean);

    // A dark rim behind everything separates the hull from its background.
    let half = [
        at(1.5, 0.0),
        at(0.42, 0.27),
        at(0.12, 0.42),
        at(-0.62, 1.08),
        at(-0.98, 1.04),
        at(-0.8, 0.36),
        at(-0.92, 0.3),
        at(-0.92, 0.1),
        at(-0.74, 0.0),
    ];
    let mut outline = half.to_vec();
    outline.extend(mirrored(&half[1..8]));
    sketch.stroke(&outline, true, 0.2, Paint::own(0.004, 0.006, 0.012).alpha(0.85));

    // Nozzles.
    sketch.fill_both(
        &[at(-0.7, 0.31), at(-0.92, 0.3), at(-0.92, 0.1), at(-0.7, 0.08)],
        Paint::own(0.03, 0.035, 0.05).lean(at(0.0, 0.3)),
    );
    // Wings: a front plate that catches the light, a darker one behind.
    sketch.fill_both(&[at(0.3, 0.2), at(0.12, 0.42), at(-0.62, 1.08), at(-0.62, 0.3)], plate(0.34, at(0.25, 0.5)));
    sketch.fill_both(&[at(-0.62, 0.25), at(-0.62, 1.08), at(-0.98, 1.04), at(-0.78, 0.3)], plate(0.17, at(-0.3, 0.3)));
    // A stripe of paint at the wing's tip.
    sketch.fill_both(
        &[at(-0.36, 0.85), at(-0.62, 1.08), at(-0.98, 1.04), at(-0.9, 0.82)],
        Paint::tint(1.1).lean(at(0.0, 0.15)),
    );
    // The body: two long facets and a spine.
    sketch.fill_both(
        &[at(1.5, 0.0), at(0.42, 0.27), at(-0.74, 0.36), at(-0.74, 0.1), at(0.5, 0.08)],
        plate(0.5, at(0.08, 0.45)),
    );
    let spine = [at(1.5, 0.0), at(0.5, 0.09), at(-0.78, 0.11)];
    sketch.fill_both(&[spine[0], spine[1], spine[2], at(-0.78, 0.0)], plate(0.85, at(0.0, 0.12)));
    // The canopy.
    sketch.fill(
        &[at(0.86, 0.0), at(0.52, 0.13), at(0.14, 0.11), at(0.14, -0.11), at(0.52, -0.13)],
        Paint::own(0.01, 0.02, 0.05),
    );
    sketch.fill(
        &[at(0.8, 0.01), at(0.52, 0.1), at(0.3, 0.09), at(0.46, 0.02)],
        Paint::own(0.75, 0.9, 1.0).lean(at(0.0, 0.2)),
    );
    // A bright line along the edge of body and wing, in the ship's colour.
    let edge = [at(1.5, 0.0), at(0.42, 0.27), at(0.12, 0.42), at(-0.62, 1.08)];
    sketch.stroke(&edge, false, 0.055, Paint::tint(1.0));
    sketch.stroke(&mirrored(&edge), false, 0.055, Paint::tint(1.0));
    sketch.finish()
}

/// A freighter: a cab before two rows of containers.
pub(crate) fn hauler() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let at = Vec2::new;
    let plate = |lightness: f32, lean: Vec2| Paint::tint(lightness).tinted(0.75).lean(lean);
    let half = [
        at(1.12, 0.0),
        at(1.02, 0.3),
        at(0.7, 0.42),
        at(0.62, 0.74),
        at(-0.78, 0.78),
        at(-0.84, 0.6),
        at(-1.02, 0.56),
        at(-1.02, 0.28),
        at(-0.86, 0.2),
        at(-0.86, 0.0),
    ];
    let mut outline = half.to_vec();
    outline.extend(mirrored(&half[1..9]));
    sketch.stroke(&outline, true, 0.16, Paint::own(0.004, 0.006, 0.012).alpha(0.85));
    // Engines, then the keel that holds everything.
    let engine = [at(-0.8, 0.58), at(-1.02, 0.56), at(-1.02, 0.28), at(-0.8, 0.24)];
    sketch.fill_both(&engine, Paint::own(0.03, 0.035, 0.05).lean(at(0.0, 0.3)));
    sketch.fill_both(&[at(0.8, 0.0), at(0.8, 0.16), at(-0.86, 0.2), at(-0.86, 0.0)], plate(0.2, at(0.0, 0.2)));
    // Containers: each with a lit roof and a darker wall.
    for row in 0..3 {
        let front = 0.6 - 0.47 * row as f32;
        let back = front - 0.42;
        sketch.fill_both(
            &[at(front, 0.18), at(front, 0.66), at(back, 0.66), at(back, 0.18)],
            plate(if row == 1 { 0.3 } else { 0.42 }, at(0.1, 0.25)),
        );
        sketch
            .fill_both(&[at(front, 0.66), at(front, 0.75), at(back, 0.76), at(back, 0.66)], plate(0.16, at(0.0, 0.6)));
        let strap = (front + back) * 0.5;
        sketch.fill_both(
            &[at(strap + 0.04, 0.18), at(strap + 0.04, 0.72), at(strap - 0.04, 0.72), at(strap - 0.04, 0.18)],
            Paint::tint(1.0).lean(at(0.0, 0.15)),
        );
    }
    // The cab.
    sketch.fill_both(&[at(1.12, 0.0), at(1.02, 0.3), at(0.68, 0.4), at(0.68, 0.0)], plate(0.75, at(0.2, 0.35)));
    sketch.fill(
        &[at(1.04, 0.0), at(0.98, 0.2), at(0.86, 0.22), at(0.86, -0.22), at(0.98, -0.2)],
        Paint::own(0.01, 0.02, 0.05),
    );
    sketch.fill(&[at(1.0, 0.03), at(0.96, 0.16), at(0.89, 0.17), at(0.91, 0.03)], Paint::own(0.75, 0.9, 1.0));
    let edge = [at(1.12, 0.0), at(1.02, 0.3), at(0.7, 0.42), at(0.62, 0.74), at(-0.78, 0.78)];
    sketch.stroke(&edge, false, 0.045, Paint::tint(1.0));
    sketch.stroke(&mirrored(&edge), false, 0.045, Paint::tint(1.0));
    sketch.finish()
}

/// A warship: a wedge with two gun booms.
pub(crate) fn gunship() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let at = Vec2::new;
    let plate = |lightness: f32, lean: Vec2| Paint::tint(lightness).tinted(0.8).lean(lean);
    let half = [
        at(1.15, 0.0),
        at(0.6, 0.3),
        at(0.5, 0.52),
        at(1.0, 0.6),
        at(1.0, 0.78),
        at(-0.1, 1.02),
        at(-0.7, 0.92),
        at(-0.85, 0.62),
        at(-0.85, 0.3),
        at(-0.95, 0.16),
        at(-0.95, 0.0),
    ];
    let mut outline = half.to_vec();
    outline.extend(mirrored(&half[1..10]));
    sketch.stroke(&outline, true, 0.18, Paint::own(0.004, 0.006, 0.012).alpha(0.85));
    let nozzle = Paint::own(0.03, 0.035, 0.05);
    sketch.fill_both(&[at(-0.7, 0.6), at(-0.86, 0.58), at(-0.86, 0.34), at(-0.7, 0.34)], nozzle);
    sketch.fill_both(&[at(-0.75, 0.15), at(-0.95, 0.16), at(-0.95, 0.0), at(-0.75, 0.0)], nozzle);
    // Armour at the sides, then the booms over it.
    sketch.fill_both(
        &[at(0.5, 0.3), at(0.5, 0.56), at(-0.1, 1.02), at(-0.7, 0.92), at(-0.8, 0.3)],
        plate(0.28, at(0.0, 0.55)),
    );
    sketch.fill_both(&[at(-0.2, 0.55), at(-0.1, 1.02), at(-0.7, 0.92), at(-0.8, 0.5)], plate(0.15, at(-0.25, 0.4)));
    sketch.fill_both(&[at(1.0, 0.6), at(1.0, 0.78), at(0.1, 0.92), at(0.1, 0.6)], plate(0.5, at(0.1, 0.3)));
    sketch.fill_both(&[at(1.12, 0.64), at(1.12, 0.72), at(0.98, 0.74), at(0.98, 0.62)], Paint::own(0.02, 0.02, 0.03));
    sketch.fill_both(&[at(0.72, 0.6), at(0.72, 0.84), at(0.56, 0.87), at(0.56, 0.6)], Paint::tint(1.1));
    // The body.
    sketch.fill_both(
        &[at(1.15, 0.0), at(0.6, 0.3), at(-0.8, 0.36), at(-0.8, 0.1), at(0.4, 0.1)],
        plate(0.48, at(0.1, 0.45)),
    );
    sketch.fill_both(&[at(1.15, 0.0), at(0.4, 0.11), at(-0.8, 0.13), at(-0.8, 0.0)], plate(0.85, at(0.0, 0.12)));
    sketch.fill(
        &[at(0.5, 0.0), at(0.3, 0.12), at(-0.02, 0.12), at(-0.02, -0.12), at(0.3, -0.12)],
        Paint::own(0.01, 0.02, 0.05),
    );
    sketch.fill(&[at(0.44, 0.01), at(0.3, 0.09), at(0.12, 0.09), at(0.2, 0.02)], Paint::own(0.75, 0.9, 1.0));
    let edge = [at(1.15, 0.0), at(0.6, 0.3), at(0.5, 0.52)];
    sketch.stroke(&edge, false, 0.05, Paint::tint(1.0));
    sketch.stroke(&mirrored(&edge), false, 0.05, Paint::tint(1.0));
    let boom = [at(1.0, 0.78), at(-0.1, 1.02), at(-0.7, 0.92)];
    sketch.stroke(&boom, false, 0.05, Paint::tint(1.0));
    sketch.stroke(&mirrored(&boom), false, 0.05, Paint::tint(1.0));
    sketch.finish()
}

/// A patrol drone: a hexagon with two prongs and an eye.
pub(crate) fn drone() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let at = Vec2::new;
    let corner = |index: u32, radius: f32| Vec2::from_angle(TAU * (index as f32 + 0.5) / 6.0) * radius;
    let hexagon = |radius: f32| (0..6).map(|index| corner(index, radius)).collect::<Vec<_>>();
    let dark = Paint::own(0.004, 0.006, 0.012).alpha(0.85);

    let prong = [at(0.1, 0.62), at(0.55, 0.5), at(1.3, 0.52), at(0.7, 0.84), at(0.1, 1.0)];
    sketch.stroke(&prong, true, 0.2, dark);
    sketch.stroke(&mirrored(&prong), true, 0.2, dark);
    sketch.stroke(&hexagon(0.84), true, 0.22, dark);
    sketch.fill_both(&[prong[0], prong[1], prong[3], prong[4]], Paint::tint(0.3).tinted(0.85).lean(at(0.0, 0.5)));
    sketch.fill_both(&[prong[1], prong[2], prong[3]], Paint::tint(1.0).lean(at(0.0, 0.2)));
    // Exhaust.
    sketch.fill(&[at(-0.6, 0.24), at(-0.84, 0.2), at(-0.84, -0.2), at(-0.6, -0.24)], Paint::own(0.03, 0.03, 0.045));
    for index in 0..6 {
        let [a, b] = [corner(index, 0.84), corner(index + 1, 0.84)];
        let [c, d] = [corner(index, 0.5), corner(index + 1, 0.5)];
        let lean = (a + b).normalize_or_zero() * 0.6;
        sketch.fill(&[a, b, d, c], Paint::tint(0.3).tinted(0.85).lean(lean));
    }
    sketch.fill(&hexagon(0.5), Paint::tint(0.1).tinted(0.7));
    sketch.stroke(&hexagon(0.84), true, 0.06, Paint::tint(1.0));
    // The eye.
    let eye = at(0.16, 0.0);
    let (iris, rim) = (Paint::tint(1.3), Paint::own(0.0, 0.0, 0.01));
    sketch.rings(eye, &[(0.0, rim), (0.32, rim)], 14);
    sketch.rings(eye, &[(0.0, Paint::own(1.0, 1.0, 1.0)), (0.1, iris), (0.23, iris)], 14);
    sketch.rings(eye, &[(0.0, Paint::light(0.7, 1.0)), (0.55, Paint::light(0.0, 1.0))], 14);
    sketch.finish()
}

/// A missile: a slim body with a hot nose and four fins, of which two are visible.
pub(crate) fn missile() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let at = Vec2::new;
    let half = [at(1.9, 0.0), at(1.25, 0.32), at(-0.6, 0.34), at(-0.95, 1.0), at(-1.4, 1.0), at(-1.25, 0.26)];
    let mut outline = half.to_vec();
    outline.extend(mirrored(&half[1..]));
    sketch.stroke(&outline, true, 0.34, Paint::own(0.004, 0.006, 0.012).alpha(0.9));
    // Fins, then the body over them, with a light and a dark side.
    sketch.fill_both(
        &[at(-0.5, 0.2), at(-0.95, 1.0), at(-1.4, 1.0), at(-1.25, 0.2)],
        Paint::tint(1.0).lean(at(0.0, 0.2)),
    );
    let shell = [at(1.25, 0.0), at(1.25, 0.32), at(-1.25, 0.34), at(-1.25, 0.0)];
    sketch.fill_both(&shell, Paint::own(0.6, 0.62, 0.66).tinted(0.25).lean(at(0.0, 0.5)));
    sketch.fill_both(&[at(0.55, 0.0), at(0.55, 0.325), at(0.2, 0.33), at(0.2, 0.0)], Paint::tint(1.1));
    sketch.fill_both(&[at(1.9, 0.0), at(1.25, 0.32), at(1.25, 0.0)], Paint::tint(1.3).lean(at(0.0, 0.2)));
    sketch.finish()
}
