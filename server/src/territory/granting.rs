//! Turns leases into grants: reads or generates a block's entities, and hands them to its holder.

use super::{leases::BlockState, worldgen};
use crate::{
    core::Core,
    replication::{mirror::Holder, space::Succession},
};
use sidereal_process::log_limited;
use sidereal_protocol::{
    control::ToShard,
    ids::{EntityId, ShardId},
    limits::RECORDS_PER_LEASE_FRAME,
    record::{EntityKind, EntityRecord, Pilot},
    sector::{BlockId, SectorId},
    tick::SimTick,
};
use tracing::info;

impl Core<'_, '_> {
    /// A block's rows have come from the database.
    pub fn block_loaded(&mut self, block: BlockId, rows: Vec<(SectorId, bool, Vec<EntityRecord>)>) {
        let tick = self.space.clock.tick;
        let mut loaded = 0;
        let mut generated = 0;
        for (sector, known, records) in rows {
            let records = if known {
                loaded += records.len();
                self.with_station(sector, records, tick)
            } else {
                let fresh = worldgen::sector_records(self.space.storage.world_seed, sector, tick);
                generated += fresh.len();
                if fresh.iter().all(|record| self.space.storage.put(record)) {
                    self.space.storage.mark_generated(sector, tick);
                }
                fresh
            };
            for mut record in records {
                // It may have moved in from a neighbour while this was read, or have been set aside.
                if self.space.mirror.get(record.id).is_some() || self.aside.why(record.id).is_some() {
                    continue;
                }
                let Some(net_id) = self.space.mirror.new_net_id() else {
                    log_limited!(warn, "all net ids of this run are used up: restart the server");
                    return;
                };
                record.net_id = net_id;
                record.sector = sector;
                record.tick = tick;
                self.space.tally.created += 1;
                #[cfg(feature = "journal")]
                self.journal.loaded(&record, known);
                self.space.enter_mirror(record, Holder::Server);
            }
        }
        self.leases.table.set_state(block, BlockState::Live);
        info!(%block, loaded, generated, "block is in the mirror");
        if let Some(holder) = self.leases.table.holder_of_block(block) {
            self.grant(block, holder);
        }
    }

    /// A world from before there were stations gets its own: none is ever destroyed, so that a missing one never was.
    fn with_station(&mut self, sector: SectorId, mut records: Vec<EntityRecord>, tick: SimTick) -> Vec<EntityRecord> {
        if let Some(station) = worldgen::station(self.space.storage.world_seed, sector, &records, tick)
            && !records.iter().any(|record| record.kind == EntityKind::Station)
        {
            self.space.storage.put(&station);
            records.push(station);
        }
        records
    }

    /// Hands a block's entities to its holder.
    fn grant(&mut self, block: BlockId, shard: ShardId) {
        let ids: Vec<EntityId> = self
            .space
            .mirror
            .iter()
            .filter(|(id, entry)| {
                entry.holder == Holder::Server
                    && entry.record.sector.block() == block
                    && !self.transfers.machine.is_offered(*id)
                    && !self.deals.concern(*id)
            })
            .map(|(id, _)| id)
            .collect();
        let mut records = Vec::with_capacity(ids.len());
        let mut piloted = Vec::new();
        for id in &ids {
            let Some(record) = self.space.move_authority(*id, Holder::Shard(shard), Succession::NextEpoch) else {
                continue;
            };
            if let (Some(pilot), Some(owner)) = (record.pilot, record.owner) {
                piloted.push((*id, owner, pilot));
            }
            records.push(self.space.storage.with_ore(record));
        }
        info!(%block, %shard, entities = records.len(), "lease granted");
        let mut leases = self.leases.table.leases_of(block);
        let mut chunks = records.chunks(RECORDS_PER_LEASE_FRAME);
        loop {
            let chunk = chunks.next().unwrap_or_default().to_vec();
            let more = chunks.len() > 0;
            self.link.to_shard(shard, &ToShard::Grant { leases: std::mem::take(&mut leases), records: chunk });
            if !more {
                break;
            }
        }
        for id in ids {
            self.pass_on_kept(id);
        }
        // What their pilots have sent since the last owner was heard of.
        for (id, owner, pilot) in piloted {
            let inputs = self.players.inputs_since(owner, pilot.last_input);
            if !inputs.is_empty() {
                let Pilot { boarding, rewind, .. } = pilot;
                self.link.to_shard(shard, &ToShard::Inputs { id, boarding, rewind, inputs });
            }
        }
        self.interest.leases_changed = true;
    }
}

/// Gives wanted blocks to shards.
pub fn assign_leases(mut core: Core) {
    let (started, now) = (core.space.clock.started, core.space.clock.tick);
    if !core.leases.gather(started, now) {
        return;
    }
    for (block, shard, state) in core.leases.table.assign() {
        match state {
            BlockState::Stored => {
                core.leases.table.set_state(block, BlockState::Loading);
                core.space.storage.request_block(block);
            }
            // The answer finds the new holder.
            BlockState::Loading => {}
            BlockState::Live => core.grant(block, shard),
        }
    }
}
