//! The borders of sectors and their addresses, shown on request only.

use crate::window::{
    input::view_keys::Overlays,
    render::{
        camera::CameraView,
        canvas::{Canvas, Layer, NAMES_DEPTH},
        colors::palette,
    },
    scene::background::sky::paint_dust,
    schedule::PaintSteps,
};
use bevy::{
    math::{DVec2, Rect},
    prelude::*,
    sprite::Anchor,
};
use sidereal_protocol::world::sector::{BLOCK_SECTORS, SECTOR_SIZE, SectorId};
use std::collections::HashMap;

/// From the corner of a sector's visible part to its address, pixels.
const INSET: Vec2 = Vec2::new(12.0, 9.0);
/// A sector with a visible side shorter than this, pixels, gets no address: it would cover the next one's.
const LEAST_PIXELS: Vec2 = Vec2::new(110.0, 34.0);
/// The most addresses; a window with more sectors would be full of them.
const MAX_LABELS: usize = 40;

/// The lines between sectors, and their addresses.
pub(crate) struct GridPlugin;

impl Plugin for GridPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<SectorLabels>().add_systems(
            Update,
            (paint_grid, write_addresses).chain().after(paint_dust).in_set(PaintSteps::Background),
        );
    }
}

/// The displayed addresses, by sector.
#[derive(Resource, Debug, Default)]
struct SectorLabels(HashMap<SectorId, Entity>);

/// The sectors in the lower left and the upper right of the window.
fn in_window(camera: &CameraView) -> (SectorId, SectorId) {
    let extent = camera.extent();
    let corner = |local: Vec2| SectorId::containing(camera.center + local.as_dvec2());
    (corner(extent.min), corner(extent.max))
}

/// Paints the borders; those of blocks brighter and twice, because a block may belong to another shard.
fn paint_grid(mut canvas: ResMut<Canvas>, camera: Res<CameraView>, shown: Res<Overlays>) {
    if !shown.grid {
        return;
    }
    let extent = camera.extent();
    let (first, last) = in_window(&camera);
    let mut paint = |index: i32, from: Vec2, to: Vec2| {
        let border = index.rem_euclid(BLOCK_SECTORS) == 0;
        let (width, opacity) = if border { (2.0, 0.6) } else { (1.3, 0.28) };
        canvas.line(Layer::Grid, from, to, width * camera.scale, palette::LINE.at(opacity));
        if border {
            canvas.line(Layer::Grid, from, to, 9.0 * camera.scale, palette::LINE.at(0.09));
        }
    };
    for x in first.x..=last.x {
        let at = camera.local(DVec2::new(f64::from(x) * SECTOR_SIZE, camera.center.y)).x;
        paint(x, Vec2::new(at, extent.min.y), Vec2::new(at, extent.max.y));
    }
    for y in first.y..=last.y {
        let at = camera.local(DVec2::new(camera.center.x, f64::from(y) * SECTOR_SIZE)).y;
        paint(y, Vec2::new(extent.min.x, at), Vec2::new(extent.max.x, at));
    }
}

/// The position of the address of `sector`, units from the middle of the window: in the lower left corner of its
/// visible part. `None` if that is too small.
fn label_place(camera: &CameraView, sector: SectorId) -> Option<Vec2> {
    let low = camera.local(sector.origin());
    let seen = Rect::from_corners(low, low + Vec2::splat(SECTOR_SIZE as f32)).intersect(camera.extent());
    let enough = (seen.size() / camera.scale).cmpge(LEAST_PIXELS).all();
    enough.then(|| seen.min + camera.pixels(INSET))
}

/// Updates the addresses.
fn write_addresses(
    mut commands: Commands,
    mut labels: ResMut<SectorLabels>,
    camera: Res<CameraView>,
    shown: Res<Overlays>,
    mut places: Query<&mut Transform, With<Text2d>>,
) {
    let mut wanted = HashMap::new();
    if shown.grid {
        let (first, last) = in_window(&camera);
        let sectors = (first.y..=last.y).flat_map(|y| (first.x..=last.x).map(move |x| SectorId::new(x, y)));
        wanted.extend(sectors.filter_map(|sector| Some((sector, label_place(&camera, sector)?))).take(MAX_LABELS));
    }
    labels.0.retain(|sector, entity| {
        let keep = wanted.contains_key(sector);
        if !keep {
            commands.entity(*entity).despawn();
        }
        keep
    });
    for (sector, at) in wanted {
        let place = Transform {
            translation: at.extend(NAMES_DEPTH),
            scale: Vec2::splat(camera.scale).extend(1.0),
            ..default()
        };
        match labels.0.get(&sector) {
            Some(&entity) => {
                if let Ok(mut transform) = places.get_mut(entity) {
                    *transform = place;
                }
            }
            None => {
                let label = commands.spawn((
                    Text2d::new(format!("{}, {}", sector.x, sector.y)),
                    TextFont::from_font_size(15.0),
                    TextColor(palette::LINE.toward(palette::WHITE, 0.25).at(0.85).color()),
                    Anchor::BOTTOM_LEFT,
                    place,
                ));
                labels.0.insert(sector, label.id());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_where_its_sector_is_seen() {
        let mut camera = CameraView::default();
        camera.center = DVec2::new(1_000.0, 1_000.0);
        camera.set_scale(1.0);
        for (x, y) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let sector = SectorId::new(x, y);
            let at = label_place(&camera, sector).expect("a quarter of the window");
            assert_eq!(SectorId::containing(camera.center + at.as_dvec2()), sector);
            assert!(camera.extent().contains(at), "{at}");
        }
        assert_eq!(label_place(&camera, SectorId::new(2, 0)), None, "out of the window");
    }
}
