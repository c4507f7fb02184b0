//! Checks, while the world runs, that every entity has exactly one authority.
//!
//! Once a second each shard reports the entities it simulates. An entity must be in the census of the shard that has
//! its authority in the mirror, and in no other. Messages in flight excuse a difference, but not for three censuses.
//! Both kinds of difference are repaired: a surplus entity is released, a missing one is taken back by the server.

use crate::{
    handoff::{
        machine::{Verdict, judge},
        transfers::HandoffState,
    },
    replication::{
        mirror::{Holder, Mirrored},
        space::{Space, Succession},
    },
    traffic::link::Link,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Res, ResMut, Resource},
};
use sidereal_protocol::{
    frames::control::ToShard,
    world::{
        ids::{NetId, ShardId},
        tick::SimTick,
    },
};
use std::collections::{BTreeMap, HashMap, HashSet};
use tracing::error;

/// A difference in this many consecutive censuses is a fault. A round trip is far shorter than one census interval.
const PATIENCE: u32 = 3;

/// The results of the censuses.
#[derive(Debug, Default, Resource)]
pub struct Audit {
    /// Entities of the mirror that are missing in their authority's censuses, and in how many in a row.
    missing: HashMap<(ShardId, NetId), u32>,
    /// Entities in a shard's census without its authority, and in how many in a row.
    surplus: HashMap<(ShardId, NetId), u32>,
    applied: BTreeMap<ShardId, u64>,
    /// Inputs applied by shards that have gone.
    applied_before: u64,
    /// Lost entities: the mirror names a shard as authority, and the shard does not have it.
    pub lost: u64,
    /// Doubled entities: a shard that is not the authority simulates it.
    pub doubled: u64,
}

impl Audit {
    /// A shard has gone: removes its differences.
    pub fn forget(&mut self, shard: ShardId) {
        self.missing.retain(|(of, _), _| *of != shard);
        self.surplus.retain(|(of, _), _| *of != shard);
        self.applied_before += self.applied.remove(&shard).unwrap_or(0);
    }

    /// The number of differences that are being watched.
    pub fn len(&self) -> usize {
        self.missing.len() + self.surplus.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inputs applied by all shards of this run.
    pub fn inputs_applied(&self) -> u64 {
        self.applied_before + self.applied.values().sum::<u64>()
    }
}

/// Compares censuses with the mirror.
#[derive(SystemParam)]
pub struct Censuses<'w> {
    /// The results of the censuses.
    audit: ResMut<'w, Audit>,
    /// Sends to the shards.
    link: ResMut<'w, Link>,
    /// Entities in a handoff may be missing.
    transfers: Res<'w, HandoffState>,
}

impl Censuses<'_> {
    /// Compares a shard's census with the mirror.
    pub fn compare(
        &mut self,
        space: &mut Space,
        shard: ShardId,
        tick: SimTick,
        entities: &[(NetId, u64)],
        inputs_applied: u64,
    ) {
        self.audit.applied.insert(shard, inputs_applied);
        for &(net_id, epoch) in entities {
            let Some(id) = space.mirror.id_of(net_id) else { continue };
            if let Verdict::Release { epoch } = judge(space.mirror.get(id).map(Mirrored::authority), shard, epoch) {
                self.link.to_shard(shard, &ToShard::Release { id, epoch });
            }
        }
        let counted: HashSet<NetId> = entities.iter().map(|(net_id, _)| *net_id).collect();
        let held = || space.mirror.iter().filter(|(_, entry)| entry.holder == Holder::Shard(shard));
        let net_ids: HashSet<NetId> = held().map(|(_, entry)| entry.record.net_id).collect();
        // Entities in a handoff to this shard may be missing.
        let missing: Vec<NetId> = held()
            .filter(|(id, _)| !self.transfers.machine.is_under_way(*id))
            .map(|(_, entry)| entry.record.net_id)
            .filter(|net_id| !counted.contains(net_id))
            .collect();
        let surplus: Vec<NetId> = counted.difference(&net_ids).copied().collect();
        let lost = tally(&mut self.audit.missing, shard, &missing);
        let doubled = tally(&mut self.audit.surplus, shard, &surplus);
        for net_id in &lost {
            error!(%shard, %net_id, %tick, "lost: the shard does not simulate an entity of its authority");
            if let Some(id) = space.mirror.id_of(*net_id) {
                // The server holds the authority until a shard has the lease on its sector.
                space.move_authority(id, Holder::Server, Succession::NextEpoch);
            }
        }
        for net_id in &doubled {
            error!(%shard, %net_id, %tick, "doubled: the shard simulates an entity without its authority");
        }
        self.audit.lost += lost.len() as u64;
        self.audit.doubled += doubled.len() as u64;
    }
}

/// Counts consecutive differences; returns those that have reached the limit.
fn tally(counts: &mut HashMap<(ShardId, NetId), u32>, shard: ShardId, differing: &[NetId]) -> Vec<NetId> {
    let now: HashSet<NetId> = differing.iter().copied().collect();
    counts.retain(|(of, net_id), _| *of != shard || now.contains(net_id));
    let mut faults = Vec::new();
    for net_id in differing {
        let count = counts.entry((shard, *net_id)).or_default();
        *count += 1;
        if *count == PATIENCE {
            faults.push(*net_id);
        }
    }
    faults.sort();
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lasting_difference_is_a_fault_and_it_counts_once() {
        let mut counts = HashMap::new();
        let shard = ShardId(1);
        assert!(tally(&mut counts, shard, &[NetId(7)]).is_empty());
        assert!(tally(&mut counts, shard, &[]).is_empty());
        assert!(tally(&mut counts, shard, &[NetId(7)]).is_empty());
        assert!(tally(&mut counts, shard, &[NetId(7)]).is_empty());
        assert_eq!(tally(&mut counts, shard, &[NetId(7)]), vec![NetId(7)]);
        assert!(tally(&mut counts, shard, &[NetId(7)]).is_empty());
    }
}
