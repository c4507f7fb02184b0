//! The invariants of the model.

use super::{Faults, HULL, Model, entity_id};
use sidereal_protocol::world::ids::EntityId;
use std::collections::BTreeMap;

/// Earlier values, for comparison.
#[derive(Debug, Default)]
pub(super) struct Book {
    fences: BTreeMap<EntityId, (u64, u64)>,
}

impl Model {
    /// Checks the invariants after a tick: at most one shard simulates an entity under the mirror's epoch, and it is
    /// the one that the mirror names; every entity is somewhere; no fence falls; every player's inputs were applied
    /// once each, in order, without a gap; no more hits were applied than occurred.
    ///
    /// # Errors
    /// The one that does not hold.
    pub fn check(&mut self) -> Result<(), String> {
        for number in 0..self.plan.entities {
            self.check_entity(entity_id(number))?;
        }
        Ok(())
    }

    fn check_entity(&mut self, id: EntityId) -> Result<(), String> {
        let server = &self.server;
        let places = [
            server.mirror.contains_key(&id),
            server.stored.contains_key(&id),
            server.destroyed.contains(&id),
            server.waiting.contains_key(&id) || (server.machine.is_under_way(id) && !server.mirror.contains_key(&id)),
        ];
        if places.iter().filter(|there| **there).count() != 1 {
            return Err(format!("{id}: in the mirror, stored, destroyed, waiting: {places:?}"));
        }
        let Some(entry) = server.mirror.get(&id) else {
            self.book.fences.remove(&id);
            return Ok(());
        };
        let fence = entry.record.fence();
        let before = self.book.fences.insert(id, fence).unwrap_or_default();
        if fence < before {
            return Err(format!("{id}: fence {fence:?} after {before:?}"));
        }
        let mut owners = Vec::new();
        for (shard, simulation) in &self.shards {
            let Some(body) = simulation.bodies.get(&id) else { continue };
            if body.record.epoch != entry.record.epoch {
                continue;
            }
            owners.push(*shard);
            if let Some(pilot) = body.record.pilot() {
                let sent = server.inputs_until(id, pilot.last_input);
                if pilot.inputs_applied != sent {
                    return Err(format!("{id}: {pilot:?}, but {sent} inputs were sent until then"));
                }
            }
            let least = i32::from(HULL) - i32::from(self.struck.get(&id).copied().unwrap_or_default());
            if i32::from(body.record.hull()) < least {
                return Err(format!("{id}: hull {}, but it was hit for {least} at most", body.record.hull()));
            }
        }
        if owners.len() > 1 || owners.iter().any(|owner| Some(*owner) != entry.holder) {
            return Err(format!("{id}: simulated under epoch {} by {owners:?}, held by {:?}", fence.0, entry.holder));
        }
        Ok(())
    }

    /// Checks the invariants after [`super::SETTLE_TICKS`] without faults: every entity of the mirror is simulated by
    /// one shard, under the mirror's epoch, and no other is; nothing is in transit; if no process died and no message
    /// of the stream was reordered, every hit was applied once.
    ///
    /// # Errors
    /// The one that does not hold.
    pub fn check_settled(&self) -> Result<(), String> {
        let server = &self.server;
        if !server.machine.is_empty() || !server.waiting.is_empty() {
            return Err(format!("under way: {:?}, waiting: {:?}", server.machine, server.waiting.keys()));
        }
        for (shard, simulation) in &self.shards {
            if !simulation.is_settled() {
                return Err(format!("{shard} still waits for an answer"));
            }
            for (id, body) in &simulation.bodies {
                let known = server.mirror.get(id);
                if known.is_none_or(|entry| entry.holder != Some(*shard) || entry.record.epoch != body.record.epoch) {
                    return Err(format!("{shard} simulates {id} under epoch {}: {known:?}", body.record.epoch));
                }
            }
        }
        for (id, entry) in &server.mirror {
            let holder = entry.holder.and_then(|holder| self.shards.get(&holder));
            let Some(body) = holder.and_then(|shard| shard.bodies.get(id)) else {
                return Err(format!("no shard simulates {id}: {entry:?}"));
            };
            if body.record.hull() != entry.record.hull() {
                return Err(format!(
                    "{id}: hull {} in its shard, {} in the mirror",
                    body.record.hull(),
                    entry.record.hull()
                ));
            }
            let struck = self.struck.get(id).copied().unwrap_or_default();
            // A hit on a ship whose player has just left is lost.
            let keeps = !self.plan.forgets() && self.deaths == 0 && self.plan.leaving == 0.0;
            let exact = keeps && self.plan.faults == Faults::default();
            if exact && u32::from(body.record.hull()) + u32::from(struck) != u32::from(HULL) {
                return Err(format!("{id}: hit for {struck}, hull {} of {HULL}", body.record.hull()));
            }
        }
        Ok(())
    }
}
