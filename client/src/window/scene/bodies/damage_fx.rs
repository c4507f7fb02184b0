//! The effects of damage: arcs that show the direction of a hit on the own ship, smoke and sparks of damaged hulls, and
//! the dark veil when the own ship is gone.

use crate::{
    view::{HitEffect, WorldView},
    window::{
        input::respawn::{Downtime, RESPAWN_AFTER_S},
        render::{
            camera::CameraView,
            canvas::{Canvas, Layer},
            colors::palette,
            meshes::{dice::SeededRandom, shapes::Shape},
        },
        scene::bodies::looks::{Look, TRAIL_SECONDS},
        schedule::PaintSteps,
    },
};
use bevy::prelude::*;
use sidereal_protocol::{rules::shot::ShotId, world::ids::NetId};
use std::{collections::VecDeque, f32::consts::TAU};

/// How long an arc is shown, seconds.
const ARC_SECONDS: f64 = 1.1;
/// The most arcs; the oldest is dropped first. They overlap long before.
const MAX_ARCS: usize = 12;
/// How far from the ship the arcs are, as a share of the window's smaller half.
const ARC_SHARE: f32 = 0.56;
/// A hull below this share smokes, and below the next it sparks.
pub(crate) const SMOKES_BELOW: f32 = 0.35;
const SPARKS_BELOW: f32 = 0.2;
/// The interval of a hull's sparks, seconds, and how long a spark lives, as a share of that.
const SPARK_EVERY_S: f64 = 0.22;
/// The veil starts after the explosion, and takes this long, seconds.
const VEIL_AFTER_S: f64 = 0.9;
const VEIL_SECONDS: f64 = 1.6;
/// The opacity of the veil.
const VEIL: f32 = 0.55;

/// The effects of hits on a hull, and the veil while there is no ship.
pub(crate) struct DamageFxPlugin;

impl Plugin for DamageFxPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<DamageMarks>()
            .add_systems(Update, (paint_damage, paint_veil).chain().in_set(PaintSteps::Damage));
    }
}

/// The directions of hits on the own ship, oldest first.
#[derive(Resource, Debug, Default)]
struct DamageMarks(VecDeque<DamageMark>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct DamageMark {
    id: ShotId,
    toward: f32,
    since_s: f64,
}

impl DamageMarks {
    /// Adds the new ones of `hits`; `toward` returns a hit's direction from the ship, radians.
    fn lane_reader<'a>(
        &mut self,
        hits: impl Iterator<Item = &'a HitEffect>,
        now_s: f64,
        toward: impl Fn(&HitEffect) -> f32,
    ) {
        self.0.retain(|wound| now_s - wound.since_s < ARC_SECONDS);
        for hit in hits.filter(|hit| hit.on_own) {
            if self.0.iter().any(|wound| wound.id == hit.id) {
                continue;
            }
            if self.0.len() >= MAX_ARCS {
                self.0.pop_front();
            }
            self.0.push_back(DamageMark { id: hit.id, toward: toward(hit), since_s: now_s - hit.age_s });
        }
    }
}

/// Paints the arcs.
fn paint_damage(
    mut canvas: ResMut<Canvas>,
    mut wounds: ResMut<DamageMarks>,
    camera: Res<CameraView>,
    view: Res<WorldView>,
) {
    let Some(own) = &view.own else {
        wounds.0.clear();
        return;
    };
    let middle = own.state.position;
    wounds.lane_reader(view.hits.iter(), view.time_s, |hit| {
        // From the shooter's position; if it is unknown, from the position of the hit.
        let from = view.others.get(&hit.id.shooter).map_or(hit.position, |shooter| shooter.state.position);
        (from - middle).to_angle() as f32
    });
    let at = camera.local(middle);
    let radius = camera.half_pixels.min_element() * ARC_SHARE * camera.scale;
    for wound in &wounds.0 {
        let left = 1.0 - ((view.time_s - wound.since_s) / ARC_SECONDS).clamp(0.0, 1.0) as f32;
        let size = Vec2::splat(radius * if camera.calm { 1.0 } else { 1.0 + 0.08 * left });
        let tint = palette::HULL_LOW.toward(palette::WHITE, (left - 0.7).max(0.0));
        canvas.put(Shape::Arc, Layer::Marks, at, wound.toward, size, tint.at(left.powf(1.3)));
    }
}

/// Paints the smoke of a damaged hull along its way, and sparks.
pub(crate) fn paint_smoke(
    canvas: &mut Canvas,
    camera: &CameraView,
    look: &Look,
    (net_id, at, radius): (NetId, Vec2, f32),
    now_s: f64,
) {
    if look.bar >= SMOKES_BELOW {
        return;
    }
    let thick = 0.35 + 0.65 * (1.0 - look.bar / SMOKES_BELOW);
    for (index, point) in look.trail.iter().enumerate() {
        // Every point keeps its puff, wherever it is in the queue.
        let mut dice = SeededRandom::new(&[u64::from(net_id.0), point.left_s.to_bits()]);
        if dice.unit() < 0.35 {
            continue;
        }
        let age = ((now_s - point.left_s) / TRAIL_SECONDS).clamp(0.0, 1.0) as f32;
        let off = Vec2::from_angle(dice.unit() * TAU) * radius * dice.between(0.1, 0.9) * (0.4 + age);
        let size = radius * (0.5 + 1.1 * age) * dice.between(0.7, 1.3);
        let fade = (age * 5.0).min(1.0) * (1.0 - age) * thick;
        // Lighter than an explosion's smoke, to be visible before black space.
        let smoke = palette::SMOKE.toward(palette::WHITE, 0.28);
        let heat = smoke.toward(palette::FIRE, (0.35 - age).max(0.0) * thick);
        if index % 2 == 0 || !canvas.is_bare() {
            let place = camera.local(point.at) + off;
            canvas.put(Shape::Puff, Layer::Smoke, place, 0.0, Vec2::splat(size), heat.at(0.8 * fade));
        }
    }
    if look.bar >= SPARKS_BELOW {
        return;
    }
    let turn = now_s / SPARK_EVERY_S + f64::from(net_id.0) * 0.37;
    let mut dice = SeededRandom::new(&[0x5b42, u64::from(net_id.0), turn.floor() as i64 as u64]);
    let age = turn.fract() as f32;
    let root = at + Vec2::from_angle(dice.unit() * TAU) * radius * 0.5;
    for _ in 0..canvas.particles(4) {
        let angle = dice.unit() * TAU;
        let reach = radius * dice.between(0.6, 2.2);
        let place = root + Vec2::from_angle(angle) * reach * age;
        let size = Vec2::new(2.4 * (1.0 - age) + 0.6, 0.9);
        canvas.put(Shape::Streak, Layer::Effects, place, angle, size, palette::EMBER.at(1.0 - age));
    }
    let pop = Vec2::splat(radius * 0.9 * (1.0 - age));
    canvas.put(Shape::Glow, Layer::Effects, root, 0.0, pop, palette::FIRE.at(0.8 * (1.0 - age) * camera.flash()));
}

/// The darkness this long after the ship was lost, 0 to 1.
fn veil(down_s: f64) -> f32 {
    let share = ((down_s - VEIL_AFTER_S) / VEIL_SECONDS).clamp(0.0, 1.0) as f32;
    VEIL * share * share * (3.0 - 2.0 * share)
}

/// Darkens the picture while there is no ship.
fn paint_veil(mut canvas: ResMut<Canvas>, camera: Res<CameraView>, downtime: Res<Downtime>, time: Res<Time<Real>>) {
    if let Some(remaining_s) = downtime.remaining_s(time.elapsed_secs_f64()) {
        let down_s = RESPAWN_AFTER_S - remaining_s;
        let size = camera.extent().size() * 1.02;
        canvas.put(Shape::Square, Layer::Veil, Vec2::ZERO, 0.0, size, palette::PANEL.at(veil(down_s)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bevy::math::DVec2;
    use sidereal_protocol::world::tick::SimTick;

    fn hit(tick: u64, on_own: bool) -> HitEffect {
        HitEffect {
            id: ShotId { shooter: NetId(5), tick: SimTick(tick) },
            target: NetId(1),
            position: DVec2::ZERO,
            by_own: false,
            on_own,
            age_s: 0.1,
        }
    }

    #[test]
    fn a_hit_on_the_own_ship_is_one_arc_for_its_time() {
        let mut wounds = DamageMarks::default();
        let hits = [hit(1, true), hit(2, false)];
        (0..5).for_each(|_| wounds.lane_reader(hits.iter(), 10.0, |_| 1.5));
        assert_eq!(wounds.0.iter().map(|wound| (wound.id.tick.0, wound.toward)).collect::<Vec<_>>(), [(1, 1.5)]);
        wounds.lane_reader([].iter(), 10.0 + ARC_SECONDS, |_| 0.0);
        assert!(wounds.0.is_empty());
    }

    #[test]
    fn arcs_are_limited() {
        let mut wounds = DamageMarks::default();
        let hits: Vec<_> = (0..100).map(|tick| hit(tick, true)).collect();
        wounds.lane_reader(hits.iter(), 0.0, |_| 0.0);
        assert_eq!(wounds.0.len(), MAX_ARCS);
        assert_eq!(wounds.0.back().map(|wound| wound.id.tick.0), Some(99));
    }

    #[test]
    fn the_veil_waits_for_the_explosion_and_stays() {
        assert_eq!(veil(0.0), 0.0);
        assert_eq!(veil(VEIL_AFTER_S), 0.0);
        assert_eq!(veil(RESPAWN_AFTER_S), VEIL, "before a new ship is asked for");
    }
}
