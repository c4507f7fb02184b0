//! The body that a ship's tractor beam pulls, selected as its shard does, so that the beam is drawn at once and needs no
//! packet.
//!
//! Pure. Runs in the player client and in bots.

use crate::view::{Other, OwnShip, WorldView};
use bevy::math::DVec2;
use sidereal_protocol::{
    rules::tractor::{self, Nearby},
    world::ids::NetId,
};

/// The body that a ship with the net id `ship` pulls: see [`tractor::target`].
pub fn target(view: &WorldView, ship: NetId, position: DVec2, radius: f64) -> Option<&Other> {
    let nearby = view.others.values().filter(|other| other.net_id != ship).map(|other| Nearby {
        position: other.state.position,
        radius: other.radius,
        kind: other.kind,
        id: other.net_id,
    });
    tractor::target(position, radius, nearby).and_then(|pulled| view.others.get(&pulled))
}

/// The body that the own ship pulls, or would pull with the beam on.
pub fn own_target<'a>(view: &'a WorldView, own: &OwnShip) -> Option<&'a Other> {
    target(view, own.net_id, own.state.position, own.radius)
}
