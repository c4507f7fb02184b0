//! Turns leases into grants: reads or generates a block's entities, and hands them to its holder.

use crate::{
    core::Core,
    leases::{BlockState, Leases},
    mirror::Holder,
    worldgen,
};
use bevy::prelude::Resource;
use sidereal_process::log_limited;
use sidereal_protocol::{
    control::ToShard,
    ids::{EntityId, ShardId},
    limits::RECORDS_PER_LEASE_FRAME,
    record::{EntityKind, EntityRecord, Pilot},
    sector::{BlockId, SectorId},
    tick::{SimTick, TICK_HZ},
};
use tracing::info;

/// How long the first grant waits for the expected number of shards, ticks: 5 s.
const GATHER_TICKS: u64 = 5 * TICK_HZ as u64;

/// The blocks round the world's centre: new ships start there, so they are always leased.
const HOME: [BlockId; 4] =
    [BlockId { x: -1, y: -1 }, BlockId { x: -1, y: 0 }, BlockId { x: 0, y: -1 }, BlockId { x: 0, y: 0 }];

/// Who simulates what, and from how many shards on.
#[derive(Debug, Resource)]
pub struct LeaseBook {
    /// What decides.
    pub table: Leases,
    expected_shards: usize,
    gathered: bool,
}

impl LeaseBook {
    /// No lease is given before `expected_shards` are there, or five seconds have passed.
    pub fn new(expected_shards: usize) -> Self {
        let mut table = Leases::default();
        for block in HOME {
            table.want(block);
        }
        Self { table, expected_shards, gathered: false }
    }

    /// Whether every shard that was waited for is there; once true, it stays so.
    fn gather(&mut self, started: SimTick, now: SimTick) -> bool {
        let shards = self.table.shard_count();
        self.gathered |= shards > 0 && (shards >= self.expected_shards || now.since(started) >= GATHER_TICKS);
        self.gathered
    }

    /// Whether the blocks round the centre are simulated: players can start.
    pub fn home_is_live(&self) -> bool {
        HOME.iter().all(|block| self.table.blocks_live(*block))
    }
}

impl Leases {
    /// Whether the block is simulated.
    fn blocks_live(&self, block: BlockId) -> bool {
        block.sectors().next().is_some_and(|sector| self.holder(sector).is_some())
    }
}

impl Core<'_, '_> {
    /// A block's rows have come from the database.
    pub fn block_loaded(&mut self, block: BlockId, rows: Vec<(SectorId, bool, Vec<EntityRecord>)>) {
        let tick = self.clock.tick;
        let mut loaded = 0;
        let mut generated = 0;
        for (sector, known, records) in rows {
            let records = if known {
                loaded += records.len();
                self.with_station(sector, records, tick)
            } else {
                let fresh = worldgen::sector_records(self.storage.world_seed, sector, tick);
                generated += fresh.len();
                if fresh.iter().all(|record| self.storage.put(record)) {
                    self.storage.mark_generated(sector, tick);
                }
                fresh
            };
            for mut record in records {
                // It may have moved in from a neighbour while this was read, or have been set aside.
                if self.mirror.get(record.id).is_some() || self.aside.why(record.id).is_some() {
                    continue;
                }
                let Some(net_id) = self.mirror.new_net_id() else {
                    log_limited!(warn, "all net ids of this run are used up: restart the server");
                    return;
                };
                record.net_id = net_id;
                record.sector = sector;
                record.tick = tick;
                self.tally.created += 1;
                #[cfg(feature = "journal")]
                self.journal.loaded(&record, known);
                self.enter_mirror(record, Holder::Server);
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
        if let Some(station) = worldgen::station(self.storage.world_seed, sector, &records, tick)
            && !records.iter().any(|record| record.kind == EntityKind::Station)
        {
            self.storage.put(&station);
            records.push(station);
        }
        records
    }

    /// Hands a block's entities to its holder.
    fn grant(&mut self, block: BlockId, shard: ShardId) {
        let ids: Vec<EntityId> = self
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
            let Some(mut record) = self.current_record(*id) else { continue };
            let Some(entry) = self.mirror.get_mut(*id) else { continue };
            entry.issued_epoch += 1;
            entry.holder = Holder::Shard(shard);
            record.epoch = entry.issued_epoch;
            record.version = 0;
            self.motion.set_authority(record.net_id, Some(shard));
            if let (Some(pilot), Some(owner)) = (record.pilot, record.owner) {
                piloted.push((*id, owner, pilot));
            }
            self.replace_record(record.clone());
            records.push(self.with_ore(record));
        }
        info!(%block, %shard, entities = records.len(), "lease granted");
        let mut leases = self.leases.table.leases_of(block);
        let mut chunks = records.chunks(RECORDS_PER_LEASE_FRAME);
        loop {
            let chunk = chunks.next().unwrap_or_default().to_vec();
            let more = chunks.len() > 0;
            self.to_shard(shard, &ToShard::Grant { leases: std::mem::take(&mut leases), records: chunk });
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
                self.to_shard(shard, &ToShard::Inputs { id, boarding, rewind, inputs });
            }
        }
        self.interest.leases_changed = true;
    }
}

/// Gives wanted blocks to shards.
pub fn assign_leases(mut core: Core<'_, '_>) {
    let (started, now) = (core.clock.started, core.clock.tick);
    if !core.leases.gather(started, now) {
        return;
    }
    for (block, shard, state) in core.leases.table.assign() {
        match state {
            BlockState::Stored => {
                core.leases.table.set_state(block, BlockState::Loading);
                core.storage.request_block(block);
            }
            // The answer finds the new holder.
            BlockState::Loading => {}
            BlockState::Live => core.grant(block, shard),
        }
    }
}
