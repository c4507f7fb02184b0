//! The start and end of shards' sessions: their first messages, and what happens to their entities.

use super::{
    lease_grants::LeaseGrants,
    seeds,
    shards::{Shard, Shards},
};
use crate::{
    audit::census::Audit,
    persistence::storage::Storage,
    replication::{
        interest::Interest,
        mirror::Holder,
        space::{Space, Succession},
    },
    traffic::link::Link,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Res, ResMut},
};
use sidereal_protocol::{
    frames::control::ToShard,
    world::{
        ids::{EntityId, ShardId},
        sector::{BlockId, SectorId},
    },
};
use std::{collections::BTreeSet, net::SocketAddr};
use tracing::{info, warn};

/// The start and end of shards' sessions.
#[derive(SystemParam)]
pub struct ShardLives<'w> {
    /// Connected shards.
    shards: ResMut<'w, Shards>,
    /// Their leases.
    leases: ResMut<'w, LeaseGrants>,
    /// Their addresses.
    link: ResMut<'w, Link>,
    /// Their censuses.
    audit: ResMut<'w, Audit>,
    /// Their views.
    interest: ResMut<'w, Interest>,
    /// The world's seed.
    storage: Res<'w, Storage>,
}

/// A shard that has gone.
pub struct LostShard {
    /// Its id.
    pub id: ShardId,
    address: SocketAddr,
    shard: Shard,
    blocks: Vec<BlockId>,
}

/// A shard's simulation has failed.
pub struct ShardCrash {
    /// The shard.
    pub shard: ShardId,
    /// The entity at which it failed, if known.
    pub at: Option<EntityId>,
    /// The entities in its simulation.
    pub held: Vec<EntityId>,
}

impl ShardLives<'_> {
    /// A shard has connected: it is sent its id and the tick.
    pub fn shard_connected(&mut self, space: &mut Space, address: SocketAddr, name: String) {
        let shard = self.shards.connected(address, name.clone(), space.clock.tick);
        self.link.name_shard(shard, Some(address));
        info!(%shard, %name, "shard connected");
        let welcome = ToShard::Welcome {
            shard,
            sim_tick: space.clock.tick,
            naia_tick: space.clock.naia_tick,
            id_seed: seeds::shards(self.storage.world_seed),
            net_ids: space.mirror.new_net_id_block(),
        };
        self.link.to_shard(shard, &welcome);
        self.leases.table.add_shard(shard);
    }

    /// A peer has gone: a shard loses its leases. Next, end its handoffs, then call [`Self::orphan_entities`].
    pub fn shard_gone(&mut self, address: SocketAddr) -> Option<LostShard> {
        let (id, shard) = self.shards.gone(&address)?;
        self.link.name_shard(id, None);
        Some(LostShard { id, address, shard, blocks: self.leases.table.lose_shard(id) })
    }

    /// A lost shard's entities stay in the mirror for the next holder of its leases. Returns its crash, if it crashed.
    pub fn orphan_entities(&mut self, space: &mut Space, lost: LostShard, reason: &str) -> Option<ShardCrash> {
        let LostShard { id: shard, address, shard: gone, blocks } = lost;
        // Its ghosts were in the same simulation.
        let shown: BTreeSet<SectorId> =
            blocks.iter().flat_map(|block| block.sectors()).flat_map(SectorId::neighbourhood).collect();
        let (mut suspects, mut its) = (Vec::new(), Vec::new());
        for (id, entry) in space.mirror.iter() {
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
            space.move_authority(id, Holder::Server, Succession::Orphaned);
        }
        self.audit.forget(shard);
        self.interest.forget(&address);
        if gone.drained {
            info!(%shard, name = %gone.name, "shard left, drained");
        } else {
            space.tally.shards_lost += 1;
            warn!(%shard, name = %gone.name, %reason, blocks = blocks.len(), orphans, "shard lost");
        }
        gone.crashed.map(|at| ShardCrash { shard, at, held: suspects })
    }
}
