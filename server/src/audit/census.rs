//! Checks, while the world runs, that every entity has exactly one authority.
//!
//! Once a second each shard tells what it simulates. What the mirror gives to a shard must be in its
//! census and in no other; messages under way excuse a difference, but not for three censuses. Either
//! difference is also healed: who has too much is told so, what is missing is taken back.

use crate::{
    handoff::{
        machine::{Verdict, judge},
        transfers::Transfers,
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
    control::ToShard,
    ids::{NetId, ShardId},
    tick::SimTick,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use tracing::error;

/// A difference in this many censuses in a row is a fault. One round trip is far less than one census.
const PATIENCE: u32 = 3;

/// What the censuses said.
#[derive(Debug, Default, Resource)]
pub struct Audit {
    /// Entities of the mirror that were missing in their authority's last censuses, how often.
    missing: HashMap<(ShardId, NetId), u32>,
    /// Entities that a shard counts but has no authority over, how often.
    surplus: HashMap<(ShardId, NetId), u32>,
    applied: BTreeMap<ShardId, u64>,
    /// Of shards that are gone.
    applied_before: u64,
    /// Entities that were lost: the mirror says that a shard has it, the shard has not.
    pub lost: u64,
    /// Entities that were doubled: a shard has it that is not its authority.
    pub doubled: u64,
}

impl Audit {
    /// A shard is gone: what it counted does not matter any longer.
    pub fn forget(&mut self, shard: ShardId) {
        self.missing.retain(|(of, _), _| *of != shard);
        self.surplus.retain(|(of, _), _| *of != shard);
        self.applied_before += self.applied.remove(&shard).unwrap_or(0);
    }

    /// Differences that are being watched.
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
    /// What the censuses said.
    audit: ResMut<'w, Audit>,
    /// The way to the shards.
    link: ResMut<'w, Link>,
    /// What is on its way is missing for a reason.
    transfers: Res<'w, Transfers>,
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
        // What is on its way there is missing for a reason.
        let missing: Vec<NetId> = held()
            .filter(|(id, _)| !self.transfers.machine.is_under_way(*id))
            .map(|(_, entry)| entry.record.net_id)
            .filter(|net_id| !counted.contains(net_id))
            .collect();
        let surplus: Vec<NetId> = counted.difference(&net_ids).copied().collect();
        let lost = tally(&mut self.audit.missing, shard, &missing);
        let doubled = tally(&mut self.audit.surplus, shard, &surplus);
        for net_id in &lost {
            error!(%shard, %net_id, %tick, "lost: the shard does not simulate what it has the authority of");
            if let Some(id) = space.mirror.id_of(*net_id) {
                // The server takes it back until somebody has the lease on its sector.
                space.move_authority(id, Holder::Server, Succession::NextEpoch);
            }
        }
        for net_id in &doubled {
            error!(%shard, %net_id, %tick, "doubled: the shard simulates what it has no authority of");
        }
        self.audit.lost += lost.len() as u64;
        self.audit.doubled += doubled.len() as u64;
    }
}

/// Counts what differs in a row; returns what has just run out of patience.
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
