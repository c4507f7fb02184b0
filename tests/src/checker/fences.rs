//! Epochs and versions only rise, and no epoch is issued twice.

use super::scene::Scene;
use sidereal_protocol::world::ids::EntityId;
use sidereal_server::replication::mirror::Mirror;
use sidereal_shard::journal::Event;
use std::collections::BTreeMap;

/// The highest values so far.
#[derive(Debug, Default)]
pub struct Fences {
    mirrored: BTreeMap<EntityId, (u64, u64)>,
    /// The highest epoch under which an entity was simulated.
    begun: BTreeMap<EntityId, u64>,
    /// The epochs of own bodies, by shard.
    bodies: BTreeMap<(EntityId, usize), u64>,
}

impl Fences {
    /// Reads an event of a shard's journal.
    ///
    /// # Errors
    /// When an epoch begins that was issued before.
    pub fn receive(&mut self, shard: usize, event: &Event) -> Result<(), String> {
        match *event {
            Event::Began { id, epoch, .. } => {
                self.bodies.insert((id, shard), epoch);
                match self.begun.insert(id, epoch) {
                    Some(highest) if highest >= epoch => {
                        Err(format!("{id}: shard {shard} begins epoch {epoch}, but epoch {highest} has begun before"))
                    }
                    _ => Ok(()),
                }
            }
            Event::Ended { id, .. } => {
                self.bodies.remove(&(id, shard));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A shard has ended.
    pub fn shard_dies(&mut self, shard: usize) {
        self.bodies.retain(|(_, of), _| *of != shard);
    }

    /// Compares mirror and shards with it.
    ///
    /// # Errors
    /// What has fallen.
    pub fn check(&mut self, mirror: &Mirror, scene: &Scene) -> Result<(), String> {
        for (id, entry) in mirror.iter() {
            let now = entry.record.fence();
            let before = self.mirrored.entry(id).or_insert(now);
            if now < *before {
                return Err(format!("{id}: (epoch, version) in the mirror fell from {before:?} to {now:?}"));
            }
            *before = now;
        }
        for held in &scene.held {
            let begun = self.bodies.get(&(held.id, held.shard)).copied();
            if begun != Some(held.epoch) {
                return Err(format!(
                    "{}: shard {} simulates epoch {}, but began {begun:?}",
                    held.id, held.shard, held.epoch
                ));
            }
        }
        Ok(())
    }

    /// The server has died: epochs continue from those in the database.
    pub fn reborn(&mut self, rows: impl Iterator<Item = (EntityId, (u64, u64))>) {
        self.mirrored = rows.collect();
        self.begun = self.mirrored.iter().map(|(id, (epoch, _))| (*id, *epoch)).collect();
        self.bodies.clear();
    }
}
