//! Turns leases into grants: requests a block's entities, and passes them to its holder.

use super::{lease_grants::LeaseGrants, leases::BlockState};
use crate::{
    economy::deals::Deals,
    handoff::transfers::HandoffState,
    persistence::storage::Storage,
    players::session::Players,
    replication::{
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
    frames::control::{ShipInputs, ToShard},
    limits::{MAX_HEADER_BYTES, RECORD_BYTES_PER_LEASE_FRAME, RECORDS_PER_LEASE_FRAME},
    record::{EntityRecord, Pilot},
    world::{
        ids::{EntityId, ShardId},
        sector::BlockId,
    },
};
use tracing::info;

/// Turns leases into grants: a block's entities go to its holder, with the inputs and impacts that were kept for them.
#[derive(SystemParam)]
pub struct Grants<'w> {
    /// The holders of blocks.
    leases: ResMut<'w, LeaseGrants>,
    /// Sends to the shards.
    link: ResMut<'w, Link>,
    /// Kept impacts; an offered entity is not granted.
    transfers: ResMut<'w, HandoffState>,
    /// Reads blocks; the ore in records.
    storage: ResMut<'w, Storage>,
    /// An entity with an open deal is not granted.
    deals: Res<'w, Deals>,
    /// The inputs of pilots.
    players: Res<'w, Players>,
}

impl Grants<'_> {
    /// A block's entities have entered the mirror.
    pub fn block_entered(&mut self, space: &mut Space, block: BlockId) {
        self.leases.table.set_state(block, BlockState::Live);
        if let Some(holder) = self.leases.table.holder_of_block(block) {
            self.grant(space, block, holder);
        }
    }

    /// Passes a block's entities to its holder.
    fn grant(&mut self, space: &mut Space, block: BlockId, shard: ShardId) {
        let ids: Vec<EntityId> = space
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
            let Some(record) = space.move_authority(*id, Holder::Shard(shard), Succession::NextEpoch) else {
                continue;
            };
            if let (Some(pilot), Some(owner)) = (record.pilot(), record.owner) {
                piloted.push((*id, owner, pilot));
            }
            records.push(self.storage.with_ore(record));
        }
        info!(%block, %shard, entities = records.len(), "lease granted");
        let mut leases = self.leases.table.leases_of(block);
        for records in frames_of(records) {
            self.link.to_shard(shard, &ToShard::Grant { leases: std::mem::take(&mut leases), records });
        }
        for id in ids {
            self.transfers.pass_on_kept(space, &mut self.link, id);
        }
        // The inputs since the last owner's last message.
        for (id, owner, pilot) in piloted {
            let inputs = self.players.inputs_since(owner, pilot.last_input);
            if !inputs.is_empty() {
                let Pilot { boarding, rewind, .. } = pilot;
                self.link.to_shard(shard, &ToShard::Inputs(vec![ShipInputs { id, boarding, rewind, inputs }]));
            }
        }
        self.leases.granted = true;
    }
}

/// The records of each frame of a grant, in order; one frame without records if there are none.
fn frames_of(records: Vec<EntityRecord>) -> Vec<Vec<EntityRecord>> {
    let mut frames = vec![Vec::new()];
    let mut bytes = 0;
    for record in records {
        let size = MAX_HEADER_BYTES + record.sections.len();
        let full = frames.last().is_some_and(|frame| frame.len() == RECORDS_PER_LEASE_FRAME);
        if full || bytes + size > RECORD_BYTES_PER_LEASE_FRAME {
            frames.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(frame) = frames.last_mut() {
            frame.push(record);
        }
    }
    frames
}

/// Assigns requested blocks to shards.
pub fn assign_leases(mut space: Space, mut grants: Grants) {
    let (started, now) = (space.clock.started, space.clock.tick);
    if !grants.leases.gather(started, now) {
        return;
    }
    for (block, shard, state) in grants.leases.table.assign() {
        match state {
            BlockState::Stored => {
                grants.leases.table.set_state(block, BlockState::Loading);
                grants.storage.request_block(block);
            }
            // The reply will go to the new holder.
            BlockState::Loading => {}
            BlockState::Live => grants.grant(&mut space, block, shard),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_protocol::{
        DVec2,
        frames::control::encode_frame,
        limits::MAX_SECTIONS_BYTES,
        record::EntityKind,
        world::{sector::SectorId, tick::SimTick},
    };

    fn rocks(count: usize, section_bytes: usize) -> Vec<EntityRecord> {
        let rock = |number| {
            let id = EntityId::from_halves(1, number as u64);
            let mut rock = EntityRecord::at_rest(id, EntityKind::Asteroid, DVec2::ZERO, SimTick(u64::MAX));
            rock.sector = SectorId::new(i32::MIN, i32::MAX);
            rock.sections.put(30_000, 1, &vec![7; section_bytes]);
            rock
        };
        (0..count).map(rock).collect()
    }

    #[test]
    fn every_frame_of_a_grant_can_be_sent_and_has_each_record_once() {
        for (count, section_bytes) in [(0, 0), (1, 0), (256, 0), (257, 0), (600, 1_000), (300, MAX_SECTIONS_BYTES - 6)]
        {
            let records = rocks(count, section_bytes);
            records.iter().for_each(|record| assert_eq!(record.validate(), Ok(())));
            let frames = frames_of(records.clone());
            assert_eq!(frames.concat(), records);
            assert!(frames.len() == 1 || frames.iter().all(|frame| !frame.is_empty()));
            for records in frames {
                let leases = Vec::new();
                assert!(encode_frame(&ToShard::Grant { leases, records }).is_ok(), "{count} of {section_bytes} bytes");
            }
        }
    }
}
