//! Rocks: their damage, their chips, and how they burst.

use crate::{
    view::{BLAST_SECONDS, BlastEffect, HIT_SECONDS, HitEffect, Other},
    window::{
        render::{
            camera::CameraView,
            canvas::{Canvas, Layer},
            colors::{
                palette::{self, hull_share},
                tint::Tint,
            },
            meshes::{
                asteroid_meshes::{CHIPS, CRACKS},
                dice::SeededRandom,
                shapes::{ROCK_LOOKS, Shape},
            },
        },
        scene::bodies::looks::{FLINCH_SECONDS, Look},
    },
};
use bevy::prelude::*;
use sidereal_protocol::{rules::economy::ore_of_rock, world::ids::NetId};
use std::f32::consts::TAU;

/// Rocks up to this radius, units, have the first look; up to the next the second.
const ROCK_SIZES: [f64; 2] = [20.0, 45.0];
/// The damage of a rock, 0 to 1, from which on it has cracks of each degree.
const CRACKED_FROM: [f32; CRACKS as usize] = [0.1, 0.38, 0.68];
/// The share by which a fully damaged rock shrinks. Its collision circle stays, so it is small.
const SHRINKS: f32 = 0.1;
/// An empty rock looks damaged by this much; its hull is undamaged.
const EMPTY_WEAR: f32 = 0.6;
/// The chips of a hit, and of a burst.
const HIT_CHIPS: usize = 6;
const BURST_CHIPS: usize = 22;

/// The damage of a rock, 0 (none) to 1: by its lost hull, or by the ore that was mined.
fn wear(hull: u16, hull_max: u16, ore: Option<u32>, radius: f64) -> f32 {
    let lost = 1.0 - hull_share(hull, hull_max);
    let dug = match (ore, ore_of_rock(radius)) {
        (Some(left), whole) if whole > 0 => (1.0 - left as f32 / whole as f32).clamp(0.0, 1.0) * EMPTY_WEAR,
        _ => 0.0,
    };
    lost.max(dug)
}

/// The degree of the cracks for this damage; `None` while it has none.
fn crack_degree(wear: f32) -> Option<u8> {
    let reached = CRACKED_FROM.iter().filter(|&&from| wear >= from).count() as u8;
    reached.checked_sub(1)
}

/// The shape and stone of a rock: the same one for the same net id and radius.
pub(crate) fn rock_look(net_id: NetId, radius: f64) -> (Shape, Tint) {
    let mut dice = SeededRandom::new(&[0x0c4, u64::from(net_id.0), radius.to_bits()]);
    let class = ROCK_SIZES.iter().filter(|&&size| radius > size).count() as u8;
    let look = dice.index(usize::from(ROCK_LOOKS)) as u8;
    let stones =
        [Tint::rgb(214, 206, 198), Tint::rgb(196, 200, 210), Tint::rgb(216, 192, 170), Tint::rgb(180, 176, 176)];
    (Shape::Rock(class, look), stones[dice.index(stones.len())])
}

/// Paints a rock and its cracks.
pub(crate) fn paint_rock(canvas: &mut Canvas, camera: &CameraView, rock: &Other, look: &Look) {
    let at = camera.local(rock.state.position);
    if !camera.sees(at, rock.radius as f32 * 1.3) {
        return;
    }
    let (shape, tint) = rock_look(rock.net_id, rock.radius);
    let tint = tint.toward(palette::WHITE, look.flinch_s / FLINCH_SECONDS * 0.5);
    let worn = wear(rock.hull, rock.hull_max, rock.ore, rock.radius);
    let radius = (rock.radius as f32 * (1.0 - SHRINKS * worn)).max(1.5 * camera.scale);
    let angle = rock.state.angle as f32;
    canvas.put(shape, Layer::Rocks, at, angle, Vec2::splat(radius), tint);
    if let Some(degree) = crack_degree(worn)
        && radius > 3.0 * camera.scale
    {
        // Each rock has them elsewhere, and those of the lower degrees stay.
        let turn = SeededRandom::new(&[0xc4ac, u64::from(rock.net_id.0)]).unit() * TAU;
        for degree in 0..=degree {
            let turned = angle + turn + f32::from(degree) * 0.9;
            canvas.put(Shape::Cracks(degree), Layer::Cracks, at, turned, Vec2::splat(radius * 0.94), tint);
        }
    }
}

/// Paints the effect of a hit on a rock: splinters and dust, away from its middle.
pub(crate) fn paint_rock_hit(canvas: &mut Canvas, camera: &CameraView, hit: &HitEffect, rock: &Other) {
    let age = (hit.age_s / HIT_SECONDS).clamp(0.0, 1.0) as f32;
    let at = camera.local(hit.position);
    let outward = (at - camera.local(rock.state.position)).to_angle();
    let stone = rock_look(rock.net_id, rock.radius).1;
    let mut dice = SeededRandom::new(&[u64::from(hit.id.shooter.0), hit.id.tick.0, 0xc41b]);
    let dust = Vec2::splat(5.0 + 11.0 * age.sqrt());
    canvas.put(Shape::Puff, Layer::Smoke, at, 0.0, dust, stone.toward(palette::SMOKE, 0.6).at(0.4 * (1.0 - age)));
    for _ in 0..HIT_CHIPS {
        let angle = outward + dice.between(-1.0, 1.0);
        let reach = dice.between(12.0, 44.0);
        let life = dice.between(0.6, 1.0);
        chip(canvas, &mut dice, at, angle, reach, age / life, (1.6, stone));
    }
}

/// A chip that tumbles `reach` units away, slower and slower, until `age` is 1.
fn chip(
    canvas: &mut Canvas,
    dice: &mut SeededRandom,
    at: Vec2,
    angle: f32,
    reach: f32,
    age: f32,
    (size, stone): (f32, Tint),
) {
    let (size, spin) = (size * dice.between(0.55, 1.3), dice.between(-9.0, 9.0));
    let look = dice.index(usize::from(CHIPS)) as u8;
    if age >= 1.0 {
        return;
    }
    let place = at + Vec2::from_angle(angle) * reach * (1.0 - (1.0 - age).powi(2));
    let fade = ((1.0 - age) * 2.5).min(1.0);
    canvas.put(Shape::Chip(look), Layer::Chips, place, angle + spin * age, Vec2::splat(size), stone.at(fade));
}

/// Paints a bursting rock: a short flash, dust, and pieces large and small that drift apart.
pub(crate) fn paint_burst(canvas: &mut Canvas, camera: &CameraView, blast: &BlastEffect, stone: Tint) {
    let age = (blast.age_s / BLAST_SECONDS).clamp(0.0, 1.0) as f32;
    let at = camera.local(blast.position);
    let radius = blast.radius.clamp(4.0, 80.0) as f32;
    let mut dice = SeededRandom::new(&[0xb0457, u64::from(blast.victim.0)]);
    let dust = stone.toward(palette::SMOKE, 0.7);
    for _ in 0..canvas.particles(7) {
        let angle = dice.between(0.0, TAU);
        let way = dice.between(0.2, 1.3) * radius * age.sqrt();
        let size = radius * dice.between(0.7, 1.3) * (0.6 + 0.7 * age);
        let fade = (age * 12.0).min(1.0) * (1.0 - age).powf(1.6);
        let place = at + Vec2::from_angle(angle) * way;
        canvas.put(Shape::Puff, Layer::Smoke, place, 0.0, Vec2::splat(size), dust.at(0.36 * fade));
    }
    let flash = (1.0 - age * 6.0).max(0.0) * camera.flash();
    canvas.put(Shape::Glow, Layer::Effects, at, 0.0, Vec2::splat(radius * 1.9), palette::EMBER.at(0.7 * flash));
    for index in 0..canvas.particles(BURST_CHIPS) {
        let angle = dice.between(0.0, TAU);
        // A few large pieces go slowly, many small ones fast.
        let share = index as f32 / BURST_CHIPS as f32;
        let size = radius * (0.42 - 0.36 * share.sqrt());
        let reach = radius * dice.between(0.7, 1.3) * (1.0 + 2.4 * share);
        let start = at + Vec2::from_angle(angle) * radius * 0.3;
        chip(canvas, &mut dice, start, angle, reach, age, (size, stone));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rock_looks_the_same_every_time_it_is_seen() {
        assert_eq!(rock_look(NetId(7), 33.0), rock_look(NetId(7), 33.0));
        let looks: std::collections::HashSet<_> = (0..100).map(|id| rock_look(NetId(id), 33.0).0).collect();
        assert!(looks.len() > 6, "rocks differ: {}", looks.len());
        assert!(matches!(rock_look(NetId(1), 5.0).0, Shape::Rock(0, _)));
        assert!(matches!(rock_look(NetId(1), 60.0).0, Shape::Rock(2, _)));
    }

    #[test]
    fn a_rock_cracks_by_what_it_lost_of_its_hull_and_less_by_its_ore() {
        assert_eq!(wear(100, 100, None, 30.0), 0.0);
        assert_eq!(wear(25, 100, None, 30.0), 0.75);
        assert_eq!(wear(0, 0, None, 30.0), 0.0, "nothing is known of it");
        assert_eq!(wear(100, 100, Some(0), 30.0), EMPTY_WEAR);
        assert_eq!(wear(10, 100, Some(0), 30.0), 0.9);
        assert_eq!(wear(100, 100, Some(u32::MAX), 30.0), 0.0);
    }

    #[test]
    fn cracks_come_in_degrees_and_never_go_back() {
        assert_eq!(crack_degree(0.0), None);
        assert_eq!(crack_degree(1.0), Some(CRACKS - 1));
        let degrees: Vec<_> = (0..=100).map(|share| crack_degree(share as f32 / 100.0)).collect();
        assert!(degrees.is_sorted());
    }
}
