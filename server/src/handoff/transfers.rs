//! Handoffs under way: the machine, the times of each, and what hits entities meanwhile.

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
    control::{GhostImpact, ToShard},
    ids::EntityId,
    tick::SimTick,
};
use std::collections::{BTreeMap, HashMap};

/// Impacts kept for one entity that nobody simulates at the moment; more are dropped, it is dead then
/// anyway.
const MAX_KEPT_IMPACTS: usize = 256;

/// Handoffs under way.
#[derive(Debug, Default, Resource)]
pub struct Transfers {
    /// What decides.
    pub machine: Handoffs,
    /// The times of each, for the figures only.
    pub(super) times: HashMap<EntityId, Times>,
    /// What has hit entities while the server held them, for their next authority.
    kept_impacts: BTreeMap<EntityId, Vec<GhostImpact>>,
}

impl Transfers {
    /// Transfers whose times are taken.
    pub fn times(&self) -> usize {
        self.times.len()
    }

    /// Forgets the times of transfers that have ended without a word: with their entity, or with their shard.
    pub fn forget_times(&mut self) {
        let machine = &self.machine;
        self.times.retain(|id, _| machine.is_under_way(*id));
    }

    /// The target has said how long it waited for its tick.
    pub fn answered(&mut self, id: EntityId, waited_us: u32) {
        if let Some(times) = self.times.get_mut(&id) {
            times.waited_us = waited_us;
        }
    }

    /// An entity is no more, or not in the world any more: its handoff is over.
    pub fn entity_gone(&mut self, id: EntityId, now: SimTick) {
        let actions = self.machine.step(now, Event::Gone { id });
        debug_assert!(actions.is_empty(), "nothing is left to do for what is gone: {actions:?}");
    }

    /// Passes an impact on to whoever simulates its target; keeps it while nobody does.
    pub fn pass_on(&mut self, space: &mut Space, link: &mut Link, impact: GhostImpact) {
        match space.mirror.get(impact.target).map(|entry| entry.holder) {
            None | Some(Holder::Server) if impact.cause.spec().is_momentary() => {}
            Some(Holder::Shard(authority)) => link.to_shard(authority, &ToShard::Impact(impact)),
            Some(Holder::Server) => {
                if !self.keep(impact) {
                    space.tally.impacts_lost += 1;
                }
            }
            // Destroyed meanwhile: the blow finds nobody.
            None => space.tally.impacts_lost += 1,
        }
    }

    /// Hands what has hit `id` meanwhile to its new authority.
    pub fn pass_on_kept(&mut self, space: &mut Space, link: &mut Link, id: EntityId) {
        for impact in self.kept_impacts.remove(&id).unwrap_or_default() {
            self.pass_on(space, link, impact);
        }
    }

    /// Keeps what has hit an entity that nobody simulates; false when too much has.
    fn keep(&mut self, impact: GhostImpact) -> bool {
        let kept = self.kept_impacts.entry(impact.target).or_default();
        let has_room = kept.len() < MAX_KEPT_IMPACTS;
        if has_room {
            kept.push(impact);
        }
        has_room
    }

    /// What hit it does not matter any longer; how many there were.
    pub fn forget_kept(&mut self, id: EntityId) -> u64 {
        self.kept_impacts.remove(&id).map_or(0, |kept| kept.len() as u64)
    }
}
