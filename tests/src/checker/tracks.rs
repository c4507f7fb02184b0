//! Where everybody was in the last two seconds, as the authority had it.

use super::scene::Scene;
use sidereal_protocol::{DVec2, flight::FlightState, ids::EntityId, tick::SimTick};
use std::collections::HashMap;

/// Ticks that are remembered: twice as long as the longest silence about somebody who does not move.
pub const TRACK_TICKS: u64 = 64;

/// One entity's states by tick.
#[derive(Debug)]
struct Track {
    epoch: u64,
    newest: SimTick,
    states: [(SimTick, FlightState); TRACK_TICKS as usize],
}

/// Everybody's.
#[derive(Debug, Default)]
pub struct Tracks(HashMap<EntityId, Track>);

impl Tracks {
    /// Adds what is held now; of two owners the later one counts.
    pub fn take(&mut self, scene: &Scene) {
        for held in &scene.held {
            let track = self.0.entry(held.id).or_insert_with(|| Track {
                epoch: held.epoch,
                newest: held.tick,
                states: [(SimTick(0), FlightState::default()); TRACK_TICKS as usize],
            });
            if held.epoch < track.epoch {
                continue;
            }
            track.epoch = held.epoch;
            // A new owner's clock may be behind the old one's.
            track.newest = track.newest.max(held.tick);
            track.states[(held.tick.0 % TRACK_TICKS) as usize] = (held.tick, held.state);
        }
    }

    /// How it moved after `tick`, if that is known.
    pub fn at(&self, id: EntityId, tick: SimTick) -> Option<FlightState> {
        let (at, state) = self.0.get(&id)?.states[(tick.0 % TRACK_TICKS) as usize];
        (at == tick).then_some(state)
    }

    /// How near it came to `position` in the last `ticks` ticks that it was simulated in. Between two of the harness's
    /// steps a shard may have made several ticks: those are taken to lie between what was seen.
    pub fn nearest(&self, id: EntityId, position: DVec2, ticks: u64) -> Option<f64> {
        let track = self.0.get(&id)?;
        let mut way: Vec<(SimTick, DVec2)> = track
            .states
            .iter()
            .filter(|(tick, _)| tick.0 > 0 && track.newest.since(*tick) <= ticks)
            .map(|(tick, state)| (*tick, state.position))
            .collect();
        way.sort_unstable_by_key(|(tick, _)| *tick);
        let points = way.iter().map(|(_, point)| point.distance(position));
        let legs = way.windows(2).map(|leg| from_leg(leg[0].1, leg[1].1, position));
        points.chain(legs).min_by(f64::total_cmp)
    }

    /// Everybody is simulated anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// How far `point` is from the straight way between two others.
fn from_leg(from: DVec2, to: DVec2, point: DVec2) -> f64 {
    let leg = to - from;
    let along = (point - from).dot(leg) / leg.length_squared().max(f64::MIN_POSITIVE);
    (from + leg * along.clamp(0.0, 1.0)).distance(point)
}
