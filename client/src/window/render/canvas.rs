//! The canvas on which the window's systems paint in every frame.
//!
//! Owns the pool of drawn entities: a system adds strokes, [`flush`] assigns each an entity of its shape's pool and
//! hides the remaining ones. Meshes are made once, at start; a frame makes no mesh, no material and, once the pools
//! have grown, no entity. Strokes of one shape on one layer are at adjacent depths and are drawn in one call.

use crate::window::{
    render::{
        colors::tint::{Palette, Tint},
        material::ShapeMaterial,
        meshes::shapes::{Shape, ShapeMeshes},
    },
    schedule::WindowSystems,
};
use bevy::{camera::visibility::NoFrustumCulling, mesh::MeshTag, prelude::*};
use std::collections::HashMap;

/// The most strokes in a frame; further ones are not drawn. A crowded fight has about 3,000.
const MAX_STROKES: usize = 20_000;

/// The canvas.
pub(crate) struct CanvasPlugin;

impl Plugin for CanvasPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Canvas>()
            .add_systems(Update, (take_palette.in_set(WindowSystems::Look), flush.in_set(WindowSystems::Show)));
    }
}

/// The layers, from the back to the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Layer {
    /// Far clouds.
    Clouds,
    /// Stars.
    Stars,
    /// Specks that are fixed in space.
    Dust,
    /// The sector grid.
    Grid,
    /// The engines' trails.
    Trails,
    /// Light around the bodies above.
    Halos,
    /// Rocks.
    Rocks,
    /// What covers rocks: cracks, and a station's moorings.
    Cracks,
    /// Pieces that broke off.
    Chips,
    /// Burning exhaust.
    Flames,
    /// Ships.
    Hulls,
    /// The small thrusters' light.
    Jets,
    /// Bullets.
    Shots,
    /// Smoke.
    Smoke,
    /// Sparks, flashes, fireballs.
    Effects,
    /// Darkens everything below when there is no ship.
    Veil,
    /// Bars and marks.
    Marks,
    /// The bars' fillings.
    MarkFills,
    /// The map's panel.
    Map,
    /// The map's rocks and lines.
    MapLines,
    /// The map's ships.
    MapShips,
}

/// Depth of the name tags: above the marks, below the map.
pub(crate) const NAMES_DEPTH: f32 = Layer::Map as u8 as f32 - 0.01;

/// One instance of a shape.
#[derive(Debug, Clone, Copy)]
struct Stroke {
    at: Vec2,
    depth: f32,
    angle: f32,
    size: Vec2,
    tint: u32,
}

/// Collects a frame's strokes and owns the pools that show them.
#[derive(Resource, Default)]
pub(crate) struct Canvas {
    strokes: HashMap<Shape, Vec<Stroke>>,
    pools: HashMap<Shape, Pool>,
    count: usize,
    palette: Palette,
    bare: bool,
}

#[derive(Default)]
struct Pool {
    entities: Vec<Entity>,
    shown: usize,
}

impl Canvas {
    /// Paints `shape` at `at` (units from the middle of the window), turned by `angle` radians and stretched by `size`
    /// along its own axes. Beyond a frame's limit nothing more is painted.
    pub(crate) fn put(&mut self, shape: Shape, layer: Layer, at: Vec2, angle: f32, size: Vec2, tint: Tint) {
        if self.bare && layer == Layer::Halos {
            return;
        }
        let packed = tint.packed(&self.palette);
        if packed >> 24 == 0 || self.count >= MAX_STROKES || !(at.is_finite() && size.is_finite()) {
            return;
        }
        self.count += 1;
        let depth = f32::from(layer as u8) + shape.rank() * 0.001;
        self.strokes.entry(shape).or_default().push(Stroke { at, depth, angle, size, tint: packed });
    }

    /// Sets whether halos are left out and particles reduced.
    pub(crate) fn set_bare(&mut self, bare: bool) {
        self.bare = bare;
    }

    /// Whether halos are left out and particles reduced.
    pub(crate) fn is_bare(&self) -> bool {
        self.bare
    }

    /// The number of particles to paint where `count` is the full number.
    pub(crate) fn particles(&self, count: usize) -> usize {
        if self.bare { count.div_ceil(3) } else { count }
    }

    /// Paints a straight line of `width` units.
    pub(crate) fn line(&mut self, layer: Layer, from: Vec2, to: Vec2, width: f32, tint: Tint) {
        let along = to - from;
        let size = Vec2::new(along.length(), width);
        self.put(Shape::Square, layer, (from + to) * 0.5, along.to_angle(), size, tint);
    }
}

/// Uses `palette` from now on.
fn take_palette(palette: Res<Palette>, mut canvas: ResMut<Canvas>) {
    canvas.palette = *palette;
}

/// Shows the frame's strokes.
pub(crate) fn flush(
    mut commands: Commands,
    mut canvas: ResMut<Canvas>,
    meshes: Res<ShapeMeshes>,
    mut drawn: Query<(&mut Transform, &mut MeshTag, &mut Visibility)>,
) {
    let canvas = &mut *canvas;
    for (shape, strokes) in &mut canvas.strokes {
        let pool = canvas.pools.entry(*shape).or_default();
        for (index, stroke) in strokes.iter().enumerate() {
            let transform = Transform {
                translation: stroke.at.extend(stroke.depth),
                rotation: Quat::from_rotation_z(stroke.angle),
                scale: stroke.size.extend(1.0),
            };
            let Some(&entity) = pool.entities.get(index) else {
                let Some(mesh) = meshes.mesh(*shape) else { break };
                let entity = commands.spawn((
                    Mesh2d(mesh),
                    MeshMaterial2d::<ShapeMaterial>(meshes.material()),
                    MeshTag(stroke.tint),
                    transform,
                    NoFrustumCulling,
                ));
                pool.entities.push(entity.id());
                continue;
            };
            if let Ok((mut place, mut tag, mut visibility)) = drawn.get_mut(entity) {
                *place = transform;
                tag.set_if_neq(MeshTag(stroke.tint));
                visibility.set_if_neq(Visibility::Inherited);
            }
        }
        let used = strokes.len().min(pool.entities.len());
        for &entity in pool.entities.iter().take(pool.shown).skip(used) {
            if let Ok((_, _, mut visibility)) = drawn.get_mut(entity) {
                visibility.set_if_neq(Visibility::Hidden);
            }
        }
        pool.shown = used;
        strokes.clear();
    }
    canvas.count = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(canvas: &mut Canvas, layer: Layer, at: Vec2, opacity: f32) -> usize {
        canvas.put(Shape::Disc, layer, at, 0.0, Vec2::ONE, Tint::NONE.at(opacity));
        canvas.count
    }

    #[test]
    fn what_is_not_seen_is_no_stroke() {
        let mut canvas = Canvas::default();
        assert_eq!(put(&mut canvas, Layer::Hulls, Vec2::ZERO, 0.0), 0);
        assert_eq!(put(&mut canvas, Layer::Hulls, Vec2::NAN, 1.0), 0);
        assert_eq!(put(&mut canvas, Layer::Hulls, Vec2::ZERO, 1.0), 1);
    }

    #[test]
    fn a_bare_picture_has_no_halos_and_fewer_particles() {
        let mut canvas = Canvas::default();
        assert_eq!(put(&mut canvas, Layer::Halos, Vec2::ZERO, 1.0), 1);
        assert_eq!(canvas.particles(30), 30);
        canvas.set_bare(true);
        assert_eq!(put(&mut canvas, Layer::Halos, Vec2::ZERO, 1.0), 1, "none more");
        assert_eq!(put(&mut canvas, Layer::Hulls, Vec2::ZERO, 1.0), 2);
        assert_eq!((canvas.particles(30), canvas.particles(1)), (10, 1), "something is always seen");
    }
}
