//! The agreement of mirror and shards without faults: authority, epoch, hull points, and the motion at the newest tick
//! in the mirror.
//!
//! In a living world there is always a message in transit. So every entity must agree once, not all at the same time.

use super::{
    scene::{Held, Scene},
    tracks::Tracks,
};
use bevy::prelude::App;
use sidereal_protocol::{
    packets::precision,
    rules::flight::{FlightState, wrap_angle},
    world::ids::EntityId,
};
use sidereal_server::{
    replication::mirror::{Holder, Mirror, Mirrored},
    replication::motion_plane::MotionPlane,
};
use std::collections::BTreeMap;

/// The ticks after the last fault within which every entity has agreed: requests are repeated after 2 s at the latest
/// and given up after 1 s, the next handoff is a second away, motion is sent again after a second at the latest, and
/// the messages themselves are in transit for less than the rest.
pub const AGREE_TICKS: u64 = 180;

/// Packing rounds to the nearest; smaller changes are not sent. Twice the bound in total.
const ROUNDINGS: f64 = 2.001;

/// The entities that have not agreed yet, and why.
#[derive(Debug)]
pub struct Agreement(BTreeMap<EntityId, String>);

impl Agreement {
    /// Every entity in the mirror must agree.
    pub fn new(mirror: &Mirror) -> Self {
        Self(mirror.iter().map(|(id, _)| (id, "not looked at".to_owned())).collect())
    }

    /// Whether every entity has agreed.
    pub fn is_complete(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes entities that agree now, and those that are gone.
    pub fn look(&mut self, server: &App, scene: &Scene, tracks: &Tracks) {
        let mirror = server.world().resource::<Mirror>();
        let plane = server.world().resource::<MotionPlane>();
        self.0.retain(|id, why| {
            let Some(entry) = mirror.get(*id) else { return false };
            match differs(*id, entry, plane, scene, tracks) {
                Some(difference) => {
                    *why = difference;
                    true
                }
                None => false,
            }
        });
    }
}

fn differs(id: EntityId, entry: &Mirrored, plane: &MotionPlane, scene: &Scene, tracks: &Tracks) -> Option<String> {
    let held: &Held = match scene.holders(id) {
        [one] => one,
        all => return Some(format!("{} shards simulate it", all.len())),
    };
    let holder = match entry.holder {
        Holder::Shard(shard) => scene.shards.get(&shard),
        Holder::Server => None,
    };
    if holder != Some(&held.shard) {
        return Some(format!("the mirror has {:?}, it is at shard {}", entry.holder, held.shard));
    }
    if (entry.record.epoch, entry.record.hull()) != (held.epoch, held.hull) {
        let mirrored = (entry.record.epoch, entry.record.hull());
        return Some(format!(
            "(epoch, hull) is {mirrored:?} in the mirror, {:?} at the shard",
            (held.epoch, held.hull)
        ));
    }
    let Some((_, mirrored, tick)) = plane.state_of(entry.record.net_id) else {
        return Some("its motion was never sent".to_owned());
    };
    let Some(truth) = tracks.at(id, tick) else {
        return Some(format!("its motion is of tick {tick}, it is tick {}", held.tick));
    };
    (!same_motion(&mirrored, &truth))
        .then(|| format!("after tick {tick} the mirror has {mirrored:?}, it was {truth:?}"))
}

/// Whether two states are the same in the precision of a motion packet.
pub fn same_motion(one: &FlightState, other: &FlightState) -> bool {
    let near = |difference: f64, bound: f64| difference.abs() <= ROUNDINGS * bound;
    let (position, velocity) = (one.position - other.position, one.velocity - other.velocity);
    near(position.abs().max_element(), precision::POSITION.error_bound())
        && near(velocity.abs().max_element(), precision::VELOCITY.error_bound())
        && near(wrap_angle(one.angle - other.angle), precision::ANGLE.error_bound())
        && near(one.angular_velocity - other.angular_velocity, precision::ANGULAR_VELOCITY.error_bound())
}
