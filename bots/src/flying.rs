//! Computes controls from where a pilot wants to go.
//!
//! Pure.

use bevy::math::DVec2;
use sidereal_client::view::{Other, OwnShip, WorldView};
use sidereal_protocol::{
    rules::flight::{Controls, wrap_angle},
    world::ids::NetId,
};
use std::f64::consts::TAU;

/// How far ahead a pilot avoids rocks, and the clearance to them, units.
const ROCK_AHEAD_UNITS: f64 = 300.0;
const ROCK_ROOM_UNITS: f64 = 35.0;

/// `direction`, bent away from rocks on the way, except for the one that is the destination.
pub(crate) fn around_rocks(own: &OwnShip, view: &WorldView, direction: DVec2, except: Option<NetId>) -> DVec2 {
    let mut bend = DVec2::ZERO;
    let solid = |other: &&Other| other.kind.spec().is_obstacle();
    for rock in view.others.values().filter(solid).filter(|other| except != Some(other.net_id)) {
        let way = rock.state.position - own.state.position;
        let ahead = way.dot(direction);
        if !(0.0..ROCK_AHEAD_UNITS).contains(&ahead) {
            continue;
        }
        let aside = way - direction * ahead;
        let room = rock.radius + own.radius + ROCK_ROOM_UNITS;
        if aside.length() < room {
            let away = (-aside).try_normalize().unwrap_or(direction.perp());
            bend += away * (1.0 - ahead / ROCK_AHEAD_UNITS) * 2.0;
        }
    }
    (direction + bend).normalize_or(direction)
}

/// The controls that bring the ship to the velocity `wanted`.
pub(crate) fn fly(own: &OwnShip, wanted: DVec2) -> Controls {
    let change = wanted - own.state.velocity;
    // Nearly there: turn to the velocity, with little thrust.
    let (direction, push) =
        if change.length() < 12.0 { (wanted, change.dot(own.state.heading()) / 12.0) } else { (change, 1.0) };
    let error = bearing_error(own, direction);
    let thrust = if error.abs() < 0.6 { push.clamp(0.0, 1.0) } else { 0.0 };
    let brakes = own.state.velocity.length() > 40.0 && error.abs() > 2.4;
    Controls {
        thrust: (thrust * 127.0) as i8,
        turn: turn_for(error),
        buttons: if brakes { Controls::BRAKE } else { 0 },
    }
}

/// The angle from the heading to `direction`, radians.
pub(crate) fn bearing_error(own: &OwnShip, direction: DVec2) -> f64 {
    if direction.length_squared() < 1e-9 {
        return 0.0;
    }
    wrap_angle(direction.to_angle() - own.state.angle)
}

pub(crate) fn turn_for(error: f64) -> i8 {
    ((error / (TAU / 16.0)).clamp(-1.0, 1.0) * 127.0) as i8
}
