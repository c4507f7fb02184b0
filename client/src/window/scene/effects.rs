//! Bullets, beams, sparks and explosions. Everything here follows from the view's ages and ids. The only state between
//! frames is which hits and explosions have shaken the view.

use crate::{
    economy::mining,
    view::{BLAST_SECONDS, BeamShown, BlastEffect, HIT_SECONDS, HitEffect, Other, WorldView},
    weapons::beams::BEAM_SECONDS,
    window::{
        render::{
            camera::CameraView,
            canvas::{Canvas, Layer},
            colors::{palette, tint::Tint},
            meshes::{asteroid_meshes::CHIPS, dice::SeededRandom, shapes::Shape},
        },
        scene::bodies::{
            looks::{Looks, tint_of},
            rocks,
        },
        schedule::PaintSteps,
    },
};
use bevy::prelude::*;
use sidereal_protocol::{
    record::EntityKind,
    rules::{flight::FlightState, shot::ShotId},
    world::ids::NetId,
};

/// Half the length of a bullet's line, units; behind the muzzle it is shorter.
const STREAK_HALF_LENGTH: f32 = 15.0;
/// Half the width of a bullet's line, units, and the least, pixels.
const STREAK_HALF_WIDTH: f32 = 2.1;
const STREAK_HALF_PIXELS: f32 = 2.0;
/// Width of a beam's light at first, units, and the least, pixels.
const BEAM_WIDTH: f32 = 13.0;
const BEAM_PIXELS: f32 = 12.0;
/// The share of a beam's length after which it fades, when it hits nothing.
const BEAM_WHOLE: f32 = 0.6;
/// Width of the mining laser, units, and the least, pixels.
const DIG_WIDTH: f32 = 7.0;
const DIG_PIXELS: f32 = 6.0;
/// Grains of ore on their way to the ship at once, and how long one takes, seconds.
const GRAINS: usize = 5;
const GRAIN_SECONDS: f64 = 0.7;
/// Light of a muzzle, seconds.
const MUZZLE_SECONDS: f64 = 0.07;
/// Sparks of a hit, and of an explosion.
const HIT_SPARKS: usize = 9;
const BLAST_SPARKS: usize = 30;
/// Fireballs of an explosion.
const FIREBALLS: usize = 9;
/// Pieces of a hull that an explosion leaves.
const WRECK_CHIPS: usize = 12;
/// The factor by which the explosion of the own ship is larger: it is watched most closely.
const OWN_END: f64 = 1.6;
/// How far away an explosion still shakes the view, units.
const SHAKE_REACH: f32 = 420.0;
/// Smaller entities than a ship of this radius, units, shake the view less.
const SHIP_RADIUS: f32 = 9.0;

/// Shots, beams, hits and explosions.
pub(crate) struct EffectsPlugin;

impl Plugin for EffectsPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Shaken>().add_systems(
            Update,
            (paint_shots, paint_beams, paint_mining, paint_effects).chain().in_set(PaintSteps::Effects),
        );
    }
}

/// The last hits and explosions that shook the view.
#[derive(Resource, Debug, Default)]
struct Shaken {
    hit: Option<ShotId>,
    blast: Option<NetId>,
}

/// The colour of a bullet or a beam, by its shooter.
fn shooter_tint(view: &WorldView, id: ShotId, own: bool) -> Tint {
    if own {
        return palette::OWN;
    }
    view.others.get(&id.shooter).map_or(palette::PLAYER, tint_of)
}

/// Paints bullets.
fn paint_shots(mut canvas: ResMut<Canvas>, camera: Res<CameraView>, view: Res<WorldView>) {
    let drift = view.own.as_ref().map_or(Vec2::ZERO, |own| own.state.velocity.as_vec2());
    for shot in &view.shots {
        let at = camera.local(shot.position);
        if !camera.sees(at, 60.0) || shot.age_s < 0.0 {
            continue;
        }
        let tint = shooter_tint(&view, shot.shot.id, shot.own);
        let velocity = shot.shot.velocity.as_vec2();
        // It points along its apparent motion, between its path in space and on screen.
        let seen = velocity - drift * 0.35;
        let angle = seen.to_angle();
        let length = STREAK_HALF_LENGTH.min(4.0 + velocity.length() * shot.age_s as f32 * 0.5);
        let width = STREAK_HALF_WIDTH.max(STREAK_HALF_PIXELS * camera.scale);
        let size = Vec2::new(length.max(6.0 * camera.scale), width * 1.25);
        canvas.put(Shape::Streak, Layer::Shots, at, angle, size, tint);
        let halo = Vec2::splat(width * 5.0);
        canvas.put(Shape::Glow, Layer::Shots, at, 0.0, halo, tint.at(0.2));
        if shot.age_s < MUZZLE_SECONDS {
            let share = 1.0 - (shot.age_s / MUZZLE_SECONDS) as f32;
            let muzzle = camera.local(shot.shot.origin);
            let flash = Vec2::splat(11.0 * (0.5 + 0.5 * share));
            canvas.put(Shape::Glow, Layer::Effects, muzzle, 0.0, flash, tint.at(0.8 * share * camera.flash()));
        }
    }
}

/// Paints the mining laser, and a mark on the rock that would be mined.
fn paint_mining(mut canvas: ResMut<Canvas>, camera: Res<CameraView>, view: Res<WorldView>) {
    if let (Some(own), Some(target)) = (&view.own, view.mining)
        && let Some(rock) = view.others.get(&target.rock)
    {
        if target.works {
            paint_digging(&mut canvas, &camera, (&own.state, own.radius), rock, view.time_s);
        }
        let at = camera.local(rock.state.position);
        let size = Vec2::splat(rock.radius as f32 * 1.22 + 3.0 * camera.scale);
        let opacity = if target.works { 0.4 } else { 0.2 };
        canvas.put(Shape::Ring, Layer::Marks, at, 0.0, size, palette::ORE.at(opacity));
    }
    for other in view.others.values().filter(|other| other.glow.mining) {
        if let Some(rock) = mining::target(&other.state, view.others.values()) {
            paint_digging(&mut canvas, &camera, (&other.state, other.radius), rock, view.time_s);
        }
    }
}

/// A flickering line of light from the ship's nose to the rock, and grains of ore that fly back along it.
fn paint_digging(canvas: &mut Canvas, camera: &CameraView, ship: (&FlightState, f64), rock: &Other, now_s: f64) {
    let (state, radius) = ship;
    let from = camera.local(state.position + state.heading() * radius * 1.2);
    let middle = camera.local(rock.state.position);
    let to = middle + (from - middle).normalize_or_zero() * rock.radius as f32 * 0.8;
    let along = to - from;
    if !camera.sees((from + to) * 0.5, along.length() * 0.5 + 40.0) {
        return;
    }
    let phase = f64::from(rock.net_id.0);
    let restless = if camera.calm { 0.0 } else { 0.25 };
    let flicker = 1.0 + restless * ((now_s * 41.0 + phase).sin() * (now_s * 27.0).sin()) as f32;
    let width = DIG_WIDTH.max(DIG_PIXELS * camera.scale) * flicker;
    let size = Vec2::new(along.length(), width);
    canvas.put(Shape::Beam, Layer::Shots, (from + to) * 0.5, along.to_angle(), size, palette::ORE.at(0.8));
    let spark = palette::ORE.toward(palette::WHITE, 0.4);
    canvas.put(Shape::Glow, Layer::Effects, to, 0.0, Vec2::splat(width * 2.6), spark.at(0.9));
    canvas.put(Shape::Glow, Layer::Effects, from, 0.0, Vec2::splat(width), palette::ORE.at(0.6));
    for grain in 0..GRAINS {
        let way = (now_s / GRAIN_SECONDS + grain as f64 / GRAINS as f64).fract() as f32;
        let sway = ((grain as f64 * 2.3 + now_s * 5.0).sin() as f32) * width * 0.6;
        let at = to - along * way + along.normalize_or_zero().perp() * sway;
        let size = Vec2::splat(width * 0.32 * (1.0 - 0.5 * way));
        canvas.put(Shape::Disc, Layer::Effects, at, 0.0, size, spark.at(1.0 - way * 0.6));
    }
}

/// Paints beams: at once from one end to the other, then thinner until they end.
fn paint_beams(mut canvas: ResMut<Canvas>, camera: Res<CameraView>, view: Res<WorldView>) {
    for shown in &view.beams {
        let tint = shooter_tint(&view, shown.beam.id, shown.own);
        paint_beam(&mut canvas, &camera, shown, tint);
    }
}

fn paint_beam(canvas: &mut Canvas, camera: &CameraView, shown: &BeamShown, tint: Tint) {
    let [from, to] = [shown.beam.origin, shown.beam.end].map(|end| camera.local(end));
    let along = to - from;
    let (length, middle) = (along.length(), (from + to) * 0.5);
    if !camera.sees(middle, length * 0.5 + 40.0) {
        return;
    }
    let age = (shown.age_s / BEAM_SECONDS).clamp(0.0, 1.0) as f32;
    let left = 1.0 - age;
    let width = BEAM_WIDTH.max(BEAM_PIXELS * camera.scale) * (0.25 + 0.75 * left);
    let angle = along.to_angle();
    // A predicted beam is slightly fainter: its end may still move.
    let strength = left.sqrt() * if shown.foreseen { 0.85 } else { 1.0 };
    // One without a target fades along its last part.
    let whole = if shown.beam.target.is_some() { 1.0 } else { BEAM_WHOLE };
    let knee = from + along * whole;
    for (layer, width, strength) in [(Layer::Shots, width, strength), (Layer::Halos, width * 2.6, 0.2 * strength)] {
        let size = Vec2::new(length * whole, width);
        canvas.put(Shape::Beam, layer, (from + knee) * 0.5, angle, size, tint.at(strength));
        let size = Vec2::new(length * (1.0 - whole), width);
        canvas.put(Shape::BeamEnd, layer, knee, angle, size, tint.at(strength));
    }
    let muzzle = Vec2::splat(width * 1.5);
    canvas.put(Shape::Glow, Layer::Effects, from, 0.0, muzzle, tint.toward(palette::WHITE, 0.4).at(strength));
    if shown.beam.target.is_some() {
        let burn = Vec2::splat(width * 1.9);
        canvas.put(Shape::Glow, Layer::Effects, to, 0.0, burn, tint.toward(palette::WHITE, 0.6).at(strength));
    }
}

/// Paints hits and explosions, and shakes the view for those near the player.
fn paint_effects(
    mut canvas: ResMut<Canvas>,
    mut camera: ResMut<CameraView>,
    mut shaken: ResMut<Shaken>,
    looks: Res<Looks>,
    view: Res<WorldView>,
) {
    for hit in &view.hits {
        let at = camera.local(hit.position);
        if camera.sees(at, 80.0) {
            paint_hit(&mut canvas, &camera, hit, at);
            if let Some(rock) = view.others.get(&hit.target).filter(|other| other.kind == EntityKind::Asteroid) {
                rocks::paint_rock_hit(&mut canvas, &camera, hit, rock);
            }
        }
    }
    if let Some(hit) = view.hits.iter().rev().find(|hit| hit.on_own)
        && shaken.hit != Some(hit.id)
    {
        shaken.hit = Some(hit.id);
        camera.shake(0.45);
    }
    for blast in &view.blasts {
        let at = camera.local(blast.position);
        if !camera.sees(at, blast.radius as f32 * 16.0) {
            continue;
        }
        let look = looks.0.get(&blast.victim);
        let tint = look.and_then(|look| look.tint).unwrap_or(palette::ROCK);
        match look.and_then(|look| look.kind) {
            Some(EntityKind::Asteroid) => rocks::paint_burst(&mut canvas, &camera, blast, tint),
            kind => {
                let own = kind.is_some() && tint == palette::OWN && view.own.is_none();
                let radius = blast.radius * if own { OWN_END } else { 1.0 };
                paint_blast(&mut canvas, &camera, &BlastEffect { radius, ..*blast }, at);
                if kind != Some(EntityKind::Missile) {
                    paint_wreck(&mut canvas, blast, at, tint);
                }
            }
        }
    }
    if let Some(blast) = view.blasts.back()
        && shaken.blast != Some(blast.victim)
    {
        shaken.blast = Some(blast.victim);
        let distance = camera.local(blast.position).length();
        let size = (blast.radius as f32 / SHIP_RADIUS).min(1.0);
        camera.shake(size * (1.0 - distance / SHAKE_REACH));
    }
}

fn paint_hit(canvas: &mut Canvas, camera: &CameraView, hit: &HitEffect, at: Vec2) {
    let age = (hit.age_s / HIT_SECONDS).clamp(0.0, 1.0) as f32;
    let left = 1.0 - age;
    let flash = if camera.calm { 0.0 } else { (1.0 - age * 3.0).max(0.0) };
    let heat = palette::EMBER.toward(palette::FIRE, age * 1.4);
    canvas.put(Shape::Glow, Layer::Effects, at, 0.0, Vec2::splat(9.0 + 12.0 * age), heat.at(0.8 * left * left));
    if flash > 0.0 {
        let size = Vec2::splat(12.0 * flash);
        canvas.put(Shape::Glow, Layer::Effects, at, 0.0, size, palette::WHITE.at(flash * camera.flash()));
    }
    let ring = Vec2::splat(4.0 + 16.0 * age.sqrt());
    canvas.put(Shape::Ring, Layer::Effects, at, 0.0, ring, heat.at(0.5 * left * left));
    let mut dice = SeededRandom::new(&[u64::from(hit.id.shooter.0), hit.id.tick.0]);
    for _ in 0..canvas.particles(HIT_SPARKS) {
        let angle = dice.between(0.0, std::f32::consts::TAU);
        let speed = dice.between(30.0, 120.0);
        let life = dice.between(0.5, 1.0);
        spark(canvas, at, angle, speed * HIT_SECONDS as f32, age / life, 5.0, heat);
    }
}

/// A spark that flies `reach` units, slower and slower, until `age` is 1.
fn spark(canvas: &mut Canvas, at: Vec2, angle: f32, reach: f32, age: f32, size: f32, tint: Tint) {
    if age >= 1.0 {
        return;
    }
    let left = 1.0 - age;
    let way = reach * (1.0 - left * left);
    let length = size * (0.35 + left * 1.1);
    let place = at + Vec2::from_angle(angle) * (way + 2.0);
    let stretch = Vec2::new(length, size * 0.26);
    canvas.put(Shape::Streak, Layer::Effects, place, angle, stretch, tint.at(left.sqrt()));
}

/// Pieces of a hull in its colour that tumble away.
fn paint_wreck(canvas: &mut Canvas, blast: &BlastEffect, at: Vec2, tint: Tint) {
    let age = (blast.age_s / BLAST_SECONDS).clamp(0.0, 1.0) as f32;
    let radius = blast.radius.clamp(4.0, 60.0) as f32;
    let mut dice = SeededRandom::new(&[0x3ec4, u64::from(blast.victim.0)]);
    let fade = ((1.0 - age) * 2.0).min(1.0);
    for _ in 0..canvas.particles(WRECK_CHIPS) {
        let (angle, spin) = (dice.between(0.0, std::f32::consts::TAU), dice.between(-11.0, 11.0));
        let reach = radius * dice.between(1.2, 5.0);
        let size = Vec2::new(dice.between(0.16, 0.42), dice.between(0.1, 0.24)) * radius;
        let look = dice.index(usize::from(CHIPS)) as u8;
        let place = at + Vec2::from_angle(angle) * reach * (1.0 - (1.0 - age).powi(2));
        // Glowing first, cold metal later.
        let heat = tint.toward(palette::EMBER, 1.0 - age * 2.5).at(fade);
        canvas.put(Shape::Chip(look), Layer::Chips, place, angle + spin * age, size, heat);
    }
}

fn paint_blast(canvas: &mut Canvas, camera: &CameraView, blast: &BlastEffect, at: Vec2) {
    let age = (blast.age_s / BLAST_SECONDS).clamp(0.0, 1.0) as f32;
    let radius = blast.radius.clamp(4.0, 60.0) as f32;
    let mut dice = SeededRandom::new(&[0xb1a5, u64::from(blast.victim.0)]);

    // Smoke drifts outwards and lasts longest.
    for _ in 0..canvas.particles(FIREBALLS) {
        let angle = dice.between(0.0, std::f32::consts::TAU);
        let way = dice.between(0.4, 2.4) * radius * age.sqrt();
        let size = Vec2::splat(radius * dice.between(1.0, 1.9) * (0.5 + 0.8 * age));
        let fade = (age * 6.0).min(1.0) * (1.0 - age).powf(1.3);
        let place = at + Vec2::from_angle(angle) * way;
        canvas.put(Shape::Puff, Layer::Smoke, place, 0.0, size, palette::SMOKE.at(0.4 * fade));
    }
    // Fireballs expand and cool from white over ember to fire.
    for _ in 0..canvas.particles(FIREBALLS) {
        let angle = dice.between(0.0, std::f32::consts::TAU);
        let life = dice.between(0.4, 0.75);
        let own_age = age / life;
        let way = dice.between(0.1, 1.7) * radius;
        let swell = dice.between(0.9, 1.7) * radius;
        if own_age >= 1.0 {
            continue;
        }
        let place = at + Vec2::from_angle(angle) * way * own_age.sqrt();
        let size = Vec2::splat(swell * (0.35 + 0.85 * own_age.sqrt()));
        let heat = palette::WHITE.toward(palette::EMBER, own_age * 4.0).toward(palette::FIRE, (own_age - 0.2) * 2.0);
        let strength = (1.0 - own_age).powf(1.2);
        canvas.put(Shape::Glow, Layer::Effects, place, 0.0, size, heat.at(0.75 * strength));
    }
    // The flash, and its light.
    let flash = if camera.calm { 0.0 } else { (1.0 - age * 7.0).max(0.0) };
    if flash > 0.0 {
        let size = Vec2::splat(radius * (3.4 + 3.0 * (1.0 - flash)));
        canvas.put(Shape::Glow, Layer::Effects, at, 0.0, size, palette::WHITE.at(flash * camera.flash()));
    }
    let light = if camera.calm { 0.4 } else { 1.0 } * (1.0 - age * 1.8).max(0.0);
    let lit = Vec2::splat(radius * 9.0);
    canvas.put(Shape::Glow, Layer::Halos, at, 0.0, lit, palette::FIRE.at(0.42 * light * light * camera.flash()));
    // Two rings expand, one after the other.
    for (delay, reach, strength) in [(0.0, 7.5, 0.85), (0.08, 4.6, 0.5)] {
        let run = (age - delay) / 0.62;
        if (0.0..1.0).contains(&run) {
            let size = Vec2::splat(radius * (0.6 + reach * (1.0 - (1.0 - run).powi(3))));
            let tint = palette::EMBER.toward(palette::FIRE, run).at(strength * (1.0 - run).powf(1.5));
            canvas.put(Shape::Ring, Layer::Effects, at, 0.0, size, tint);
        }
    }
    for _ in 0..canvas.particles(BLAST_SPARKS) {
        let angle = dice.between(0.0, std::f32::consts::TAU);
        let reach = radius * dice.between(3.0, 11.0);
        let life = dice.between(0.35, 1.0);
        let size = dice.between(4.0, 9.0);
        let tint = palette::EMBER.toward(palette::FIRE, age / life);
        spark(canvas, at, angle, reach, age / life, size, tint);
    }
}
