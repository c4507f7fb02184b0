//! Builds meshes for [`crate::window::render::material::ShapeMaterial`] out of polygons, lines and soft discs.

use bevy::{
    asset::RenderAssetUsages,
    mesh::{Indices, PrimitiveTopology},
    prelude::*,
};
use std::f32::consts::TAU;

/// How a vertex is painted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    /// Colour; the alpha is its opacity, or its strength for added light.
    color: LinearRgba,
    /// How much of the instance's tint it takes, 0 to 1.
    tinted: f32,
    /// 0 covers, 1 adds light.
    added: f32,
    /// The slope of the facet, for the light.
    lean: Vec2,
    /// 1 fades from the mesh's origin to one unit from it, pixel by pixel; 0 does not.
    soft: f32,
}

impl Paint {
    /// A grey of `lightness` (0 to 1, may exceed it) that takes the tint.
    pub(crate) const fn tint(lightness: f32) -> Self {
        Self {
            color: LinearRgba::rgb(lightness, lightness, lightness),
            tinted: 1.0,
            added: 0.0,
            lean: Vec2::ZERO,
            soft: 0.0,
        }
    }

    /// A colour of its own, linear.
    pub(crate) const fn own(red: f32, green: f32, blue: f32) -> Self {
        Self { color: LinearRgba::rgb(red, green, blue), tinted: 0.0, added: 0.0, lean: Vec2::ZERO, soft: 0.0 }
    }

    /// Light of `strength` that takes `tinted` of the tint.
    pub(crate) const fn light(strength: f32, tinted: f32) -> Self {
        let color = LinearRgba::new(1.0, 1.0, 1.0, strength);
        Self { color, tinted, added: 1.0, lean: Vec2::ZERO, soft: 0.0 }
    }

    /// Light of a colour of its own; the alpha is its strength.
    pub(crate) const fn of_light(color: LinearRgba) -> Self {
        Self { color, tinted: 0.0, added: 1.0, lean: Vec2::ZERO, soft: 0.0 }
    }

    /// With `tinted` of the tint.
    pub(crate) const fn tinted(mut self, tinted: f32) -> Self {
        self.tinted = tinted;
        self
    }

    /// With `alpha` for its opacity.
    pub(crate) const fn alpha(mut self, alpha: f32) -> Self {
        self.color.alpha = alpha;
        self
    }

    /// Fading to nothing one unit from the mesh's origin. The shader does it: a disc needs no more than a square.
    pub(crate) const fn soft(mut self) -> Self {
        self.soft = 1.0;
        self
    }

    /// With the slope `lean`: towards the light it is brighter by up to the slope's length.
    pub(crate) const fn lean(mut self, lean: Vec2) -> Self {
        self.lean = lean;
        self
    }
}

/// An unfinished mesh.
#[derive(Debug, Default)]
pub(crate) struct ShapeBuilder {
    positions: Vec<[f32; 3]>,
    normals: Vec<[f32; 3]>,
    uvs: Vec<[f32; 2]>,
    colors: Vec<[f32; 4]>,
    indices: Vec<u32>,
}

impl ShapeBuilder {
    fn vertex(&mut self, at: Vec2, paint: Paint) -> u32 {
        self.positions.push([at.x, at.y, 0.0]);
        self.normals.push([paint.lean.x, paint.lean.y, paint.soft]);
        self.uvs.push([paint.added, paint.tinted]);
        self.colors.push(paint.color.to_f32_array());
        self.positions.len() as u32 - 1
    }

    /// A triangle with a paint at each corner.
    pub(crate) fn triangle(&mut self, corners: [(Vec2, Paint); 3]) {
        for (at, paint) in corners {
            let index = self.vertex(at, paint);
            self.indices.push(index);
        }
    }

    /// A convex polygon of one paint; fewer than three corners paint nothing.
    pub(crate) fn fill(&mut self, corners: &[Vec2], paint: Paint) {
        for pair in corners.windows(2).skip(1) {
            self.triangle([(corners[0], paint), (pair[0], paint), (pair[1], paint)]);
        }
    }

    /// A convex polygon and its mirror image across the x axis; each facet slopes to its own side.
    pub(crate) fn fill_both(&mut self, corners: &[Vec2], paint: Paint) {
        self.fill(corners, paint);
        self.fill(&mirrored(corners), paint.lean(Vec2::new(paint.lean.x, -paint.lean.y)));
    }

    /// A line of `width` through `points`, with mitred joints.
    pub(crate) fn stroke(&mut self, points: &[Vec2], closed: bool, width: f32, paint: Paint) {
        let count = points.len();
        if count < 2 {
            return;
        }
        let side = |from: Vec2, to: Vec2| (to - from).normalize_or_zero().perp();
        let mut rims = Vec::with_capacity(count);
        for (index, &point) in points.iter().enumerate() {
            let before = match index {
                0 if closed => Some(points[count - 1]),
                0 => None,
                _ => Some(points[index - 1]),
            };
            let after = match index + 1 {
                next if next < count => Some(points[next]),
                _ if closed => Some(points[0]),
                _ => None,
            };
            let first = before.map_or(Vec2::ZERO, |before| side(before, point));
            let second = after.map_or(Vec2::ZERO, |after| side(point, after));
            let joint = (first + second).normalize_or_zero();
            let along = if before.is_some() { first } else { second };
            // A sharp corner's mitre is cut at twice the width.
            let reach = (width * 0.5) / joint.dot(along).max(0.5);
            rims.push((point + joint * reach, point - joint * reach));
        }
        let last = if closed { count } else { count - 1 };
        for index in 0..last {
            let (a, b) = rims[index];
            let (c, d) = rims[(index + 1) % count];
            self.triangle([(a, paint), (b, paint), (c, paint)]);
            self.triangle([(c, paint), (b, paint), (d, paint)]);
        }
    }

    /// Concentric rings, each a radius and a paint that fades into the next. The inside of the first one stays empty.
    pub(crate) fn rings(&mut self, center: Vec2, rings: &[(f32, Paint)], corners: u32) {
        let spoke = |corner: u32| Vec2::from_angle(TAU * corner as f32 / corners as f32);
        // Neighbours share their corners: with software rendering, corners are what costs.
        let mut before: Option<Vec<u32>> = None;
        for &(radius, paint) in rings {
            let count = if radius > 0.0 { corners } else { 1 };
            let ring: Vec<u32> = (0..count).map(|corner| self.vertex(center + spoke(corner) * radius, paint)).collect();
            if let Some(inner) = before {
                for corner in 0..corners as usize {
                    let pick = |ring: &[u32], corner: usize| ring[corner % ring.len()];
                    let [a, b] = [pick(&inner, corner), pick(&inner, corner + 1)];
                    let [c, d] = [pick(&ring, corner), pick(&ring, corner + 1)];
                    if a != b {
                        self.indices.extend([a, c, b]);
                    }
                    self.indices.extend([b, c, d]);
                }
            }
            before = Some(ring);
        }
    }

    /// The mesh.
    pub(crate) fn finish(self) -> Mesh {
        Mesh::new(PrimitiveTopology::TriangleList, RenderAssetUsages::RENDER_WORLD)
            .with_inserted_attribute(Mesh::ATTRIBUTE_POSITION, self.positions)
            .with_inserted_attribute(Mesh::ATTRIBUTE_NORMAL, self.normals)
            .with_inserted_attribute(Mesh::ATTRIBUTE_UV_0, self.uvs)
            .with_inserted_attribute(Mesh::ATTRIBUTE_COLOR, self.colors)
            .with_inserted_indices(Indices::U32(self.indices))
    }
}

/// The mirror image of `points` across the x axis, in an order that winds the same way.
pub(crate) fn mirrored(points: &[Vec2]) -> Vec<Vec2> {
    points.iter().rev().map(|point| Vec2::new(point.x, -point.y)).collect()
}
