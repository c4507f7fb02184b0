//! Handoffs in progress: the machine, their times, and impacts on entities meanwhile.

use super::{
    figures::Times,
    machine::{Event, Handoffs},
};
use crate::{
    replication::{mirror::Holder, space::Space},
    traffic::link::Link,
};
use bevy::prelude::Resource;
use sidereal_protocol::{
    frames::control::{GhostImpact, ToShard},
    world::{ids::EntityId, tick::SimTick},
};
use std::collections::{BTreeMap, HashMap};

/// Maximum number of impacts kept for one entity without a simulating shard; more are dropped, since these destroy it
/// anyway.
const MAX_KEPT_IMPACTS: usize = 256;

/// Handoffs in progress.
#[derive(Debug, Default, Resource)]
pub struct HandoffState {
    /// The state machine.
    pub machine: Handoffs,
    /// The times of each, for figures only.
    pub(super) times: HashMap<EntityId, Times>,
    /// Impacts on entities while the server held them, for their next authority.
    kept_impacts: BTreeMap<EntityId, Vec<GhostImpact>>,
}

impl HandoffState {
    /// The number of transfers whose times are recorded.
    pub fn times(&self) -> usize {
        self.times.len()
    }

    /// Removes the times of transfers that ended without an answer: with their entity or their shard.
    pub fn forget_times(&mut self) {
        let machine = &self.machine;
        self.times.retain(|id, _| machine.is_under_way(*id));
    }

    /// The target's answer, with how long it waited for its tick.
    pub fn answered(&mut self, id: EntityId, waited_us: u32) {
        if let Some(times) = self.times.get_mut(&id) {
            times.waited_us = waited_us;
        }
    }

    /// An entity was destroyed or has left the world: its handoff ends.
    pub fn entity_gone(&mut self, id: EntityId, now: SimTick) {
        let actions = self.machine.step(now, Event::Gone { id });
        debug_assert!(actions.is_empty(), "no actions for a gone entity: {actions:?}");
    }

    /// Forwards an impact to the shard that simulates its target, or keeps it while there is none.
    pub fn pass_on(&mut self, space: &mut Space, link: &mut Link, impact: GhostImpact) {
        match space.mirror.get(impact.target).map(|entry| entry.holder) {
            None | Some(Holder::Server) if impact.cause.spec().is_momentary() => {}
            Some(Holder::Shard(authority)) => link.to_shard(authority, &ToShard::Impact(impact)),
            Some(Holder::Server) => {
                if !self.keep(impact) {
                    space.tally.impacts_lost += 1;
                }
            }
            // The target was destroyed meanwhile.
            None => space.tally.impacts_lost += 1,
        }
    }

    /// Forwards the kept impacts on `id` to its new authority.
    pub fn pass_on_kept(&mut self, space: &mut Space, link: &mut Link, id: EntityId) {
        for impact in self.kept_impacts.remove(&id).unwrap_or_default() {
            self.pass_on(space, link, impact);
        }
    }

    /// Keeps an impact on an entity without a simulating shard; false at the limit.
    fn keep(&mut self, impact: GhostImpact) -> bool {
        let kept = self.kept_impacts.entry(impact.target).or_default();
        let has_room = kept.len() < MAX_KEPT_IMPACTS;
        if has_room {
            kept.push(impact);
        }
        has_room
    }

    /// Drops an entity's kept impacts; returns their number.
    pub fn forget_kept(&mut self, id: EntityId) -> u64 {
        self.kept_impacts.remove(&id).map_or(0, |kept| kept.len() as u64)
    }
}
