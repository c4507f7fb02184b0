//! Carries out what the handoff's state machine says.

use crate::{
    core::Core,
    handoff::{Action, Event, Handoffs, Source},
    mirror::Holder,
    motion_plane::SectorChange,
};
use bevy::prelude::Resource;
use sidereal_protocol::{
    control::ToShard,
    ids::{EntityId, ShardId},
    record::EntityRecord,
    sector::SectorId,
    tick::{SimTick, TICK_HZ},
};
use std::{collections::HashMap, time::Instant};
use tracing::debug;

/// Orphans look for a new holder this often, ticks.
const REHOME_INTERVAL_TICKS: u64 = TICK_HZ as u64 / 3;

/// Handoffs under way.
#[derive(Debug, Default, Resource)]
pub struct Transfers {
    /// What decides.
    pub machine: Handoffs,
    /// When each began, for the figure only.
    begun: HashMap<EntityId, Instant>,
}

impl Core<'_, '_> {
    /// Tells the state machine what happened and does what it says.
    pub fn transfer(&mut self, event: Event) {
        if let Event::Begin { record, .. } = &event {
            self.transfers.begun.entry(record.id).or_insert_with(Instant::now);
        }
        let mut actions = Vec::new();
        let now = self.clock.tick;
        self.transfers.machine.step(now, event, &mut actions);
        for action in actions {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Offer { to, record } => self.to_shard(to, &ToShard::Offer { record }),
            Action::Commit { to, record } => self.commit(to, *record),
            Action::Release { to, id, epoch } => {
                self.to_shard(to, &ToShard::Release { id, epoch });
            }
            Action::Abort { to, id, epoch } => {
                self.transfers.begun.remove(&id);
                self.to_shard(to, &ToShard::Abort { id, epoch });
            }
            Action::Homeless { record } => {
                self.transfers.begun.remove(&record.id);
                debug!(id = %record.id, "an admission found no home; it is tried again");
                self.ship_homeless(*record);
            }
            Action::Complete { id, epoch, between_shards } => {
                let begun = self.transfers.begun.remove(&id);
                debug!(%id, epoch, between_shards, "adopted");
                if between_shards {
                    self.tally.handoffs += 1;
                    if let Some(begun) = begun {
                        self.tally.cutovers_ms.push(begun.elapsed().as_secs_f64() * 1e3);
                    }
                }
            }
        }
    }

    /// The authority moves to `to`, now.
    fn commit(&mut self, to: ShardId, record: EntityRecord) {
        let id = record.id;
        let committed = Box::new(record.clone());
        let inputs = record
            .pilot
            .zip(record.owner)
            .map(|(pilot, owner)| self.players.inputs_since(owner, pilot.last_input))
            .unwrap_or_default();
        let known = self.mirror.get(id).map(|entry| (entry.record.net_id, entry.record.sector));
        match known {
            Some((net_id, _)) => {
                let from = self.motion.sector_of(net_id).unwrap_or(record.sector);
                self.enter_sector(record, Holder::Shard(to), from);
            }
            None => {
                let owner = record.owner;
                let net_id = record.net_id;
                self.tally.admitted += 1;
                self.enter_mirror(record, Holder::Shard(to));
                if let Some(owner) = owner {
                    self.ship_admitted(owner, id, net_id);
                }
            }
        }
        self.to_shard(to, &ToShard::Commit { record: committed, inputs });
    }

    /// Gives an entity of the mirror a new holder and sector. Its drawn motion goes on from the last
    /// that the old one sent.
    fn enter_sector(&mut self, record: EntityRecord, holder: Holder, from: SectorId) {
        let (id, net_id, to) = (record.id, record.net_id, record.sector);
        let (_, state, tick) = self.motion.state_of(net_id).filter(|(_, _, tick)| *tick >= record.tick).unwrap_or((
            to,
            record.state,
            record.tick,
        ));
        self.replace_record(record);
        if let Some(entry) = self.mirror.get_mut(id) {
            entry.holder = holder;
        }
        let authority = match holder {
            Holder::Shard(shard) => Some(shard),
            Holder::Server => None,
        };
        let now = self.clock.tick;
        self.motion.place(net_id, to, authority, state, tick, now);
        if from != to {
            self.change_rooms(&[SectorChange { net_id, from, to }]);
        }
    }

    /// Offers an entity that only the server holds to the shard that has the lease on its sector.
    /// Returns the record when nobody has.
    pub fn admit(&mut self, mut record: EntityRecord) -> Option<EntityRecord> {
        let Some(target) = self.leases.table.holder(record.sector) else {
            self.leases.table.want(record.sector.block());
            return Some(record);
        };
        let issued = self.mirror.get(record.id).map_or(record.epoch, |entry| entry.issued_epoch.max(record.epoch));
        record.epoch = issued + 1;
        record.version = 0;
        if let Some(entry) = self.mirror.get_mut(record.id) {
            entry.issued_epoch = issued + 1;
        }
        self.transfer(Event::Begin { source: Source::Server, target, record: Box::new(record) });
        None
    }
}

/// Timeouts of handoffs, and a new home for what no shard holds.
pub fn tend_transfers(mut core: Core<'_, '_>) {
    core.transfer(Event::Tick);
    let SimTick(now) = core.clock.tick;
    if !now.is_multiple_of(REHOME_INTERVAL_TICKS) {
        return;
    }
    let orphans: Vec<EntityId> = core
        .mirror
        .iter()
        .filter(|(id, entry)| entry.holder == Holder::Server && !core.transfers.machine.is_offered(*id))
        .map(|(id, _)| id)
        .collect();
    for id in orphans {
        if let Some(record) = core.current_record(id) {
            core.admit(record);
        }
    }
}
