//! A block's first entities: stored ones, and generated ones in unvisited sectors.

use super::worldgen;
use crate::{
    audit::aside::Aside,
    persistence::storage::Storage,
    replication::{mirror::Holder, space::Space},
};
use bevy::{ecs::system::SystemParam, prelude::Res};
use sidereal_process::log_limited;
use sidereal_protocol::{
    record::{EntityKind, EntityRecord},
    world::{
        sector::{BlockId, SectorId},
        tick::SimTick,
    },
};
use tracing::info;

/// Adds blocks to the mirror.
#[derive(SystemParam)]
pub struct Blocks<'w> {
    /// The world's seed; stores generated entities.
    storage: Res<'w, Storage>,
    /// Entities that were set aside do not enter.
    aside: Res<'w, Aside>,
}

impl Blocks<'_> {
    /// A block's rows have been read: its entities enter the mirror, with generated ones in unvisited sectors. Returns
    /// whether all of them did.
    pub fn block_loaded(
        &self,
        space: &mut Space,
        block: BlockId,
        rows: Vec<(SectorId, bool, Vec<EntityRecord>)>,
    ) -> bool {
        let tick = space.clock.tick;
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
                // It may have moved in from a neighbour during the read, or have been set aside.
                if space.mirror.get(record.id).is_some() || self.aside.why(record.id).is_some() {
                    continue;
                }
                let Some(net_id) = space.mirror.new_net_id() else {
                    log_limited!(warn, "all net ids of this run are used up: restart the server");
                    return false;
                };
                record.net_id = net_id;
                record.sector = sector;
                record.tick = tick;
                space.tally.created += 1;
                #[cfg(feature = "journal")]
                space.journal.loaded(&record, known);
                space.enter_mirror(self.storage.with_ore(record), Holder::Server);
            }
        }
        info!(%block, loaded, generated, "block is in the mirror");
        true
    }

    /// A world from before there were stations gets its own: stations are never destroyed, so a missing one never
    /// existed.
    fn with_station(&self, sector: SectorId, mut records: Vec<EntityRecord>, tick: SimTick) -> Vec<EntityRecord> {
        if let Some(station) = worldgen::station(self.storage.world_seed, sector, &records, tick)
            && !records.iter().any(|record| record.kind == EntityKind::Station)
        {
            self.storage.put(&station);
            records.push(station);
        }
        records
    }
}
