//! Every entity has one authority, or is in transit between two.

use super::scene::Scene;
use bevy::prelude::App;
use sidereal_protocol::world::ids::{EntityId, ShardId};
use sidereal_server::{
    audit::census::Audit,
    replication::mirror::{Holder, Mirror},
};
use sidereal_shard::{ghosts::SILENCE_TICKS, leases::Welcomed};
use std::collections::BTreeMap;

/// How long messages may be in transit, ticks: far more than any link of the tests needs with its retransmits, far less
/// than a lasting fault.
pub const PATIENCE_TICKS: u64 = 90;

/// How long a server may take to detect a shard that died without a goodbye, ticks: the transport's idle timeout of 10
/// s, and the patience.
pub const DEATH_TICKS: u64 = 303 + PATIENCE_TICKS;

/// How long a ghost may outlive its entity, ticks: naia's despawn may be missing (naia is known to lose one when an
/// entity returns into a scope too soon); then the ghost ends by its own timeout, after the last motion was received.
pub const GHOST_TICKS: u64 = SILENCE_TICKS + 2 + RETRANSMIT_TICKS;

/// How long the last message about an entity may be in transit, ticks.
const RETRANSMIT_TICKS: u64 = 30;

const NOT_SIMULATED: &str = "its authority does not simulate it";
const OLD_EPOCH: &str = "a shard simulates it under an old epoch, or after its end";
const OWNERLESS: &str = "a ghost without an owner";
const HELD_BY_THE_DEAD: &str = "its authority has died, which the server does not notice";

/// The suspicions, since when.
#[derive(Debug, Default)]
pub struct Authority {
    suspects: BTreeMap<(EntityId, &'static str), u64>,
    dead: BTreeMap<ShardId, u64>,
}

impl Authority {
    /// A shard's process has ended.
    pub fn shard_dies(&mut self, step: u64, shard: &App) {
        if let Some(welcomed) = shard.world().get_resource::<Welcomed>() {
            self.dead.insert(welcomed.shard, step);
        }
    }

    /// Checks the authorities.
    ///
    /// # Errors
    /// The fault.
    pub fn check(&mut self, step: u64, server: &App, scene: &Scene) -> Result<(), String> {
        let world = server.world();
        let audit = world.resource::<Audit>();
        if audit.lost + audit.doubled > 0 {
            return Err(format!("the server's audit: {audit:?}"));
        }
        let mirror = world.resource::<Mirror>();
        let mut now: Vec<(EntityId, &'static str)> = Vec::new();
        for of_one in scene.held.chunk_by(|one, other| one.id == other.id) {
            let id = of_one[0].id;
            if let Some(lost) = of_one.iter().find(|held| !held.state.is_finite()) {
                return Err(format!("{id}: not finite: {:?}", lost.state));
            }
            let epoch = mirror.get(id).map(|entry| entry.record.epoch);
            let current = of_one.iter().filter(|held| Some(held.epoch) == epoch).count();
            if current > 1 {
                return Err(format!("{id}: {current} shards simulate epoch {epoch:?}: {of_one:?}"));
            }
            if of_one.len() > current {
                now.push((id, OLD_EPOCH));
            }
        }
        for (id, entry) in mirror.iter() {
            if mirror.id_of(entry.record.net_id) != Some(id) {
                return Err(format!("{id}: its net id {} is another's", entry.record.net_id));
            }
            let Holder::Shard(shard) = entry.holder else { continue };
            if let Some(died) = self.dead.get(&shard) {
                if step - died > DEATH_TICKS {
                    return Err(format!("{id}: {HELD_BY_THE_DEAD}: {shard} died at step {died}"));
                }
            } else if scene.holders(id).is_empty() {
                now.push((id, NOT_SIMULATED));
            }
        }
        now.extend(scene.ghosts.iter().filter(|id| mirror.get(**id).is_none()).map(|id| (*id, OWNERLESS)));
        self.bear_with(step, now)
    }

    /// Keeps suspicions until patience runs out.
    fn bear_with(&mut self, step: u64, mut now: Vec<(EntityId, &'static str)>) -> Result<(), String> {
        now.sort_unstable();
        self.suspects.retain(|key, _| now.binary_search(key).is_ok());
        for key in now {
            let since = *self.suspects.entry(key).or_insert(step);
            let patience = if key.1 == OWNERLESS { GHOST_TICKS } else { PATIENCE_TICKS };
            if step - since > patience {
                return Err(format!("{}: {} since step {since}", key.0, key.1));
            }
        }
        Ok(())
    }
}
