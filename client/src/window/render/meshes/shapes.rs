//! The shapes that the window paints with: made once, at start.

use crate::window::render::{
    material::ShapeMaterial,
    meshes::{
        asteroid_meshes::{self, CHIPS, CRACKS},
        dice::SeededRandom,
        glyphs, hulls,
        shape_builder::{Paint, ShapeBuilder},
        structures,
    },
};
use bevy::prelude::*;
use std::collections::HashMap;

/// Number of different rocks in each size class.
pub(crate) const ROCK_LOOKS: u8 = 12;
/// Size classes of rocks: a big one has more corners and craters.
pub(crate) const ROCK_CLASSES: u8 = 3;
/// Tiles of stars per layer of the sky; each is turned four ways.
pub(crate) const STAR_TILES: u8 = 4;
/// Layers of stars.
pub(crate) const STAR_LAYERS: u8 = 4;

/// Makes the meshes of all shapes at the start.
pub(crate) struct ShapesPlugin;

impl Plugin for ShapesPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Startup, make_shapes);
    }
}

/// A shape. By default it is one unit in radius and points along the x axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// A player's first ship.
    Scout,
    /// A freighter.
    Hauler,
    /// A warship.
    Gunship,
    /// A station's ring, which turns.
    StationRing,
    /// A station's thin outer ring, which turns the other way.
    StationTruss,
    /// A station's fixed centre.
    StationHub,
    /// A crate.
    Crate,
    /// A drone.
    Drone,
    /// A missile.
    Missile,
    /// A rock: size class, look.
    Rock(u8, u8),
    /// Cracks over a rock: their degree.
    Cracks(u8),
    /// A chip of a rock.
    Chip(u8),
    /// A square with sides of one unit.
    Square,
    /// A filled disc.
    Disc,
    /// Light that fades outwards.
    Glow,
    /// Smoke that fades outwards; it covers.
    Puff,
    /// A thin ring of light.
    Ring,
    /// A thin circle.
    Circle,
    /// A bullet: a white-hot line of light from -1 to 1, as wide.
    Streak,
    /// A soft line of light from -0.5 to 0.5, strongest in front.
    Trail,
    /// An even line of light from -0.5 to 0.5, as wide, white in its middle.
    Beam,
    /// The last part of a beam without a target: the same from 0 to 1, where it has faded.
    BeamEnd,
    /// Exhaust from 0 back to -1.
    Flame,
    /// A mark that points forward.
    Chevron,
    /// A player's ship from far away.
    Dart,
    /// A drone from far away.
    Diamond,
    /// A corner of the brackets around a target.
    Bracket,
    /// The aiming mark.
    Aim,
    /// The crosshair.
    Cross,
    /// An arc around the x axis.
    Arc,
    /// All clouds of a cheap sky: from -0.5 to 0.5.
    Backdrop,
    /// A tile of stars: layer, look. [`STAR_TILE_PIXELS`] wide.
    Stars(u8, u8),
}

/// Side of a tile of stars, pixels.
pub(crate) const STAR_TILE_PIXELS: f32 = 640.0;

impl Shape {
    /// A number below 100 for each shape: keeps one shape's strokes at adjacent depths.
    pub(crate) fn rank(self) -> f32 {
        f32::from(match self {
            Self::Scout => 0,
            Self::Drone => 1,
            Self::Square => 2,
            Self::Disc => 3,
            Self::Glow => 4,
            Self::Puff => 5,
            Self::Ring => 6,
            Self::Circle => 7,
            Self::Streak => 8,
            Self::Trail => 9,
            Self::Flame => 10,
            Self::Chevron => 11,
            Self::Dart => 12,
            Self::Diamond => 13,
            Self::Missile => 14,
            Self::Beam => 15,
            Self::BeamEnd => 16,
            Self::Hauler => 17,
            Self::Gunship => 18,
            Self::StationRing => 19,
            Self::Rock(class, look) => 20 + class * ROCK_LOOKS + look,
            Self::StationHub => 57,
            Self::Crate => 58,
            Self::StationTruss => 59,
            Self::Cracks(degree) => 80 + degree,
            Self::Chip(look) => 84 + look,
            Self::Bracket => 88,
            Self::Aim => 89,
            Self::Cross => 90,
            Self::Arc => 91,
            Self::Backdrop => 92,
            Self::Stars(layer, look) => 60 + layer * STAR_TILES + look,
        })
    }
}

/// Every shape's mesh, and the material.
#[derive(Resource)]
pub(crate) struct ShapeMeshes {
    meshes: HashMap<Shape, Handle<Mesh>>,
    material: Handle<ShapeMaterial>,
}

impl ShapeMeshes {
    /// The mesh of `shape`.
    pub(crate) fn mesh(&self, shape: Shape) -> Option<Handle<Mesh>> {
        self.meshes.get(&shape).cloned()
    }

    /// The material.
    pub(crate) fn material(&self) -> Handle<ShapeMaterial> {
        self.material.clone()
    }
}

/// Makes all shapes.
fn make_shapes(mut commands: Commands, mut meshes: ResMut<Assets<Mesh>>, mut materials: ResMut<Assets<ShapeMaterial>>) {
    commands.insert_resource(ShapeMeshes {
        meshes: all_shapes().into_iter().map(|(shape, mesh)| (shape, meshes.add(mesh))).collect(),
        material: materials.add(ShapeMaterial::default()),
    });
}

fn all_shapes() -> Vec<(Shape, Mesh)> {
    let mut all = vec![
        (Shape::Scout, hulls::scout()),
        (Shape::Hauler, hulls::hauler()),
        (Shape::Gunship, hulls::gunship()),
        (Shape::StationRing, structures::station_ring()),
        (Shape::StationTruss, structures::station_truss()),
        (Shape::StationHub, structures::station_hub()),
        (Shape::Crate, structures::cargo_crate()),
        (Shape::Drone, hulls::drone()),
        (Shape::Missile, hulls::missile()),
        (Shape::Square, square()),
        (Shape::Disc, disc()),
        (Shape::Glow, glow()),
        (Shape::Puff, puff()),
        (Shape::Ring, ring()),
        (Shape::Circle, circle()),
        (Shape::Streak, streak()),
        (Shape::Trail, trail()),
        (Shape::Beam, beam(-0.5, 0.5, 1.0)),
        (Shape::BeamEnd, beam(0.0, 1.0, 0.0)),
        (Shape::Flame, flame()),
        (Shape::Chevron, chevron()),
        (Shape::Dart, dart()),
        (Shape::Diamond, diamond()),
        (Shape::Bracket, glyphs::bracket()),
        (Shape::Aim, glyphs::aim()),
        (Shape::Cross, glyphs::cross()),
        (Shape::Arc, glyphs::arc()),
        (Shape::Backdrop, backdrop()),
    ];
    all.extend((0..CRACKS).map(|degree| (Shape::Cracks(degree), asteroid_meshes::cracks(degree))));
    all.extend((0..CHIPS).map(|look| (Shape::Chip(look), asteroid_meshes::chip(look))));
    for class in 0..ROCK_CLASSES {
        all.extend((0..ROCK_LOOKS).map(|look| (Shape::Rock(class, look), asteroid_meshes::rock(class, look))));
    }
    for layer in 0..STAR_LAYERS {
        all.extend((0..STAR_TILES).map(|look| (Shape::Stars(layer, look), stars(layer, look))));
    }
    all
}

fn square() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let corners = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)].map(Vec2::from);
    sketch.fill(&corners, Paint::tint(1.0));
    sketch.finish()
}

fn disc() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    sketch.rings(Vec2::ZERO, &[(0.0, Paint::tint(1.0)), (1.0, Paint::tint(1.0))], 20);
    sketch.finish()
}

/// A square that the shader fades into a disc.
fn soft(paint: Paint) -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let corners = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)].map(Vec2::from);
    sketch.fill(&corners, paint.soft());
    sketch.finish()
}

fn glow() -> Mesh {
    soft(Paint::light(1.0, 1.0))
}

fn puff() -> Mesh {
    soft(Paint::tint(1.0))
}

fn ring() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let rings = [(0.88, 0.0), (0.955, 0.12), (0.982, 1.0), (1.0, 0.0)]
        .map(|(radius, strength)| (radius, Paint::light(strength, 1.0)));
    sketch.rings(Vec2::ZERO, &rings, 48);
    sketch.finish()
}

fn circle() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let points: Vec<Vec2> =
        (0..32).map(|corner| Vec2::from_angle(std::f32::consts::TAU * corner as f32 / 32.0)).collect();
    sketch.stroke(&points, true, 0.06, Paint::tint(1.0));
    sketch.finish()
}

/// A spindle of light along x: brightest in the middle line, `back` and `front` at the ends.
fn spindle(sketch: &mut ShapeBuilder, back: f32, front: f32, width: f32, strength: f32, tinted: f32) {
    let core = Paint::light(strength, tinted);
    let edge = Paint::light(0.0, tinted);
    let (tail, nose) = (Vec2::new(back, 0.0), Vec2::new(front, 0.0));
    let belly = back + (front - back) * 0.72;
    let middle = Vec2::new(belly, 0.0);
    for side in [width, -width] {
        let rim = Vec2::new(belly, side);
        sketch.triangle([(tail, edge), (middle, core), (rim, edge)]);
        sketch.triangle([(middle, core), (nose, edge), (rim, edge)]);
    }
}

fn streak() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    spindle(&mut sketch, -1.0, 1.0, 0.85, 0.7, 1.0);
    spindle(&mut sketch, -0.4, 0.9, 0.45, 1.0, 0.75);
    spindle(&mut sketch, -0.1, 0.85, 0.28, 1.0, 0.1);
    sketch.finish()
}

fn trail() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let (core, edge) = (Paint::light(1.0, 1.0), Paint::light(0.0, 1.0));
    for side in [0.5, -0.5] {
        let [a, b] = [Vec2::new(-0.5, 0.0), Vec2::new(0.5, 0.0)];
        let [c, d] = [Vec2::new(-0.5, side), Vec2::new(0.5, side)];
        sketch.triangle([(a, core), (b, core), (d, edge)]);
        sketch.triangle([(a, core), (d, edge), (c, edge)]);
    }
    sketch.finish()
}

/// A line of light along x; at its end there is `left` of it.
fn beam(from: f32, to: f32, left: f32) -> Mesh {
    let mut sketch = ShapeBuilder::default();
    // From the core outwards: distance to the side, brightness, share of the tint.
    let bands =
        [(0.0, 1.0, 0.0), (0.09, 1.0, 0.15), (0.16, 0.62, 0.9), (0.24, 0.24, 1.0), (0.36, 0.07, 1.0), (0.5, 0.0, 1.0)];
    for sign in [1.0, -1.0] {
        for pair in bands.windows(2) {
            let corner = |x: f32, share: f32, (side, light, tinted): (f32, f32, f32)| {
                (Vec2::new(x, side * sign), Paint::light(light * share, tinted))
            };
            let [a, b] = [corner(from, 1.0, pair[0]), corner(to, left, pair[0])];
            let [c, d] = [corner(from, 1.0, pair[1]), corner(to, left, pair[1])];
            sketch.triangle([a, b, d]);
            sketch.triangle([a, d, c]);
        }
    }
    sketch.finish()
}

fn flame() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let mut tongue = |length: f32, width: f32, strength: f32, tinted: f32| {
        let (hot, cold) = (Paint::light(strength, tinted), Paint::light(0.0, 1.0));
        let root = Vec2::ZERO;
        let belly = Vec2::new(-length * 0.3, 0.0);
        let tip = Vec2::new(-length, 0.0);
        for side in [width, -width] {
            let [lip, rim] = [Vec2::new(0.0, side * 0.55), Vec2::new(-length * 0.26, side)];
            sketch.triangle([(root, hot), (lip, cold), (belly, hot)]);
            sketch.triangle([(lip, cold), (rim, cold), (belly, hot)]);
            sketch.triangle([(belly, hot), (rim, cold), (tip, cold)]);
        }
    };
    tongue(1.0, 0.5, 0.7, 1.0);
    tongue(0.72, 0.3, 0.9, 0.7);
    tongue(0.45, 0.16, 1.0, 0.0);
    sketch.finish()
}

fn chevron() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let points = [(-0.5, 0.9), (0.6, 0.0), (-0.5, -0.9)].map(Vec2::from);
    sketch.stroke(&points, false, 0.36, Paint::tint(1.0));
    sketch.finish()
}

fn dart() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let half = [(1.2, 0.0), (-0.8, 0.85), (-0.35, 0.0)].map(Vec2::from);
    sketch.fill_both(&half, Paint::tint(1.0));
    sketch.finish()
}

fn diamond() -> Mesh {
    let mut sketch = ShapeBuilder::default();
    let corners = [(0.9, 0.0), (0.0, 0.9), (-0.9, 0.0), (0.0, -0.9)].map(Vec2::from);
    sketch.fill(&corners, Paint::tint(1.0));
    sketch.finish()
}

/// Clouds of a cheap sky: light that changes from corner to corner of a coarse net, in one draw.
fn backdrop() -> Mesh {
    const COLUMNS: usize = 14;
    const ROWS: usize = 10;
    let clouds = [
        (Vec2::new(-0.34, 0.22), Vec2::new(0.34, 0.2), [0.003, 0.009, 0.04]),
        (Vec2::new(0.3, 0.05), Vec2::new(0.3, 0.26), [0.001, 0.016, 0.026]),
        (Vec2::new(-0.1, -0.34), Vec2::new(0.4, 0.2), [0.016, 0.004, 0.034]),
        (Vec2::new(0.42, -0.4), Vec2::new(0.24, 0.18), [0.022, 0.004, 0.013]),
    ];
    let paint = |at: Vec2| {
        let mut light = [0.0f32; 3];
        for (middle, size, color) in clouds {
            let share = (-((at - middle) / size).length_squared()).exp();
            (0..3).for_each(|part| light[part] += color[part] * share);
        }
        Paint::of_light(LinearRgba::rgb(light[0], light[1], light[2]))
    };
    let at =
        |column: usize, row: usize| Vec2::new(column as f32 / COLUMNS as f32 - 0.5, row as f32 / ROWS as f32 - 0.5);
    let mut sketch = ShapeBuilder::default();
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            let corner = |right: usize, up: usize| {
                let place = at(column + right, row + up);
                (place, paint(place))
            };
            sketch.triangle([corner(0, 0), corner(1, 0), corner(1, 1)]);
            sketch.triangle([corner(0, 0), corner(1, 1), corner(0, 1)]);
        }
    }
    sketch.finish()
}

/// Stars per tile, and the size of the smallest and of the largest, pixels, by layer from the far
/// one to the near one.
const STARS: [(u32, f32, f32, f32); STAR_LAYERS as usize] =
    [(130, 0.7, 1.1, 0.42), (48, 0.9, 1.5, 0.6), (17, 1.2, 2.0, 0.8), (6, 1.6, 2.5, 1.0)];

fn stars(layer: u8, look: u8) -> Mesh {
    let mut dice = SeededRandom::new(&[0x57a5, u64::from(layer), u64::from(look)]);
    let mut sketch = ShapeBuilder::default();
    let (count, small, large, brightness) = STARS[usize::from(layer)];
    for _ in 0..count {
        let half = STAR_TILE_PIXELS * 0.5;
        let at = Vec2::new(dice.between(-half, half), dice.between(-half, half));
        // Most are small and dim: the cube is mostly near zero.
        let rare = dice.unit().powi(3);
        let size = small + (large - small) * rare;
        let strength = brightness * (0.3 + 0.7 * dice.unit());
        let warmth = dice.unit();
        let color = match warmth {
            warmth if warmth < 0.14 => LinearRgba::new(1.0, 0.62, 0.38, strength),
            warmth if warmth < 0.4 => LinearRgba::new(1.0, 0.93, 0.8, strength),
            warmth if warmth < 0.75 => LinearRgba::new(0.86, 0.92, 1.0, strength),
            _ => LinearRgba::new(0.55, 0.72, 1.0, strength),
        };
        star(&mut sketch, at, size, color, layer >= 2 && rare > 0.3);
    }
    sketch.finish()
}

fn star(sketch: &mut ShapeBuilder, at: Vec2, size: f32, color: LinearRgba, shines: bool) {
    let core = Paint::of_light(color);
    let faint = |share: f32| core.alpha(color.alpha * share);
    let none = core.alpha(0.0);
    sketch.rings(at, &[(0.0, core), (size * 0.55, core), (size, none)], 6);
    if shines {
        let halo = [(0.0, 0.3), (0.25, 0.1), (0.5, 0.028), (0.75, 0.006), (1.0, 0.0)];
        sketch.rings(at, &halo.map(|(radius, share)| (radius * size * 5.0, faint(share))), 12);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bevy::mesh::{Indices, VertexAttributeValues};
    use std::collections::HashSet;

    #[test]
    fn every_shape_has_corners_and_all_are_finite() {
        for (shape, mesh) in all_shapes() {
            for attribute in [Mesh::ATTRIBUTE_POSITION, Mesh::ATTRIBUTE_NORMAL] {
                let Some(VertexAttributeValues::Float32x3(values)) = mesh.attribute(attribute) else {
                    panic!("{shape:?} has no such attribute");
                };
                assert!(!values.is_empty(), "{shape:?}");
                assert!(values.iter().flatten().all(|value| value.is_finite()), "{shape:?}");
            }
            let Some(VertexAttributeValues::Float32x4(colors)) = mesh.attribute(Mesh::ATTRIBUTE_COLOR) else {
                panic!("{shape:?} has no colours");
            };
            assert!(colors.iter().flatten().all(|value| value.is_finite() && *value >= 0.0), "{shape:?}");
            let Some(Indices::U32(indices)) = mesh.indices() else { panic!("{shape:?} has no indices") };
            assert!(indices.len() >= 3 && indices.len().is_multiple_of(3), "{shape:?}");
            assert!(indices.iter().all(|&index| (index as usize) < colors.len()), "{shape:?}");
        }
    }

    #[test]
    fn every_shape_has_a_rank_of_its_own_within_its_layer() {
        let shapes: Vec<Shape> = all_shapes().into_iter().map(|(shape, _)| shape).collect();
        let ranks: HashSet<u32> = shapes.iter().map(|shape| shape.rank() as u32).collect();
        assert_eq!(ranks.len(), shapes.len());
        assert!(ranks.iter().all(|&rank| rank < 100), "so that no layer reaches into the next");
    }
}
