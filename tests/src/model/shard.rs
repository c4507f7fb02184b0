//! A shard of the model: the real machine and the real input queues, and bodies that only have a place, hull points and
//! an epoch.

use super::network::Network;
use rand::Rng;
use rand_pcg::Pcg64Mcg;
use sidereal_protocol::{
    frames::control::{GhostImpact, ShipInputs, ToServer, ToShard},
    record::{EntityRecord, SettledAt, Structure},
    world::{
        ids::{EntityId, ShardId},
        sector::SectorId,
        tick::{SimTick, TICK_HZ},
    },
};
use sidereal_shard::{
    handoff::{Action, BOUNCE_TICKS, Event, Handoffs},
    inputs::InputQueue,
};
use std::collections::{BTreeMap, BTreeSet};

/// Faults that tests plant in shards.
#[derive(Debug, Default, Clone, Copy)]
pub struct Planted {
    /// A commit is accepted whatever its epoch.
    pub skip_epoch_check: bool,
    /// An input is accepted even if it was received before.
    pub skip_duplicate_filter: bool,
}

#[derive(Debug)]
pub(super) struct Body {
    pub record: EntityRecord,
    pub at: SectorId,
    pub queue: InputQueue,
}

#[derive(Debug)]
pub(super) struct Shard {
    id: ShardId,
    machine: Handoffs,
    pub bodies: BTreeMap<EntityId, Body>,
    pub leases: BTreeSet<SectorId>,
    planted: Planted,
}

impl Shard {
    pub fn new(id: ShardId) -> Self {
        Self {
            id,
            machine: Handoffs::default(),
            bodies: BTreeMap::new(),
            leases: BTreeSet::new(),
            planted: Planted::default(),
        }
    }

    pub fn plant(&mut self, planted: Planted) {
        self.planted = planted;
        self.machine.planted.skip_epoch_check = planted.skip_epoch_check;
    }

    /// Whether nothing waits for an answer.
    pub fn is_settled(&self) -> bool {
        self.machine.leaving() == 0
    }

    pub fn receive(
        &mut self,
        now: SimTick,
        message: ToShard,
        network: &mut Network,
        random: &mut Pcg64Mcg,
        refusal: f64,
    ) {
        let owned = |shard: &Self, id| shard.bodies.get(&id).map(|body| body.record.epoch);
        let refuses = refusal > 0.0 && random.random_bool(refusal);
        match message {
            ToShard::Offer { record } => {
                let leased = self.leases.contains(&record.sector) && !refuses;
                let owned = owned(self, record.id);
                self.feed(now, Event::Offered { record, leased, owned }, network);
            }
            ToShard::Commit { record, inputs } => {
                let leased = self.leases.contains(&record.sector) && !refuses;
                let owned = owned(self, record.id);
                self.feed(now, Event::Committed { record, inputs, leased, owned }, network);
            }
            ToShard::Release { id, epoch } => {
                let owned = owned(self, id);
                self.feed(now, Event::Released { id, epoch, owned }, network);
            }
            ToShard::Abort { id, attempt } => self.feed(now, Event::Aborted { id, attempt }, network),
            ToShard::Inputs(ships) => {
                for ShipInputs { id, inputs, .. } in ships {
                    let Some(body) = self.bodies.get_mut(&id) else { continue };
                    let Some(mut pilot) = body.record.pilot() else { continue };
                    for input in inputs {
                        body.queue.planted = self.planted.skip_duplicate_filter;
                        body.queue.push(&mut pilot, input, now);
                    }
                    body.record.set(pilot);
                }
            }
            ToShard::Withdraw { id } => {
                let Some(body) = self.bodies.remove(&id) else { return };
                let mut record = body.record;
                record.version += 1;
                self.feed(now, Event::Gone { id, epoch: record.epoch }, network);
                network.send_up(now, self.id, ToServer::Withdrawn { record: Box::new(record) });
            }
            ToShard::Impact(impact) if self.bodies.contains_key(&impact.target) => self.strike(now, impact, network),
            ToShard::Impact(impact) => {
                if now.since(impact.tick) <= BOUNCE_TICKS {
                    network.send_up(now, self.id, ToServer::Impact(impact));
                }
            }
            other => unreachable!("the model's server does not send {other:?}"),
        }
    }

    /// An own entity is hit.
    pub fn strike(&mut self, now: SimTick, impact: GhostImpact, network: &mut Network) {
        if self.bodies.contains_key(&impact.target) {
            self.feed(now, Event::Struck(impact), network);
        }
    }

    pub fn tick(&mut self, now: SimTick, network: &mut Network) {
        let mut crossed = Vec::new();
        for (id, body) in &mut self.bodies {
            body.record.tick = now;
            if let Some(mut pilot) = body.record.pilot() {
                body.queue.apply_due(&mut pilot, now);
                body.record.set(pilot);
            }
            if self.leases.contains(&body.at) {
                body.record.sector = body.at;
            } else if now >= body.record.get::<SettledAt>().unwrap_or_default().0 {
                crossed.push((*id, body.at));
            }
        }
        for (id, to) in crossed {
            self.feed(now, Event::Crossed { id, to }, network);
        }
        self.feed(now, Event::Tick, network);
        if now.0.is_multiple_of(u64::from(TICK_HZ)) {
            let entities = self.bodies.values().map(|body| (body.record.net_id, body.record.epoch)).collect();
            network.send_up(now, self.id, ToServer::Census { tick: now, entities, inputs_applied: 0 });
        }
    }

    fn feed(&mut self, now: SimTick, event: Event, network: &mut Network) {
        for action in self.machine.step(now, event) {
            self.perform(now, action, network);
        }
    }

    fn perform(&mut self, now: SimTick, action: Action, network: &mut Network) {
        match action {
            Action::Prepare { id, to, attempt } => {
                let Some(body) = self.bodies.get_mut(&id) else { return };
                body.record.version += 1;
                let record = Box::new(body.record.clone());
                network.send_up(now, self.id, ToServer::Prepare { record, to, attempt });
            }
            Action::Send(message) => network.send_up(now, self.id, message),
            Action::Strike(impact) => self.suffer(now, impact, network),
            Action::Resume { id, settled_at } => {
                if let Some(body) = self.bodies.get_mut(&id) {
                    body.record.set(SettledAt(settled_at));
                }
            }
            Action::BecomeGhost { id } => {
                self.bodies.remove(&id);
            }
            Action::Adopt { record, inputs } => {
                let mut record = *record;
                record.set(SettledAt(now + u64::from(TICK_HZ)));
                let mut queue = InputQueue::default();
                if let Some(pilot) = record.pilot() {
                    for input in inputs {
                        queue.admit(&pilot, input, now.max(record.tick));
                    }
                }
                let (id, epoch) = (record.id, record.epoch);
                self.bodies.insert(id, Body { at: record.sector, record, queue });
                network.send_up(now, self.id, ToServer::Adopted { id, epoch, tick: now, waited_us: 0 });
            }
        }
    }

    fn suffer(&mut self, now: SimTick, impact: GhostImpact, network: &mut Network) {
        let id = impact.target;
        let Some(body) = self.bodies.get_mut(&id) else { return };
        let record = &mut body.record;
        let structure = record.structure();
        record.set(Structure { hull: structure.hull.saturating_sub(impact.damage), ..structure });
        record.version += 1;
        let (epoch, version) = record.fence();
        if record.hull() > 0 {
            let record = Box::new(record.clone());
            network.send_up(now, self.id, ToServer::Record(record));
        } else {
            self.bodies.remove(&id);
            self.feed(now, Event::Gone { id, epoch }, network);
            network.send_up(now, self.id, ToServer::Destroyed { id, epoch, version, tick: now, by: None, wreck: None });
        }
    }
}
