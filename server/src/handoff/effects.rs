//! Carries out the decisions of the handoff state machine.

use super::{
    figures::Times,
    machine::{Action, Event, Target},
    transfers::HandoffState,
};
use crate::{
    persistence::storage::Storage,
    players::session::Players,
    replication::{
        mirror::{Holder, Mirrored},
        space::{Space, Succession},
    },
    territory::{lease_grants::LeaseGrants, shards::Shards},
    traffic::link::Link,
};
use bevy::{
    ecs::system::SystemParam,
    prelude::{Res, ResMut},
};
use sidereal_process::log_limited;
use sidereal_protocol::{
    frames::control::{GhostImpact, ToShard},
    packets::input::Input,
    record::EntityRecord,
    world::{
        ids::{AccountId, EntityId, NetId, ShardId},
        sector::SectorId,
        tick::SimTick,
    },
};
use std::time::Instant;
use tracing::debug;

/// The effect of a handoff's step on a player's ship.
#[derive(Debug)]
pub enum ShipNews {
    /// It has an authority and is in the world.
    Admitted {
        /// Its owner.
        owner: AccountId,
        /// The ship.
        id: EntityId,
        /// Its compact id.
        net_id: NetId,
    },
    /// No shard has accepted it.
    Homeless(Box<EntityRecord>),
}

/// Carries out the decisions of the handoff state machine.
#[derive(SystemParam)]
pub struct HandoffEffects<'w> {
    /// Handoffs in progress.
    pub(super) transfers: ResMut<'w, HandoffState>,
    /// Sends to the shards.
    link: ResMut<'w, Link>,
    /// The pilots' inputs.
    players: Res<'w, Players>,
    /// The ore in records, and the rows of owned entities.
    storage: Res<'w, Storage>,
    /// The holders of sectors, and requested sectors.
    leases: ResMut<'w, LeaseGrants>,
    /// Which shards are alive.
    shards: Res<'w, Shards>,
}

impl HandoffEffects<'_> {
    /// Passes an event to the state machine and carries out its decisions. The caller must handle the returned effects
    /// on ships.
    #[must_use]
    pub fn step(&mut self, space: &mut Space, event: Event) -> Vec<ShipNews> {
        let mut news = Vec::new();
        let begins = match &event {
            Event::Prepare { record, .. } | Event::Admit { record, .. } => Some(record.id),
            _ => None,
        };
        let prepared = Instant::now();
        let now = space.clock.tick;
        let actions = self.transfers.machine.step(now, event);
        if let Some(id) = begins
            && self.transfers.machine.is_under_way(id)
        {
            let times = Times { prepared, committed: None, waited_us: 0 };
            self.transfers.times.entry(id).or_insert(times);
        }
        for action in actions {
            news.extend(self.perform(space, action));
        }
        news
    }

    fn perform(&mut self, space: &mut Space, action: Action) -> Option<ShipNews> {
        match action {
            Action::Keep { mut record } => {
                // The sector stays that of the present authority until the authority moves.
                if let Some(entry) = space.mirror.get(record.id) {
                    record.sector = entry.record.sector;
                }
                space.replace_record(*record);
            }
            Action::Issue { id, epoch } => {
                if let Some(entry) = space.mirror.get_mut(id) {
                    entry.issued_epoch = entry.issued_epoch.max(epoch);
                }
            }
            Action::Offer { to, record } => {
                let record = Box::new(self.storage.with_ore(space.with_last_pilot(*record)));
                self.link.to_shard(to, &ToShard::Offer { record });
            }
            Action::Commit { to, record } => return self.commit(space, to, *record),
            Action::CommitAgain { to, record } => {
                let record = space.with_last_pilot(*record);
                let inputs = self.inputs_for(&record);
                let record = Box::new(self.storage.with_ore(record));
                self.link.to_shard(to, &ToShard::Commit { record, inputs });
            }
            Action::Release { to, id, epoch } => {
                self.link.to_shard(to, &ToShard::Release { id, epoch });
            }
            Action::Abort { to, id, attempt } => {
                self.transfers.times.remove(&id);
                self.link.to_shard(to, &ToShard::Abort { id, attempt });
            }
            Action::Homeless { record } => {
                self.transfers.times.remove(&record.id);
                debug!(id = %record.id, "an admission found no home; it is tried again");
                return Some(ShipNews::Homeless(record));
            }
            Action::Return { id } => {
                self.transfers.times.remove(&id);
                space.move_authority(id, Holder::Server, Succession::NextEpoch);
            }
            Action::Complete { id, epoch, between_shards } => {
                let times = self.transfers.times.remove(&id);
                debug!(%id, epoch, between_shards, "adopted");
                if between_shards {
                    space.tally.handoffs += 1;
                    if let Some(cutover) = times.and_then(|times| times.cutover()) {
                        space.tally.record_cutover(cutover);
                    }
                }
            }
        }
        None
    }

    /// A shard requests a handoff.
    #[must_use]
    pub fn on_prepare(
        &mut self,
        space: &mut Space,
        shard: ShardId,
        attempt: u32,
        record: EntityRecord,
        to: SectorId,
    ) -> Vec<ShipNews> {
        if let Err(problem) = space.mirror.check_record(&record) {
            log_limited!(warn, %shard, id = %record.id, %problem, "a prepared record was rejected");
            space.tally.violations += 1;
            return Vec::new();
        }
        let target = self.target_in(to, space.clock.tick).filter(|target| target.shard != shard);
        // No shard simulates that sector yet. For a player's entity the sector is requested; a stray drone or rock is
        // not worth a block, whose own rocks would stray further.
        if target.is_none() && record.owner.is_some() {
            self.leases.table.want(to.block());
        }
        let known = space.mirror.get(record.id).map(Mirrored::authority);
        let record = Box::new(EntityRecord { sector: to, ..record });
        self.step(space, Event::Prepare { from: shard, attempt, record, known, target })
    }

    /// A shard has adopted an entity, in `waited_us` microseconds.
    #[must_use]
    pub fn on_adopted(
        &mut self,
        space: &mut Space,
        shard: ShardId,
        (id, epoch): (EntityId, u64),
        waited_us: u32,
    ) -> Vec<ShipNews> {
        self.transfers.answered(id, waited_us);
        self.step(space, Event::Adopted { from: shard, id, epoch })
    }

    /// Inputs of the pilot of `record` after the last one in it.
    fn inputs_for(&self, record: &EntityRecord) -> Vec<Input> {
        record
            .pilot()
            .zip(record.owner)
            .map(|(pilot, owner)| self.players.inputs_since(owner, pilot.last_input))
            .unwrap_or_default()
    }

    /// Forwards an impact to the shard that simulates its target.
    pub fn pass_on(&mut self, space: &mut Space, impact: GhostImpact) {
        self.transfers.pass_on(space, &mut self.link, impact);
    }

    /// Moves the authority to `to`, now.
    fn commit(&mut self, space: &mut Space, to: ShardId, record: EntityRecord) -> Option<ShipNews> {
        let id = record.id;
        let mut news = None;
        if let Some(times) = self.transfers.times.get_mut(&id) {
            times.committed = Some(Instant::now());
        }
        let record = space.with_last_pilot(record);
        let committed = Box::new(self.storage.with_ore(record.clone()));
        let inputs = self.inputs_for(&record);
        match space.mirror.get(id) {
            Some(_) => {
                if record.owner.is_some() {
                    // Owned entities are stored at once too: no older epoch may return.
                    self.storage.put_now(&record);
                }
                space.move_authority(id, Holder::Shard(to), Succession::Committed(Box::new(record)));
            }
            None => {
                let owner = record.owner;
                let net_id = record.net_id;
                space.tally.admitted += 1;
                #[cfg(feature = "journal")]
                space.journal.admitted(&record);
                space.enter_mirror(self.storage.with_ore(record), Holder::Shard(to));
                news = owner.map(|owner| ShipNews::Admitted { owner, id, net_id });
            }
        }
        self.link.to_shard(to, &ToShard::Commit { record: committed, inputs });
        self.transfers.pass_on_kept(space, &mut self.link, id);
        news
    }

    /// Offers an entity that only the server holds to the shard with the lease on its sector.
    /// Returns the record if no shard has it.
    pub fn admit(
        &mut self,
        space: &mut Space,
        mut record: Box<EntityRecord>,
    ) -> Result<Vec<ShipNews>, Box<EntityRecord>> {
        let Some(target) = self.target_in(record.sector, space.clock.tick) else {
            self.leases.table.request_block_for_arrival(record.sector.block());
            return Err(record);
        };
        let issued = space.mirror.get(record.id).map_or(record.epoch, |entry| entry.issued_epoch.max(record.epoch));
        record.epoch = issued + 1;
        record.version = 0;
        Ok(self.step(space, Event::Admit { record, target }))
    }

    /// The shard that simulates a sector, and whether it has just sent something.
    fn target_in(&self, sector: SectorId, now: SimTick) -> Option<Target> {
        let shard = self.leases.table.holder(sector)?;
        Some(Target { shard, live: self.shards.is_live(shard, now) })
    }
}
