//! The sky: clouds, four layers of stars and specks of dust.
//!
//! Unbounded: each layer is a plane of tiles that moves slower the farther it is, and the content of a tile follows
//! from the world's seed and the tile's address.

use crate::{
    view::WorldView,
    window::{
        render::{
            camera::CameraView,
            canvas::{Canvas, Layer},
            colors::{palette, tint::Tint},
            meshes::{
                dice::SeededRandom,
                shapes::{STAR_LAYERS, STAR_TILE_PIXELS, STAR_TILES, Shape},
            },
        },
        schedule::PaintSteps,
        settings::quality::Quality,
    },
};
use bevy::{math::DVec2, prelude::*};
use std::f32::consts::{FRAC_PI_2, PI};

/// How many pixels a layer of stars moves per unit of flight, from the far one to the near one.
const STAR_SLIDE: [f64; STAR_LAYERS as usize] = [0.03, 0.1, 0.26, 0.6];
/// The same for the clouds.
const CLOUD_SLIDE: f64 = 0.012;
/// Side of a cloud's cell, pixels.
const CLOUD_CELL_PIXELS: f64 = 900.0;
/// Colours of clouds.
const CLOUDS: [Tint; 5] = [
    Tint::rgb(38, 66, 150),
    Tint::rgb(20, 96, 128),
    Tint::rgb(88, 44, 138),
    Tint::rgb(28, 58, 118),
    Tint::rgb(120, 52, 96),
];
/// Side of a dust speck's cell at a scale of one, units.
const DUST_CELL: f64 = 170.0;
/// The length of a speck is the ship's way in this time, seconds.
const DUST_SECONDS: f32 = 0.035;
/// How far a cloud reaches beyond its cell, pixels.
const CLOUD_REACH_PIXELS: f64 = 850.0;
/// The most cells in a row or column, whatever the window's size.
const MAX_CELLS: i64 = 40;

/// Stars, clouds and dust.
pub(crate) struct SkyPlugin;

impl Plugin for SkyPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Update, (paint_stars, paint_dust).chain().in_set(PaintSteps::Background));
    }
}

/// Paints clouds and stars.
fn paint_stars(mut canvas: ResMut<Canvas>, camera: Res<CameraView>, quality: Res<Quality>, view: Res<WorldView>) {
    if canvas.is_bare() {
        paint_bare_sky(&mut canvas, &camera, view.sky_seed);
        return;
    }
    let half = camera.half_pixels.as_dvec2();
    let plane = |number, slide, cell| Plane { seed: view.sky_seed, number, slide, cell };
    let reach = half + DVec2::splat(CLOUD_REACH_PIXELS);
    // Clouds of one sky have one direction.
    let grain = SeededRandom::new(&[view.sky_seed, 0x9a1]).between(-0.8, 0.8);
    let slide = if camera.calm { 0.0 } else { CLOUD_SLIDE };
    plane(0, slide, CLOUD_CELL_PIXELS).cells(camera.center, reach, |mut dice, middle| {
        let count = if quality.is_full() { 2 + dice.index(3) } else { 2 };
        for _ in 0..count {
            let half = CLOUD_CELL_PIXELS as f32 * 0.5;
            let off = Vec2::new(dice.between(-half, half), dice.between(-half, half));
            let size = Vec2::new(dice.between(420.0, 900.0), dice.between(200.0, 400.0));
            let tint = CLOUDS[dice.index(CLOUDS.len())].at(dice.between(0.14, 0.42));
            let angle = grain + dice.between(-0.3, 0.3);
            let at = camera.pixels(middle + off);
            if camera.sees(at, size.x * camera.scale) {
                canvas.put(Shape::Glow, Layer::Clouds, at, angle, camera.pixels(size), tint);
            }
        }
    });
    for (layer, slide) in (0..STAR_LAYERS).zip(STAR_SLIDE) {
        let slide = if camera.calm { 0.0 } else { slide };
        let tiles = plane(u64::from(layer) + 1, slide, f64::from(STAR_TILE_PIXELS));
        tiles.cells(camera.center, half, |mut dice, middle| {
            let look = dice.index(usize::from(STAR_TILES)) as u8;
            paint_tile(&mut canvas, &camera, Shape::Stars(layer, look), &mut dice, middle);
        });
    }
}

fn paint_tile(canvas: &mut Canvas, camera: &CameraView, shape: Shape, dice: &mut SeededRandom, middle: Vec2) {
    let angle = FRAC_PI_2 * dice.index(4) as f32;
    canvas.put(shape, Layer::Stars, camera.pixels(middle), angle, Vec2::splat(camera.scale), Tint::NONE);
}

/// A sky of three draws: one fixed net of clouds, and two layers of stars of one look each.
fn paint_bare_sky(canvas: &mut Canvas, camera: &CameraView, seed: u64) {
    // Another world has its clouds elsewhere.
    let turn = PI * SeededRandom::new(&[seed, 0x9a1]).index(2) as f32;
    canvas.put(Shape::Backdrop, Layer::Clouds, Vec2::ZERO, turn, camera.extent().size() * 1.02, Tint::NONE);
    for layer in [1, 2] {
        let slide = STAR_SLIDE[usize::from(layer)];
        let plane = Plane { seed, number: u64::from(layer) + 1, slide, cell: f64::from(STAR_TILE_PIXELS) };
        plane.cells(camera.center, camera.half_pixels.as_dvec2(), |mut dice, middle| {
            paint_tile(canvas, camera, Shape::Stars(layer, 0), &mut dice, middle);
        });
    }
}

/// A plane of cells that moves with the camera.
struct Plane {
    seed: u64,
    /// Its number in the sky: planes differ.
    number: u64,
    /// How far it moves per unit of flight.
    slide: f64,
    /// Side of a cell, in the unit of the plane's movement.
    cell: f64,
}

impl Plane {
    /// Calls `paint` for every cell within `reach` of the camera's centre, with the cell's own dice and its middle
    /// relative to that centre.
    fn cells(&self, center: DVec2, reach: DVec2, mut paint: impl FnMut(SeededRandom, Vec2)) {
        // Another seed is another place in the same sky, and another sky.
        let mut origin = SeededRandom::new(&[self.seed, self.number, 0x0516]);
        let shift = DVec2::new(f64::from(origin.unit()), f64::from(origin.unit())) * self.cell;
        let looks_at = center * self.slide + shift;
        let first = ((looks_at - reach) / self.cell).floor();
        let last = ((looks_at + reach) / self.cell).floor();
        let columns = (last.x - first.x) as i64;
        let rows = (last.y - first.y) as i64;
        for row in 0..=rows.min(MAX_CELLS) {
            for column in 0..=columns.min(MAX_CELLS) {
                let address = first + DVec2::new(column as f64, row as f64);
                let middle = (address + DVec2::splat(0.5)) * self.cell - looks_at;
                let [x, y] = [address.x, address.y].map(|index| index as i64 as u64);
                paint(SeededRandom::new(&[self.seed, self.number, x, y]), middle.as_vec2());
            }
        }
    }
}

/// Paints specks that are fixed in space: they pass a flying ship quickly, except with reduced motion.
pub(crate) fn paint_dust(mut canvas: ResMut<Canvas>, camera: Res<CameraView>, view: Res<WorldView>) {
    let velocity = view.own.as_ref().map_or(DVec2::ZERO, |own| own.state.velocity).as_vec2();
    let speed = if camera.calm { 0.0 } else { velocity.length() };
    // Twice as far out there are half as many in a row, so that their number stays the same.
    let cell = DUST_CELL * f64::from(camera.octave());
    let reach = camera.extent().max.as_dvec2() + DVec2::splat(60.0);
    let thin = camera.scale;
    for (plane, nearness) in [(90, 1.0), (91, 1.45)] {
        let plane = Plane { seed: view.sky_seed, number: plane, slide: nearness, cell };
        plane.cells(camera.center, reach, |mut dice, middle| {
            let half = cell as f32 * 0.5;
            let off = Vec2::new(dice.between(-half, half), dice.between(-half, half));
            let glint = 0.1 + 0.12 * dice.unit() + (speed / 400.0).min(1.0) * 0.16;
            let length = speed * DUST_SECONDS * nearness as f32;
            let size = Vec2::new(thin * 2.0 + length, thin * 1.8 * nearness as f32);
            let tint = palette::FAINT.at(glint);
            canvas.put(Shape::Trail, Layer::Dust, middle + off, velocity.to_angle(), size, tint);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(center: DVec2, seed: u64) -> Vec<(u64, Vec2)> {
        let mut found = Vec::new();
        let plane = Plane { seed, number: 1, slide: 0.5, cell: 640.0 };
        plane.cells(center, DVec2::new(640.0, 360.0), |mut dice, middle| {
            found.push((dice.next(), middle));
        });
        found
    }

    #[test]
    fn the_sky_is_the_same_for_a_seed_and_covers_the_window_everywhere() {
        for center in [DVec2::ZERO, DVec2::new(-7_777.0, 1.0e9), DVec2::new(2.1e12, -2.1e12)] {
            let here = cells(center, 42);
            assert_eq!(here, cells(center, 42));
            assert_ne!(here, cells(center, 43));
            for corner in [Vec2::new(-640.0, -360.0), Vec2::new(640.0, 360.0)] {
                let covered = here.iter().any(|(_, middle)| (corner - *middle).abs().cmple(Vec2::splat(320.5)).all());
                assert!(covered, "{corner} at {center}");
            }
        }
    }

    #[test]
    fn a_tile_slides_with_the_flight() {
        let before = cells(DVec2::new(100.0, 0.0), 9);
        let after = cells(DVec2::new(110.0, 0.0), 9);
        let (look, middle) = before[4];
        let moved = after.iter().find(|(other, _)| *other == look).expect("it is still in the window");
        assert!((moved.1 - middle - Vec2::new(-5.0, 0.0)).length() < 0.01, "{moved:?}");
    }
}
