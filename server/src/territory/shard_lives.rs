//! Shards come and go: what they are told first, and what becomes of what they had.

use crate::{
    core::Core,
    handoff::machine::Event,
    replication::{mirror::Holder, space::Succession},
    territory::seeds,
};
use sidereal_protocol::{control::ToShard, sector::SectorId};
use std::{collections::BTreeSet, net::SocketAddr};
use tracing::{info, warn};

impl Core<'_, '_> {
    /// A shard has connected: it is told who it is and what time it is.
    pub fn shard_connected(&mut self, address: SocketAddr, name: String) {
        let shard = self.shards.connected(address, name.clone(), self.space.clock.tick);
        self.link.name_shard(shard, Some(address));
        info!(%shard, %name, "shard connected");
        let welcome = ToShard::Welcome {
            shard,
            sim_tick: self.space.clock.tick,
            naia_tick: self.space.clock.naia_tick,
            id_seed: seeds::shards(self.space.storage.world_seed),
            net_ids: self.space.mirror.new_net_id_block(),
        };
        self.link.to_shard(shard, &welcome);
        self.leases.table.add_shard(shard);
    }

    /// A shard has gone: what it had waits in the mirror for the next holder of its leases.
    pub fn shard_gone(&mut self, address: SocketAddr, reason: &str) {
        let Some((shard, gone)) = self.shards.gone(&address) else { return };
        self.link.name_shard(shard, None);
        let lost = self.leases.table.lose_shard(shard);
        self.transfer(Event::ShardLost(shard));
        // What it was shown beside its own was in the same simulation.
        let shown: BTreeSet<SectorId> =
            lost.iter().flat_map(|block| block.sectors()).flat_map(SectorId::neighbourhood).collect();
        let (mut suspects, mut its) = (Vec::new(), Vec::new());
        for (id, entry) in self.space.mirror.iter() {
            let is_its = entry.holder == Holder::Shard(shard);
            if is_its || shown.contains(&entry.record.sector) {
                suspects.push(id);
            }
            if is_its {
                its.push(id);
            }
        }
        let orphans = its.len();
        for id in its {
            self.space.move_authority(id, Holder::Server, Succession::Orphaned);
        }
        self.audit.forget(shard);
        self.interest.forget(&address);
        if gone.drained {
            info!(%shard, name = %gone.name, "shard left, drained");
        } else {
            self.space.tally.shards_lost += 1;
            warn!(%shard, name = %gone.name, %reason, blocks = lost.len(), orphans, "shard lost");
        }
        if let Some(at) = gone.crashed {
            self.shard_crashed(shard, at, suspects);
        }
    }
}
