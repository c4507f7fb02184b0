//! The server of the model: the real machine, and a map as its mirror.

use super::{Plan, SECTORS, network::Network, shard::Planted};
use sidereal_protocol::{
    frames::control::{GhostImpact, ShipInputs, ToServer, ToShard},
    packets::input::Input,
    record::{EntityRecord, Pilot},
    world::{
        ids::{EntityId, ShardId},
        sector::SectorId,
        tick::SimTick,
    },
};
use sidereal_server::handoff::machine::{Action, Authority, Event, Handoffs, Target, Verdict, judge};
use std::collections::{BTreeMap, BTreeSet};

/// The interval of storing, ticks.
const STORE_TICKS: u64 = 15;

/// The interval at which homeless entities look for a shard, ticks.
const REHOME_TICKS: u64 = 10;

/// A record as it is stored.
fn without_pilot(mut record: EntityRecord) -> EntityRecord {
    record.remove::<Pilot>();
    record
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub holder: Option<ShardId>,
    pub record: EntityRecord,
    pub issued: u64,
}

impl Entry {
    fn authority(&self) -> Authority {
        Authority { holder: self.holder, epoch: self.record.epoch, version: self.record.version, issued: self.issued }
    }
}

#[derive(Debug, Default)]
pub(super) struct Server {
    pub machine: Handoffs,
    pub mirror: BTreeMap<EntityId, Entry>,
    /// Ships whose players are away.
    pub stored: BTreeMap<EntityId, EntityRecord>,
    /// Ships on their way into the world.
    pub waiting: BTreeMap<EntityId, EntityRecord>,
    pub destroyed: BTreeSet<EntityId>,
    pub handoffs: u64,
    pub planted_in_shards: Planted,
    /// Ships whose players have left and that were not withdrawn yet.
    adrift: BTreeSet<EntityId>,
    inputs: BTreeMap<EntityId, Vec<Input>>,
    kept_impacts: BTreeMap<EntityId, Vec<GhostImpact>>,
    shards: BTreeMap<ShardId, BTreeSet<SectorId>>,
    /// The state that a new process would find: in the mirror, stored, destroyed.
    database: (BTreeMap<EntityId, EntityRecord>, BTreeMap<EntityId, EntityRecord>, BTreeSet<EntityId>),
}

impl Server {
    /// Another server over the same database.
    pub fn reborn(&mut self, now: SimTick) -> Self {
        let (living, stored, destroyed) = std::mem::take(&mut self.database);
        let mut server = Self { stored, destroyed, planted_in_shards: self.planted_in_shards, ..Self::default() };
        server.machine.planted = self.machine.planted;
        for (_, mut record) in living {
            record.set_or_remove(record.pilot().map(|_| Pilot { last_input: SimTick(now.0 - 1), ..Pilot::default() }));
            server.enter(record);
        }
        server.store();
        server
    }

    pub fn enter(&mut self, record: EntityRecord) {
        let (id, issued) = (record.id, record.epoch);
        self.mirror.insert(id, Entry { holder: None, record, issued });
    }

    pub fn welcome(&mut self, shard: ShardId) {
        self.shards.insert(shard, BTreeSet::new());
    }

    pub fn knows(&self, shard: ShardId) -> bool {
        self.shards.contains_key(&shard)
    }

    pub fn leases_of(&self, shard: ShardId) -> BTreeSet<SectorId> {
        self.shards.get(&shard).cloned().unwrap_or_default()
    }

    /// Leases every sector without a holder to the shard with the fewest.
    pub fn assign(&mut self) {
        for sector in SECTORS {
            if self.holder(sector).is_none()
                && let Some(leases) = self.shards.values_mut().min_by_key(|leases| leases.len())
            {
                leases.insert(sector);
            }
        }
    }

    fn holder(&self, sector: SectorId) -> Option<ShardId> {
        self.shards.iter().find(|(_, leases)| leases.contains(&sector)).map(|(shard, _)| *shard)
    }

    pub fn lose(&mut self, now: SimTick, shard: ShardId, network: &mut Network) {
        self.shards.remove(&shard);
        self.feed(now, Event::ShardLost(shard), network);
        for entry in self.mirror.values_mut() {
            if entry.holder == Some(shard) {
                entry.holder = None;
            }
        }
    }

    /// A player leaves, or returns.
    pub fn toggle_pilot(&mut self, id: EntityId, now: SimTick) {
        if let Some(mut record) = self.stored.remove(&id) {
            record.set(Pilot { last_input: SimTick(now.0 - 1), ..Pilot::default() });
            self.inputs.remove(&id);
            self.waiting.insert(id, record);
        } else if self.mirror.get(&id).is_some_and(|entry| entry.record.pilot().is_some()) {
            self.adrift.insert(id);
        }
    }

    pub fn receive(&mut self, now: SimTick, from: ShardId, message: ToServer, network: &mut Network, plan: &Plan) {
        match message {
            ToServer::Prepare { record, to, attempt } => {
                let known = self.mirror.get(&record.id).map(Entry::authority);
                let target = self.target_in(to, plan).filter(|target| target.shard != from);
                let record = Box::new(EntityRecord { sector: to, ..*record });
                self.feed(now, Event::Prepare { from, attempt, record, known, target }, network);
            }
            ToServer::Accept { id, epoch } => self.feed(now, Event::Accept { from, id, epoch }, network),
            ToServer::Refuse { id, epoch, .. } => self.feed(now, Event::Refuse { from, id, epoch }, network),
            ToServer::Adopted { id, epoch, .. } => self.feed(now, Event::Adopted { from, id, epoch }, network),
            ToServer::Record(record) => {
                if let Some(entry) = self.mirror.get_mut(&record.id)
                    && entry.holder == Some(from)
                    && entry.record.epoch == record.epoch
                    && entry.record.version < record.version
                {
                    entry.record = *record;
                }
            }
            ToServer::Destroyed { id, epoch, .. } => {
                if self.is_authority(from, id, epoch) {
                    self.feed(now, Event::Gone { id }, network);
                    self.mirror.remove(&id);
                    self.kept_impacts.remove(&id);
                    self.adrift.remove(&id);
                    self.destroyed.insert(id);
                }
            }
            ToServer::Withdrawn { record } => {
                if self.is_authority(from, record.id, record.epoch) {
                    self.feed(now, Event::Gone { id: record.id }, network);
                    self.mirror.remove(&record.id);
                    self.adrift.remove(&record.id);
                    self.stored.insert(record.id, without_pilot(*record));
                }
            }
            ToServer::Impact(impact) => self.pass_on(now, impact, network),
            ToServer::Census { entities, .. } => {
                for (net_id, epoch) in entities {
                    let known = self.mirror.iter().find(|(_, entry)| entry.record.net_id == net_id);
                    let Some((&id, entry)) = known else { continue };
                    if let Verdict::Release { epoch } = judge(Some(entry.authority()), from, epoch) {
                        network.send_down(now, from, ToShard::Release { id, epoch });
                    }
                }
            }
            other => unreachable!("the model's shards do not send {other:?}"),
        }
    }

    /// A shard has applied inputs of the player.
    pub fn acknowledge(&mut self, from: ShardId, id: EntityId, epoch: u64, pilot: Pilot) {
        if let Some(entry) = self.mirror.get_mut(&id)
            && entry.holder == Some(from)
            && entry.record.epoch == epoch
            && let Some(known) = entry.record.pilot()
            && pilot.last_input > known.last_input
        {
            entry.record.set(pilot);
        }
    }

    pub fn tick(&mut self, now: SimTick, network: &mut Network, plan: &Plan) {
        self.feed(now, Event::Tick, network);
        for (id, entry) in &self.mirror {
            let Some(pilot) = entry.record.pilot() else { continue };
            let log = self.inputs.entry(*id).or_default();
            log.push(Input { tick: now, controls: Default::default(), view_lag: 0 });
            if let Some(holder) = entry.holder {
                let inputs = log.iter().copied().filter(|input| input.tick > pilot.last_input).collect();
                network.send_down(
                    now,
                    holder,
                    ToShard::Inputs(vec![ShipInputs { id: *id, boarding: pilot.boarding, rewind: 0, inputs }]),
                );
            }
        }
        if now.0.is_multiple_of(REHOME_TICKS) {
            self.rehome(now, network, plan);
            for id in &self.adrift {
                if let Some(holder) = self.mirror.get(id).and_then(|entry| entry.holder) {
                    network.send_down(now, holder, ToShard::Withdraw { id: *id });
                }
            }
        }
        if now.0.is_multiple_of(STORE_TICKS) {
            self.store();
        }
    }

    /// Stores everything.
    pub fn store(&mut self) {
        let (before, before_stored, _) = std::mem::take(&mut self.database);
        let mut living: BTreeMap<EntityId, EntityRecord> =
            self.mirror.iter().map(|(id, entry)| (*id, entry.record.clone())).collect();
        living.extend(self.waiting.clone());
        // A ship on its way into the world keeps its stored state until it is there.
        let mut stored = self.stored.clone();
        for (id, record) in before.into_iter().chain(before_stored) {
            if !living.contains_key(&id) && !self.destroyed.contains(&id) {
                stored.entry(id).or_insert(without_pilot(record));
            }
        }
        self.database = (living, stored, self.destroyed.clone());
    }

    fn rehome(&mut self, now: SimTick, network: &mut Network, plan: &Plan) {
        let waiting = std::mem::take(&mut self.waiting);
        let orphans: Vec<EntityRecord> = self
            .mirror
            .iter()
            .filter(|(id, entry)| entry.holder.is_none() && !self.machine.is_offered(**id))
            .map(|(_, entry)| entry.record.clone())
            .chain(waiting.into_values())
            .collect();
        for mut record in orphans {
            let Some(target) = self.target_in(record.sector, plan) else {
                if !self.mirror.contains_key(&record.id) {
                    self.waiting.insert(record.id, record);
                }
                continue;
            };
            let issued = self.mirror.get(&record.id).map_or(record.epoch, |entry| entry.issued.max(record.epoch));
            record.epoch = issued + 1;
            record.version = 0;
            record.tick = now;
            self.feed(now, Event::Admit { record: Box::new(record), target }, network);
        }
    }

    fn target_in(&self, sector: SectorId, plan: &Plan) -> Option<Target> {
        self.holder(sector).map(|shard| Target { shard, live: !plan.ask_always })
    }

    fn is_authority(&self, from: ShardId, id: EntityId, epoch: u64) -> bool {
        let known = self.mirror.get(&id).map(Entry::authority);
        judge(known, from, epoch) == Verdict::Authority
    }

    fn pass_on(&mut self, now: SimTick, impact: GhostImpact, network: &mut Network) {
        match self.mirror.get(&impact.target).map(|entry| entry.holder) {
            Some(Some(holder)) => network.send_down(now, holder, ToShard::Impact(impact)),
            Some(None) => self.kept_impacts.entry(impact.target).or_default().push(impact),
            None => {}
        }
    }

    fn feed(&mut self, now: SimTick, event: Event, network: &mut Network) {
        for action in self.machine.step(now, event) {
            self.perform(now, action, network);
        }
    }

    fn perform(&mut self, now: SimTick, action: Action, network: &mut Network) {
        match action {
            Action::Keep { record } => {
                if let Some(entry) = self.mirror.get_mut(&record.id) {
                    entry.record = EntityRecord { sector: entry.record.sector, ..*record };
                }
            }
            Action::Issue { id, epoch } => {
                if let Some(entry) = self.mirror.get_mut(&id) {
                    entry.issued = entry.issued.max(epoch);
                }
            }
            Action::Offer { to, record } => network.send_down(now, to, ToShard::Offer { record }),
            Action::Commit { to, record } => {
                let id = record.id;
                let entry = Entry { holder: Some(to), record: (*record).clone(), issued: record.epoch };
                self.mirror.insert(id, entry);
                let inputs = self.inputs_since(&record);
                network.send_down(now, to, ToShard::Commit { record, inputs });
                for impact in self.kept_impacts.remove(&id).unwrap_or_default() {
                    self.pass_on(now, impact, network);
                }
            }
            Action::CommitAgain { to, record } => {
                let inputs = self.inputs_since(&record);
                network.send_down(now, to, ToShard::Commit { record, inputs });
            }
            Action::Release { to, id, epoch } => network.send_down(now, to, ToShard::Release { id, epoch }),
            Action::Abort { to, id, attempt } => network.send_down(now, to, ToShard::Abort { id, attempt }),
            Action::Homeless { record } => {
                if !self.mirror.contains_key(&record.id) {
                    self.waiting.insert(record.id, *record);
                }
            }
            Action::Return { id } => {
                if let Some(entry) = self.mirror.get_mut(&id) {
                    entry.issued += 1;
                    (entry.holder, entry.record.epoch, entry.record.version) = (None, entry.issued, 0);
                }
            }
            Action::Complete { between_shards, .. } => self.handoffs += u64::from(between_shards),
        }
    }

    /// How many inputs the player has sent until `tick`.
    pub fn inputs_until(&self, id: EntityId, tick: SimTick) -> u64 {
        let log = self.inputs.get(&id).map(Vec::as_slice).unwrap_or_default();
        log.iter().filter(|input| input.tick <= tick).count() as u64
    }

    fn inputs_since(&self, record: &EntityRecord) -> Vec<Input> {
        let Some(pilot) = record.pilot() else { return Vec::new() };
        let log = self.inputs.get(&record.id).map(Vec::as_slice).unwrap_or_default();
        log.iter().copied().filter(|input| input.tick > pilot.last_input).collect()
    }
}
