//! Connected shards, and what their frames and datagrams mean.

use crate::{
    core::Core,
    handoff::{Event, Verdict, judge},
    mirror::Holder,
    motion_plane::SectorChange,
    seeds,
    transfers::authority_of,
};
use bevy::prelude::Resource;
use sidereal_process::log_limited;
use sidereal_protocol::{
    control::{ToServer, ToShard, decode_frame},
    ids::{EntityId, ShardId},
    lane,
    limits::NET_ID_BLOCK,
    messages::{Destroyed, ToPlayer},
    motion::SectorUpdate,
    own_state::decode_own_states,
    record::EntityRecord,
    sector::SectorId,
    tick::SimTick,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};
use tracing::{info, warn};

/// One connected shard.
#[derive(Debug)]
struct Shard {
    address: SocketAddr,
    name: String,
    drained: bool,
    /// Its last words: its simulation has failed, at this entity if it knows.
    crashed: Option<Option<EntityId>>,
    /// Entities that it has created: before its net ids are used up it gets more.
    created: u32,
    /// When a frame or a datagram last came from it.
    heard_at: SimTick,
}

/// A shard that was heard of this lately, ticks, is taken to be alive: 0.2 s. It sends datagrams every
/// tick, so that longer than this is several lost in a row, or a process that hangs.
pub const LIVE_TICKS: u64 = 6;

/// Connected shards.
#[derive(Debug, Default, Resource)]
pub struct Shards {
    by_id: BTreeMap<ShardId, Shard>,
    by_address: BTreeMap<SocketAddr, ShardId>,
    last_id: u32,
}

impl Shards {
    /// Where a shard is.
    pub fn address(&self, shard: ShardId) -> Option<SocketAddr> {
        self.by_id.get(&shard).map(|shard| shard.address)
    }

    /// Which shard is at an address.
    pub fn at(&self, address: &SocketAddr) -> Option<ShardId> {
        self.by_address.get(address).copied()
    }

    /// Whether a shard was heard of within [`LIVE_TICKS`] and has not been told to end.
    pub fn is_live(&self, shard: ShardId, now: SimTick) -> bool {
        self.by_id.get(&shard).is_some_and(|shard| !shard.drained && now.since(shard.heard_at) <= LIVE_TICKS)
    }

    fn hear(&mut self, shard: ShardId, now: SimTick) {
        if let Some(shard) = self.by_id.get_mut(&shard) {
            shard.heard_at = now;
        }
    }

    /// All of them.
    pub fn ids(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.by_id.keys().copied()
    }

    /// Whether every shard has handed in its last records.
    pub fn all_drained(&self) -> bool {
        self.by_id.values().all(|shard| shard.drained)
    }
}

impl Core<'_, '_> {
    /// A shard has connected: it is told who it is and what time it is.
    pub fn shard_connected(&mut self, address: SocketAddr, name: String) {
        self.shards.last_id += 1;
        let shard = ShardId(self.shards.last_id);
        info!(%shard, %name, "shard connected");
        self.shards.by_address.insert(address, shard);
        let heard_at = self.clock.tick;
        self.shards.by_id.insert(shard, Shard { address, name, drained: false, crashed: None, created: 0, heard_at });
        let welcome = ToShard::Welcome {
            shard,
            sim_tick: self.clock.tick,
            naia_tick: self.clock.naia_tick,
            id_seed: seeds::shards(self.storage.world_seed),
            net_ids: self.mirror.new_net_id_block(),
        };
        self.to_shard(shard, &welcome);
        self.leases.table.add_shard(shard);
    }

    /// A shard has gone: what it had waits in the mirror for the next holder of its leases.
    pub fn shard_gone(&mut self, address: SocketAddr, reason: &str) {
        let Some(shard) = self.shards.by_address.remove(&address) else { return };
        let Some(gone) = self.shards.by_id.remove(&shard) else { return };
        let lost = self.leases.table.lose_shard(shard);
        self.transfer(Event::ShardLost(shard));
        let mut net_ids = Vec::new();
        // What it was shown beside its own was in the same simulation.
        let shown: BTreeSet<SectorId> =
            lost.iter().flat_map(|block| block.sectors()).flat_map(SectorId::neighbourhood).collect();
        let mut suspects = Vec::new();
        for (id, entry) in self.mirror.iter_mut() {
            let is_its = entry.holder == Holder::Shard(shard);
            if is_its || shown.contains(&entry.record.sector) {
                suspects.push(id);
            }
            if is_its {
                entry.holder = Holder::Server;
                entry.dirty = true;
                net_ids.push(entry.record.net_id);
            }
        }
        let orphans = net_ids.len();
        for net_id in net_ids {
            self.motion.set_authority(net_id, None);
        }
        self.audit.forget(shard);
        self.interest.forget(&address);
        if gone.drained {
            info!(%shard, name = %gone.name, "shard left, drained");
        } else {
            self.tally.shards_lost += 1;
            warn!(%shard, name = %gone.name, %reason, blocks = lost.len(), orphans, "shard lost");
        }
        if let Some(at) = gone.crashed {
            self.shard_crashed(shard, at, suspects);
        }
    }

    fn on_frame(&mut self, shard: ShardId, frame: ToServer) {
        match frame {
            ToServer::Granted { .. } => {}
            ToServer::Prepare { record, to, attempt } => self.on_prepare(shard, attempt, *record, to),
            ToServer::Accept { id, epoch } => {
                self.transfer(Event::Accept { from: shard, id, epoch });
            }
            ToServer::Refuse { id, epoch, reason } => {
                log_limited!(info, %shard, %id, epoch, ?reason, "offer refused");
                self.transfer(Event::Refuse { from: shard, id, epoch });
            }
            ToServer::Adopted { id, epoch, waited_us, .. } => {
                self.transfers.answered(id, waited_us);
                self.transfer(Event::Adopted { from: shard, id, epoch });
            }
            ToServer::Record(record) => self.on_record(shard, *record),
            ToServer::Destroyed { id, epoch, version, tick, by, wreck } => {
                if self.is_authority(shard, id, epoch) {
                    let fence = (epoch, version);
                    self.on_destroyed(shard, id, fence, tick, by, wreck);
                } else {
                    self.tally.stale += 1;
                }
            }
            ToServer::Withdrawn { record } => self.on_withdrawn(shard, *record),
            ToServer::OreMove(order) => self.on_ore_move(shard, order),
            ToServer::Deal { key, ship, verdict } => self.on_verdict(shard, key, ship, verdict),
            ToServer::Impact(impact) => self.pass_on(impact),
            ToServer::Shot { shot, to } => {
                if let Some(next) = self.leases.table.holder(to)
                    && next != shard
                {
                    self.to_shard(next, &ToShard::Shot(shot));
                }
            }
            ToServer::Census { tick, entities, inputs_applied } => {
                self.on_census(shard, tick, &entities, inputs_applied);
            }
            ToServer::Crashed { at } => {
                if let Some(shard) = self.shards.by_id.get_mut(&shard) {
                    shard.crashed = Some(at);
                }
            }
            ToServer::Drained => {
                if let Some(shard) = self.shards.by_id.get_mut(&shard) {
                    shard.drained = true;
                }
            }
        }
    }

    /// Whether a shard speaks of an entity as its authority.
    pub fn is_authority(&self, shard: ShardId, id: EntityId, epoch: u64) -> bool {
        judge(self.mirror.get(id).map(authority_of), shard, epoch) == Verdict::Authority
    }

    fn on_prepare(&mut self, shard: ShardId, attempt: u32, record: EntityRecord, to: SectorId) {
        if let Err(problem) = record.validate() {
            log_limited!(warn, %shard, id = %record.id, %problem, "a prepared record was refused");
            self.tally.violations += 1;
            return;
        }
        let target = self.target_in(to).filter(|target| target.shard != shard);
        // Nobody simulates that sector yet. For a player somebody shall from now on; a drone or a rock that
        // strays is not worth a block, whose own would stray further.
        if target.is_none() && record.owner.is_some() {
            self.leases.table.want(to.block());
        }
        let known = self.mirror.get(record.id).map(authority_of);
        let record = Box::new(EntityRecord { sector: to, ..record });
        self.transfer(Event::Prepare { from: shard, attempt, record, known, target });
    }

    fn on_record(&mut self, shard: ShardId, mut record: EntityRecord) {
        if let Err(problem) = record.validate() {
            log_limited!(warn, %shard, id = %record.id, %problem, "record refused");
            self.tally.violations += 1;
            return;
        }
        let known = self.mirror.get(record.id).map(|entry| (entry.holder, entry.record.fence()));
        match known {
            Some((holder, fence)) => {
                if holder != Holder::Shard(shard) || record.epoch != fence.0 || record.version <= fence.1 {
                    self.tally.stale += 1;
                    return;
                }
                // The sector is the motion plane's to say.
                if let Some(entry) = self.mirror.get(record.id) {
                    record.sector = entry.record.sector;
                    // Own states overtake records: what they have told of the pilot is not taken back.
                    if let (Some(told), Some(known)) = (&mut record.pilot, entry.record.pilot)
                        && told.boarding == known.boarding
                    {
                        told.last_input = told.last_input.max(known.last_input);
                        told.inputs_applied = told.inputs_applied.max(known.inputs_applied);
                    }
                }
                self.replace_record(record);
            }
            None => {
                let fresh = self.mirror.id_of(record.net_id).is_none() && self.aside.why(record.id).is_none();
                let leased = self.leases.table.holder(record.sector) == Some(shard);
                if fresh && leased && record.owner.is_none() {
                    self.tally.created += 1;
                    #[cfg(feature = "journal")]
                    self.journal.created(&record);
                    self.enter_mirror(record, Holder::Shard(shard));
                    self.refill_net_ids(shard);
                } else {
                    self.tally.stale += 1;
                }
            }
        }
    }

    /// Another block of net ids for a shard each time that half of one is used.
    fn refill_net_ids(&mut self, shard: ShardId) {
        let Some(known) = self.shards.by_id.get_mut(&shard) else { return };
        known.created += 1;
        if known.created.is_multiple_of(NET_ID_BLOCK / 2) {
            let block = self.mirror.new_net_id_block();
            self.to_shard(shard, &ToShard::NetIds(block));
        }
    }

    fn on_destroyed(
        &mut self,
        shard: ShardId,
        id: EntityId,
        fence: (u64, u64),
        tick: SimTick,
        by: Option<EntityId>,
        wreck: Option<Box<EntityRecord>>,
    ) {
        self.transfer(Event::Gone { id });
        let sector = self.mirror.get(id).map(|entry| entry.record.sector);
        let by = by.and_then(|by| self.mirror.get(by)).map(|entry| &entry.record);
        let by = by.map(|by| (by.name.clone(), by.kind as u8, by.owner));
        let (by_name, by_kind, by_owner) = by.unwrap_or((String::new(), u8::MAX, None));
        let Some(gone) = self.leave_mirror(id) else { return };
        self.forget_kept(id);
        self.tally.destroyed += 1;
        #[cfg(feature = "journal")]
        self.journal.destroyed(id, fence.0);
        self.storage.tombstone(&gone.record, fence, tick);
        let wreck = wreck.filter(|wreck| {
            let good = self.is_good_wreck(shard, wreck);
            if !good {
                log_limited!(warn, %shard, %id, wreck = %wreck.id, "a wreck was refused");
                self.tally.violations += 1;
            }
            good
        });
        if let Some(wreck) = &wreck {
            self.tally.created += 1;
            #[cfg(feature = "journal")]
            self.journal.created(wreck);
            self.enter_mirror((**wreck).clone(), Holder::Shard(shard));
            self.refill_net_ids(shard);
        }
        self.bury(&gone.record, fence, tick, wreck.as_deref());
        self.entity_left(id);
        let owner = gone.record.owner;
        if gone.record.name.is_empty() {
            return;
        }
        for address in self.players_near(sector.unwrap_or(gone.record.sector)) {
            let account = self.players.account_at(&address);
            let yours = owner.is_some() && account == owner;
            let news = ToPlayer::Destroyed(Destroyed {
                victim: gone.record.net_id.0,
                victim_name: gone.record.name.clone(),
                victim_kind: gone.record.kind as u8,
                victim_hull: gone.record.hull_kind.map_or(u8::MAX, |hull| hull as u8),
                by_name: by_name.clone(),
                by_kind,
                by_you: by_owner.is_some() && account == by_owner,
                yours,
            });
            self.notify(&address, news);
        }
        if let Some(owner) = owner {
            self.ship_destroyed(owner, id);
        }
    }
}

/// Handles the frames of shards and players as they come.
pub fn handle_frames(mut core: Core<'_, '_>) {
    while let Some((address, bytes)) = core.link.transport.recv_stream() {
        let Some(shard) = core.shards.at(&address) else {
            core.on_player_frame(address, &bytes);
            continue;
        };
        let now = core.clock.tick;
        core.shards.hear(shard, now);
        match decode_frame::<ToServer>(&bytes) {
            Ok(frame) => core.on_frame(shard, frame),
            Err(problem) => {
                log_limited!(warn, %shard, %problem, "frame refused");
                core.tally.violations += 1;
            }
        }
    }
}

/// Takes in the lane's datagrams: motion and own states from shards, inputs from players.
pub fn handle_lane(mut core: Core<'_, '_>) {
    let mut changes: Vec<SectorChange> = Vec::new();
    let now = core.clock.tick;
    while let Some((address, bytes)) = core.link.transport.recv_lane() {
        let Some(shard) = core.shards.at(&address) else {
            core.on_player_datagram(address, &bytes);
            continue;
        };
        core.shards.hear(shard, now);
        let problem = match bytes.first() {
            Some(&lane::SECTOR_UPDATE) => match SectorUpdate::decode(&bytes) {
                Ok(update) => {
                    if core.leases.table.holder(update.sector) == Some(shard) {
                        core.motion.apply(shard, &update, now, &mut changes);
                    } else {
                        core.tally.stale += 1;
                    }
                    None
                }
                Err(problem) => Some(problem),
            },
            Some(&lane::OWN_STATES) => match decode_own_states(&bytes) {
                Ok(states) => {
                    for state in states {
                        core.on_own_state(shard, state);
                    }
                    None
                }
                Err(problem) => Some(problem),
            },
            other => Some(sidereal_protocol::DecodeError::UnknownKind(other.copied().unwrap_or(0))),
        };
        if let Some(problem) = problem {
            log_limited!(warn, %shard, %problem, "datagram refused");
            core.tally.violations += 1;
        }
    }
    core.change_rooms(&changes);
}
