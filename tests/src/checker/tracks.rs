//! The positions of all entities in the last two seconds, by their authorities.

use super::scene::Held;
use sidereal_protocol::{
    DVec2,
    rules::flight::FlightState,
    world::{ids::EntityId, tick::SimTick},
};
use sidereal_shard::ticks::MAX_CATCH_UP_TICKS;
use std::collections::HashMap;

/// Ticks that are remembered: twice the longest interval between two states of a body at rest.
pub const TRACK_TICKS: u64 = 64;

/// One entity's states by tick.
#[derive(Debug)]
struct Track {
    epoch: u64,
    newest: SimTick,
    /// Its state while it was not simulated, until the tick at which that ended.
    waited: Option<(SimTick, FlightState)>,
    states: [(SimTick, FlightState); TRACK_TICKS as usize],
}

impl Track {
    /// Its states in the last `ticks` ticks, oldest first, and the one while it waited before.
    fn way(&self, ticks: u64) -> Vec<(SimTick, FlightState)> {
        let recent = |tick: SimTick| tick.0 > 0 && self.newest.since(tick) <= ticks;
        let mut way: Vec<(SimTick, FlightState)> = self.states.to_vec();
        way.retain(|(tick, _)| recent(*tick));
        let waited = self.waited.filter(|(until, _)| recent(*until));
        way.extend(waited.map(|(until, state)| (SimTick(until.0 - 1), state)));
        way.sort_unstable_by_key(|(tick, _)| *tick);
        way
    }
}

/// The tracks of all entities.
#[derive(Debug, Default)]
pub struct Tracks(HashMap<EntityId, Track>);

impl Tracks {
    /// Adds the present bodies; of two owners the later one counts.
    pub fn take(&mut self, held: &[Held]) {
        for held in held {
            let track = self.0.entry(held.id).or_insert_with(|| Track {
                epoch: held.epoch,
                newest: held.tick,
                waited: None,
                states: [(SimTick(0), FlightState::default()); TRACK_TICKS as usize],
            });
            if held.epoch < track.epoch {
                continue;
            }
            // More than a shard catches up on at once.
            if held.tick.since(track.newest) > MAX_CATCH_UP_TICKS {
                let last = track.states[(track.newest.0 % TRACK_TICKS) as usize].1;
                track.waited = Some((held.tick, last));
            }
            track.epoch = held.epoch;
            // A new owner's clock may be behind the old one's.
            track.newest = track.newest.max(held.tick);
            track.states[(held.tick.0 % TRACK_TICKS) as usize] = (held.tick, held.state);
        }
    }

    /// Its state after `tick`, if known.
    pub fn at(&self, id: EntityId, tick: SimTick) -> Option<FlightState> {
        let (at, state) = self.0.get(&id)?.states[(tick.0 % TRACK_TICKS) as usize];
        (at == tick).then_some(state)
    }

    /// The least distance to `position` in its last `ticks` simulated ticks. Between two of the harness's steps a shard
    /// may have simulated several ticks: these are assumed to lie between the known states.
    pub fn nearest(&self, id: EntityId, position: DVec2, ticks: u64) -> Option<f64> {
        let track = self.0.get(&id)?;
        let way = track.way(ticks);
        let points = way.iter().map(|(_, at)| at.position.distance(position));
        let legs = way.windows(2).map(|leg| from_leg(leg[0].1.position, leg[1].1.position, position));
        points.chain(legs).min_by(f64::total_cmp)
    }

    /// Its states in the last `ticks` ticks, for the diagnosis of a failure.
    pub fn way(&self, id: EntityId, ticks: u64) -> String {
        let Some(track) = self.0.get(&id) else { return "never simulated".to_owned() };
        let way = track.way(ticks);
        way.iter().map(|(tick, at)| format!("{tick} ({:.1}, {:.1}); ", at.position.x, at.position.y)).collect()
    }

    /// All entities are simulated anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The distance of `point` from the straight line between two others.
fn from_leg(from: DVec2, to: DVec2, point: DVec2) -> f64 {
    let leg = to - from;
    let along = (point - from).dot(leg) / leg.length_squared().max(f64::MIN_POSITIVE);
    (from + leg * along.clamp(0.0, 1.0)).distance(point)
}
