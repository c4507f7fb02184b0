//! Labels of other entities: names, hull bars, the ore of the mined rock, and marks at the edge for players and
//! stations out of view.

use crate::{
    view::{Other, WorldView},
    window::{
        render::{
            camera::CameraView,
            canvas::{Canvas, Layer, NAMES_DEPTH},
            colors::{
                palette,
                tint::{Palette, Tint},
            },
            meshes::shapes::Shape,
        },
        scene::bodies::looks::{Looks, tint_of},
        schedule::PaintSteps,
        settings::Settings,
    },
};
use bevy::prelude::*;
use sidereal_protocol::{record::EntityKind, world::ids::NetId};
use std::collections::{HashMap, HashSet};

/// Hull bars, pixels.
const BAR_WIDTH: f32 = 40.0;
const BAR_HEIGHT: f32 = 3.5;
/// From the hull's edge to its bar, and from the bar to the name, pixels.
const BAR_GAP: f32 = 13.0;
const NAME_GAP: f32 = 12.0;
/// From the bar to the sign of friend or foe, and its size, pixels.
const SIDE_GAP: f32 = 8.0;
const SIDE_PIXELS: f32 = 4.2;
/// Size of names, pixels.
const NAME_SIZE: f32 = 13.0;
/// At a larger scale than this, units per pixel, names and bars of drones would only cover other things.
const DRONE_MARKS_SCALE: f32 = 1.6;
/// From the window's edge to the marks of players out of view, pixels.
const EDGE_INSET: f32 = 30.0;
/// Longer names are cut, letters.
const NAME_LETTERS: usize = 24;

/// Hull bars and names.
pub(crate) struct MarksPlugin;

impl Plugin for MarksPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<NameTags>()
            .add_systems(Update, (paint_marks, place_names).chain().in_set(PaintSteps::Marks));
    }
}

/// The present name tags, by net id, and the [`CameraView::mark_scale`] for which they were made.
#[derive(Resource, Debug, Default)]
struct NameTags(HashMap<NetId, NameTag>, f32);

#[derive(Debug)]
struct NameTag {
    entity: Entity,
    label: String,
}

/// The position of the bar over `other`, units from the middle of the window.
fn bar_place(camera: &CameraView, other: &Other) -> Vec2 {
    let radius = (other.radius as f32).max(5.0 * camera.scale);
    camera.local(other.state.position) + Vec2::new(0.0, radius * 1.15 + BAR_GAP * camera.scale * camera.mark_scale)
}

fn is_marked(camera: &CameraView, other: &Other) -> bool {
    match other.kind {
        EntityKind::Ship | EntityKind::Station => true,
        EntityKind::Drone => camera.scale < DRONE_MARKS_SCALE,
        EntityKind::Asteroid | EntityKind::Missile | EntityKind::Crate => false,
    }
}

/// Players and stations always have names, drones only in a fight: they are many, and all alike.
fn is_named(camera: &CameraView, other: &Other, looks: &Looks) -> bool {
    let always = matches!(other.kind, EntityKind::Ship | EntityKind::Station);
    is_marked(camera, other) && (always || is_worn(other, looks))
}

/// The label of `other`: its name, or the amount of ore in it.
fn label_of(camera: &CameraView, other: &Other, looks: &Looks, view: &WorldView) -> Option<String> {
    match other.kind {
        EntityKind::Asteroid | EntityKind::Crate => {
            let is_mined = view.mining.is_some_and(|target| target.rock == other.net_id);
            let ore = other.ore.filter(|_| is_mined || other.kind == EntityKind::Crate)?;
            (camera.scale < DRONE_MARKS_SCALE).then(|| format!("{ore} ore"))
        }
        _ if other.name.is_empty() => None,
        _ => is_named(camera, other, looks).then(|| other.name.chars().take(NAME_LETTERS).collect()),
    }
}

/// Whether its hull is damaged.
fn is_worn(other: &Other, looks: &Looks) -> bool {
    looks.0.get(&other.net_id).is_some_and(|look| look.bar < 0.995)
}

/// Paints hull bars, and marks at the edge for nearby players out of view.
fn paint_marks(
    mut canvas: ResMut<Canvas>,
    camera: Res<CameraView>,
    looks: Res<Looks>,
    view: Res<WorldView>,
    settings: Res<Settings>,
) {
    for other in view.others.values() {
        let at = camera.local(other.state.position);
        if !camera.sees(at, 40.0 * camera.scale) {
            if other.is_player() || other.kind == EntityKind::Station {
                paint_edge_mark(&mut canvas, &camera, at, other.kind, tint_of(other));
            }
            continue;
        }
        let share = looks.0.get(&other.net_id).map_or(1.0, |look| look.bar);
        let breakable = settings.hull_bars && other.hull_max > 0 && other.kind != EntityKind::Station;
        if breakable && is_named(&camera, other, &looks) {
            let at = bar_place(&camera, other);
            paint_bar(&mut canvas, &camera, at, share);
            paint_side(&mut canvas, &camera, at, other);
        }
    }
}

fn paint_bar(canvas: &mut Canvas, camera: &CameraView, at: Vec2, share: f32) {
    let frame = camera.marks(Vec2::new(BAR_WIDTH + 2.0, BAR_HEIGHT + 2.0));
    canvas.put(Shape::Square, Layer::Marks, at, 0.0, frame, palette::PANEL.at(0.8));
    let filled = camera.marks(Vec2::new(BAR_WIDTH * share, BAR_HEIGHT));
    let left = at - camera.marks(Vec2::new(BAR_WIDTH * (1.0 - share) * 0.5, 0.0));
    let tint = palette::hull(share).at(0.9);
    canvas.put(Shape::Square, Layer::MarkFills, left, 0.0, filled, tint);
}

/// Paints the sign of friend or foe before the bar of `other`: its shape is visible without colours.
fn paint_side(canvas: &mut Canvas, camera: &CameraView, bar: Vec2, other: &Other) {
    let at = bar - camera.marks(Vec2::new(BAR_WIDTH * 0.5 + SIDE_GAP, 0.0));
    let (shape, angle) = match other.kind {
        EntityKind::Drone => (Shape::Diamond, 0.0),
        _ => (Shape::Dart, std::f32::consts::FRAC_PI_2),
    };
    canvas.put(shape, Layer::Marks, at, angle, camera.marks(Vec2::splat(SIDE_PIXELS)), tint_of(other).at(0.95));
}

fn paint_edge_mark(canvas: &mut Canvas, camera: &CameraView, at: Vec2, kind: EntityKind, tint: Tint) {
    let reach = (camera.half_pixels - Vec2::splat(EDGE_INSET * camera.mark_scale)).max(Vec2::ONE) * camera.scale;
    let over = (at.abs() / reach).max_element().max(1.0);
    let place = at / over;
    // The farther away, the smaller and fainter.
    let near = (1.6 / over).clamp(0.45, 1.0);
    let size = camera.marks(Vec2::splat(11.0 * near));
    canvas.put(Shape::Chevron, Layer::Marks, place, at.to_angle(), size, tint.at(0.85 * near));
    if kind == EntityKind::Station {
        let behind = place - at.normalize_or_zero() * size.x * 1.3;
        canvas.put(Shape::Diamond, Layer::Marks, behind, 0.0, size * 0.5, tint.at(0.85 * near));
    }
}

/// Keeps a name over each player, and over each drone in a fight.
fn place_names(
    mut commands: Commands,
    mut tags: ResMut<NameTags>,
    camera: Res<CameraView>,
    looks: Res<Looks>,
    view: Res<WorldView>,
    palette: Res<Palette>,
    settings: Res<Settings>,
    mut places: Query<&mut Transform, With<Text2d>>,
) {
    if palette.is_changed() || tags.1 != camera.mark_scale {
        tags.1 = camera.mark_scale;
        // They are made anew below.
        tags.0.drain().for_each(|(_, tag)| commands.entity(tag.entity).despawn());
    }
    let mut kept = HashSet::new();
    for other in view.others.values() {
        let at = bar_place(&camera, other) + camera.marks(Vec2::new(0.0, NAME_GAP));
        let Some(label) = label_of(&camera, other, &looks, &view) else { continue };
        // The amount of ore is not a name.
        let is_name = !matches!(other.kind, EntityKind::Asteroid | EntityKind::Crate);
        if is_name && !settings.names || !camera.sees(at, 120.0 * camera.scale) {
            continue;
        }
        kept.insert(other.net_id);
        let place = Transform {
            translation: at.extend(NAMES_DEPTH),
            scale: Vec2::splat(camera.scale).extend(1.0),
            ..default()
        };
        match tags.0.get(&other.net_id) {
            Some(tag) if tag.label == label => {
                if let Ok(mut transform) = places.get_mut(tag.entity) {
                    *transform = place;
                }
            }
            stale => {
                if let Some(tag) = stale {
                    commands.entity(tag.entity).despawn();
                }
                let entity = commands.spawn(name_tag(other, &label, place, camera.mark_scale, &palette)).id();
                let tag = NameTag { entity, label };
                tags.0.insert(other.net_id, tag);
            }
        }
    }
    tags.0.retain(|net_id, tag| {
        let keep = kept.contains(net_id);
        if !keep {
            commands.entity(tag.entity).despawn();
        }
        keep
    });
}

fn name_tag(other: &Other, label: &str, place: Transform, mark_scale: f32, palette: &Palette) -> impl Bundle {
    let player = matches!(other.kind, EntityKind::Ship | EntityKind::Station);
    let opacity = if player { 0.95 } else { 0.7 };
    let tint = tint_of(other).toward(palette::WHITE, 0.25).at(opacity);
    (
        Text2d::new(label),
        TextFont::from_font_size(mark_scale * if player { NAME_SIZE } else { NAME_SIZE - 1.0 }),
        TextColor(palette.color(tint)),
        place,
    )
}
