//! The map in the corner: the sector of the own ship and its eight neighbours, which is all that the server sends to a
//! player.

use crate::{
    view::WorldView,
    window::{
        input::view_keys::Overlays,
        render::{
            camera::CameraView,
            canvas::{Canvas, Layer},
            colors::palette,
            meshes::shapes::Shape,
        },
        scene::bodies::looks::{Looks, tint_of},
        schedule::PaintSteps,
        ui::layout::UiLayout,
    },
};
use bevy::{math::DVec2, prelude::*};
use sidereal_protocol::{
    record::EntityKind,
    world::sector::{BLOCK_SECTORS, SECTOR_SIZE, SectorId},
};

/// Sectors on a side.
const MAP_SECTORS: f64 = 3.0;

/// The map in the corner.
pub(crate) struct MinimapPlugin;

impl Plugin for MinimapPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Update, paint_map.in_set(PaintSteps::Map));
    }
}

/// The position of `position` on the map of `sector` and its neighbours, 0 to 1 from the lower left.
fn on_map(sector: SectorId, position: DVec2) -> Option<Vec2> {
    let corner = sector.origin() - DVec2::splat(SECTOR_SIZE);
    let share = (position - corner) / (SECTOR_SIZE * MAP_SECTORS);
    let inside = share.cmpge(DVec2::ZERO).all() && share.cmple(DVec2::ONE).all();
    inside.then(|| share.as_vec2())
}

/// Paints the map.
fn paint_map(
    mut canvas: ResMut<Canvas>,
    camera: Res<CameraView>,
    shown: Res<Overlays>,
    looks: Res<Looks>,
    view: Res<WorldView>,
    layout: Res<UiLayout>,
) {
    if !shown.map || view.account.is_none() && view.own.is_none() {
        return;
    }
    let (side, margin, half) = (layout.map_pixels(), layout.margin(), camera.half_marks());
    let low = Vec2::new(half.x - margin - side, margin - half.y);
    let at = |share: Vec2| camera.marks(low + share * side);
    let whole = camera.marks(Vec2::splat(side));
    canvas.put(Shape::Square, Layer::Map, at(Vec2::splat(0.5)), 0.0, whole, palette::PANEL.at(0.86));

    let line = 1.2 * camera.scale * camera.mark_scale;
    for index in 0..=MAP_SECTORS as i32 {
        let share = index as f32 / MAP_SECTORS as f32;
        let rim = index == 0 || index == MAP_SECTORS as i32;
        let strength = |sector: i32| {
            let block = (sector - 1).saturating_add(index).rem_euclid(BLOCK_SECTORS) == 0;
            palette::LINE.at(match (rim, block) {
                (true, _) => 0.5,
                (false, true) => 0.45,
                (false, false) => 0.18,
            })
        };
        let [from, to] = [Vec2::new(share, 0.0), Vec2::new(share, 1.0)].map(at);
        canvas.line(Layer::MapLines, from, to, line, strength(view.sector.x));
        let [from, to] = [Vec2::new(0.0, share), Vec2::new(1.0, share)].map(at);
        canvas.line(Layer::MapLines, from, to, line, strength(view.sector.y));
    }
    paint_view_frame(&mut canvas, &camera, view.sector, at);

    for other in view.others.values() {
        let Some(share) = on_map(view.sector, other.state.position) else { continue };
        let (shape, layer, pixels, opacity) = match other.kind {
            EntityKind::Asteroid => {
                let pixels = (other.radius as f32 * side / 3000.0).max(0.9);
                (Shape::Disc, Layer::MapLines, pixels, 0.5)
            }
            EntityKind::Drone => (Shape::Diamond, Layer::MapShips, 3.0, 0.95),
            EntityKind::Station => (Shape::Diamond, Layer::MapShips, 6.0, 1.0),
            EntityKind::Crate => (Shape::Disc, Layer::MapShips, 1.8, 0.9),
            EntityKind::Missile => (Shape::Dart, Layer::MapShips, 2.1, 0.9),
            EntityKind::Ship => (Shape::Dart, Layer::MapShips, 4.6, 1.0),
        };
        let angle = other.state.angle as f32;
        let launched_by = looks.0.get(&other.net_id).and_then(|look| look.launched_by);
        let tint = launched_by.unwrap_or_else(|| tint_of(other)).at(opacity);
        canvas.put(shape, layer, at(share), angle, camera.marks(Vec2::splat(pixels)), tint);
    }
    if let Some(own) = &view.own
        && let Some(share) = on_map(view.sector, own.state.position)
    {
        let glow = camera.marks(Vec2::splat(12.0));
        canvas.put(Shape::Glow, Layer::MapShips, at(share), 0.0, glow, palette::OWN.at(0.5));
        let size = camera.marks(Vec2::splat(6.2));
        let angle = own.state.angle as f32;
        canvas.put(Shape::Dart, Layer::MapShips, at(share), angle, size, palette::OWN);
    }
}

/// The visible area as a frame on the map; none if it is larger than the map.
fn paint_view_frame(canvas: &mut Canvas, camera: &CameraView, sector: SectorId, at: impl Fn(Vec2) -> Vec2) {
    let extent = camera.extent();
    let corner = |local: Vec2| on_map(sector, camera.center + local.as_dvec2());
    let (Some(low), Some(high)) = (corner(extent.min), corner(extent.max)) else { return };
    let corners = [low, Vec2::new(high.x, low.y), high, Vec2::new(low.x, high.y)].map(at);
    for index in 0..4 {
        let (from, to) = (corners[index], corners[(index + 1) % 4]);
        canvas.line(Layer::MapLines, from, to, camera.scale, palette::TEXT.at(0.22));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_spans_a_sector_and_its_neighbours() {
        let sector = SectorId::new(-3, 1_000_000);
        assert_eq!(on_map(sector, sector.center()), Some(Vec2::splat(0.5)));
        assert_eq!(on_map(sector, sector.offset(-1, -1).origin()), Some(Vec2::ZERO));
        assert_eq!(on_map(sector, sector.offset(2, 0).center()), None);
    }
}
