//! Stations and crates.

use crate::{
    view::{Dock, Other, WorldView},
    window::{
        render::{
            camera::CameraView,
            canvas::{Canvas, Layer},
            colors::palette,
            meshes::shapes::Shape,
        },
        scene::bodies::looks::tint_of,
    },
};
use bevy::prelude::*;
use sidereal_protocol::{rules::flight::wrap_angle, world::ids::NetId};
use std::f32::consts::FRAC_PI_2;

/// How fast a station's ring turns, radians per second, and the thin one outside it, the other way.
const STATION_TURN: f64 = 0.05;
const TRUSS_TURN: f64 = -0.022;
/// The least size of a station and of a crate, pixels, so that both can be found.
const STATION_PIXELS: f32 = 7.0;
const CRATE_PIXELS: f32 = 4.5;
/// How often a crate's lamp blinks, radians per second.
const CRATE_BLINK: f64 = 4.0;
/// How often a station's lamps run along the entrance, turns per second.
const LAMP_RUNS: f64 = 0.7;
/// Lamps along the entrance, and where they start and end, station radii.
const LAMPS: usize = 5;
const LAMPS_FROM: f32 = 1.16;
const LAMPS_TO: f32 = 1.72;

/// The station in docking range, or where the ship is docked.
fn station_at_hand(view: &WorldView) -> Option<NetId> {
    match view.dock {
        Dock::InReach { station, .. } | Dock::Docked { station, .. } => Some(station),
        Dock::Away => None,
    }
}

/// Paints a station: hub, ring, an outer truss, lamps that run along the entrances, and the docked ship's tube.
pub(crate) fn paint_station(canvas: &mut Canvas, camera: &CameraView, station: &Other, view: &WorldView) {
    let at = camera.local(station.state.position);
    let radius = (station.radius as f32).max(STATION_PIXELS * camera.scale);
    if !camera.sees(at, radius * 2.2) {
        return;
    }
    let now_s = view.time_s;
    let angle = station.state.angle as f32;
    let turned = |rate: f64| wrap_angle(station.state.angle + rate * now_s) as f32;
    let tint = tint_of(station);
    let size = Vec2::splat(radius);
    canvas.put(Shape::Glow, Layer::Halos, at, 0.0, size * 2.2, tint.at(0.12));
    canvas.put(Shape::StationTruss, Layer::Rocks, at, turned(TRUSS_TURN), size, tint);
    canvas.put(Shape::StationRing, Layer::Rocks, at, turned(STATION_TURN), size, tint);
    canvas.put(Shape::StationHub, Layer::Rocks, at, angle, size, tint);
    if radius < 22.0 * camera.scale {
        return;
    }
    let at_hand = station_at_hand(view) == Some(station.net_id);
    for way_in in 0..4 {
        let along = Vec2::from_angle(angle + FRAC_PI_2 * way_in as f32);
        for lamp in 0..LAMPS {
            let share = lamp as f32 / (LAMPS - 1) as f32;
            // A light that runs inwards and shows where ships enter.
            let phase = (now_s * LAMP_RUNS + f64::from(share)).fract() as f32;
            let lit = if camera.calm { 0.5 } else { (1.0 - phase * 3.0).max(0.0) };
            let place = at + along * radius * (LAMPS_FROM + (LAMPS_TO - LAMPS_FROM) * share);
            let strength = if at_hand { 0.25 + 0.75 * lit } else { 0.1 + 0.5 * lit };
            let lamp = Vec2::splat(radius * (0.05 + 0.05 * lit));
            canvas.put(Shape::Glow, Layer::Effects, place, 0.0, lamp, tint.at(strength));
        }
    }
    if at_hand {
        let strength = 0.16 + 0.2 * camera.pulse(3.0, 0.0, now_s);
        canvas.put(Shape::Ring, Layer::Halos, at, 0.0, size * 1.12, tint.at(strength));
    }
    if matches!(view.dock, Dock::Docked { .. }) && at_hand {
        // A tube of light from the hub to the ship docked at the edge.
        if let Some(own) = &view.own {
            let berth = camera.local(own.state.position);
            let along = berth - at;
            let from = at + along.normalize_or_zero() * radius * 0.95;
            canvas.line(Layer::Cracks, from, berth, radius * 0.09, palette::PANEL);
            canvas.line(Layer::Chips, from, berth, radius * 0.05, tint.at(0.75));
        }
    }
}

/// Paints a crate.
pub(crate) fn paint_crate(canvas: &mut Canvas, camera: &CameraView, found: &Other, now_s: f64) {
    let at = camera.local(found.state.position);
    let radius = (found.radius as f32 * 1.3).max(CRATE_PIXELS * camera.scale);
    if !camera.sees(at, radius * 5.0) {
        return;
    }
    // It tumbles slowly, each in its own way.
    let phase = f64::from(found.net_id.0);
    let angle = wrap_angle(found.state.angle + 0.4 * now_s + phase) as f32;
    let blink = camera.pulse(CRATE_BLINK, phase, now_s);
    let tint = tint_of(found);
    let halo = Vec2::splat(radius * 4.0);
    canvas.put(Shape::Glow, Layer::Halos, at, 0.0, halo, tint.at(0.12 + 0.3 * blink));
    canvas.put(Shape::Crate, Layer::Hulls, at, angle, Vec2::splat(radius), tint);
}
